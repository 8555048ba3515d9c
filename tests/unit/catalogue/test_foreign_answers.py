"""What proxies, gateways and firewalls answer in a third party's place, against every type of API."""

from __future__ import annotations

from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Finding, Verdict

TYPES = catalogue.load_all()
DECIDED = (Verdict.NEEDS_REAUTH, Verdict.AUTHORIZED)
every_api = pytest.mark.parametrize(
    "type_id", [name for name, loaded in TYPES.items() if loaded.model.kind == "http"]
)


def _judge(type_id: str, **evidence: Any) -> Finding:
    return TYPES[type_id].classify(Evidence.model_validate({"endpoint": "probe", **evidence}))


OTHERS: list[Any] = [
    [], [[]], [None], {"": ""}, {"error": {}}, {"error": []}, {"error": 123}, {"error": True},
    {"users": {}}, {"ERROR": "invalid_grant"}, {"nested": {"error": "invalid_grant"}}, {"fault": "3100"},
    {"message": "Forbidden"}, {"message": "Missing Authentication Token"}, {"detail": "CSRF Failed"},
    {"Message": "User is not authorized to access this resource with an explicit deny"},
    {"message": "Access denied by Zscaler", "policy": "URL Filtering", "category": "Cloud apps"},
    {"code": "AccessDenied", "message": "Request blocked by AWS WAF", "requestId": "x"},
    {"supportId": "1", "message": "The requested URL was rejected. Please consult with your administrator."},
    {"error": "Proxy authentication required"}, {"error": True, "reason": "DLP policy"},
    {"statusCode": 401, "message": "Access denied due to missing subscription key."},
    {"fault": {"faultstring": "Invalid ApiKey", "detail": {"errorcode": "oauth.v2.InvalidApiKey"}}},
    {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]},
    {"errors": [{"code": 9109, "message": "Unauthorized to access requested resource"}]},
    {"result": "blocked", "reason": "malware"}, {"message": "no Route matched with those values"},
    {"login_url": "https://portal.example/", "captive": True},
    {"timestamp": 1, "status": 401, "error": "Unauthorized", "path": "/"},
]  # fmt: skip


@every_api
@pytest.mark.parametrize("body", OTHERS, ids=str)
def test_the_json_of_others_neither_accuses_nor_proves(type_id: str, body: Any) -> None:
    for status in (200, 401, 403, 404):
        for endpoint in ("probe", "token"):
            found = _judge(type_id, endpoint=endpoint, status_code=status, body=body)
            assert found.verdict not in DECIDED


@every_api
@pytest.mark.parametrize("body", ["\x00\x00", "\ufeff", "\v\f"], ids=repr)
def test_what_only_looks_empty_is_not(type_id: str, body: str) -> None:
    for status in (200, 401, 403):
        assert _judge(type_id, status_code=status, body=body).verdict is Verdict.INDETERMINATE


TOKENS: list[tuple[int, Any, str]] = [
    (400, {"error": "invalid_grant"}, "grant_invalid"),
    (302, {"error": "invalid_grant"}, "unknown"),
    (400, {"ERROR": "invalid_grant"}, "unknown"),
    (403, {"error": "access_denied", "reason": "blocked by proxy policy"}, "unknown"),
    (200, {"access_token": "x"}, "authorized"),
    (200, {"access_token": 5}, "unknown"),
]


@every_api
@pytest.mark.parametrize(("status", "body", "cause"), TOKENS, ids=str)
def test_any_token_endpoint(type_id: str, status: int, body: Any, cause: str) -> None:
    assert _judge(type_id, endpoint="token", status_code=status, body=body).cause.value == cause
