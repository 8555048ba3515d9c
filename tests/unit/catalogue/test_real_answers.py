"""Answers as these third parties and databases are known to give them, beyond the rules' own samples."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.catalogue.loader import DEFAULTS, read_model
from mbi_reauth.catalogue.model import DefaultTable
from mbi_reauth.core.classify import Table, classify
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Finding

TYPES = catalogue.load_all()


def _judge(type_id: str, **evidence: Any) -> Finding:
    return TYPES[type_id].classify(Evidence.model_validate({"endpoint": "probe", **evidence}))


def _google(status: str, code: int = 403, reason: str = "", **error_code: str) -> dict[str, Any]:
    details: list[dict[str, Any]] = [{"reason": reason, "domain": "googleapis.com"}] if reason else []
    details += [{"errors": [{"errorCode": error_code}], "requestId": "x"}] if error_code else []
    return {"status_code": code, "body": {"error": {"code": code, "status": status, "details": details}}}


def _google_reason(reason: str, message: str = "x") -> dict[str, Any]:
    errors = [{"domain": "usageLimits", "reason": reason}]
    error = {"code": 403, "status": "PERMISSION_DENIED", "message": message, "errors": errors}
    return {"status_code": 403, "body": {"error": error}}


GOOGLE = [
    (_google("UNAUTHENTICATED", 401), "access_token_expired"),
    (_google("UNAUTHENTICATED", 401, authenticationError="NEVER_SEEN"), "access_token_expired"),
    (_google("UNAUTHENTICATED", 401, authenticationError="OAUTH_TOKEN_INVALID"), "access_token_expired"),
    (_google("UNAUTHENTICATED", 401, authenticationError="OAUTH_TOKEN_DISABLED"), "grant_revoked"),
    (
        _google("UNAUTHENTICATED", 401, authenticationError="ADVANCED_PROTECTION_NOT_ENROLLED"),
        "user_checkpoint",
    ),
    (_google("UNAUTHENTICATED", 401, authenticationError="ORGANIZATION_NOT_APPROVED"), "probe_misconfigured"),
    (
        _google("PERMISSION_DENIED", authorizationError="ACTION_NOT_PERMITTED_FOR_SUSPENDED_ACCOUNT"),
        "account_suspended",
    ),
    (_google("PERMISSION_DENIED", authorizationError="DEVELOPER_TOKEN_NOT_APPROVED"), "probe_misconfigured"),
    (_google("PERMISSION_DENIED", reason="CONSUMER_SUSPENDED"), "probe_misconfigured"),
    (_google("RESOURCE_EXHAUSTED", 400, quotaError="RESOURCE_TEMPORARILY_EXHAUSTED"), "rate_limited"),
    (_google("INVALID_ARGUMENT", 400, headerError="INVALID_LOGIN_CUSTOMER_ID"), "probe_misconfigured"),
    (_google("UNAVAILABLE", 503), "provider_outage"),
    ({"status_code": 200, "body": {"resourceNames": []}}, "account_unlinked"),
    ({"status_code": 200, "body": {}}, "unknown"),
    (
        {"status_code": 200, "body": [{"results": [{"customer": {"id": "1", "status": "ENABLED"}}]}]},
        "authorized",
    ),
    ({"endpoint": "token", "status_code": 400, "body": {"error": "deleted_client"}}, "probe_misconfigured"),
    ({"endpoint": "token", "status_code": 401, "body": {"error": "invalid_client"}}, "probe_misconfigured"),
    ({"endpoint": "token", "status_code": 400, "body": {"error": "internal_failure"}}, "provider_outage"),
    ({"endpoint": "token", "status_code": 400, "body": {"error": "invalid_grant"}}, "grant_invalid"),
    ({"endpoint": "token", "status_code": 401}, "unknown"),
    (_google("PERMISSION_DENIED", authorizationError="MISSING_TOS"), "probe_misconfigured"),
    (
        _google("PERMISSION_DENIED", authorizationError="DEVELOPER_TOKEN_NOT_WHITELISTED"),
        "probe_misconfigured",
    ),
    (_google("UNAUTHENTICATED", 401, authenticationError="USER_ID_INVALID"), "probe_misconfigured"),
    (
        _google("UNAUTHENTICATED", 401, authenticationError="OAUTH_TOKEN_HEADER_INVALID"),
        "probe_misconfigured",
    ),
    (
        _google("UNAUTHENTICATED", 401, authenticationError="GOOGLE_ACCOUNT_AUTHENTICATION_FAILED"),
        "access_token_expired",
    ),
    (
        _google("UNAUTHENTICATED", 401, authenticationError="GOOGLE_ACCOUNT_COOKIE_INVALID"),
        "access_token_expired",
    ),
    (_google("PERMISSION_DENIED", quotaError="NEVER_SEEN"), "rate_limited"),
    (_google_reason("accessNotConfigured"), "probe_misconfigured"),
    (_google_reason("ipRefererBlocked"), "probe_misconfigured"),
    (_google_reason("keyInvalid"), "probe_misconfigured"),
    (
        _google_reason("x", "Google Ads API has not been used in project 1 before or it is disabled."),
        "probe_misconfigured",
    ),
    ({"status_code": 200, "body": {"resourceNames": "customers/1"}}, "unknown"),
    ({"status_code": 200, "body": {"resourceNames": None}}, "unknown"),
    ({"status_code": 200, "body": {"results": {"customer": {"status": "ENABLED"}}}}, "unknown"),
]


@pytest.mark.parametrize(("evidence", "cause"), GOOGLE, ids=str)
def test_google_ads(evidence: dict[str, Any], cause: str) -> None:
    assert _judge("google_adwords", **evidence).cause.value == cause


FACEBOOK = [
    ({"code": 32, "message": "(#32) Page request limit reached"}, "rate_limited"),
    ({"code": 80014}, "rate_limited"),
    ({"code": 80015}, "unknown"),
    ({"code": 190, "is_transient": True}, "provider_outage"),
    ({"code": 2, "type": "OAuthException"}, "provider_outage"),
    ({"code": 190, "message": "Malformed access token", "type": "OAuthException"}, "grant_invalid"),
    ({"code": 190, "error_subcode": 464}, "user_checkpoint"),
    ({"code": 102, "error_subcode": 463}, "grant_expired"),
    (
        {"code": 100, "error_subcode": 33, "message": "Unsupported get request. missing permissions"},
        "account_unlinked",
    ),
    ({"code": 100, "message": "(#100) Missing Permission", "error_subcode": 1487390}, "insufficient_scope"),
    ({"code": 294}, "insufficient_scope"),
    ({"code": 299}, "insufficient_scope"),
    ({"code": 300}, "unknown"),
    (
        {"code": 200, "message": "(#200) Access to this data is temporarily disabled for non-active apps"},
        "provider_outage",
    ),
    ({"code": 12, "message": "(#12) endpoint is deprecated for versions v2.4 and higher"}, "provider_sunset"),
    (
        {"code": 2500, "message": "An active access token must be used to query information"},
        "probe_misconfigured",
    ),
]


@pytest.mark.parametrize(("error", "cause"), FACEBOOK, ids=str)
def test_facebook(error: dict[str, Any], cause: str) -> None:
    assert _judge("facebook_ads", status_code=400, body={"error": error}).cause.value == cause


def _fault(code: str, kind: str, message: str = "", detail: str = "") -> dict[str, Any]:
    return {
        "Fault": {
            "Error": [{"Message": message, "Detail": detail, "code": code, "element": ""}],
            "type": kind,
        }
    }


QUICKBOOKS = [
    (401, _fault("3200", "SERVICE"), "access_token_expired"),
    (401, _fault("3202", "AUTHENTICATION"), "access_token_expired"),
    (403, _fault("3100", "SERVICE"), "insufficient_scope"),
    (200, _fault("6190", "ValidationFault"), "account_suspended"),
    (200, _fault("3001", "SERVICE"), "rate_limited"),
    (400, _fault("10000", "SystemFault"), "provider_outage"),
    (400, _fault("2010", "ValidationFault"), "probe_misconfigured"),
    (403, _fault("120", "AuthorizationFault"), "user_deactivated"),
    (200, {"QueryResponse": {}}, "unknown"),
    (
        200,
        {**_fault("3200", "AUTHENTICATION"), "QueryResponse": {"CompanyInfo": [1]}},
        "access_token_expired",
    ),
    (200, {"QueryResponse": {"CompanyInfo": "x"}}, "unknown"),
    (200, {"QueryResponse": {"CompanyInfo": [{"CompanyName": "Example Inc"}]}}, "authorized"),
    (401, _fault("120", "AuthorizatonFault", detail="Unknown Error, statusCode: 500"), "provider_outage"),
    (400, _fault("3100", "SERVICE", "errorCode=003100; statusCode=500"), "provider_outage"),
    (400, _fault("5020", "ValidationFault", "Permission Denied Error"), "insufficient_scope"),
    (400, _fault("9999", "ValidationFault", "surprise"), "unknown"),
    (404, _fault("404", "x", "not found"), "unknown"),
    (404, {"message": "Not Found"}, "unknown"),
    (401, '<?xml version="1.0"?><IntuitResponse><Fault type="AUTHENTICATION"/></IntuitResponse>', "unknown"),
]


@pytest.mark.parametrize(("status", "body", "cause"), QUICKBOOKS, ids=str)
def test_quickbooks(status: int, body: Any, cause: str) -> None:
    assert _judge("quickbooks", status_code=status, body=body).cause.value == cause


NO_USERS: list[Any] = [None, {}, "x", False, [1, 2], [{}], {"0": {"id": 1}}]
ZENDESK: list[tuple[int, Any, str]] = [
    (
        403,
        {"error": {"title": "Forbidden", "message": "You do not have access to this page."}},
        "insufficient_scope",
    ),
    (403, {"description": "Account is not active", "error": "Forbidden"}, "account_suspended"),
    (403, {"error": "SupportProductInactive"}, "account_suspended"),
    (403, "Access denied", "unknown"),
    (401, {"error": "Unauthorized: IP restricted"}, "network_denied"),
    (400, {"error": {"title": "Invalid attribute", "message": "per_page"}}, "unknown"),
    (200, {"users": []}, "authorized"),
    (200, {"user": {"id": 1, "name": "Dana Example"}}, "unknown"),
    (200, {"users": [], "error": "x"}, "unknown"),
    *((200, {"users": wrong}, "unknown") for wrong in NO_USERS),
    (200, {"user": {"id": None}}, "credentials_rejected"),
    (200, {"user": {"authenticated": False}}, "unknown"),
    (200, {"user": "guest", "login": "required"}, "unknown"),
    (401, {"error": "Unauthorized"}, "credentials_rejected"),
    (401, {"error": {"title": "Unauthorized", "message": "No."}}, "credentials_rejected"),
    (401, {"error": {"title": "Gateway", "message": "Solve the CAPTCHA"}}, "unknown"),
    (403, {"error": "Forbidden"}, "unknown"),
    (404, {"error": {"title": "No help desk at x.zendesk.com", "message": "None."}}, "account_unlinked"),
    (404, {"error": "RecordNotFound", "description": "Not found"}, "probe_misconfigured"),
    (404, {"error": "not_found"}, "unknown"),
    (302, "", "unknown"),
]


@pytest.mark.parametrize(("status", "body", "cause"), ZENDESK, ids=str)
def test_zendesk(status: int, body: Any, cause: str) -> None:
    assert _judge("zendesk", status_code=status, body=body).cause.value == cause


MBI = [
    (200, {"code": 200}, "authorized"),
    (200, {"status": 201}, "authorized"),
    (200, {"code": 401, "message": "Unauthorized"}, "mbi_key_rejected"),
    (200, {"code": "500"}, "unknown"),
    (200, {"code": 500, "status": 200}, "unknown"),
    (200, {"status": "200 OK"}, "unknown"),
    (200, {"status": "error", "message": "bad key"}, "unknown"),
    (200, {"message": "Access denied by policy"}, "unknown"),
    (200, {"user-portal-url": "https://portal.example/", "captive": True}, "unknown"),
    (200, [], "unknown"),
    (200, [{}], "unknown"),
    (403, {"message": "Access denied by Zscaler"}, "unknown"),
]


@pytest.mark.parametrize(("status", "body", "cause"), MBI, ids=str)
def test_mbi(status: int, body: Any, cause: str) -> None:
    assert _judge("mbi_import_api", status_code=status, body=body).cause.value == cause


DATABASES = [
    (
        "mysql_direct",
        {"error_code": 1045, "message": "Access denied (using password: NO)"},
        "credentials_rejected",
    ),
    ("mysql_direct", {"error_code": 1251, "sqlstate": "08004"}, "probe_misconfigured"),
    ("mysql_direct", {"error_code": 1040, "sqlstate": "08004"}, "rate_limited"),
    (
        "mysql_direct",
        {"message": "(pymysql.err.OperationalError) (1049, \"Unknown database 'x'\")"},
        "account_unlinked",
    ),
    ("mysql_direct", {"error_code": 9999}, "unknown"),
    ("mysql_direct", {"driver": "postgresql", "sqlstate": "28P01"}, "unknown"),
    ("mysql_direct", {"status_code": 401}, "unknown"),
    ("zendesk", {"driver": "mysql", "error_code": 1045}, "unknown"),
    (
        "postgresql_ssh",
        {
            "message": 'connection to server at "h" failed: Connection refused\nconnection to server '
            'at "h" failed: FATAL:  role "x" does not exist'
        },
        "user_deactivated",
    ),
    ("postgresql_ssh", {"message": "FATAL:  pgbouncer cannot connect to server"}, "provider_outage"),
    (
        "postgresql_ssh",
        {"message": 'could not translate host name "password authentication failed"'},
        "provider_outage",
    ),
    (
        "postgresql_ssh",
        {"message": "connection is bad: received invalid response to SSL negotiation: H"},
        "unknown",
    ),
    ("postgresql_ssh", {"error_code": "InvalidPassword"}, "credentials_rejected"),
    ("postgresql_ssh", {"sqlstate": "57014"}, "provider_outage"),
    ("postgresql_ssh", {"sqlstate": "P0001"}, "unknown"),
    ("postgresql_ssh", {"driver": "ssh", "error_code": "AuthenticationException"}, "credentials_rejected"),
    (
        "postgresql_ssh",
        {"driver": "ssh", "error_code": "asyncssh.misc.PermissionDenied"},
        "credentials_rejected",
    ),
    ("postgresql_ssh", {"driver": "ssh", "error_code": "socket.gaierror"}, "provider_outage"),
    ("postgresql_ssh", {"driver": "ssh", "error_code": "WeirdError"}, "unknown"),
]


@pytest.mark.parametrize(("type_id", "evidence", "cause"), DATABASES, ids=str)
def test_databases(type_id: str, evidence: dict[str, Any], cause: str) -> None:
    assert _judge(type_id, **evidence).cause.value == cause


OTHER_DATABASES = [
    (
        "mssql",
        {"sqlstate": "28000", "message": "[28000] Login failed for user 'x'. (18456) (SQLDriverConnect)"},
        "credentials_rejected",
    ),
    (
        "mssql",
        {"error_code": 18456, "message": 'Cannot open database "shop" requested by the login.'},
        "account_unlinked",
    ),
    ("mssql", {"sqlstate": "08001", "message": "TCP Provider: Error code 0x2746 (10054)"}, "provider_outage"),
    ("mssql", {"error_code": 233}, "provider_outage"),
    ("mssql", {"error_code": 40914}, "network_denied"),
    ("mssql", {"error_code": 208, "message": "Login failed for user 'x'."}, "probe_misconfigured"),
    ("mongodb", {"error_code": 11600, "message": "Authentication failed."}, "provider_outage"),
    ("mongodb", {"error_code": 8000, "message": "bad auth : authentication failed"}, "credentials_rejected"),
    (
        "mongodb",
        {"error_code": 8000, "message": "user is not allowed to do action [find]"},
        "insufficient_scope",
    ),
    (
        "mongodb",
        {"error_code": "OperationFailure", "message": "Authentication failed., full error: {'code': 18}"},
        "credentials_rejected",
    ),
    (
        "mongodb",
        {"error_code": "ServerSelectionTimeoutError", "message": "SSL: TLSV1_ALERT"},
        "provider_outage",
    ),
    ("mongodb", {"error_code": 10107}, "provider_outage"),
]


@pytest.mark.parametrize(("driver", "evidence", "cause"), OTHER_DATABASES, ids=str)
def test_databases_that_only_have_a_default_table_yet(
    driver: str, evidence: dict[str, Any], cause: str
) -> None:
    table = read_model(DEFAULTS / f"{driver}.yaml", DefaultTable)[2]
    assert table is not None
    seen = Evidence.model_validate({"endpoint": "probe", "driver": driver, **evidence})
    assert classify(seen, (), type_id="", tables=[Table(driver, table.rules)]).cause.value == cause


@pytest.mark.parametrize("type_id", sorted(TYPES))
@pytest.mark.parametrize(
    "words",
    ["access denied for user ", "ip ", "permission denied ", "( ", "a", "login .", "'\"", ": a", ". :"],
)
def test_no_words_make_a_rule_search_for_long(type_id: str, words: str) -> None:
    text = words * (200_000 // len(words))
    begun = time.perf_counter()
    _judge(
        type_id,
        message=text,
        status_code=403,
        body={"error": {"message": text, "title": text}, "message": text},
    )
    assert time.perf_counter() - begun < 2
