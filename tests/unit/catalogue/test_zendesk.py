"""What Zendesk's answers mean, beyond the table in test_real_answers."""

from __future__ import annotations

from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.catalogue.model import HttpProbe
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Certainty, Finding, Verdict
from mbi_reauth.extraction.http import first_request
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.template import Templates

ZENDESK = catalogue.load("zendesk")
TEMPLATES = Templates(ZENDESK.model, Credential("zd", "mbireauth", extra={"subdomain": "example"}))


def judge(**evidence: Any) -> Finding:
    return ZENDESK.classify(Evidence.model_validate({"endpoint": "probe", **evidence}))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_trial_that_is_over_is_known_by_its_code(status: int) -> None:
    body = {"error": "SupportProductInactive", "description": "x"}
    assert judge(status_code=status, body=body).cause.value == "account_suspended"


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ({"tickets": [], "end_of_stream": True, "after_cursor": None}, Verdict.AUTHORIZED),
        ({"tickets": [{"id": 1}], "end_of_stream": False, "after_cursor": "x"}, Verdict.AUTHORIZED),
        ({"users": [{"id": 1}], "count": 1}, Verdict.AUTHORIZED),
        ({"tickets": [{}], "end_of_stream": True}, Verdict.INDETERMINATE),
        ({"tickets": []}, Verdict.INDETERMINATE),
        ({"tickets": [{"id": 1}], "end_of_stream": True, "error": "x"}, Verdict.INDETERMINATE),
        ('{"tickets":[{"id":1,"subject":"cut', Verdict.INDETERMINATE),
    ],
    ids=str,
)
def test_only_tickets_or_users_prove_it(body: Any, verdict: Verdict) -> None:
    assert judge(status_code=200, body=body).verdict is verdict


@pytest.mark.parametrize(
    "said", ["This account has been suspended.", "This user is suspended", "API token access is disabled"]
)
def test_what_is_known_only_from_hearsay_counts_only_when_it_is_said_twice(said: str) -> None:
    found = judge(status_code=403, body={"error": {"title": "Forbidden", "message": said}})
    assert (found.verdict, found.certainty) == (Verdict.NEEDS_REAUTH, Certainty.AMBIGUOUS)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": "Key has expired, please renew"}),
        (401, {"error": "ZPA authentication required", "reason": "user not authenticated", "id": "x"}),
        (401, {"error": "unauthenticated", "redirect": "/oauth2/start"}),
        (401, {"error": "HTTP 401 Unauthorized"}),
        (401, {"error": "Authentication Attempt Failed"}),
        (401, {"error": "invalid_token", "error_description": "Token verification failed"}),
        (403, {"code": "900910", "message": "Denied", "description": "User is NOT authorized to access it"}),
        (403, {"message": "This account has been suspended by your administrator. Contact IT."}),
        (403, {"error": "user_disabled", "error_description": "The user account is disabled"}),
        (403, {"error": {"title": "Forbidden", "message": "Blocked by your organization"}}),
        (403, {"error": "AccessDenied"}),
    ],
    ids=str,
)
def test_what_gateways_say_is_not_taken_for_zendesks_refusal(status: int, body: Any) -> None:
    assert judge(status_code=status, body=body).verdict is Verdict.INDETERMINATE


def test_what_zendesks_own_headers_vouch_for_is_its_refusal_whatever_it_says() -> None:
    headers = {"X-Zendesk-Zorg": "yes", "WWW-Authenticate": 'Basic realm="Web Password"'}
    found = judge(status_code=401, headers=headers, body={"error": "Something new"})
    assert (found.verdict, found.certainty) == (Verdict.NEEDS_REAUTH, Certainty.AMBIGUOUS)


def test_zendesks_realm_vouches_for_a_dead_token() -> None:
    realm = 'Bearer realm="Zendesk::OAuth Bearer Token Authentication", error="invalid_token"'
    found = judge(status_code=401, headers={"WWW-Authenticate": realm}, body={"error": "invalid_token"})
    assert found.cause.value == "grant_invalid"


def test_the_check_asks_for_the_very_export_that_only_admins_may_have() -> None:
    probe = ZENDESK.model.probe
    assert isinstance(probe, HttpProbe)
    assert probe.url == ZENDESK.model.resources[0].url
    assert probe.params["per_page"] == "1"


def test_a_request_with_a_cursor_has_no_start_time() -> None:
    resource = ZENDESK.model.resources[0]
    first = first_request(resource, TEMPLATES, since=1_700_000_000)
    assert first.params == {"start_time": "1700000000", "per_page": "1000"}
    following = first.without(resource.paging.first_only).with_value(resource.paging.param or "", "abc")
    assert following.params == {"cursor": "abc", "per_page": "1000"}
