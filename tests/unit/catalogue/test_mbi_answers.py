"""What MBI's own APIs answer, beyond the rules' samples; and that no owner is ever sent for over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth import catalogue
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import ACTOR_OF, Actor, Finding, Verdict
from tests.mbi import a_job

APIS = ("mbi_import_api", "mbi_export_api", "mbi_update_cycle", "mbi_integration_freshness")
EXPORT_KEYED = APIS[1:]
every_api = pytest.mark.parametrize("type_id", APIS)


def judge(type_id: str, **evidence: Any) -> Finding:
    return catalogue.load(type_id).classify(Evidence.model_validate({"endpoint": "probe", **evidence}))


def cycle(job: Any) -> dict[str, Any]:
    return {"clientId": 194, "lastCompletedUpdateJob": job, "timezoneAbbreviation": "EST"}


CYCLES = [
    (cycle(a_job("2025-12-09 03:29:03")), "authorized"),
    (cycle(a_job("x", status={"id": 4, "name": "Completed With Errors"})), "unknown"),
    (cycle(a_job("x", status={"id": "4"})), "authorized"),
    (cycle(a_job("x", status={"name": "COMPLETED SUCCESSFULLY"})), "authorized"),
    (cycle(a_job("x", status={"id": 5, "name": "Failed"})), "mbi_update_failed"),
    (cycle(a_job("x", status={"id": 6, "name": "Completed With Errors"})), "mbi_update_failed"),
    (cycle(a_job("x", status={"id": 0, "name": "Killed"})), "mbi_update_failed"),
    (cycle(a_job("x", status={"name": "Aborted"})), "mbi_update_failed"),
    (cycle(a_job("x", status={"id": 5, "name": "Completed Successfully"})), "unknown"),
    (cycle(a_job("x", status={})), "unknown"),
    (cycle(a_job("x", status=None)), "unknown"),
    (cycle({}), "unknown"),
    (cycle([]), "unknown"),
    (cycle(None), "mbi_stale"),
    ({"clientId": 194}, "unknown"),
    ({"lastCompletedUpdateJob": None}, "unknown"),
    ({"lastCompletedUpdateJob": a_job("x")}, "unknown"),
    ({"status": {"id": 4, "name": "Completed Successfully"}}, "unknown"),
    ({}, "unknown"),
    ([], "unknown"),
    ("<html>Sign in</html>", "unknown"),
    ("", "unknown"),
]


@pytest.mark.parametrize(("body", "cause"), CYCLES, ids=str)
def test_an_update_cycle_is_judged_by_the_one_status_that_is_documented(body: Any, cause: str) -> None:
    assert judge("mbi_update_cycle", status_code=200, body=body).cause.value == cause


@pytest.mark.parametrize("type_id", EXPORT_KEYED)
@pytest.mark.parametrize("body", ["", {"message": "Forbidden"}, {"error": "Invalid API key"}, {"code": 403}])
def test_a_403_is_our_key_an_engineers(type_id: str, body: Any) -> None:
    finding = judge(type_id, status_code=403, body=body)
    assert (finding.cause.value, finding.actor) == ("mbi_key_rejected", Actor.DATA_ENGINEER)


@every_api
@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        ({"status_code": 429}, "rate_limited"),
        ({"status_code": 429, "body": "<html></html>"}, "rate_limited"),
        ({"status_code": 500}, "mbi_outage"),
        ({"status_code": 504, "body": "<html>Gateway Timeout</html>"}, "mbi_outage"),
        ({"failure": "timeout"}, "mbi_outage"),
        ({"failure": "dns"}, "mbi_outage"),
        ({"status_code": 404, "body": {"message": "Not Found"}}, "probe_misconfigured"),
        ({"status_code": 407}, "probe_misconfigured"),
        ({"status_code": 302, "headers": {"location": "https://portal.example/"}}, "unknown"),
        ({"status_code": 403, "body": "<html>Access denied</html>"}, "unknown"),
        ({"status_code": 403, "headers": {"server": "awselb/2.0"}}, "unknown"),
        ({"status_code": 403, "body": {"message": "Access denied by Zscaler"}}, "unknown"),
        ({"status_code": 200, "body": {"captive": True}}, "unknown"),
        ({"status_code": 200, "body": "<html>Sign in</html>"}, "unknown"),
        ({"status_code": 200, "body": "OK"}, "unknown"),
    ],
    ids=str,
)
def test_outages_throttles_and_others_answers_are_not_the_keys_fault(
    type_id: str, evidence: dict[str, Any], cause: str
) -> None:
    assert judge(type_id, **evidence).cause.value == cause


EXPORTS = [
    ([{"id": 51, "name": "Orders", "status": "Pending"}], "authorized"),
    ([{"id": "51"}], "authorized"),
    ([], "authorized"),
    ({"exports": [{"id": 51}, {"id": 52}]}, "authorized"),
    ({"exports": []}, "authorized"),
    ({"exports": [], "error": "denied"}, "unknown"),
    ({"exports": None}, "unknown"),
    ([{}], "unknown"),
    ([[]], "unknown"),
    ([None], "unknown"),
    ([{"name": "Orders"}], "unknown"),
    ({"message": "Access denied by policy"}, "unknown"),
    ({}, "unknown"),
]


@pytest.mark.parametrize(("body", "cause"), EXPORTS, ids=str)
def test_a_list_of_exports_proves_the_key(body: Any, cause: str) -> None:
    assert judge("mbi_export_api", status_code=200, body=body).cause.value == cause


FIGURES = [
    ("latest\n2026-11-24 03:29:03\n", "authorized"),
    ("table,latest\norders,2026-11-24\n", "authorized"),
    ('"MAX(created_at)"\n"2026-11-24T03:29:03.000Z"\n', "authorized"),
    ("latest\n", "unknown"),
    ('latest\n""\n', "unknown"),
    ("latest\nNULL\n", "unknown"),
    ("a,b\n1\n", "unknown"),
    ({"latest": "2026-11-24 03:29:03"}, "unknown"),
    ('{"code": 403}', "unknown"),
    ("2026-11-24 03:29:03", "unknown"),
]


@pytest.mark.parametrize(("body", "cause"), FIGURES, ids=str)
def test_a_report_with_a_time_in_it_proves_the_key(body: Any, cause: str) -> None:
    assert judge("mbi_integration_freshness", status_code=200, body=body).cause.value == cause


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.just("invalid_token"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "message", "status", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@every_api
@given(
    status=st.sampled_from([200, 201, 400, 401, 402, 403, 404, 410, 422, 423]),
    body=json_values | st.text(max_size=30),
    challenge=st.sampled_from(["", 'Bearer error="invalid_token"', 'Bearer error="insufficient_scope"']),
    endpoint=st.sampled_from(["probe", "token"]),
)
def test_no_answer_of_mbi_ever_needs_an_owner(
    type_id: str, status: int, body: Any, challenge: str, endpoint: str
) -> None:
    headers = {"WWW-Authenticate": challenge} if challenge else {}
    finding = judge(type_id, status_code=status, body=body, headers=headers, endpoint=endpoint)
    assert ACTOR_OF[finding.verdict] is not Actor.OWNER
    assert finding.verdict is not Verdict.NEEDS_REFRESH


TYPE = """\
extends: mbi
display_name: Example
docs: https://example.com/docs
base_url: https://api.example.com
connection: {password: {title: Key, secret: true}}
auth: {method: bearer}
probe: {url: "{base_url}/me"}
rules: []
owner_steps: {airflow: [Do it.], mbi: [Do it.]}
"""
REFUSED = """
  - id: refused
    when: {status: [401], field: {error: [revoked]}}
    cause: grant_revoked
    because: It was revoked.
    samples:
      - evidence: {endpoint: probe, status_code: 401, body: {error: revoked}}
"""
FRESH = "{url: x, fresh: {path: a, what: a, zone: UTC, max_age_hours: '1'}}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (TYPE.replace("rules: []", f"rules:{REFUSED}"), "no owner can mend what a type of kind mbi answers"),
        (TYPE.replace("extends: mbi", "kind: http").replace('{url: "{base_url}/me"}', FRESH), "can be stale"),
        (
            TYPE.replace("extends: mbi", "kind: http").replace('probe: {url: "{base_url}/me"}\n', ""),
            "only a type of kind mbi has nothing to check",
        ),
        (TYPE.replace('{url: "{base_url}/me"}', "{drivers: [mysql]}"), "needs the other kind of probe"),
        (TYPE + "error_model: closed\n", "error_model: only what a type of kind http answers"),
    ],
)
def test_a_type_of_mbis_kind_contradicts_an_owner_and_no_other_kind_is_stale(
    text: str, fault: str, tmp_path: Path
) -> None:
    (tmp_path / "example.yaml").write_text(text)
    with pytest.raises(catalogue.CatalogueError, match=fault):
        catalogue.load("example", folder=tmp_path)


def test_a_type_of_mbis_kind_may_have_no_probe(tmp_path: Path) -> None:
    (tmp_path / "example.yaml").write_text(TYPE.replace('probe: {url: "{base_url}/me"}\n', ""))
    assert catalogue.load("example", folder=tmp_path).model.probe is None


def test_only_the_signals_are_asked_in_turns() -> None:
    turns = {type_id: catalogue.load(type_id).model.turn_seconds for type_id in (*APIS, "mbi_file_upload")}
    assert turns["mbi_update_cycle"] >= 60
    assert turns["mbi_integration_freshness"] >= 60
    assert {type_id for type_id, seconds in turns.items() if seconds} == set(APIS[2:])
