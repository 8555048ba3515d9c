"""One round of a gate: what the app knows better, and when an ambiguous refusal counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from mbi_reauth.api.datamodels import FindingReceipt, IncidentView, RunReference
from mbi_reauth.check import Checked
from mbi_reauth.core.gate import GateFinding, GatePolicy
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Certainty, Finding
from mbi_reauth.hooks.api import ApiUnavailableError
from mbi_reauth.round import Round, in_force
from tests.checking import NOON, FakeApi, FakeConnections, an_integration


def found(cause: Cause, certainty: Certainty = Certainty.EXPLICIT, *, after: float = 0) -> Finding:
    at = NOON + timedelta(seconds=after)
    return Finding(cause=cause, rule="test", explanation="-", certainty=certainty, checked_at=at)


REFUSED = found(Cause.GRANT_REVOKED)
INCIDENT = IncidentView(id="42", opened_at=NOON, confirmed_at=NOON, finding=REFUSED)


@dataclass(frozen=True)
class Rehearsal(Round):
    """A round whose checks are given."""

    checks: list[Checked] = field(default_factory=list)

    async def _check(self, integration: Integration) -> Checked:
        return self.checks.pop(0)


def round_of(*checks: Checked, **options: Any) -> Rehearsal:
    return Rehearsal(connections=FakeConnections({}), checks=list(checks), **{"api": None, **options})


def run(rehearsal: Rehearsal) -> GateFinding:
    return asyncio.run(rehearsal.findings([an_integration()]))["shop"]


@pytest.mark.parametrize(
    "receipt",
    [
        FindingReceipt(accepted=False, credential_replaced=True, incident=INCIDENT),
        FindingReceipt(accepted=False, reason="older than the last report"),
    ],
)
def test_a_refusal_that_the_app_knows_to_be_outdated_is_looked_at_again(receipt: FindingReceipt) -> None:
    works = Checked(found(Cause.AUTHORIZED), receipt=FindingReceipt(accepted=True))
    assert not run(round_of(Checked(REFUSED, receipt=receipt), works)).blocks


def test_a_refusal_that_only_came_late_stands_while_its_incident_is_open() -> None:
    late = FindingReceipt(accepted=False, reason="older than the last report", incident=INCIDENT)
    assert run(round_of(Checked(REFUSED, receipt=late))).blocks


@pytest.mark.parametrize(("after", "blocks"), [(30, False), (60, True)])
def test_without_the_app_two_ambiguous_refusals_a_minute_apart_are_one_certain_refusal(
    after: float, *, blocks: bool
) -> None:
    refusals = [
        Checked(found(Cause.CREDENTIALS_REJECTED, Certainty.AMBIGUOUS, after=seconds))
        for seconds in (0, after)
    ]
    rehearsal = round_of(*refusals)
    assert not run(rehearsal).blocks
    second = run(rehearsal)
    assert second.blocks is blocks
    assert (second.finding.certainty is Certainty.EXPLICIT) is blocks


OPEN = INCIDENT.model_copy(update={"confirmed_at": None})


def bare(receipt: FindingReceipt | None, *, after: float = 0, version: int = 1) -> Checked:
    refused = found(Cause.CREDENTIALS_REJECTED, Certainty.AMBIGUOUS, after=after)
    return Checked(refused, version, receipt)


def test_a_new_credential_s_first_ambiguous_refusal_gets_a_second_look_while_its_incident_is_open() -> None:
    rehearsal = round_of(
        bare(FindingReceipt(accepted=True, incident=OPEN)),
        bare(FindingReceipt(accepted=True, incident=INCIDENT), after=60),
    )
    first, second = run(rehearsal), run(rehearsal)
    assert (first.confirmed, first.blocks) == (False, False)
    assert (second.confirmed, second.blocks) == (True, True)


def test_two_refusals_are_none_of_one_credential_if_the_app_says_so() -> None:
    """The owner has entered another one between the two looks; it is refused for the first time."""
    rehearsal = round_of(
        bare(FindingReceipt(accepted=True, incident=OPEN), version=1),
        bare(FindingReceipt(accepted=True, incident=OPEN), version=2, after=60),
        bare(FindingReceipt(accepted=True, incident=INCIDENT), version=2, after=120),
    )
    assert [run(rehearsal).blocks for _ in range(3)] == [False, False, True]


def test_a_report_that_came_too_late_leaves_the_second_look_to_the_gate_s_own_memory() -> None:
    late = FindingReceipt(accepted=False, reason="older than the last report", incident=OPEN)
    rehearsal = round_of(bare(late), bare(late, after=60))
    assert [run(rehearsal).blocks for _ in range(2)] == [False, True]


# Shadow mode.

TI = SimpleNamespace(dag_id="extract", run_id="r1", task_id="gate", map_index=-1, try_number=1)
RUN = RunReference(dag_id="extract", run_id="r1", task_id="gate")


@pytest.mark.parametrize("checked", [Checked(REFUSED, 7), bare(None, version=7)], ids=["explicit", "bare"])
def test_what_would_be_stopped_is_reported_as_such_and_as_sure_as_it_is(checked: Checked) -> None:
    api = FakeApi()
    run(round_of(checked, api=api, would_block=RUN))
    (report,) = api.reports
    assert (report.shadow, report.blocked_run, report.credential_version) == (True, RUN, 7)
    assert report.finding == checked.finding


def test_a_refusal_that_the_app_knows_to_be_certain_is_reported_as_certain() -> None:
    api = FakeApi()
    run(round_of(bare(FindingReceipt(accepted=True, incident=INCIDENT)), api=api, would_block=RUN))
    assert [report.finding.certainty for report in api.reports] == [Certainty.EXPLICIT]


@pytest.mark.parametrize(
    "cause", [Cause.AUTHORIZED, Cause.PROVIDER_OUTAGE, Cause.PROBE_MISCONFIGURED, Cause.UNKNOWN]
)
def test_what_no_gate_would_be_stopped_for_is_not_counted(cause: Cause) -> None:
    api = FakeApi()
    run(round_of(Checked(found(cause)), api=api, would_block=RUN))
    assert api.reports == []


@pytest.mark.parametrize("error", [ApiUnavailableError("it is away"), ZeroDivisionError("a bug")])
def test_what_cannot_be_counted_stops_nobody(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi(receipt=error)
    assert run(round_of(Checked(REFUSED), api=api, would_block=RUN)).blocks
    assert "not counted" in caplog.text


def gate(policy: GatePolicy) -> tuple[bool, RunReference | None, RunReference | None]:
    checks = Round.of_gate(policy, TI, max_age=60, seen={})
    return checks.report, checks.blocked_run, checks.would_block


@pytest.mark.parametrize("on_blocked", ["skip", "wait", "fail"])
def test_a_gate_reports_and_names_the_run_that_it_stops_or_holds_up(on_blocked: Any) -> None:
    assert gate(GatePolicy(on_blocked=on_blocked)) == (True, RUN, None)


def test_a_gate_with_shadow_mode_of_its_own_reports_only_what_it_would_stop() -> None:
    assert gate(GatePolicy(shadow=True)) == (False, None, RUN)


@pytest.mark.parametrize("on_blocked", ["skip", "wait", "fail"])
def test_where_the_whole_plugin_is_in_shadow_mode_every_gate_reports_and_stops_nothing(
    on_blocked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = GatePolicy(on_blocked=on_blocked)
    assert not in_force(policy).shadow
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__SHADOW", "True")
    assert in_force(policy).shadow
    assert gate(policy) == (True, None, RUN)
    assert gate(GatePolicy(shadow=True)) == (False, None, RUN)
