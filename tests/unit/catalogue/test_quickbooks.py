"""What QuickBooks' answers mean, beyond the table in test_real_answers."""

from __future__ import annotations

from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Finding, Verdict

QUICKBOOKS = catalogue.load("quickbooks")
COMPANY = {"QueryResponse": {"CompanyInfo": [{"CompanyName": "Example Inc"}]}}


def judge(**evidence: Any) -> Finding:
    return QUICKBOOKS.classify(Evidence.model_validate({"endpoint": "probe", **evidence}))


def fault(message: str, **fields: Any) -> dict[str, Any]:
    return {"fault": {"error": [{"message": message, **fields}], "type": "SERVICE"}}


@pytest.mark.parametrize(
    ("status", "message", "cause"),
    [
        (401, "message=AuthenticationFailed; errorCode=003200; statusCode=401", "access_token_expired"),
        (403, "message=AuthorizationFailed; errorCode=003201; statusCode=403", "grant_revoked"),
        (
            403,
            "message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403",
            "insufficient_scope",
        ),
        (403, "message=ThrottleExceeded; errorCode=003001; statusCode=429", "rate_limited"),
        (400, "message=InternalServerError; errorCode=003000; statusCode=500", "provider_outage"),
        (400, "The subscription for company has lapsed; errorCode=007001", "account_suspended"),
    ],
)
def test_a_code_that_stands_only_in_the_message_counts(status: int, message: str, cause: str) -> None:
    assert judge(status_code=status, body=fault(message)).cause.value == cause


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 200, "body": {**COMPANY, "error": "invalid_auth"}},
        {"status_code": 200, "body": {**COMPANY, "ok": False}},
        {"status_code": 200, "body": '{"QueryResponse":{"CompanyInfo":[{"CompanyName":"Exam'},
        {"status_code": 200, "body": "<html>Intuit - Sign in</html>"},
        {"status_code": 403, "body": {"fault": {"faultstring": "Invalid ApiKey"}}},
        {"status_code": 403, "body": fault("x", code="3201"), "headers": {"cf-mitigated": "challenge"}},
        {"status_code": 503, "body": fault("x", code="3201")},
        {"status_code": 200, "body": '<IntuitResponse><Fault type="AUTHENTICATION"/></IntuitResponse>'},
    ],
    ids=str,
)
def test_garbage_and_imitations_neither_accuse_nor_prove(answer: dict[str, Any]) -> None:
    assert judge(**answer).verdict not in (Verdict.NEEDS_REAUTH, Verdict.AUTHORIZED)


def test_a_subscription_that_has_ended_needs_no_new_permission() -> None:
    steps = QUICKBOOKS.model.owner_steps
    found = judge(status_code=200, body=fault("Invalid Company Status"))
    assert not steps.reconnects(found.cause)
    assert "subscription" in steps.for_cause(found.cause, "airflow")[-1]
