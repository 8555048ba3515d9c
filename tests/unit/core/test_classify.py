"""What an answer of its kind can mean at all, whatever the rules say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mbi_reauth.core.classify import Table, classify
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.rule import Rule
from mbi_reauth.core.verdict import Cause, Certainty, Finding, Verdict

SAMPLE = {"evidence": {"endpoint": "probe"}}


def _rule(cause: str = "credentials_rejected", **parts: Any) -> Rule:
    at = parts.pop("at", "any")
    return Rule.model_validate({
        "id": "r", "at": at, "when": parts, "cause": cause, "because": "A reason.", "samples": [SAMPLE],
    })  # fmt: skip


# Rules that a careless author might write: each claims everything for its cause.
GREEDY = [_rule(cause.value, any_of=[{"absent": ["nothing_is_here"]}]) for cause in Cause]


def _judge(*rules: Rule, **evidence: Any) -> Finding:
    return classify(Evidence.model_validate({"endpoint": "probe", **evidence}), rules, type_id="t")


@pytest.mark.parametrize("greedy", GREEDY, ids=lambda rule: rule.cause.value)
@pytest.mark.parametrize(
    "evidence",
    [
        {"failure": "timeout", "status_code": 401, "body": {"error": "invalid_grant"}},
        {"failure": "dns", "driver": "mysql", "error_code": 1045},
        *(
            {"status_code": status, "body": {"error": "invalid_grant"}}
            for status in (408, 425, 429, 500, 503, 599)
        ),
    ],
    ids=str,
)
def test_silence_throttles_and_outages_are_only_ever_unavailable(
    greedy: Rule, evidence: dict[str, Any]
) -> None:
    assert _judge(greedy, **evidence).verdict is Verdict.UNAVAILABLE


@pytest.mark.parametrize("greedy", GREEDY, ids=lambda rule: rule.cause.value)
def test_a_407_is_the_proxys_and_the_engineers(greedy: Rule) -> None:
    assert _judge(greedy, status_code=407, body={"error": "x"}).cause is Cause.PROBE_MISCONFIGURED


UNREADABLE: list[dict[str, Any]] = [
    {"headers": {"CONTENT-TYPE": "Text/HTML; charset=utf-8"}, "body": '{"error": "invalid_grant"}'},
    {"body": " \ufeff\r\n <!DocType html><p>Sign in"},
    {"body": "<HTML lang=en>"},
    {"body": {"error": "invalid_grant"}, "headers": {"content-type": "application/xhtml+xml"}},
    {"body": '{"error": "invalid_gr'},
    {"body": "Access denied"},
    {"body": "null"}, {"body": "true"}, {"body": "17"}, {"body": '"invalid_grant"'}, {"body": False},
    {"body": 17},
    {"body": '{"error": NaN}'}, {"body": '{"n": 1e999}'}, {"body": '{"n": ' + "9" * 5000 + "}"},
    {"body": "[" * 100_000}, {"body": "[" * 200 + "]" * 200}, {"body": '{"a":' * 5000},
    {"body": '{"error": "invalid_grant", "x": "' + "a" * 2_000_000 + '"}'},
    {"body": float("nan")}, {"body": {"a": {1, 2}}}, {"body": b"\xff\xfe"},
]  # fmt: skip


@pytest.mark.parametrize("greedy", GREEDY, ids=lambda rule: rule.cause.value)
@pytest.mark.parametrize("evidence", UNREADABLE, ids=lambda evidence: str(evidence)[:40])
def test_a_page_or_a_broken_body_says_nothing_about_a_credential(
    greedy: Rule, evidence: dict[str, Any]
) -> None:
    for status in (None, 200, 401, 403):
        finding = _judge(greedy, status_code=status, **evidence)
        assert finding.verdict in (Verdict.UNAVAILABLE, Verdict.INDETERMINATE)


def test_a_rule_that_names_the_kind_of_body_may_blame_the_set_up_for_a_page() -> None:
    rule = _rule("provider_sunset", body=["html"], status=[404])
    assert _judge(rule, status_code=404, body="<html>").cause is Cause.PROVIDER_SUNSET


@pytest.mark.parametrize(
    "body",
    [
        {"error": "invalid_client"},
        {"error": {"code": "unauthorized_client"}},
        {"error": "INVALID_CLIENT", "error_description": "invalid_grant"},
    ],
)
@pytest.mark.parametrize("endpoint", ["probe", "token"])
def test_our_own_client_is_never_the_owners_fault(body: dict[str, Any], endpoint: str) -> None:
    for rule in GREEDY:
        finding = _judge(rule, endpoint=endpoint, status_code=401, body=body)
        assert finding.verdict in (Verdict.MISCONFIGURED, Verdict.UNAVAILABLE, Verdict.INDETERMINATE)
    assert _judge(endpoint=endpoint, body=body).rule == "core.client_refused"


def test_a_refusal_by_status_alone_is_ambiguous_whatever_the_rule_claims() -> None:
    assert _judge(_rule(status=[401]), status_code=401).certainty is Certainty.AMBIGUOUS
    named = _rule(status=[401], field={"error": ["gone"]})
    assert _judge(named, status_code=401, body={"error": "Gone"}).certainty is Certainty.EXPLICIT


@pytest.mark.parametrize(
    ("evidence", "proved"),
    [
        ({"status_code": 200, "body": {"users": [1]}}, True),
        ({"status_code": 302, "body": {"users": [1]}}, False),
        ({"status_code": 401, "body": {"users": [1]}}, False),
        ({"body": {"users": [1]}}, False),
        ({"status_code": 200}, False),
        ({"driver": "mysql", "body": {"readable": True}}, True),
        ({"driver": "mysql", "body": '{"readable": true}'}, True),
        ({"driver": "mysql", "body": {"readable": 1}}, False),
        ({"driver": "mysql", "body": {"readable": False}}, False),
        ({"driver": "mysql", "body": {"readable": True}, "error_code": 1045}, False),
        ({"driver": "mysql", "body": {"readable": True}, "endpoint": "token"}, False),
    ],
)
def test_a_proof_is_a_success_with_what_was_promised(evidence: dict[str, Any], proved: bool) -> None:
    promises = _rule("authorized", any_of=[{"present": ["users"]}, {"has": ["readable"]}])
    assert (_judge(promises, **evidence).verdict is Verdict.AUTHORIZED) is proved


def test_a_bare_200_proves_only_where_the_rule_says_so() -> None:
    assert _judge(_rule("authorized", status=[200]), status_code=200).cause is Cause.UNKNOWN
    assert (
        _judge(_rule("authorized", status=[200], body=["empty"]), status_code=200).cause is Cause.AUTHORIZED
    )


BODIES: list[Any] = [
    {"error": {"code": 190, "is_transient": True}}, [{"errorCode": "X"}], [], {}, {"a": None},
    {"Error": "ä\ud800"},
    [[1.5]], {"a": {"b": ["c"]}}, (1, 2), {1: 2}, 5, True, {"x": float("inf")},
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_parsed_body_is_judged_as_its_text(body: Any) -> None:
    for rule in GREEDY:
        assert _judge(rule, status_code=401, body=body) == _judge(
            rule, status_code=401, body=json.dumps(body)
        )


def test_own_rules_come_first_then_the_tables_then_nothing() -> None:
    own = _rule("grant_revoked", field={"error": ["a"]})
    table = Table("default_x", [_rule("grant_invalid", field={"error": ["a", "b"]})])

    def rule_for(word: str) -> str:
        evidence = Evidence.model_validate({"endpoint": "probe", "body": {"error": word}})
        return classify(evidence, [own], type_id="t", tables=[table]).rule

    assert [rule_for(word) for word in "abc"] == ["t.r", "default_x.r", "unmapped"]


def test_a_rule_speaks_about_its_own_endpoint_only() -> None:
    rule = _rule("grant_invalid", at="token", field={"error": ["a"]})
    assert _judge(rule, body={"error": "a"}).cause is Cause.UNKNOWN
    assert _judge(rule, endpoint="token", body={"error": "a"}).cause is Cause.GRANT_INVALID


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("nan", None),
        ("1e99", None),
    ],
)
def test_retry_after_is_read_in_seconds(value: str, seconds: float | None) -> None:
    assert _judge(status_code=429, headers={"retry-AFTER": value}).retry_after == seconds


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (
            {"endpoint": "token", "body": {"error": "invalid_grant", "error_description": "Revoked."}},
            "invalid_grant: Revoked.",
        ),
        ({"body": {"error": {"message": "Session has expired", "code": 190}}}, "Session has expired"),
        ({"body": {"Fault": {"Error": [{"Message": "m", "Detail": "Token expired"}]}}}, "Token expired"),
        ({"body": {"message": "no"}}, "no"),
        ({"driver": "mysql", "message": "Access\ndenied"}, "Access denied"),
        ({"body": "plain  text"}, "plain text"),
        ({"body": "<html>page</html>"}, None),
        (
            {"body": {"message": "bad key https://x.example.com/?apikey=abcdef"}},
            "bad key https://x.example.com/",
        ),
    ],
)
def test_the_third_partys_words_are_quoted(evidence: dict[str, Any], words: str | None) -> None:
    assert _judge(**evidence).vendor_words == words


@pytest.mark.parametrize(
    ("evidence", "fits"),
    [
        ({"driver": "mysql", "error_code": 1045}, True),
        ({"driver": "mysql", "error_code": "1045"}, True),
        ({"driver": "mysql", "message": "(1045, \"Access denied for user 'a'@'b'\")"}, True),
        ({"driver": "mysql", "message": "(pymysql.err.OperationalError) (1045, 'x')"}, True),
        ({"driver": "mysql", "message": "ERROR 1045 (28000): Access denied"}, True),
        ({"driver": "postgresql", "error_code": 1045}, False),
        ({"driver": "mysql", "error_code": 10**400}, False),
    ],
)
def test_a_drivers_number_is_found_however_it_comes(evidence: dict[str, Any], fits: bool) -> None:
    rule = _rule(driver="mysql", error_code=[1045])
    assert (_judge(rule, **evidence).cause is Cause.CREDENTIALS_REJECTED) is fits


def test_an_exceptions_module_is_left_out_of_its_name() -> None:
    rule = _rule(error_code=["AuthenticationException"])
    evidence = {"driver": "ssh", "error_code": "paramiko.ssh_exception.AuthenticationException"}
    assert _judge(rule, **evidence).cause is Cause.CREDENTIALS_REJECTED


def test_numbers_that_are_no_status_are_none() -> None:
    for status in (-1, 0, 99, 10**5000):
        assert _judge(status_code=status).cause is Cause.UNKNOWN
