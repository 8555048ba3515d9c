"""Google's error model: google.rpc.Status with its reasons, GoogleAdsFailure, Analytics, the token endpoint.

Facts: google/rpc/{code,error_details}.proto and google/api/error_reason.proto (googleapis-common-protos),
google/ads/googleads/v23/errors (googleapis/googleapis).
"""

from __future__ import annotations

from typing import Any

import pytest
from google.api.error_reason_pb2 import ErrorReason  # type: ignore[import-untyped]
from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]

from mbi_reauth import catalogue
from mbi_reauth.catalogue.model import HttpProbe
from mbi_reauth.core.account import accounts_in, with_account
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Certainty, Finding, Verdict

TYPES = {
    name: catalogue.load(name)
    for name in ("google_adwords", "google_analytics", "google_analytics_warehoused", "google_ecommerce")
}
ANALYTICS = [name for name in TYPES if name != "google_adwords"]
every_google = pytest.mark.parametrize("type_id", TYPES)
every_analytics = pytest.mark.parametrize("type_id", ANALYTICS)


def judge(type_id: str, status_code: int, body: Any, **evidence: Any) -> Finding:
    given = {"endpoint": "probe", "status_code": status_code, "body": body, **evidence}
    return TYPES[type_id].classify(Evidence.model_validate(given))


def rpc(status: str, message: str = "x", *, reason: str = "", code: int = 403) -> dict[str, Any]:
    """Write an answer as Google's gateways do; ErrorInfo only where there is a reason."""
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [
            {"@type": kind, "reason": reason, "domain": "googleapis.com", "metadata": {"service": "x"}},
            {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": "x"},
        ]
    return {"error": error}


def legacy(reason: str, message: str = "x") -> dict[str, Any]:
    """Write an answer as Google's older APIs do."""
    errors = [{"domain": "usageLimits", "reason": reason, "message": message}]
    return {"error": {"code": 403, "message": message, "errors": errors}}


def ads(kind: str, value: str, status: str = "PERMISSION_DENIED", code: int = 403) -> dict[str, Any]:
    failure = {
        "@type": "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure",
        "errors": [{"errorCode": {kind: value}, "message": "x"}],
        "requestId": "made-up",
    }
    return {"error": {"code": code, "message": "x", "status": status, "details": [failure]}}


REASONS = {
    "ACCESS_TOKEN_EXPIRED": "access_token_expired",
    "CREDENTIALS_MISSING": "access_token_expired",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "insufficient_scope",
    "ACCOUNT_STATE_INVALID": "user_deactivated",
    "USER_BLOCKED_BY_ADMIN": "insufficient_scope",
    "RATE_LIMIT_EXCEEDED": "rate_limited",
    "RESOURCE_QUOTA_EXCEEDED": "rate_limited",
    "EMULATOR_QUOTA_EXCEEDED": "rate_limited",
}
"""What is not about our own Cloud project, among all that google.api.ErrorReason has."""


@every_google
@pytest.mark.parametrize("reason", [name for name, number in ErrorReason.items() if number])
def test_every_reason_that_google_documents_is_known(type_id: str, reason: str) -> None:
    found = judge(type_id, 403, rpc("PERMISSION_DENIED", reason=reason))
    assert found.cause.value == REASONS.get(reason, "probe_misconfigured")
    assert found.certainty is Certainty.EXPLICIT


UNAVAILABLE = {"CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "ABORTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
MISCONFIGURED = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE"}
VERDICTS = {
    "RESOURCE_EXHAUSTED": Verdict.UNAVAILABLE,
    "UNAUTHENTICATED": Verdict.NEEDS_REFRESH,
    "PERMISSION_DENIED": Verdict.NEEDS_REAUTH,
    **dict.fromkeys(UNAVAILABLE, Verdict.UNAVAILABLE),
    **dict.fromkeys(MISCONFIGURED, Verdict.MISCONFIGURED),
}


@every_google
@pytest.mark.parametrize("status", [name for name, _ in Code.items() if name not in ("OK", "UNIMPLEMENTED")])
def test_without_a_reason_the_canonical_code_decides(type_id: str, status: str) -> None:
    code = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}.get(status, 400)
    found = judge(type_id, code, rpc(status))
    assert found.verdict is VERDICTS[status]
    assert found.verdict is not Verdict.NEEDS_REAUTH or found.certainty is Certainty.AMBIGUOUS


@every_google
@pytest.mark.parametrize(
    "body",
    [
        legacy("rateLimitExceeded"),
        legacy("userRateLimitExceeded"),
        legacy("quotaExceeded"),
        legacy("dailyLimitExceeded"),
        rpc("PERMISSION_DENIED", "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'"),
        {"error": {"code": 403, "status": "PERMISSION_DENIED", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"subject": "x"}]}
        ]}},
    ],
    ids=str,
)  # fmt: skip
def test_a_403_may_be_a_throttle(type_id: str, body: dict[str, Any]) -> None:
    assert judge(type_id, 403, body).cause.value == "rate_limited"


@every_google
@pytest.mark.parametrize(
    "body",
    [
        legacy("accessNotConfigured", "Access Not Configured."),
        legacy("ipRefererBlocked"),
        legacy("keyInvalid"),
        rpc("PERMISSION_DENIED", "Google X API has not been used in project 1 before or it is disabled."),
    ],
    ids=str,
)
def test_a_403_may_be_about_our_own_cloud_project(type_id: str, body: dict[str, Any]) -> None:
    assert judge(type_id, 403, body).cause.value == "probe_misconfigured"


@every_google
def test_missing_scopes_are_told_from_a_missing_property_or_account(type_id: str) -> None:
    for body in (
        rpc("PERMISSION_DENIED", "Request had insufficient authentication scopes."),
        legacy("insufficientPermissions", "Insufficient Permission"),
    ):
        assert judge(type_id, 403, body).cause.value == "insufficient_scope"


@every_google
def test_a_page_of_google_for_an_address_that_is_gone_is_a_sunset(type_id: str) -> None:
    page = "<!DOCTYPE html>\n<html><p>The requested URL <code>/v9/x</code> was not found on this server."
    found = judge(type_id, 404, page, headers={"Content-Type": "text/html; charset=UTF-8"})
    assert found.cause.value == "provider_sunset"


TOKEN: list[tuple[int, dict[str, Any], str]] = [
    (
        400,
        {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
        "grant_invalid",
    ),
    (400, {"error": "invalid_grant", "error_description": "Bad Request"}, "grant_invalid"),
    (400, {"error": "invalid_grant", "error_description": "Account has been deleted"}, "user_deactivated"),
    (
        400,
        {"error": "invalid_grant", "error_description": "reauth related error (invalid_rapt)"},
        "user_checkpoint",
    ),
    (
        400,
        {"error": "invalid_grant", "error_description": "x", "error_subtype": "rapt_required"},
        "user_checkpoint",
    ),
    (400, {"error": "admin_policy_enforced"}, "insufficient_scope"),
    (400, {"error": "policy_enforced"}, "insufficient_scope"),
    (401, {"error": "invalid_client", "error_description": "The OAuth client"}, "probe_misconfigured"),
    (401, {"error": "deleted_client"}, "probe_misconfigured"),
    (401, {"error": "disabled_client"}, "probe_misconfigured"),
    (403, {"error": "org_internal"}, "probe_misconfigured"),
    (400, {"error": "unauthorized_client", "error_description": "Unauthorized"}, "probe_misconfigured"),
    (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, "probe_misconfigured"),
    (400, {"error": "internal_failure"}, "provider_outage"),
    (403, {"error": "rate_limit_exceeded", "error_description": "Rate Limit Exceeded"}, "rate_limited"),
    (500, {"error": "invalid_grant"}, "provider_outage"),
    (429, {"error": "invalid_grant"}, "rate_limited"),
]


@every_google
@pytest.mark.parametrize(("status", "body", "cause"), TOKEN, ids=str)
def test_the_token_endpoint(type_id: str, status: int, body: dict[str, Any], cause: str) -> None:
    assert judge(type_id, status, body, endpoint="token").cause.value == cause


ADS: list[tuple[dict[str, Any], str]] = [
    (ads("authenticationError", "CUSTOMER_NOT_FOUND", "UNAUTHENTICATED", 401), "account_unlinked"),
    (ads("authenticationError", "INVALID_EMAIL_ADDRESS", "UNAUTHENTICATED", 401), "probe_misconfigured"),
    (ads("authenticationError", "LOGIN_COOKIE_INVALID", "UNAUTHENTICATED", 401), "probe_misconfigured"),
    (ads("authorizationError", "AUTHORIZATION_ERROR"), "insufficient_scope"),
    (ads("authorizationError", "INCOMPLETE_SIGNUP"), "account_suspended"),
    (ads("customerError", "ACCOUNT_NOT_SET_UP", "INVALID_ARGUMENT", 400), "account_suspended"),
    (ads("requestError", "CLOUD_PROJECT_NOT_FOUND", "INVALID_ARGUMENT", 400), "probe_misconfigured"),
    (
        ads("requestError", "DEVELOPER_TOKEN_PARAMETER_MISSING", "INVALID_ARGUMENT", 400),
        "probe_misconfigured",
    ),
    (ads("requestError", "NEVER_SEEN", "INVALID_ARGUMENT", 400), "probe_misconfigured"),
    (ads("internalError", "DEADLINE_EXCEEDED", "INVALID_ARGUMENT", 400), "provider_outage"),
    (
        ads("quotaError", "PAYMENTS_PROFILE_ACTIVATION_RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", 400),
        "rate_limited",
    ),
    (ads("quotaError", "ACCESS_PROHIBITED", "RESOURCE_EXHAUSTED", 400), "probe_misconfigured"),
]


@pytest.mark.parametrize(("body", "cause"), ADS, ids=str)
def test_google_ads_names_its_errors_by_kind_and_value(body: dict[str, Any], cause: str) -> None:
    assert judge("google_adwords", body["error"]["code"], body).cause.value == cause


@pytest.mark.parametrize("status", ["SUSPENDED", "CANCELED", "CLOSED"])
def test_an_advertising_account_that_is_closed_is_a_failure_though_google_says_200(status: str) -> None:
    body = {"results": [{"customer": {"resourceName": "customers/1", "id": "1", "status": status}}]}
    assert judge("google_adwords", 200, body).cause.value == "account_suspended"


def test_a_status_of_an_account_that_nobody_knows_proves_nothing() -> None:
    for status in ("UNKNOWN", "UNSPECIFIED", "PAUSED"):
        body = {"results": [{"customer": {"id": "1", "status": status}}]}
        assert judge("google_adwords", 200, body).verdict is Verdict.INDETERMINATE


def test_a_stream_of_google_ads_errors_is_read_as_its_first() -> None:
    found = judge("google_adwords", 401, [ads("authenticationError", "NOT_ADS_USER", "UNAUTHENTICATED", 401)])
    assert found.cause.value == "account_unlinked"


@every_analytics
@pytest.mark.parametrize(
    ("message", "certainty"),
    [
        ("User does not have sufficient permissions for this property. To learn more, see x.", "explicit"),
        ("User does not have sufficient permissions for this profile.", "explicit"),
        ("The caller does not have permission", "ambiguous"),
        ("Something new", "ambiguous"),
    ],
)
def test_analytics_without_a_reason_denies_the_property(type_id: str, message: str, certainty: str) -> None:
    found = judge(type_id, 403, rpc("PERMISSION_DENIED", message))
    assert (found.cause.value, found.certainty.value) == ("account_unlinked", certainty)


@every_analytics
@pytest.mark.parametrize(
    "message",
    [
        "Exhausted concurrent requests quota. Please retry after a while.",
        "Exhausted property tokens for a project per hour. These quota tokens will return in under an hour.",
        "Exhausted potentially thresholded requests quota.",
        "Exhausted server errors quota. Due to sending bad requests, this property has been locked out.",
    ],
)
def test_a_used_up_quota_of_a_property_is_a_throttle(type_id: str, message: str) -> None:
    for status in (429, 403):
        assert judge(type_id, status, rpc("RESOURCE_EXHAUSTED", message)).cause.value == "rate_limited"


@every_analytics
@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ({"name": "properties/123456789/metadata"}, "authorized"),
        ({"name": "properties/1/metadata", "dimensions": [{"apiName": "date"}], "metrics": []}, "authorized"),
        ({"kind": "analyticsData#runReport", "rowCount": 0}, "authorized"),
        ({"accountSummaries": [{"propertySummaries": [{"property": "properties/1"}]}]}, "authorized"),
        ({"accountSummaries": []}, "account_unlinked"),
        ({"accountSummaries": [{"account": "accounts/1"}]}, "account_unlinked"),
        ({"accountSummaries": [{"account": "accounts/1"}], "nextPageToken": "x"}, "unknown"),
        ({"accountSummaries": {}}, "unknown"),
        ({}, "unknown"),
        ({"name": "metadata"}, "unknown"),
        ({"name": "properties/1/metadata", "error": {"code": 403}}, "unknown"),
        ({"kind": "analytics#gaData"}, "unknown"),
    ],
    ids=str,
)
def test_what_proves_a_property(type_id: str, body: dict[str, Any], cause: str) -> None:
    assert judge(type_id, 200, body).cause.value == cause


@every_analytics
def test_the_property_that_answered_is_the_one_that_was_registered(type_id: str) -> None:
    probe = TYPES[type_id].model.probe
    assert isinstance(probe, HttpProbe)
    assert probe.account is not None
    body = {"name": "properties/123456789/metadata"}
    evidence = Evidence.model_validate({"endpoint": "probe", "status_code": 200, "body": body})
    accounts = accounts_in(evidence, probe.account, probe.account_format)
    found = TYPES[type_id].classify(evidence)
    assert with_account(found, accounts, expected="123456789", type_id=type_id).account == "123456789"
    assert with_account(found, accounts, expected="1", type_id=type_id).cause.value == "account_unlinked"


@every_analytics
def test_a_property_that_is_not_found_needs_a_second_look(type_id: str) -> None:
    found = judge(type_id, 404, rpc("NOT_FOUND", "Requested entity was not found.", code=404))
    assert (found.cause.value, found.certainty.value) == ("account_unlinked", "ambiguous")
    assert judge(type_id, 404, rpc("NOT_FOUND", "Method not found.")).cause.value == "provider_sunset"


@every_analytics
def test_an_id_that_is_no_propertys_is_ours_to_mend(type_id: str) -> None:
    body = rpc("INVALID_ARGUMENT", "Invalid property ID: UA-1-1. A numeric Property ID is needed.")
    assert judge(type_id, 400, body).cause.value == "probe_misconfigured"


@every_google
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, '{"error": {"code": 403, "status": "PERMISSION_DENIED", "details": [{"reason": "ACCOUNT_STA'),
        (403, "<html><title>Google</title><p>403. ACCOUNT_STATE_INVALID</html>"),
        (403, "ACCOUNT_STATE_INVALID"),
        (403, {"status": "PERMISSION_DENIED", "reason": "ACCOUNT_STATE_INVALID"}),
        (403, {"error": "PERMISSION_DENIED"}),
        (403, {"error": {"message": "insufficient_scope: PERMISSION_DENIED"}}),
        (200, {"error": None}),
        (302, rpc("UNAUTHENTICATED", reason="ACCOUNT_STATE_INVALID")),
    ],
    ids=str,
)
def test_what_only_resembles_google_decides_nothing(type_id: str, status: int, body: Any) -> None:
    assert judge(type_id, status, body).verdict is Verdict.INDETERMINATE


@every_google
def test_a_firewall_that_quotes_google_decides_nothing(type_id: str) -> None:
    body = rpc("UNAUTHENTICATED", reason="ACCOUNT_STATE_INVALID")
    found = judge(type_id, 403, body, headers={"cf-mitigated": "challenge"})
    assert found.verdict is Verdict.INDETERMINATE


@every_google
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_outage_never_accuses_whatever_google_says_in_it(type_id: str, status: int) -> None:
    found = judge(type_id, status, rpc("UNAUTHENTICATED", reason="ACCOUNT_STATE_INVALID"))
    assert found.verdict is Verdict.UNAVAILABLE


def test_google_types_share_one_identity() -> None:
    oauths = [oauth for loaded in TYPES.values() if (oauth := loaded.model.oauth) is not None]
    assert len(oauths) == len(TYPES)
    assert len({(oauth.token_url, oauth.refresh, oauth.refresh_token_lifetime) for oauth in oauths}) == 1
    assert [oauth.scopes for oauth in oauths] == [
        ["https://www.googleapis.com/auth/adwords"],
        *[["https://www.googleapis.com/auth/analytics.readonly"]] * 3,
    ]
