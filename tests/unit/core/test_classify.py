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
    {"body": 17}, {"body": "\x00\x00"}, {"body": "\ufeff"}, {"body": "\v\f"},
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
        ({"status_code": 204, "body": {"users": [1]}}, False),
        ({"driver": "mysql", "status_code": 200, "body": {"readable": True}}, False),
        ({"driver": "mysql", "body": [{"readable": True}]}, False),
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
        evidence = Evidence.model_validate({"endpoint": "probe", "status_code": 400, "body": {"error": word}})
        return classify(evidence, [own], type_id="t", tables=[table]).rule

    assert [rule_for(word) for word in "abc"] == ["t.r", "default_x.r", "unmapped"]


def test_a_rule_speaks_about_its_own_endpoint_only() -> None:
    rule = _rule("grant_invalid", at="token", field={"error": ["a"]})
    refusal: dict[str, Any] = {"status_code": 400, "body": {"error": "a"}}
    assert _judge(rule, **refusal).cause is Cause.UNKNOWN
    assert _judge(rule, endpoint="token", **refusal).cause is Cause.GRANT_INVALID


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
        ({"driver": "mysql", "error_code": "x.1045"}, False),
        ({"driver": "mysql", "error_code": "1045.0"}, False),
        ({"driver": "mssql", "error_code": 20018, "message": "(1045, b'x')"}, False),
    ],
)
def test_a_drivers_number_is_found_however_it_comes(evidence: dict[str, Any], fits: bool) -> None:
    rule = _rule(driver="mysql", error_code=[1045])
    assert (_judge(rule, **evidence).cause is Cause.CREDENTIALS_REJECTED) is fits


GREEDY_IN_WORDS = [_rule(cause.value, any_of=[{"has": ["error"]}, {"error_code": [1045]}]) for cause in Cause]
ON_CREDENTIAL = (Verdict.AUTHORIZED, Verdict.NEEDS_REFRESH, Verdict.NEEDS_REAUTH)


@pytest.mark.parametrize("greedy", GREEDY_IN_WORDS, ids=lambda rule: rule.cause.value)
@pytest.mark.parametrize("status", [None, -1, 0, 99, 100, 204, 205, 301, 302, 304, 307, 600, 999])
@pytest.mark.parametrize("endpoint", ["probe", "token"])
def test_a_status_that_judges_no_credential_lets_no_body_do_so(
    greedy: Rule, status: int | None, endpoint: str
) -> None:
    body = {"error": "invalid_grant"}
    assert _judge(greedy, endpoint=endpoint, status_code=status, body=body).verdict not in ON_CREDENTIAL


@pytest.mark.parametrize("greedy", [*GREEDY, *GREEDY_IN_WORDS], ids=lambda rule: rule.cause.value)
@pytest.mark.parametrize(
    "evidence",
    [
        {"driver": "mysql", "error_code": 1045, "status_code": 401},
        {"driver": "mysql", "error_code": 1045, "status_code": 200, "body": {"readable": True}},
        {"driver": "mysql", "error_code": 1045, "body": {"error": "x"}},
        {"driver": "mysql", "error_code": 1045, "sqlstate": "08S01"},
        {"driver": "mssql", "error_code": 18456, "sqlstate": "08006"},
        {"driver": "mysql", "error_code": 1045, "endpoint": "token"},
        {"driver": "mysql", "body": {"error": "x"}},
    ],
    ids=str,
)
def test_evidence_that_contradicts_itself_judges_no_credential(
    greedy: Rule, evidence: dict[str, Any]
) -> None:
    assert _judge(greedy, **evidence).verdict not in ON_CREDENTIAL


@pytest.mark.parametrize("sqlstate", ["08001", "08004"])
@pytest.mark.parametrize(("driver", "number"), [("mysql", 1045), ("mssql", 18456)])
def test_a_connection_that_was_rejected_may_have_been_rejected_for_its_login(
    driver: str, number: int, sqlstate: str
) -> None:
    refused = _rule(error_code=[number])
    finding = _judge(refused, driver=driver, error_code=number, sqlstate=sqlstate, message="x")
    assert finding.cause is Cause.CREDENTIALS_REJECTED


@pytest.mark.parametrize(
    ("evidence", "refreshes"),
    [
        ({"status_code": 403, "body": "Bad_Token"}, True),
        ({"status_code": 401, "body": "Bad_Token", "headers": {"Content-Type": "text/html"}}, True),
        ({"status_code": 400, "body": "Bad_Token"}, False),
        ({"status_code": 200, "body": "Bad_Token"}, False),
        ({"status_code": 503, "body": "Bad_Token"}, False),
        ({"status_code": 403, "body": "Bad_Token", "headers": {"Server": "squid"}}, False),
        ({"status_code": 403, "body": "<html>Bad_Token</html>"}, False),
    ],
    ids=str,
)
def test_a_text_that_a_rule_names_in_full_may_ask_for_a_refresh(
    evidence: dict[str, Any], refreshes: bool
) -> None:
    named = _rule("access_token_expired", body=["html", "text"], text="^Bad_Token$")
    assert (_judge(named, **evidence).verdict is Verdict.NEEDS_REFRESH) is refreshes


@pytest.mark.parametrize("cause", ["access_token_expired", "credentials_rejected", "authorized"])
@pytest.mark.parametrize("body", ["Bad_Token", "<html>Bad_Token</html>"])
def test_a_page_without_a_rule_for_its_words_judges_no_credential(cause: str, body: str) -> None:
    unnamed = _rule(cause, body=["html", "text"])
    assert _judge(unnamed, status_code=401, body=body).verdict not in ON_CREDENTIAL


MIDDLEBOXES = [
    {"WWW-Authenticate": "NTLM"},
    {"WWW-Authenticate": 'Basic realm="x", Negotiate'},
    {"cf-mitigated": "challenge"},
    {"X-Amzn-WAF-Action": "captcha"},
    {"X-Squid-Error": "ERR_ACCESS_DENIED 0"},
    {"Proxy-Authenticate": "Basic"},
    {"Server": "awselb/2.0"},
    {"Server": "BigIP"},
]


@pytest.mark.parametrize("greedy", [*GREEDY, *GREEDY_IN_WORDS], ids=lambda rule: rule.cause.value)
@pytest.mark.parametrize("headers", MIDDLEBOXES, ids=str)
def test_what_stands_on_the_way_judges_no_credential(greedy: Rule, headers: dict[str, str]) -> None:
    for status in (200, 401, 403):
        for body in (None, {"error": "invalid_grant"}):
            finding = _judge(greedy, status_code=status, headers=headers, body=body)
            assert finding.verdict not in ON_CREDENTIAL
    assert _judge(status_code=401, headers=headers).rule == "core.middlebox"


@pytest.mark.parametrize("greedy", GREEDY, ids=lambda rule: rule.cause.value)
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404])
@pytest.mark.parametrize("body", [{}, [], {"message": "Forbidden"}, {"error": {"code": 1}}], ids=str)
def test_json_of_a_shape_that_the_rule_does_not_name_judges_no_credential(
    greedy: Rule, status: int, body: Any
) -> None:
    refreshable = status == 401 and greedy.cause is Cause.ACCESS_TOKEN_EXPIRED
    assert (_judge(greedy, status_code=status, body=body).verdict in ON_CREDENTIAL) is refreshable


@pytest.mark.parametrize(
    ("evidence", "heard"),
    [
        ({"driver": "mysql"}, True),
        ({"driver": "mysql", "error_code": 1429}, False),
        ({"driver": "mysql", "sqlstate": "42000"}, False),
        ({"driver": "mysql", "sqlstate": "HY000"}, True),
        ({"driver": "postgresql", "sqlstate": "53300"}, False),
        ({"driver": "postgresql", "sqlstate": "08006", "error_code": 7}, True),
        ({"driver": "postgresql", "error_code": "psycopg.Error"}, True),
        ({"driver": "ssh", "error_code": "SSHException"}, True),
        ({"driver": "mongodb", "error_code": "OperationFailure"}, True),
    ],
    ids=str,
)
def test_a_number_outranks_the_words_beside_it(evidence: dict[str, Any], heard: bool) -> None:
    finding = _judge(_rule(message="denied"), **evidence, message="denied")
    assert (finding.cause is Cause.CREDENTIALS_REJECTED) is heard


def test_a_rule_may_ask_for_a_number_and_words_together() -> None:
    rule = _rule(error_code=[1105], message="denied")
    assert _judge(rule, driver="mysql", error_code=1105, message="denied").verdict is Verdict.NEEDS_REAUTH


def test_an_exceptions_module_is_left_out_of_its_name() -> None:
    rule = _rule(error_code=["AuthenticationException"])
    evidence = {"driver": "ssh", "error_code": "paramiko.ssh_exception.AuthenticationException"}
    assert _judge(rule, **evidence).cause is Cause.CREDENTIALS_REJECTED


def test_numbers_that_are_no_status_are_none() -> None:
    for status in (-1, 0, 99, 10**5000):
        assert _judge(status_code=status).cause is Cause.UNKNOWN
