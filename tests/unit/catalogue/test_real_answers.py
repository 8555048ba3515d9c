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
    (
        {"code": 104, "message": "An access token is required to request this resource."},
        "probe_misconfigured",
    ),
    ({"code": 104, "message": "This API call requires a valid app_id."}, "probe_misconfigured"),
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
    ("mysql_ssh", {"driver": "ssh", "message": "Your account is locked"}, "user_deactivated"),
    *(
        ("mysql_ssh", {"driver": "ssh", "error_code": broken, "message": words}, "provider_outage")
        for broken in ("TimeoutError", "OSError", "EOFError", "ConnectionResetError", "socket.timeout")
        for words in (
            "x: account is locked",
            "previous error: password has expired",
            "Authentication failed.",
        )
    ),
    ("amazon_rds", {"driver": "mysql", "message": "SSL connection is required."}, "probe_misconfigured"),
    (
        "mysql_direct",
        {"error_code": 9002, "message": "Unknown table 'ssl connection'"},
        "provider_outage",
    ),
]


@pytest.mark.parametrize(("type_id", "evidence", "cause"), DATABASES, ids=str)
def test_databases(type_id: str, evidence: dict[str, Any], cause: str) -> None:
    assert _judge(type_id, **evidence).cause.value == cause


AT_SERVER = 'connection to server at "db.example.com" (192.0.2.7), port 5432 failed: '
NO_ENTRY = f'{AT_SERVER}FATAL:  no pg_hba.conf entry for host "192.0.2.9", user "mbi", database "shop", '
# libpq tries again without TLS, or with it, and writes one line for each attempt.
ATTEMPTS = [
    ('FATAL:  role "mbi" does not exist', "user_deactivated"),
    ('FATAL:  role "mbi" is not permitted to log in', "user_deactivated"),
    ('FATAL:  database "shop" does not exist', "account_unlinked"),
    ("FATAL:  sorry, too many clients already", "rate_limited"),
    ("FATAL:  remaining connection slots are reserved for roles with SUPERUSER", "rate_limited"),
    ("FATAL:  the database system is starting up", "provider_outage"),
    ('FATAL:  password authentication failed for user "mbi"', "credentials_rejected"),
    ('FATAL:  Peer authentication failed for user "mbi"', "probe_misconfigured"),
    ("FATAL:  words that nobody mapped", "unknown"),
    ("Connection refused", "network_denied"),
]


@pytest.mark.parametrize(("first", "cause"), ATTEMPTS)
def test_what_got_further_than_the_access_list_decides_in_either_order(first: str, cause: str) -> None:
    for lines in (
        (f"{AT_SERVER}{first}", f"{NO_ENTRY}no encryption"),
        (f"{NO_ENTRY}SSL encryption", f"{AT_SERVER}{first}"),
    ):
        found = _judge("postgresql_ssh", message="\n".join(lines))
        assert found.cause.value == cause


def test_an_access_list_that_refuses_every_attempt_is_the_networks() -> None:
    message = f"{NO_ENTRY}SSL encryption\n{NO_ENTRY}no encryption"
    assert _judge("postgresql_ssh", message=message).cause.value == "network_denied"


POSTGRESQL = [
    ("XX000", 'Authentication error, reason: "Wrong password"', "credentials_rejected"),
    ("XX000", 'Authentication error, reason: "Authentication query failed: x"', "provider_outage"),
    (None, "FATAL:  There is no user 'mbi' in the database. Please create it", "user_deactivated"),
    ("28000", 'role "mbi" is locked', "user_deactivated"),
    ("28000", "This RDS Proxy requires TLS connections", "probe_misconfigured"),
    ("28000", "IAM authentication is allowed only with SSL connections.", "probe_misconfigured"),
    ("28000", "RDS supports only IAM or MD5 authentication", "probe_misconfigured"),
    ("28000", "FATAL:  PAM authentication failed for user", "credentials_rejected"),
    (
        None,
        f"{AT_SERVER}error received from server in SCRAM exchange: Wrong password",
        "credentials_rejected",
    ),
    (None, "error received from server in SCRAM exchange: invalid-proof", "credentials_rejected"),
    (None, f"{AT_SERVER}error received from server in SCRAM exchange: other-error", "unknown"),
    # Supavisor gives XX000 with whatever it says, and its own code in front of the words.
    *(
        (state, f"FATAL:  {words}", cause)
        for state in ("XX000", None)
        for words, cause in (
            ("(EADDRNOTALLOWED) address not in tenant allow_list: {192, 0, 2, 9}", "network_denied"),
            ("Address not in tenant allow_list: {192, 0, 2, 9}", "network_denied"),
            ("(ENOTFOUND) tenant/user postgres.abcdef not found", "account_unlinked"),
            ("(ETENANTNOTFOUND) tenant or user not found", "account_unlinked"),
            ("(EAUTHQUERY) user not found in the database", "account_unlinked"),
            ("(ENOIDENTIFIER) no tenant identifier provided", "probe_misconfigured"),
            ("(ESSLREQUIRED) SSL connection is required for user: mbi", "probe_misconfigured"),
        )
    ),
    ("XX000", "FATAL:  (EAUTHQUERY) authentication query failed: timeout", "provider_outage"),
    ("XX000", "FATAL:  (ECIRCUITBREAKER) too many authentication failures", "provider_outage"),
    (None, "FATAL:  (ECIRCUITBREAKER) too many authentication failures", "rate_limited"),
    (None, "FATAL:  (EMAXCLIENTCONN) max client connections reached, limit: 200", "rate_limited"),
]


@pytest.mark.parametrize(("state", "message", "cause"), POSTGRESQL)
def test_what_stands_in_front_of_postgresql(state: str | None, message: str, cause: str) -> None:
    assert _judge("spree", sqlstate=state, message=message).cause.value == cause


LISTED = [
    (
        "The provided access grant is invalid, expired, or revoked (e.g. invalid assertion, expired "
        "authorization token, bad end-user password credentials, or mismatching authorization code and "
        "redirection URI)."
    ),
    (
        "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI "
        "used in the authorization request, or was issued to another client."
    ),
]


@pytest.mark.parametrize("type_id", [name for name in sorted(TYPES) if TYPES[name].model.kind == "http"])
@pytest.mark.parametrize("listed", LISTED)
def test_a_sentence_that_lists_every_reason_names_none(type_id: str, listed: str) -> None:
    body = {"error": "invalid_grant", "error_description": listed}
    found = _judge(type_id, endpoint="token", status_code=400, body=body)
    assert (found.cause.value, found.certainty.value) == ("grant_invalid", "explicit")


SALESFORCE = [
    (
        400,
        {"error": "invalid_grant", "error_description": "Token request is already being processed"},
        "wait",
    ),
    (
        400,
        {"error": "unknown_error", "error_description": "token request is already being processed"},
        "wait",
    ),
    (400, {"error": "invalid_grant", "error_description": "expired access/refresh token"}, "owner"),
]


@pytest.mark.parametrize(("status", "body", "who"), SALESFORCE, ids=str)
def test_a_second_refresh_at_salesforce_waits_for_the_first(
    status: int, body: dict[str, str], who: str
) -> None:
    found = _judge("salesforce", endpoint="token", status_code=status, body=body)
    assert found.verdict.value == ("unavailable" if who == "wait" else "needs_reauth")


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("FORBIDDEN", "insufficient_scope"),
        ("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient_scope"),
        ("EXCEEDED_QUOTA", "rate_limited"),
        ("APEX_TRIGGER_COUPLING_LIMIT", "rate_limited"),
        ("DATACLOUD_API_SERVER_EXCEPTION", "provider_outage"),
        ("EXCEEDED_ID_LIMIT", "probe_misconfigured"),
        ("DUPLICATE_VALUE", "unknown"),
        ("NEVER_SEEN", "unknown"),
    ],
)
def test_a_403_of_salesforce_is_a_missing_right_only_by_its_code(code: str, cause: str) -> None:
    body = [{"message": "x", "errorCode": code}]
    assert _judge("salesforce", status_code=403, body=body).cause.value == cause


@pytest.mark.parametrize("code", ["OPERATION_TOO_LARGE", "QUERY_TOO_COMPLICATED"])
def test_a_query_that_salesforce_finds_too_large_is_ours(code: str) -> None:
    body = [{"message": "exceeded 100000 distinct who/what's", "errorCode": code}]
    assert _judge("salesforce", status_code=403, body=body).cause.value == "probe_misconfigured"


LAPSED = "Subscription period has ended or canceled or there was a billing problem"


@pytest.mark.parametrize(
    "body",
    [
        {"request_log": [{"Fault": {"Error": [{"Detail": LAPSED, "code": "6190"}]}}]},
        {"Faulty": {"Errors": [{"Message": "Invalid Company Status", "Detail": LAPSED}]}},
        {"QueryResponse": {"CompanyInfo": [{"Notes": "Invalid Company Status"}]}},
    ],
    ids=str,
)
def test_quickbooks_words_count_only_in_a_fault_of_its_own(body: dict[str, Any]) -> None:
    assert _judge("quickbooks", status_code=400, body=body).verdict.value == "indeterminate"


@pytest.mark.parametrize(
    "words",
    [
        "Error validating access token: The user has not authorized application 123.",
        "The user is disabled",
        "API access is disabled",
        "Could not authenticate you",
        "This account is suspended",
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_zendesk_does_not_take_another_vendors_error_for_its_own(words: str, status: int) -> None:
    error = {"message": words, "type": "OAuthException", "code": 190, "fbtrace_id": "A"}
    assert _judge("zendesk", status_code=status, body={"error": error}).verdict.value == "indeterminate"


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
    # Atlas's proxy says everything with this one number.
    ("mongodb", {"error_code": 8000, "message": "cannot run this command"}, "unknown"),
    ("mongodb", {"error_code": 8000, "message": "internal atlas error checking things"}, "provider_outage"),
    ("mongodb", {"error_code": 8000, "message": "read tcp 192.0.2.7: i/o timeout"}, "provider_outage"),
    (
        "mongodb",
        {"error_code": 8000, "message": "Index option v is disallowed in createIndexes in this Atlas tier"},
        "probe_misconfigured",
    ),
    ("mongodb", {"message": "No servers found yet, Timeout: 30s"}, "provider_outage"),
    ("mongodb", {"message": "connection pool paused"}, "provider_outage"),
    ("mongodb", {"message": "The DNS query name does not exist: _mongodb._tcp.x."}, "probe_misconfigured"),
    (
        "mongodb",
        {"message": 'The "dnspython" module must be installed to use mongodb+srv:// URIs'},
        "probe_misconfigured",
    ),
    (
        "mongodb",
        {"message": "Server at h:27017 reports wire version 2, but PyMongo requires at least 7"},
        "probe_misconfigured",
    ),
    ("mssql", {"error_code": 9002}, "provider_outage"),
    (
        "mssql",
        {
            "error_code": 18456,
            "message": "Login failed for user 'mbi'. Reason: Server is in single user mode.",
        },
        "provider_outage",
    ),
    *(("mssql", {"error_code": number}, "provider_outage") for number in (823, 824, 923, 941, 955, 17188)),
    *(("mssql", {"error_code": number}, "rate_limited") for number in (802, 17189, 40675, 45168, 45169)),
    ("mssql", {"error_code": 47074}, "probe_misconfigured"),
    *(
        ("mongodb", {"error_code": number}, "provider_outage")
        for number in (149, 172, 190, 216, 272, 303, 355, 365, 372)
    ),
    *(
        ("mongodb", {"error_code": number}, "probe_misconfigured")
        for number in (101, 140, 141, 230, 231, 322, 324, 354)
    ),
    ("mongodb", {"error_code": 407}, "rate_limited"),
    ("mongodb", {"message": "All nameservers failed to answer the query x. IN SRV"}, "provider_outage"),
    ("mongodb", {"message": "A password is required."}, "probe_misconfigured"),
    ("mssql", {"error_code": 20012}, "probe_misconfigured"),
    ("mssql", {"error_code": 17187}, "provider_outage"),
    ("mssql", {"error_code": 924}, "provider_outage"),
    ("mssql", {"error_code": 4221}, "provider_outage"),
    ("mssql", {"error_code": 40143}, "provider_outage"),
    ("mssql", {"error_code": 20013}, "provider_outage"),
    ("mssql", {"error_code": 17835}, "probe_misconfigured"),
    # A logon trigger may look at anything: the address, the hour, or how many sessions there are already.
    ("mssql", {"error_code": 17892}, "unknown"),
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
