from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from mbi_reauth.core.gate import GatePolicy
from mbi_reauth.core.resume import (
    A_WEEK,
    DagStanding,
    Owed,
    RunState,
    Standing,
    Stopped,
    decide,
    of_dag,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
AS_LEFT = Standing(found=True, state="skipped", try_number=1)


def decided(
    standing: Standing = AS_LEFT,
    *,
    dag: DagStanding = DagStanding.ACTIVE,
    newer: bool = False,
    after: timedelta = timedelta(hours=1),
    **owed: Any,
) -> RunState:
    stopped = Stopped(Owed.model_validate(owed), 1, NOON, newer)
    return decide(stopped, dag, standing, now=NOON + after).state


def test_what_is_as_the_gate_left_it_is_resumed() -> None:
    assert decided() is RunState.RESUMED


@pytest.mark.parametrize("state", ["success", "failed", "removed", "upstream_failed", None])
def test_another_state_than_the_gate_left_is_somebodys_doing(state: str | None) -> None:
    assert decided(AS_LEFT._replace(state=state)) is RunState.SUPERSEDED


def test_a_gate_that_fails_leaves_failed() -> None:
    assert decided(AS_LEFT._replace(state="failed"), ends="failed") is RunState.RESUMED
    assert decided(AS_LEFT, ends="failed") is RunState.SUPERSEDED


@pytest.mark.parametrize("state", ["running", "deferred", "success", "skipped"])
def test_another_try_is_somebodys_doing_in_whatever_state(state: str) -> None:
    standing = AS_LEFT._replace(state=state, try_number=2, over=state in ("success", "skipped"))
    assert decided(standing) is RunState.SUPERSEDED


@pytest.mark.parametrize("state", ["running", "deferred", "queued", "up_for_reschedule"])
def test_a_gate_that_has_not_ended_is_looked_at_again(state: str) -> None:
    assert decided(AS_LEFT._replace(state=state, over=False)) is RunState.BLOCKED


def test_what_is_at_work_after_it_is_waited_for() -> None:
    assert decided(AS_LEFT._replace(busy="join")) is RunState.BLOCKED


def test_what_is_gone_is_gone() -> None:
    assert decided(Standing(found=False)) is RunState.GONE
    assert decided(dag=DagStanding.GONE) is RunState.GONE


@pytest.mark.parametrize("dag", [DagStanding.PAUSED, DagStanding.STALE])
def test_a_dag_that_does_not_run_now_is_waited_for(dag: DagStanding) -> None:
    assert decided(dag=dag) is RunState.PAUSED


def test_an_active_dag_decides_nothing() -> None:
    assert of_dag(DagStanding.ACTIVE) is None


@pytest.mark.parametrize(
    ("resume", "newer", "becomes"),
    [
        ("all", True, RunState.RESUMED),
        ("latest", False, RunState.RESUMED),
        ("latest", True, RunState.SUPERSEDED),
        ("none", False, RunState.LEFT),
    ],
)
def test_the_gate_says_which_runs(resume: str, newer: bool, becomes: RunState) -> None:
    assert decided(newer=newer, resume=resume) is becomes


def test_a_week_is_the_limit_unless_the_gate_says_otherwise() -> None:
    week = timedelta(days=7)
    assert decided(after=week) is RunState.RESUMED
    assert decided(after=week + timedelta(seconds=1)) is RunState.LEFT
    assert decided(after=timedelta(hours=2), within=timedelta(hours=1)) is RunState.LEFT
    assert decided(after=timedelta(days=1000), within=None) is RunState.RESUMED


def test_a_paused_dag_does_not_keep_what_is_too_old() -> None:
    assert decided(dag=DagStanding.PAUSED, after=timedelta(days=8)) is RunState.LEFT


WAITING = Standing(found=True, state="deferred", try_number=1, over=False, waits=True)


@pytest.mark.parametrize(
    ("standing", "becomes"),
    [
        (WAITING, RunState.RELEASED),
        (WAITING._replace(state="running", waits=False), RunState.BLOCKED),
        (WAITING._replace(state="success", waits=False, over=True), RunState.SUPERSEDED),
        (WAITING._replace(try_number=2), RunState.SUPERSEDED),
        (WAITING._replace(state=None), RunState.SUPERSEDED),
        (Standing(found=False), RunState.GONE),
    ],
)
def test_a_waiting_gate_is_told_to_look_while_it_waits(standing: Standing, becomes: RunState) -> None:
    assert decided(standing, ends="waiting") is becomes


def test_a_waiting_gate_is_told_to_look_whatever_is_said_of_stopped_runs() -> None:
    owed: dict[str, Any] = {"ends": "waiting", "resume": "none", "within": 1}
    assert decided(WAITING, after=timedelta(days=8), newer=True, **owed) is RunState.RELEASED


def test_a_waiting_gate_of_a_paused_dag_waits_for_the_dag() -> None:
    assert decided(WAITING, dag=DagStanding.PAUSED, ends="waiting") is RunState.PAUSED


@pytest.mark.parametrize(
    ("on_blocked", "ends"), [("skip", "skipped"), ("fail", "failed"), ("wait", "waiting")]
)
def test_a_gates_policy_says_what_its_runs_are_owed(on_blocked: str, ends: str) -> None:
    policy = GatePolicy.model_validate(
        {"on_blocked": on_blocked, "resume": "latest", "resume_within": timedelta(days=1)}
    )
    assert policy.owed == Owed.model_validate({"resume": "latest", "within": 86400, "ends": ends})
    assert GatePolicy.model_validate(policy.model_dump(mode="json")) == policy
    assert GatePolicy().owed.within == A_WEEK


@pytest.mark.parametrize("owed", [{"resume": "some"}, {"within": 0}, {"within": timedelta(days=-1)}])
def test_nonsense_is_refused(owed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Owed.model_validate(owed)
