"""What Stripe's answers mean: its codes, and where there is none what it documents for a status."""

from __future__ import annotations

from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.catalogue.model import HttpProbe
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Certainty, Finding, Verdict

STRIPE = catalogue.load("stripe")
INVALID = "invalid_request_error"


def judge(**evidence: Any) -> Finding:
    return STRIPE.classify(Evidence.model_validate({"endpoint": "probe", **evidence}))


def error(kind: str = INVALID, code: str | None = None, message: str = "x") -> dict[str, Any]:
    return {"error": {"type": kind, "message": message} | ({"code": code} if code else {})}


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (401, error(message="Invalid API Key provided: rk_live_***"), "credentials_rejected"),
        (401, error("authentication_error"), "credentials_rejected"),
        (401, error(code="api_key_expired"), "credentials_rejected"),
        (401, error(code="platform_api_key_expired"), "grant_revoked"),
        (401, error(code="secret_key_required"), "probe_misconfigured"),
        (401, error(message="You did not provide an API key."), "probe_misconfigured"),
        (403, error(code="more_permissions_required"), "insufficient_scope"),
        (403, error(code="more_permissions_required_for_application"), "insufficient_scope"),
        (403, error(code="oauth_not_supported"), "insufficient_scope"),
        (403, error(code="account_invalid"), "grant_revoked"),
        (403, error(message="Application access may have been revoked."), "grant_revoked"),
        (403, error(code="platform_account_required"), "probe_misconfigured"),
        (403, error(message="... does not allow requests from your IP address."), "network_denied"),
        (400, error(code="livemode_mismatch"), "probe_misconfigured"),
        (400, error(code="parameter_unknown"), "probe_misconfigured"),
        (404, error(code="resource_missing"), "probe_misconfigured"),
        (400, error("idempotency_error"), "probe_misconfigured"),
        (400, error(code="rate_limit"), "rate_limited"),
        (429, error(code="lock_timeout"), "rate_limited"),
        (402, error("card_error", "card_declined"), "unknown"),
        (402, error(), "unknown"),
        (409, error(code="idempotency_key_in_use"), "provider_outage"),
        (424, error(), "provider_outage"),
        (400, error("api_error"), "provider_outage"),
        (500, error(code="api_key_expired"), "provider_outage"),
        (403, error("never_seen"), "unknown"),
        (401, error("never_seen"), "unknown"),
    ],
    ids=str,
)
def test_the_code_decides_else_the_status(status: int, body: dict[str, Any], cause: str) -> None:
    assert judge(status_code=status, body=body).cause.value == cause


def test_a_declined_request_is_no_unpaid_bill() -> None:
    assert judge(status_code=402, body=error()).verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize("body", [error(code="account_invalid"), error()])
def test_a_refusal_that_stripe_itself_does_not_explain_needs_a_second_look(body: dict[str, Any]) -> None:
    assert judge(status_code=403, body=body).certainty is Certainty.AMBIGUOUS


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (400, {"error": "invalid_grant", "error_description": "used up"}, "grant_invalid"),
        (400, {"error": "invalid_request"}, "probe_misconfigured"),
        (401, {"error": "invalid_client", "error_description": "not connected"}, "probe_misconfigured"),
        (401, error(message="Invalid API Key provided: sk_live_***"), "probe_misconfigured"),
        (400, error("api_error"), "provider_outage"),
        (200, {"access_token": "x", "livemode": True, "scope": "read_only"}, "authorized"),
    ],
    ids=str,
)  # fmt: skip
def test_at_the_token_endpoint_only_the_grants_refusal_is_the_owners(
    status: int, body: dict[str, Any], cause: str
) -> None:
    assert judge(endpoint="token", status_code=status, body=body).cause.value == cause


@pytest.mark.parametrize("data", [[], [{"id": "cus_1", "object": "customer", "livemode": False}]])
def test_any_list_of_stripes_proves_it(data: list[Any]) -> None:
    body = {"object": "list", "url": "/v1/customers", "has_more": False, "data": data}
    assert judge(status_code=200, body=body).verdict is Verdict.AUTHORIZED


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 200, "body": {"data": []}},
        {"status_code": 200, "body": {"object": "list", "data": [], "has_more": False}},
        {"status_code": 200, "body": {"object": "list", "url": "/portal", "data": [], "has_more": True}},
        {"status_code": 200, "body": {"object": "account", "id": "acct_1"}},
        {"status_code": 200, "body": '{"object":"list","url":"/v1/charges","has_more":true,"data":[{"id"'},
        {"status_code": 401, "body": {"error": "invalid_request_error"}},
        {"status_code": 401, "body": {"error": {"type": INVALID}}},
        {"status_code": 401, "body": {"error": {"message": "Unauthorized"}}},
        {"status_code": 403, "body": {"error": {"type": "Forbidden", "message": "Blocked by policy"}}},
        {"status_code": 401, "body": "<html>Sign in to the proxy</html>"},
        {"status_code": 401, "body": error(), "headers": {"Proxy-Authenticate": "Basic"}},
        {"status_code": 403, "body": error(code="account_invalid"), "headers": {"server": "awselb/2.0"}},
        {"status_code": 302, "body": error()},
        {"status_code": 429, "body": error(code="api_key_expired")},
    ],
    ids=str,
)
def test_garbage_and_imitations_neither_accuse_nor_prove(answer: dict[str, Any]) -> None:
    assert judge(**answer).verdict not in (Verdict.NEEDS_REAUTH, Verdict.AUTHORIZED)


def test_the_check_reads_what_a_restricted_key_may_read() -> None:
    assert isinstance(STRIPE.model.probe, HttpProbe)
    assert "account" not in STRIPE.model.probe.url


@pytest.mark.parametrize("resource", STRIPE.model.resources, ids=lambda each: each.name)
def test_every_list_is_paged_by_its_last_record_until_stripe_says_there_is_no_more(resource: Any) -> None:
    paging = resource.paging
    assert (paging.style, paging.path, paging.param) == ("last_record", "id", "starting_after")
    assert paging.more == "has_more"
