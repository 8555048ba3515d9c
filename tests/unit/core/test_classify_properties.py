"""Arbitrary evidence, against every type: nothing but an answer may accuse or clear a credential."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mbi_reauth import catalogue
from mbi_reauth.catalogue.loader import DEFAULTS, read_model
from mbi_reauth.catalogue.model import DatabaseProbe, DefaultTable
from mbi_reauth.core.evidence import Driver, Endpoint, Evidence, TransportFailure
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Certainty, Verdict

TYPES = catalogue.load_all()
DECIDED = (Verdict.NEEDS_REAUTH, Verdict.AUTHORIZED)
# Real answers, so that what is thrown about resembles what the rules look for.
SAMPLES = [
    sample.evidence for loaded in TYPES.values() for rule in loaded.model.rules for sample in rule.samples
]
# An empty list can be all that a third party answers where it has nothing to list.
PROOFS = {
    name: [
        sample.evidence.body
        for rule in loaded.model.rules
        for sample in rule.samples
        if rule.cause is Cause.AUTHORIZED
    ]
    for name, loaded in TYPES.items()
}
CODES = [1045, 1862, 18456, 18, 8000, "28P01", "AuthenticationException", "PermissionDenied", 42501, 10**30]
WORDS = [
    "Access denied for user 'a'@'b' (using password: YES)",
    'password authentication failed for user "a"',
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
real_bodies = st.sampled_from([sample.body for sample in SAMPLES])
bodies = st.one_of(
    st.none(),
    real_bodies,
    real_bodies.map(json.dumps),
    json_values,
    st.text(),
    st.binary(max_size=20),
    real_bodies.map(lambda body: json.dumps(body)[:-1]),
    st.sampled_from(
        ["<!DOCTYPE html>", "\ufeff <HTML>", "[" * 5000, '{"error":"invalid_grant"}', "null", "NaN", "\ud800"]
    ),
)
headers = st.dictionaries(
    st.sampled_from(["Content-Type", "content-type", "Retry-After", "WWW-Authenticate", "x"]),
    st.sampled_from(["text/html", "application/json", "nan", "30", 'Bearer error="invalid_token"', "\ud83d"]),
)
evidences = st.builds(
    Evidence,
    endpoint=st.sampled_from(Endpoint),
    status_code=st.none()
    | st.integers(100, 599)
    | st.sampled_from([200, 400, 401, 403, 404])
    | st.integers(),
    headers=headers,
    body=bodies,
    failure=st.none() | st.sampled_from(TransportFailure),
    driver=st.none() | st.sampled_from(Driver),
    error_code=st.none() | st.sampled_from(CODES) | st.integers() | st.text(max_size=10),
    sqlstate=st.none() | st.sampled_from(["28P01", "28000", "08006", ""]) | st.text(max_size=6),
    message=st.none() | st.sampled_from(WORDS) | st.text(max_size=60),
)
REFUSALS = {
    code
    for rule in (read_model(DEFAULTS / "mysql.yaml", DefaultTable)[2] or DefaultTable(rules=[])).rules
    if VERDICT_OF[rule.cause] is Verdict.NEEDS_REAUTH
    for condition in (rule.when, *(rule.when.any_of or ()))
    for code in condition.error_code or ()
}


def _ways_of_judging() -> list[str]:
    """Name one type of those that judge alike, as the shops on MySQL do."""
    ways: dict[object, str] = {}
    for name, loaded in sorted(TYPES.items()):
        model = loaded.model
        drivers = tuple(model.probe.drivers) if isinstance(model.probe, DatabaseProbe) else ()
        ways.setdefault((model.kind, drivers, tuple(rule.id for rule in model.rules)), name)
    return sorted(ways.values())


every_type = pytest.mark.parametrize("type_id", _ways_of_judging())
searched = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def _parses(body: Any) -> bool:
    def refuse(_: str) -> None:
        raise ValueError

    try:
        text = body if isinstance(body, str) else json.dumps(body)
        return isinstance(json.loads(text.strip(" \t\r\n\ufeff"), parse_constant=refuse), (dict, list))
    except (TypeError, ValueError, RecursionError):
        return False


@every_type
@given(evidence=evidences, failure=st.sampled_from(TransportFailure))
@searched
def test_a_transport_failure_is_never_a_verdict_on_a_credential(
    type_id: str, evidence: Evidence, failure: TransportFailure
) -> None:
    finding = TYPES[type_id].classify(evidence.model_copy(update={"failure": failure}))
    assert finding.verdict is Verdict.UNAVAILABLE


@every_type
@given(evidence=evidences, status=st.sampled_from([407, 408, 425, 429]) | st.integers(500, 599))
@searched
def test_a_throttle_or_an_outage_is_never_a_verdict_on_a_credential(
    type_id: str, evidence: Evidence, status: int
) -> None:
    finding = TYPES[type_id].classify(evidence.model_copy(update={"status_code": status, "failure": None}))
    expected = Verdict.MISCONFIGURED if status == 407 else Verdict.UNAVAILABLE
    assert finding.verdict is expected


@every_type
@given(evidence=evidences, content_type=st.sampled_from(["text/html", "Text/HTML;charset=x"]))
@searched
def test_html_is_never_a_verdict_on_a_credential(type_id: str, evidence: Evidence, content_type: str) -> None:
    page = evidence.model_copy(update={"headers": {"content-TYPE": content_type}})
    assert TYPES[type_id].classify(page).verdict not in (*DECIDED, Verdict.NEEDS_REFRESH)


@every_type
@given(evidence=evidences)
@searched
def test_an_unparsable_body_is_never_a_verdict_on_a_credential(type_id: str, evidence: Evidence) -> None:
    body = evidence.body
    finding = TYPES[type_id].classify(evidence)
    bare = body is None or (isinstance(body, str) and not body.strip(" \t\r\n")) or body == b""
    if not bare and not _parses(body) and finding.verdict in (*DECIDED, Verdict.NEEDS_REFRESH):
        pytest.fail(f"{finding.rule} decided by {body!r}")


@every_type
@given(status=st.integers(100, 599), endpoint=st.sampled_from(Endpoint))
@searched
def test_a_bare_answer_is_at_most_ambiguous(type_id: str, status: int, endpoint: Endpoint) -> None:
    finding = TYPES[type_id].classify(Evidence(endpoint=endpoint, status_code=status))
    assert finding.verdict is not Verdict.NEEDS_REAUTH or finding.certainty is Certainty.AMBIGUOUS


@every_type
@given(evidence=evidences)
@searched
def test_a_parsed_body_is_judged_as_its_text_everywhere(type_id: str, evidence: Evidence) -> None:
    if evidence.body is None or isinstance(evidence.body, (str, bytes)):
        return
    text = evidence.model_copy(update={"body": json.dumps(evidence.body)})
    assert TYPES[type_id].classify(evidence) == TYPES[type_id].classify(text)


# What proxies, gateways and firewalls send instead of the third party: their members, with any words in them.
foreign_names = st.sampled_from(
    ["message", "Message", "reason", "detail", "fault", "policy", "statusCode", "httpStatus", "result",
     "vendor", "category", "supportId", "requestId", "success", "ERROR", "error ", "nested", "users "]
)  # fmt: skip
foreign_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["invalid_grant", "401"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(foreign_names, inner, max_size=2),
    max_leaves=5,
)
foreign_bodies = st.dictionaries(foreign_names, foreign_values, min_size=1, max_size=4) | st.lists(
    st.integers() | st.none(), max_size=2
)


@every_type
@given(
    body=foreign_bodies,
    status=st.sampled_from([200, 400, 401, 403, 404]),
    endpoint=st.sampled_from(Endpoint),
)
@searched
def test_json_of_others_is_never_a_verdict_on_a_credential(
    type_id: str, body: Any, status: int, endpoint: Endpoint
) -> None:
    assume(body not in PROOFS[type_id])
    finding = TYPES[type_id].classify(Evidence(endpoint=endpoint, status_code=status, body=body))
    assert finding.verdict not in DECIDED


@every_type
@given(evidence=evidences, status=st.sampled_from([100, 204, 301, 302, 304, 600, 999, 0, -1, None]))
@searched
def test_a_status_that_judges_nothing_is_never_a_verdict_on_a_credential(
    type_id: str, evidence: Evidence, status: int | None
) -> None:
    seen = evidence.model_copy(update={"status_code": status, "driver": None})
    if TYPES[type_id].model.kind == "http":
        assert TYPES[type_id].classify(seen).verdict not in (*DECIDED, Verdict.NEEDS_REFRESH)


@every_type
@given(evidence=evidences, driver=st.sampled_from(Driver), status=st.integers(100, 599))
@searched
def test_a_driver_and_a_status_together_are_never_a_verdict_on_a_credential(
    type_id: str, evidence: Evidence, driver: Driver, status: int
) -> None:
    seen = evidence.model_copy(update={"driver": driver, "status_code": status})
    assert TYPES[type_id].classify(seen).verdict not in (*DECIDED, Verdict.NEEDS_REFRESH)


@pytest.mark.parametrize("type_id", ["mysql_direct", "postgresql_ssh"])
@given(
    number=st.integers(1, 9999).filter(lambda number: number not in REFUSALS),
    state=st.sampled_from(["53300", "57P03", "42601", "57014", "58P01", "XX000", "25006"]),
    words=st.sampled_from(WORDS),
)
@searched
def test_a_number_that_is_no_refusal_is_none_whatever_the_words(
    type_id: str, number: int, state: str, words: str
) -> None:
    mysql = type_id == "mysql_direct"
    code: dict[str, Any] = {"error_code": number} if mysql else {"sqlstate": state}
    seen = Evidence(endpoint=Endpoint.PROBE, message=words, **code)
    assert TYPES[type_id].classify(seen).verdict not in DECIDED


@pytest.mark.parametrize("type_id", ["google_adwords", "quickbooks"])
@given(body=st.none() | json_values.filter(lambda body: isinstance(body, (dict, list))))
@searched
def test_a_refreshable_types_unknown_401_is_refreshed_first(type_id: str, body: Any) -> None:
    finding = TYPES[type_id].classify(Evidence(endpoint=Endpoint.PROBE, status_code=401, body=body))
    assert finding.cause in (Cause.ACCESS_TOKEN_EXPIRED, Cause.UNKNOWN)
    assert finding.cause is Cause.ACCESS_TOKEN_EXPIRED or not _parses(body)
