"""What Salesforce's answers mean: its errors by their codes, its token endpoint by its descriptions."""

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

SALESFORCE = catalogue.load("salesforce")
HOST = "https://example--uat.sandbox.my.salesforce.com"


def judge(**evidence: Any) -> Finding:
    return SALESFORCE.classify(Evidence.model_validate({"endpoint": "probe", **evidence}))


def errors(*codes: str, message: str = "x") -> list[dict[str, Any]]:
    return [{"message": message, "errorCode": code, "fields": []} for code in codes]


def templates(**extra: str) -> Templates:
    return Templates(SALESFORCE.model, Credential("sf", "mbireauth", host=HOST, extra=extra))


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (401, "INVALID_SESSION_ID", "access_token_expired"),
        (403, "INVALID_SESSION_ID", "access_token_expired"),
        (401, "INVALID_AUTH_HEADER", "access_token_expired"),
        (401, "NEVER_SEEN", "access_token_expired"),
        (403, "REQUEST_LIMIT_EXCEEDED", "rate_limited"),
        (400, "LIMIT_EXCEEDED", "rate_limited"),
        (403, "TOO_MANY_APEX_REQUESTS", "rate_limited"),
        (503, "REQUEST_LIMIT_EXCEEDED", "rate_limited"),
        (400, "SERVER_UNAVAILABLE", "provider_outage"),
        (400, "QUERY_TIMEOUT", "provider_outage"),
        (400, "DATACLOUD_API_SERVER_BUSY_EXCEPTION", "provider_outage"),
        (403, "TXN_SECURITY_METERING_ERROR", "provider_outage"),
        (400, "UNABLE_TO_LOCK_ROW", "provider_outage"),
        (403, "API_DISABLED_FOR_ORG", "insufficient_scope"),
        (403, "API_CURRENTLY_DISABLED", "insufficient_scope"),
        (403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient_scope"),
        (403, "INSUFFICIENT_ACCESS", "insufficient_scope"),
        (403, "TXN_SECURITY_NO_ACCESS", "insufficient_scope"),
        (400, "INVALID_FIELD", "insufficient_scope"),
        (400, "INVALID_TYPE", "insufficient_scope"),
        (403, "ORG_LOCKED", "account_suspended"),
        (401, "TRIAL_EXPIRED", "account_suspended"),
        (403, "PASSWORD_LOCKOUT", "user_deactivated"),
        (403, "INVALID_OPERATION_WITH_EXPIRED_PASSWORD", "password_expired"),
        (401, "INVALID_LOGIN", "credentials_rejected"),
        (403, "LOGIN_DURING_RESTRICTED_DOMAIN", "network_denied"),
        (403, "LOGIN_CHALLENGE_ISSUED", "user_checkpoint"),
        (404, "NOT_FOUND", "probe_misconfigured"),
        (400, "MALFORMED_QUERY", "probe_misconfigured"),
        (400, "UNSUPPORTED_API_VERSION", "provider_sunset"),
        (400, "NEVER_SEEN", "unknown"),
        (404, "NEVER_SEEN", "unknown"),
    ],
)
def test_the_error_code_decides(status: int, code: str, cause: str) -> None:
    assert judge(status_code=status, body=errors(code)).cause.value == cause


def test_a_throttle_among_several_errors_is_a_throttle() -> None:
    found = judge(status_code=403, body=errors("INSUFFICIENT_ACCESS", "REQUEST_LIMIT_EXCEEDED"))
    assert found.verdict is Verdict.UNAVAILABLE


@pytest.mark.parametrize("code", ["INVALID_TYPE", "INVALID_FIELD", "FORBIDDEN"])
def test_what_may_be_our_own_query_or_an_unknown_refusal_needs_a_second_look(code: str) -> None:
    found = judge(status_code=403, body=errors(code))
    assert (found.cause.value, found.certainty) == ("insufficient_scope", Certainty.AMBIGUOUS)


@pytest.mark.parametrize(
    ("error", "description", "cause"),
    [
        ("invalid_grant", "expired access/refresh token", "grant_invalid"),
        ("invalid_grant", "activation secret invalid", "grant_invalid"),
        ("invalid_grant", "authentication failure", "user_deactivated"),
        ("invalid_grant", "inactive user", "user_deactivated"),
        ("inactive_user", None, "user_deactivated"),
        ("invalid_grant", "inactive organization", "account_suspended"),
        ("inactive_org", "org is locked, closed, or suspended", "account_suspended"),
        ("invalid_grant", "ip restricted", "network_denied"),
        ("invalid_grant", "IP restricted or invalid login hours", "network_denied"),
        ("invalid_grant", "login rate exceeded", "rate_limited"),
        ("rate_limit_exceeded", "number of logins exceeded", "rate_limited"),
        ("unknown_error", "retry your request", "provider_outage"),
        ("invalid_grant", "user hasn't approved this consumer", "grant_revoked"),
        ("invalid_app_access", "user is not admin approved to access this app", "grant_revoked"),
        ("OAUTH_APP_ACCESS_DENIED", "user is not admin approved to access this app", "grant_revoked"),
        ("invalid_client_id", "client identifier invalid", "probe_misconfigured"),
        ("invalid_client", "invalid client credentials", "probe_misconfigured"),
        ("invalid_grant", "audience is invalid; assertion refused", "probe_misconfigured"),
        ("unsupported_grant_type", "grant type not supported", "probe_misconfigured"),
        ("never_seen", "surprise", "unknown"),
    ],
)
def test_the_token_endpoints_words_decide(error: str, description: str | None, cause: str) -> None:
    body = {"error": error} | ({"error_description": description} if description else {})
    assert judge(endpoint="token", status_code=400, body=body).cause.value == cause


@pytest.mark.parametrize(
    "message",
    ["Session expired or invalid", "This session is not valid for use with the REST API"],
)
def test_a_refused_session_is_never_the_owners(message: str) -> None:
    found = judge(status_code=401, body=errors("INVALID_SESSION_ID", message=message))
    assert found.verdict is Verdict.NEEDS_REFRESH


@pytest.mark.parametrize(
    "body",
    [
        {"totalSize": 0, "done": True, "records": []},
        {"totalSize": 2500, "done": False, "nextRecordsUrl": "/x", "records": [{"Id": "006"}]},
        {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": []},
    ],
)
def test_records_prove_it(body: dict[str, Any]) -> None:
    assert judge(status_code=200, body=body).verdict is Verdict.AUTHORIZED


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 200, "body": {"records": []}},
        {"status_code": 200, "body": {"totalSize": "1", "done": "maybe", "records": []}},
        {"status_code": 200, "body": errors("NEVER_SEEN")},
        {"status_code": 200, "body": []},
        {"status_code": 200, "body": '{"totalSize":1,"done":true,"records":[{"Id":"006'},
        {"status_code": 200, "body": "<!DOCTYPE html><title>Login | Salesforce</title>"},
        {"status_code": 403, "body": "Bad_OAuth_Token"},
        {"status_code": 403, "body": {"errorCode": "FORBIDDEN", "message": "Access denied by Zscaler"}},
        {"status_code": 403, "body": [{"errorCode": "403", "message": "Forbidden"}]},
        {"status_code": 403, "body": {"message": "INVALID_LOGIN", "errorCode": None}},
        {"status_code": 403, "body": errors("ORG_LOCKED"), "headers": {"cf-mitigated": "challenge"}},
        {"status_code": 401, "body": errors("INVALID_LOGIN"), "headers": {"Server": "squid/5"}},
        {"status_code": 503, "body": errors("INVALID_LOGIN")},
        {"status_code": 404, "body": "<html>URL No Longer Exists</html>"},
        {"endpoint": "token", "status_code": 400, "body": '{"error":"invalid_grant'},
        {"endpoint": "token", "status_code": 503, "body": {"error": "invalid_grant"}},
    ],
    ids=str,
)
def test_garbage_and_imitations_neither_accuse_nor_prove(answer: dict[str, Any]) -> None:
    assert judge(**answer).verdict not in (Verdict.NEEDS_REAUTH, Verdict.AUTHORIZED)


def test_tokens_come_from_the_organizations_own_host() -> None:
    assert SALESFORCE.model.oauth is not None
    token_url = templates().url(SALESFORCE.model.oauth.token_url)
    assert token_url == f"{HOST}/services/oauth2/token"


@pytest.mark.parametrize(
    ("extra", "asked"),
    [({}, "SELECT Id FROM Opportunity LIMIT 1"), ({"object": "Lead"}, "SELECT Id FROM Lead LIMIT 1")],
)
def test_the_check_reads_the_object_that_is_extracted(extra: dict[str, str], asked: str) -> None:
    probe = SALESFORCE.model.probe
    assert isinstance(probe, HttpProbe)
    assert templates(**extra).text(probe.params["q"]) == asked


def test_what_is_new_is_asked_for_in_salesforces_own_notation() -> None:
    resource = SALESFORCE.model.resources[0]
    request = first_request(resource, templates(), since="2026-11-24T09:30:00.123+0100")
    assert " WHERE SystemModstamp >= 2026-11-24T08:30:00Z ORDER BY SystemModstamp" in request.params["q"]
    assert request.url == f"{HOST}/services/data/v64.0/queryAll"
