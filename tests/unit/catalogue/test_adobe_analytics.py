"""Adobe's three voices: its sign-in (IMS), the gateway in front of the API, and Analytics itself.

Facts: adobe-apiplatform/api-gateway-request-validation (the gateway's codes), AdobeDocs/analytics-2.0-apis,
AdobeDocs/adobe-dev-console (IMS).
"""

from __future__ import annotations

from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Certainty, Finding, Verdict

ADOBE = catalogue.load("adobe_analytics")


def judge(status_code: int, body: Any, **evidence: Any) -> Finding:
    given = {"endpoint": "probe", "status_code": status_code, "body": body, **evidence}
    return ADOBE.classify(Evidence.model_validate(given))


def analytics(code: str, description: str = "x") -> dict[str, str]:
    return {"errorCode": code, "errorDescription": description, "errorId": "0d1"}


GATEWAY = [
    (403, 403000, "Api Key is required", "probe_misconfigured"),
    (403, 403003, "Api Key is invalid", "probe_misconfigured"),
    (403, 403010, "Oauth token is missing.", "probe_misconfigured"),
    (401, 401010, "Oauth token is missing", "probe_misconfigured"),
    (401, 401013, "Oauth token is not valid", "access_token_expired"),
    (403, 403020, "Oauth token missing or invalid", "access_token_expired"),
    (403, 403011, "Scope mismatch", "insufficient_scope"),
    (401, 401015, "Scope mismatch", "insufficient_scope"),
    (403, 403012, "Your IP is blacklisted", "network_denied"),
    (403, 403013, "Your IP is not whitelisted", "network_denied"),
    (403, 403023, "Profile is not valid", "insufficient_scope"),
    (403, 403024, "Not allowed to read the profile", "insufficient_scope"),
    (403, 403025, "Profile is not valid", "insufficient_scope"),
    (403, 403027, "x", "probe_misconfigured"),
    (403, 503020, "Could not read the profile", "provider_outage"),
    (503, 503000, "Could not validate Api Key", "provider_outage"),
    (503, 503010, "Could not validate the oauth token", "provider_outage"),
    (429, 429001, "Service usage limit reached", "rate_limited"),
    (429, 429050, "Too many requests", "rate_limited"),
    (403, 403999, "Something new", "unknown"),
]


@pytest.mark.parametrize(("status", "code", "message", "cause"), GATEWAY)
def test_the_gateways_code_decides_whether_it_comes_as_text_or_as_a_number(
    status: int, code: int, message: str, cause: str
) -> None:
    for written in (str(code), code):
        assert judge(status, {"error_code": written, "message": message}).cause.value == cause


def test_some_gateways_put_the_code_into_details() -> None:
    error = {"code": "Forbidden", "message": "Client ID is invalid", "details": {"error_code": "403003"}}
    assert judge(403, {"error": error}).cause.value == "probe_misconfigured"


ANALYTICS = [
    (401, analytics("invalid_token", "IMS token failed IMS Facade token validation"), "access_token_expired"),
    (404, analytics("404", "Could not find analytics user for globalCompanyId=x"), "account_unlinked"),
    (404, analytics("resource_not_found"), "account_unlinked"),
    (403, analytics("403"), "insufficient_scope"),
    (400, analytics("invalid_data"), "probe_misconfigured"),
    (500, analytics("500", "Error while resolving get imsOrgs"), "provider_outage"),
    (400, analytics("502"), "provider_outage"),
    (404, {"message": "Not Found"}, "unknown"),
    (403, {"errorCode": "403"}, "unknown"),
]


@pytest.mark.parametrize(("status", "body", "cause"), ANALYTICS, ids=str)
def test_what_analytics_itself_answers(status: int, body: dict[str, str], cause: str) -> None:
    assert judge(status, body).cause.value == cause


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_that_analytics_does_not_explain_needs_a_second_look(status: int) -> None:
    assert judge(status, analytics("x")).certainty is Certainty.AMBIGUOUS


PROOFS: list[tuple[Any, str]] = [
    ({"rsid": "examplersid", "name": "Example Suite"}, "authorized"),
    ({"rsid": "vrs_1", "parentRsid": "examplersid", "id": "vrs_1"}, "authorized"),
    ({"imsOrgs": [{"companies": [{"globalCompanyId": "example0"}]}]}, "authorized"),
    ({"rows": [], "columns": {}, "totalElements": 0, "lastPage": True}, "authorized"),
    ({"imsOrgs": []}, "account_unlinked"),
    ({"imsOrgs": [{"imsOrgId": "0B@AdobeOrg", "companies": []}]}, "account_unlinked"),
    ({"imsOrgs": {}}, "unknown"),
    ({"rsid": "examplersid"}, "unknown"),
    ({"rsid": "examplersid", "name": "x", "errorCode": "500"}, "unknown"),
    ({"rows": []}, "unknown"),
    ([], "unknown"),
    ({}, "unknown"),
]


@pytest.mark.parametrize(("body", "cause"), PROOFS, ids=str)
def test_what_proves_a_report_suite(body: Any, cause: str) -> None:
    assert judge(200, body).cause.value == cause


TOKEN = [
    (400, {"error": "invalid_grant"}, "grant_invalid"),
    (400, {"error": "invalid_token"}, "grant_invalid"),
    (400, {"error": "ride_AdobeID_acct_terms", "jump": "https://adobeid.example/"}, "user_checkpoint"),
    (400, {"error": "ride_AdobeID_acct_evs"}, "user_checkpoint"),
    (400, {"error": "ride_AdobeID_acct_actreq"}, "user_checkpoint"),
    (400, {"error": "ride_AdobeID_acct_disabled"}, "user_deactivated"),
    (400, {"error": "invalid_client"}, "probe_misconfigured"),
    (400, {"error": "invalid_scope"}, "probe_misconfigured"),
    (
        400,
        {
            "error": "invalid_token",
            "error_description": "Could not match jwt signature to any of the bindings",
        },
        "probe_misconfigured",
    ),
    (555, {"error": "ride_AdobeID_acct_actreq"}, "provider_outage"),
    (429, {"error": "invalid_grant"}, "rate_limited"),
    (503, {"error": "invalid_token"}, "provider_outage"),
    (400, {"error": "access_denied"}, "unknown"),
]


@pytest.mark.parametrize(("status", "body", "cause"), TOKEN, ids=str)
def test_the_sign_in(status: int, body: dict[str, str], cause: str) -> None:
    assert judge(status, body, endpoint="token").cause.value == cause


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, '{"error_code": "403025", "message": "Profile is'),
        (403, "<html><title>Access Denied</title>error_code 403025 Reference #18.2d</html>"),
        (403, "Profile is not valid"),
        (403, {"code": "403025", "message": "Profile is not valid"}),
        (403, {"error": {"error_code": "403025"}}),
        (404, {"errorCode": 404, "errorDescription": None}),
        (302, {"error_code": "403025", "message": "Profile is not valid"}),
    ],
    ids=str,
)
def test_what_only_resembles_adobe_decides_nothing(status: int, body: Any) -> None:
    assert judge(status, body).verdict is Verdict.INDETERMINATE


def test_a_firewall_that_quotes_adobe_decides_nothing() -> None:
    body = {"error_code": "403025", "message": "Profile is not valid"}
    found = judge(403, body, headers={"x-amzn-waf-action": "captcha"})
    assert found.verdict is Verdict.INDETERMINATE


def test_adobes_permission_ends_14_days_after_its_last_use_and_changes_at_each() -> None:
    oauth = ADOBE.model.oauth
    assert oauth is not None
    assert (oauth.refresh, oauth.client_auth, oauth.access_token_lifetime) == ("rotating", "basic", 86399)
    assert (oauth.refresh_token_lifetime or "").startswith("14 days")
