"""Meta's error model: the numbers in ``error`` decide, whatever HTTP status and words they come with.

Facts: developers.facebook.com, "Handling Errors", "Rate Limits" and Marketing API "Error Codes";
airbytehq/airbyte, source-facebook-marketing.
"""

from __future__ import annotations

from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Cause, Certainty, Finding, Verdict

FACEBOOK = catalogue.load("facebook_ads")


def judge(status_code: int, body: Any, **evidence: Any) -> Finding:
    given = {"endpoint": "probe", "status_code": status_code, "body": body, **evidence}
    return FACEBOOK.classify(Evidence.model_validate(given))


def error(code: Any, subcode: int | None = None, message: str = "x", **more: Any) -> dict[str, Any]:
    given = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "made-up", **more}
    return {"error": given | ({"error_subcode": subcode} if subcode is not None else {})}


THROTTLES = [4, 17, 18, 32, 341, 613, *range(80000, 80015)]


@pytest.mark.parametrize("code", THROTTLES)
@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_throttle_is_told_by_its_number(code: int, status: int) -> None:
    assert judge(status, error(code)).verdict is Verdict.UNAVAILABLE
    assert judge(400, error(code)).cause is Cause.RATE_LIMITED


@pytest.mark.parametrize("code", [1, 2, -1, -3, 960, 104])
@pytest.mark.parametrize("status", [400, 403, 500])
def test_an_outage_comes_as_a_refused_request(code: int, status: int) -> None:
    found = judge(status, error(code, message=f"(#{code}) Service temporarily unavailable"))
    assert found.cause is Cause.PROVIDER_OUTAGE


@pytest.mark.parametrize("code", [1, 100, 190, 200, 368])
def test_what_facebook_calls_transient_is(code: int) -> None:
    assert judge(400, error(code, is_transient=True)).verdict is Verdict.UNAVAILABLE


SUBCODES = {
    456: "grant_invalid",  # malformed
    457: "grant_invalid",  # of an invalid origin
    458: "grant_revoked",  # app no longer installed
    459: "user_checkpoint",
    460: "grant_invalid",  # password changed
    461: "grant_invalid",  # app reinstalled
    462: "grant_invalid",  # stale version
    463: "grant_expired",
    464: "user_checkpoint",  # unconfirmed person
    465: "grant_invalid",
    466: "grant_invalid",  # ended through the API
    467: "grant_invalid",  # signed out
    468: "grant_invalid",  # unused for long
    492: "grant_invalid",
    493: "grant_expired",  # no sign-in for 90 days
    1234567: "grant_invalid",
}


@pytest.mark.parametrize(("subcode", "cause"), SUBCODES.items())
@pytest.mark.parametrize("code", [190, 102])
def test_the_subcode_says_how_a_session_ended(code: int, subcode: int, cause: str) -> None:
    for status in (400, 401):
        found = judge(status, error(code, subcode, "Error validating access token: something new"))
        assert (found.cause.value, found.certainty) == (cause, Certainty.EXPLICIT)


@pytest.mark.parametrize("code", [10, *(code for code in range(200, 300) if code != 270)])
def test_the_numbers_of_permissions_are_the_owners(code: int) -> None:
    for status in (400, 403):
        assert judge(status, error(code)).cause is Cause.INSUFFICIENT_SCOPE


def test_an_access_level_is_our_apps_to_raise() -> None:
    for status in (400, 403):
        assert judge(status, error(270)).cause is Cause.PROBE_MISCONFIGURED


def test_a_capability_may_be_our_apps_to_have() -> None:
    assert judge(400, error(3)).certainty is Certainty.AMBIGUOUS
    body = error(3, message="(#3) Application does not have the capability to make this API call.")
    assert judge(400, body).verdict is Verdict.MISCONFIGURED


OTHERS: list[tuple[dict[str, Any], str]] = [
    (error(1, 2853001, "An unknown error occurred", is_transient=False), "account_unlinked"),
    (error(100, 33, "Unsupported get request. Object with ID 'act_1' does not exist"), "account_unlinked"),
    (error(803, None, "(#803) Some of the aliases you requested do not exist: act_1"), "account_unlinked"),
    (error(100, None, "(#100) Missing permissions"), "insufficient_scope"),
    (error(100, None, "(#100) Tried accessing nonexisting field (x)"), "probe_misconfigured"),
    (error(100, None, "Unsupported request - method type: get"), "unknown"),
    (error(104, None, "Incorrect signature"), "probe_misconfigured"),
    (error(101), "probe_misconfigured"),
    (error(900, None, "No such application exists."), "probe_misconfigured"),
    (error(2500), "probe_misconfigured"),
    (error(190, None, "Error validating application. Application has been deleted."), "probe_misconfigured"),
    (error(368, 4854002), "account_suspended"),
    (error(200, 1870034, "(#200) The terms of service have not been accepted."), "user_checkpoint"),
    (error(2635), "provider_sunset"),
    (error(5, None, "(#5) Unauthorized source IP address"), "network_denied"),
    (error("190", 463), "grant_expired"),
    (error(99999), "unknown"),
    (error(None), "unknown"),
]


@pytest.mark.parametrize(("body", "cause"), OTHERS, ids=str)
def test_what_else_facebook_answers(body: dict[str, Any], cause: str) -> None:
    assert judge(400, body).cause.value == cause


ACCOUNT_STATUSES = {
    1: "authorized",
    2: "account_suspended",  # disabled
    3: "account_suspended",  # unsettled
    7: "account_suspended",  # under review
    8: "authorized",  # being settled
    9: "authorized",  # in grace
    100: "account_suspended",
    101: "account_suspended",
    201: "authorized",
    202: "account_suspended",
    4: "unknown",
    999: "unknown",
}


@pytest.mark.parametrize(("status", "cause"), ACCOUNT_STATUSES.items())
def test_an_account_that_is_closed_is_a_failure_though_facebook_says_200(status: int, cause: str) -> None:
    body = {"account_id": "1234567890", "account_status": status, "disable_reason": 0, "id": "act_1234567890"}
    assert judge(200, body).cause.value == cause
    assert judge(200, {**body, **error(2)}).cause is Cause.PROVIDER_OUTAGE


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ({"is_valid": False, "error": {"code": 190, "subcode": 463}}, "grant_expired"),
        ({"is_valid": False, "error": {"code": 190, "subcode": 458}}, "grant_revoked"),
        ({"is_valid": False}, "grant_invalid"),
        ({"is_valid": True, "expires_at": 0}, "unknown"),
        ({}, "unknown"),
    ],
    ids=str,
)
def test_an_examined_token_accuses_but_does_not_prove_the_account(data: dict[str, Any], cause: str) -> None:
    assert judge(200, {"data": data}).cause.value == cause


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, '{"error": {"message": "Error validating access token", "code": 190, "error_sub'),
        (400, "<!DOCTYPE html><title>Facebook | Error</title> code 190"),
        (400, "OAuthException: 190"),
        (400, {"error": "OAuthException", "code": 190}),
        (400, {"code": 190, "message": "Invalid OAuth access token."}),
        (400, {"error": {"message": "Blocked by policy 190"}}),
        (403, {"error": {"code": "blocked", "message": "access token"}}),
        (200, {"id": "act_1"}),
        (200, {"account_status": None}),
        (200, {"account_status": True}),
        (302, error(190, 463)),
    ],
    ids=str,
)
def test_what_only_resembles_facebook_decides_nothing(status: int, body: Any) -> None:
    assert judge(status, body).verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_outage_never_accuses_whatever_facebook_says_in_it(status: int) -> None:
    assert judge(status, error(190, 463)).verdict is Verdict.UNAVAILABLE


def test_a_firewall_that_quotes_facebook_decides_nothing() -> None:
    found = judge(400, error(190, 463), headers={"x-squid-error": "ERR_ACCESS_DENIED 0"})
    assert found.verdict is Verdict.INDETERMINATE


def test_nothing_refreshes_a_facebook_token() -> None:
    oauth = FACEBOOK.model.oauth
    assert oauth is not None
    assert (oauth.refresh, oauth.access_token_lifetime) == ("none", 60 * 24 * 3600)
    assert judge(401, error(190)).cause is Cause.GRANT_INVALID


@pytest.mark.parametrize("cause", [Cause.ACCOUNT_SUSPENDED, Cause.USER_CHECKPOINT])
def test_a_restricted_account_needs_no_new_token(cause: Cause) -> None:
    assert not FACEBOOK.model.owner_steps.reconnects(cause)
