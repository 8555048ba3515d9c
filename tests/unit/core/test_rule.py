"""How a condition reads an answer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mbi_reauth.core.answer import Answer
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.rule import Condition

FACEBOOK = {"error": {"message": "(#80004) Too many", "code": 80004, "is_transient": False}}
GOOGLE = {"error": {"details": [{"errors": [{"errorCode": {"authenticationError": "NOT_ADS_USER"}}]}]}}


def _holds(condition: dict[str, Any], **evidence: Any) -> bool:
    answer = Answer.of(Evidence.model_validate({"endpoint": "probe", **evidence}))
    return Condition.model_validate(condition).holds(answer)


@pytest.mark.parametrize(
    ("condition", "body", "expected"),
    [
        ({"field": {"error.code": [80004]}}, FACEBOOK, True),
        ({"field": {"error.code": ["80004"]}}, FACEBOOK, True),
        ({"field": {"error.is_transient": [False]}}, FACEBOOK, True),
        ({"field": {"error.is_transient": [0]}}, FACEBOOK, False),
        ({"match": {"error.code": r"^8000\d$"}}, FACEBOOK, True),
        ({"match": {"error.message": "TOO MANY"}}, FACEBOOK, True),
        ({"text": "too many"}, FACEBOOK, True),
        (
            {"field": {"error.details.*.errors.*.errorCode.authenticationError": ["NOT_ADS_USER"]}},
            GOOGLE,
            True,
        ),
        (
            {"field": {"error.details.*.errors.*.errorCode.authenticationError": ["NOT_ADS_USER"]}},
            [GOOGLE],
            True,
        ),
        ({"field": {"*.error": ["x"]}}, [{"error": "x"}], True),
        ({"field": {"Fault|fault.Error|error.*.code": [3200]}}, {"Fault": {"Error": {"code": 3200}}}, True),
        ({"field": {"Fault|fault.Error|error.*.code": [3200]}}, {"fault": {"error": [{"code": 3200}]}}, True),
        ({"field": {"error": ["invalid_grant"]}}, {"ERROR": "invalid_grant"}, False),
        ({"field": {"error": ["invalid_grant"]}}, {"error ": "invalid_grant"}, False),
        ({"is_a": {"users": "list"}}, {"users": []}, True),
        ({"is_a": {"users": "list"}}, {"users": {}}, False),
        ({"is_a": {"users": "list"}}, {"users": None}, False),
        ({"is_a": {"users": "list"}}, {}, False),
        ({"is_a": {"user.id": "nothing"}}, {"user": {"id": None}}, True),
        ({"is_a": {"user.id": "nothing"}}, {"user": {}}, False),
        ({"is_a": {"n": "number"}}, {"n": 1.5}, True),
        ({"is_a": {"n": "number"}}, {"n": True}, False),
        ({"is_a": {"n": "text"}}, {"n": "1"}, True),
        ({"is_a": {"$": "object"}, "absent": ["$"]}, {}, True),
        ({"is_a": {"$": "object"}, "absent": ["$"]}, [{}], False),
        ({"field": {"errors.1": ["b"]}}, {"errors": ["a", "b"]}, True),
        ({"present": ["a"]}, {"a": []}, False),
        ({"has": ["a"]}, {"a": []}, True),
        ({"has": ["a"]}, {"b": 1}, False),
        ({"absent": ["a"]}, {"a": {}}, True),
        ({"absent": ["a"]}, {"a": 0}, False),
        ({"any_of": [{"has": ["x"]}, {"has": ["a"]}]}, {"a": 1}, True),
        ({"any_of": [{"has": ["x"]}, {"has": ["y"]}]}, {"a": 1}, False),
        ({"has": ["a"], "any_of": [{"has": ["x"]}]}, {"a": 1}, False),
    ],
)
def test_a_condition_on_a_body(condition: dict[str, Any], body: Any, expected: bool) -> None:
    assert _holds(condition, body=body) is expected


def test_a_status_may_be_a_class() -> None:
    assert _holds({"status": ["4xx", 302]}, status_code=451)
    assert _holds({"status": ["4xx", 302]}, status_code=302)
    assert not _holds({"status": ["4xx", 302]}, status_code=500)


def test_a_headers_name_and_words_ignore_case() -> None:
    condition = {"header": {"WWW-Authenticate": "ERROR=.invalid_token"}}
    assert _holds(condition, headers={"www-authenticate": 'Bearer error="invalid_token"'})


def test_a_sqlstate_may_be_a_class() -> None:
    assert _holds({"sqlstate": ["08"]}, driver="postgresql", sqlstate="08006")
    assert _holds({"sqlstate": ["28P01"]}, driver="postgresql", error_code="28p01")
    assert not _holds({"sqlstate": ["08"]}, driver="postgresql")
    for wrong in ("08", "0800", "080060"):
        assert not _holds({"sqlstate": ["08"]}, driver="postgresql", sqlstate=wrong)


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ({}, "at least one part"),
        ({"match": {"a": "("}}, "not a regular expression"),
        ({"status": ["9xx"]}, "string_pattern_mismatch"),
        ({"statuss": [1]}, "extra_forbidden"),
    ],
)
def test_a_wrong_condition_is_refused(condition: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Condition.model_validate(condition)
