"""Stopped runs in a real Airflow database: which are cleared when their incidents are over, and how far."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.models.taskinstance import clear_task_instances
from airflow.sdk import DAG, task, task_group
from sqlalchemy import select

from mbi_reauth.api.datamodels import FindingReport, RunReference
from mbi_reauth.api.resumer import Resumer
from mbi_reauth.api.services import findings
from mbi_reauth.api.services.resuming import EVERY, LOOK_AGAIN, Resuming
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.resume import Owed
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.gate import authorized
from mbi_reauth.models import airflow_runs
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import BlockedRun, Resumption
from mbi_reauth.sensors.authorization import RETRIES
from tests.airflow_runs import (
    audit_log,
    change_dag,
    change_task,
    create_run,
    defer,
    delete_run,
    forget_runs,
    next_turns,
    note,
    reschedule,
    run_states,
    states,
    store,
)
from tests.airflow_runs import task as task_instance
from tests.app import INTEGRATION, NOON, fake_type

GATE, EMAIL = "group.check_authorization", "group.needs_reauth.email_owner"
STOPPED = {
    "before": "success", GATE: "skipped", EMAIL: "success", "group.extract": "skipped",
    "group.load": "skipped", "after": "skipped", "beside": "success",
}  # fmt: skip
CLEARED = {
    "before": "success", GATE: None, EMAIL: "success", "group.extract": None, "group.load": None,
    "after": None, "beside": "success",
}  # fmt: skip
OTHER = INTEGRATION.model_copy(update={"id": "books", "conn_id": "books"})


def plain() -> DAG:
    with DAG("plain", schedule=None) as dag:

        @task
        def step() -> None: ...

        with authorized(INTEGRATION, group_id="group") as group:  # type: ignore[arg-type]
            step.override(task_id="extract")() >> step.override(task_id="load")()
        step.override(task_id="before")() >> group >> step.override(task_id="after")()
        step.override(task_id="beside")()
    return dag


def mapped() -> DAG:
    with DAG("mapped", schedule=None) as dag:

        @task
        def load(number: int) -> None: ...

        @task(trigger_rule="all_done")
        def join() -> None: ...

        @task_group
        def each(number: int) -> None:
            with authorized(INTEGRATION, group_id="group"):  # type: ignore[arg-type]
                load(number)

        each.expand(number=[1, 2]) >> join()
    return dag


class World:
    """Reports of gates, and a clock."""

    def __init__(self) -> None:
        self.moment = NOON
        self.woken = 0

    def now(self) -> datetime:
        return self.moment

    def recovered(self) -> None:
        self.woken += 1

    def report(self, cause: Cause, integration: Integration = INTEGRATION, **facts: Any) -> None:
        self.moment += timedelta(seconds=1)
        checked_at = facts.pop("checked_at", self.moment)
        finding = Finding(cause=cause, rule="r.r", explanation="-", checked_at=checked_at)
        surroundings = Surroundings(type_of=fake_type, now=self.now, recovered=self.recovered)
        report = FindingReport(integration=integration, finding=finding, credential_version=1, **facts)
        findings.report(report, surroundings)

    def stop(self, run_id: str, *, dag_id: str = "plain", integration: Integration = INTEGRATION,
             task_id: str = GATE, map_index: int = -1, try_number: int = 1, **owed: Any) -> None:  # fmt: skip
        run = RunReference(
            dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index, try_number=try_number
        )
        self.report(Cause.GRANT_REVOKED, integration, blocked_run=run, owed=Owed.model_validate(owed))

    def recover(self, integration: Integration = INTEGRATION) -> None:
        self.report(Cause.AUTHORIZED, integration)

    def resume(self, *, batch: int = 25) -> int:
        self.moment += EVERY
        return Resuming(self.now, batch).run()


@pytest.fixture(scope="module")
def _dags(migrated: str) -> None:
    store(plain())
    store(mapped())


@pytest.fixture
def world(metadata_db: str, _dags: None) -> Iterator[World]:
    forget_runs()
    for dag_id in ("plain", "mapped"):
        change_dag(dag_id, is_paused=False, is_stale=False)
    yield World()
    forget_runs()


def stopped_run(run_id: str = "r1", day: int = 1, **changed: str) -> str:
    create_run("plain", run_id, {**STOPPED, **changed}, day=day)
    return run_id


def became(run_id: str = "r1") -> tuple[str, str | None]:
    row = transact(lambda session: session.scalars(select(BlockedRun).filter_by(run_id=run_id)).one())
    return row.state, row.reason


def test_gate_and_downstream_are_cleared_and_nothing_else(world: World) -> None:
    world.stop(stopped_run())
    assert world.resume() == 0, "still lost"
    world.recover()
    assert world.resume() == 1
    assert states("r1") == CLEARED
    assert run_states("r1") == ["queued"]
    assert became() == ("resumed", "The authorization works again.")
    gate = task_instance("r1", GATE)
    assert (gate.end_date, gate.duration) == (None, None)
    assert note("r1", GATE) == airflow_runs.NOTE
    assert gate.max_tries == 1 + RETRIES, "it may fail as often as before"


def test_a_run_is_resumed_once(world: World) -> None:
    world.stop(stopped_run())
    world.recover()
    assert [world.resume(), world.resume()] == [1, 0]


def test_many_processes_at_once_resume_each_run_once(world: World) -> None:
    for number in range(1, 9):
        world.stop(stopped_run(f"r{number}", day=number))
    world.recover()
    world.moment += EVERY
    barrier = threading.Barrier(6)

    def work(_: int) -> int:
        barrier.wait()
        return Resuming(world.now, 25).run()

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) == 8
    assert {became(f"r{number}")[0] for number in range(1, 9)} == {"resumed"}
    assert {task_instance(f"r{number}", GATE).dag_run.clear_number for number in range(1, 9)} == {1}


def test_oldest_first_and_no_more_than_the_batch_in_each_quarter_of_a_minute(world: World) -> None:
    for day in (3, 1, 2):
        world.stop(stopped_run(f"r{day}", day=day))
    world.recover()
    assert world.resume(batch=2) == 2
    assert run_states("r1", "r2", "r3") == ["queued", "queued", "success"]
    assert Resuming(world.now, 2).run() == 0
    assert world.resume(batch=2) == 1


def test_a_gate_waits_for_all_its_incidents(world: World) -> None:
    stopped_run()
    world.stop("r1")
    world.stop("r1", integration=OTHER)
    world.recover()
    assert world.resume() == 0
    world.recover(OTHER)
    assert world.resume() == 1
    found = transact(lambda session: set(session.scalars(select(BlockedRun.state))))
    assert found == {"resumed"}


@pytest.mark.parametrize("on_blocked", ["skipped", "failed"])
def test_one_instance_of_a_mapped_group_is_resumed_and_what_comes_after_the_group(
    world: World, on_blocked: str
) -> None:
    gate, load = "each.group.check_authorization", "each.group.load"
    email = "each.group.needs_reauth.email_owner"
    ended = {gate: on_blocked, load: "skipped", email: "success", "join": "success"}
    create_run("mapped", "m1", ended)
    world.stop("m1", dag_id="mapped", task_id=gate, map_index=1, ends=on_blocked)
    world.recover()
    assert world.resume() == 1
    assert states("m1") == {
        f"{gate}[0]": on_blocked, f"{load}[0]": "skipped", f"{email}[0]": "success",
        f"{gate}[1]": None, f"{load}[1]": None, f"{email}[1]": "success", "join": None,
    }  # fmt: skip


def test_both_instances_of_a_run_are_resumed_together(world: World) -> None:
    gate = "each.group.check_authorization"
    others = ("each.group.load", "each.group.needs_reauth.email_owner", "join")
    create_run("mapped", "m1", {gate: "skipped", **dict.fromkeys(others, "skipped")})
    for index in (0, 1):
        world.stop("m1", dag_id="mapped", task_id=gate, map_index=index)
    world.recover()
    assert world.resume() == 1
    assert task_instance("m1", "join").dag_run.clear_number == 1
    assert states("m1")["join"] is None


def test_an_extraction_that_failed_for_it_is_resumed_without_its_gate(world: World) -> None:
    create_run("plain", "r1", {**STOPPED, GATE: "success", EMAIL: "skipped", "group.extract": "failed",
                               "group.load": "upstream_failed", "after": "upstream_failed"},
               state="failed")  # fmt: skip
    world.stop("r1", task_id="group.extract", ends="failed")
    world.recover()
    assert world.resume() == 1
    assert states("r1") == {**CLEARED, GATE: "success", EMAIL: "skipped"}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"state": None}, "Somebody has cleared it."),
        ({"state": "success"}, "The stopped task is success now, not skipped."),
        ({"try_number": 2}, "It has been run again (try 2)."),
    ],
)
def test_what_somebody_has_dealt_with_is_left_alone(world: World, values: dict[str, Any], says: str) -> None:
    world.stop(stopped_run())
    change_task("r1", GATE, **values)
    before = states("r1")
    world.recover()
    assert world.resume() == 0
    assert became() == ("superseded", says)
    assert states("r1") == before


def test_a_run_that_somebody_marked_as_failed_is_left_alone(world: World) -> None:
    create_run("plain", "r1", STOPPED, state="failed")
    world.stop("r1")
    world.recover()
    assert world.resume() == 0
    assert became() == ("superseded", "Somebody has marked the run as failed.")


def test_a_deleted_run_is_gone(world: World) -> None:
    world.stop(stopped_run())
    delete_run("r1")
    world.recover()
    assert world.resume() == 0
    assert became() == ("gone", "The run or its task has been deleted.")


def test_a_task_that_the_dag_does_not_have_is_gone(world: World) -> None:
    world.stop(stopped_run(), task_id="renamed")
    world.recover()
    assert world.resume() == 0
    assert became()[0] == "gone"


def test_runs_of_a_paused_dag_wait_until_it_is_not(world: World) -> None:
    world.stop(stopped_run())
    change_dag("plain", is_paused=True)
    world.recover()
    assert world.resume() == 0
    assert became() == ("paused", "The DAG is paused; it is resumed when the DAG is.")
    change_dag("plain", is_paused=False)
    world.moment += LOOK_AGAIN
    assert world.resume() == 1


def test_a_gate_that_has_not_ended_yet_is_looked_at_again(world: World) -> None:
    world.stop(stopped_run())
    world.recover()
    change_task("r1", GATE, state="deferred")
    assert world.resume() == 0
    assert became() == ("blocked", "The stopped task has not ended yet (deferred).")
    change_task("r1", GATE, state="skipped")
    world.moment += LOOK_AGAIN
    assert world.resume() == 1


def test_what_is_at_work_after_the_gate_is_not_killed(world: World) -> None:
    world.stop(stopped_run(after="running"))
    world.recover()
    assert world.resume() == 0
    assert states("r1")["after"] == "running"
    change_task("r1", "after", state="success")
    world.moment += LOOK_AGAIN
    assert world.resume() == 1


def test_a_gate_that_blocks_in_the_second_of_the_recovery_is_not_forgotten(world: World) -> None:
    world.stop("other run")
    world.recover()
    before = world.woken
    late = RunReference(dag_id="plain", run_id=stopped_run(), task_id=GATE)
    world.report(Cause.GRANT_REVOKED, blocked_run=late, checked_at=NOON)
    assert world.woken == before + 1
    assert world.resume() == 1
    assert became()[0] == "resumed"


def test_the_recovery_is_told_at_once(world: World) -> None:
    world.stop(stopped_run())
    assert world.woken == 0
    world.recover()
    assert world.woken == 1


def test_a_run_that_is_stopped_again_is_owed_another_resume(world: World) -> None:
    world.stop(stopped_run())
    world.recover()
    world.resume()
    change_task("r1", GATE, state="skipped", try_number=2)
    world.stop("r1", try_number=2)
    assert became() == ("again", None)
    world.recover()
    assert world.resume() == 1


def stopped_again(world: World, email: str = "success") -> None:
    """Resume a run, whose gate then stops a second time."""
    create_run("plain", "r1", {**STOPPED, EMAIL: email})
    world.stop("r1")
    world.recover()
    world.resume()
    change_task("r1", GATE, state="running", try_number=2)
    world.stop("r1", try_number=2)
    change_task("r1", GATE, state="skipped")


def test_the_email_branch_runs_again_when_its_gate_stops_again(world: World) -> None:
    stopped_again(world)
    assert world.woken == 2, "the recovery, and the second stop"
    assert states("r1")[EMAIL] == "success"
    world.resume()
    assert became() == ("blocked", None)
    assert (states("r1")[EMAIL], run_states("r1")) == (None, ["queued"])
    change_task("r1", EMAIL, state="skipped")
    world.resume()
    assert states("r1")[EMAIL] == "skipped", "once"


def test_an_email_branch_that_is_at_work_is_left_to_it(world: World) -> None:
    stopped_again(world, email="up_for_retry")
    world.resume()
    assert became() == ("blocked", None)
    assert states("r1")[EMAIL] == "up_for_retry"


def test_only_the_email_branch_of_the_same_map_index_runs_again(world: World) -> None:
    gate, email = "each.group.check_authorization", "each.group.needs_reauth.email_owner"
    create_run("mapped", "m1", {gate: "skipped", email: "success", "each.group.load": "skipped",
                                "join": "success"})  # fmt: skip
    world.stop("m1", dag_id="mapped", task_id=gate, map_index=1)
    world.recover()
    world.resume()
    change_task("m1", gate, 1, state="skipped", try_number=2)
    world.stop("m1", dag_id="mapped", task_id=gate, map_index=1, try_number=2)
    world.resume()
    found = states("m1")
    assert [found[f"{email}[{index}]"] for index in (0, 1)] == ["success", None]


def test_a_branch_that_cannot_be_run_again_keeps_no_run_from_being_resumed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_again(world)

    def failing(tis: list[Any], session: Any) -> None:
        raise ValueError("a fault")

    with monkeypatch.context() as patched:
        patched.setattr("mbi_reauth.models.airflow_runs.clear_task_instances", failing)
        world.resume()
    assert became() == ("blocked", None)
    world.recover()
    assert world.resume() == 1


FAR = datetime(2100, 1, 1, tzinfo=timezone.utc)


def waiting_run(run_id: str = "r1", day: int = 1, gate: str = "deferred") -> str:
    below = dict.fromkeys((EMAIL, "group.extract", "group.load", "after"), None)
    create_run("plain", run_id, {**STOPPED, **below}, day=day, state="running")  # type: ignore[dict-item]
    if gate == "deferred":
        defer(run_id, GATE, airflow_runs.TRIGGER)
    elif gate == "up_for_reschedule":
        reschedule(run_id, GATE, FAR)
    else:
        change_task(run_id, GATE, state=gate, end_date=None)
    return run_id


def test_a_gate_that_waits_in_the_triggerer_looks_at_once(world: World) -> None:
    world.stop(waiting_run(), ends="waiting")
    assert world.resume() == 0, "still lost"
    world.recover()
    assert world.resume() == 1
    gate = task_instance("r1", GATE)
    assert (gate.state, gate.trigger_id, gate.try_number) == ("scheduled", None, 1)
    assert gate.next_method == "execute_complete"
    assert became() == ("released", "The authorization works again.")
    assert {name for name, state in states("r1").items() if state is None} == {
        EMAIL, "group.extract", "group.load", "after"
    }  # fmt: skip
    assert world.resume() == 0, "once"


def test_a_gate_that_waits_for_its_turn_on_a_worker_has_it_now(world: World) -> None:
    world.stop(waiting_run(gate="up_for_reschedule"), ends="waiting")
    world.recover()
    before = next_turns("r1", GATE)
    assert world.resume() == 1
    earlier, last = next_turns("r1", GATE)
    assert (earlier, before[1]) == (before[0], FAR)
    assert last <= datetime.now(timezone.utc)
    assert states("r1")[GATE] == "up_for_reschedule"
    assert became()[0] == "released"


def test_a_waiting_gate_that_is_looking_just_now_is_released_when_it_waits_again(world: World) -> None:
    world.stop(waiting_run(gate="running"), ends="waiting")
    world.recover()
    assert world.resume() == 0
    assert became() == ("blocked", "The gate is looking just now (running).")
    defer("r1", GATE, airflow_runs.TRIGGER)
    assert world.resume() == 1


@pytest.mark.parametrize("state", ["success", "failed", "skipped"])
def test_a_waiting_gate_that_has_ended_is_left_alone(world: World, state: str) -> None:
    world.stop(waiting_run(gate=state), ends="waiting")
    world.recover()
    assert world.resume() == 0
    assert became() == ("superseded", f"The gate has ended without it ({state}).")
    assert states("r1")[GATE] == state


def test_a_task_that_waits_for_something_else_is_not_touched(world: World) -> None:
    world.stop(waiting_run(gate="running"), ends="waiting")
    defer("r1", GATE, "somebody.elses.Trigger")
    world.recover()
    assert world.resume() == 0
    assert states("r1")[GATE] == "deferred"


def test_a_waiting_gate_is_released_whatever_it_says_of_stopped_runs(world: World) -> None:
    world.stop(waiting_run(), ends="waiting", resume="none", within=60)
    world.moment += timedelta(days=1)
    world.recover()
    assert world.resume() == 1


def test_waiting_gates_come_first(world: World) -> None:
    world.stop(stopped_run("r1", day=1))
    world.stop(waiting_run("r2", day=2), ends="waiting")
    world.recover()
    assert world.resume(batch=1) == 1
    assert (became("r2")[0], became("r1")[0]) == ("released", "blocked")


def test_a_waiting_gate_that_is_held_up_once_more_is_released_once_more(world: World) -> None:
    world.stop(waiting_run(), ends="waiting")
    world.recover()
    assert world.resume() == 1
    defer("r1", GATE, airflow_runs.TRIGGER)
    world.stop("r1", ends="waiting")
    assert became() == ("blocked", None)
    world.recover()
    assert world.resume() == 1


def test_a_gate_that_still_says_lost_when_it_works_is_not_woken_again(world: World) -> None:
    world.stop(waiting_run(), ends="waiting")
    world.recover()
    assert world.resume() == 1
    defer("r1", GATE, airflow_runs.TRIGGER)
    late = RunReference(dag_id="plain", run_id="r1", task_id=GATE)
    world.report(Cause.GRANT_REVOKED, blocked_run=late, owed=Owed(ends="waiting"), checked_at=NOON)
    assert world.resume() == 0
    assert states("r1")[GATE] == "deferred"


def test_what_is_done_is_in_airflows_audit_log(world: World) -> None:
    world.stop(stopped_run("r1", day=1))
    world.stop(waiting_run("r2", day=2), ends="waiting")
    world.stop(stopped_run("r3", day=3), resume="none")
    world.recover()
    world.resume()
    found = audit_log()
    assert [(each.event, each.dag_id, each.run_id, each.task_id, each.map_index, each.try_number)
            for each in found] == [
        ("mbi_reauth.release", "plain", "r2", GATE, -1, 1),
        ("mbi_reauth.resume", "plain", "r1", GATE, -1, 1),
    ]  # fmt: skip
    (incident,) = set(transact(lambda session: list(session.scalars(select(BlockedRun.incident_id)))))
    assert json.loads(found[0].extra or "") == {
        "incidents": [incident],
        "reason": "The authorization works again.",
    }


def test_what_was_not_done_is_not_in_the_audit_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.stop(stopped_run())
    world.recover()

    def failing(tis: list[Any], session: Any) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr("mbi_reauth.models.airflow_runs.clear_task_instances", failing)
    assert world.resume() == 0
    assert audit_log() == []


def test_a_repeated_report_of_the_try_that_was_resumed_does_not_resume_it_again(world: World) -> None:
    world.stop(stopped_run())
    world.recover()
    world.resume()
    world.stop("r1")
    world.recover()
    assert world.resume() == 0


def test_of_a_gate_that_wants_the_latest_only_that_run_is_resumed(world: World) -> None:
    for day in (1, 3, 2):
        world.stop(stopped_run(f"r{day}", day=day), resume="latest")
    world.recover()
    assert world.resume(batch=1) == 1
    assert [became(run_id)[0] for run_id in ("r1", "r2", "r3")] == ["superseded", "superseded", "resumed"]


def test_a_gate_that_wants_none_gets_none(world: World) -> None:
    world.stop(stopped_run(), resume="none")
    world.recover()
    assert world.resume() == 0
    assert became() == ("left", "The gate says resume='none'.")


@pytest.mark.parametrize(("within", "resumed"), [(3600, 0), (None, 1)])
def test_what_was_stopped_too_long_ago_is_left(world: World, within: float | None, resumed: int) -> None:
    world.stop(stopped_run(), within=within)
    world.moment += timedelta(days=30)
    world.recover()
    assert world.resume() == resumed


def test_a_run_that_cannot_be_cleared_keeps_no_other_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (1, 2):
        world.stop(stopped_run(f"r{day}", day=day))
    world.recover()

    def failing(tis: list[Any], session: Any) -> None:
        if tis[0].run_id == "r1":
            raise ValueError("a fault")
        clear_task_instances(tis, session)

    monkeypatch.setattr("mbi_reauth.models.airflow_runs.clear_task_instances", failing)
    assert world.resume() == 1
    assert became("r1") == ("blocked", "It could not be cleared: ValueError.")
    assert states("r1") == STOPPED
    assert became("r2")[0] == "resumed"


def test_a_lease_that_nobody_gave_back_runs_out(world: World) -> None:
    world.stop(stopped_run())
    world.recover()
    expires = world.moment + timedelta(seconds=30)
    transact(lambda session: session.add(Resumption(id=1, lease="dead", lease_expires_at=expires, resumed=0)))
    assert world.resume() == 0
    world.moment = expires
    assert Resuming(world.now, 25).run() == 1


def test_the_thread_resumes_at_once_when_it_is_woken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.stop(stopped_run())
    resumed = threading.Event()
    original = Resuming._resume

    def noting(self: Resuming, key: airflow_runs.RunKey) -> int:
        done = original(self, key)
        resumed.set()
        return done

    monkeypatch.setattr(Resuming, "_resume", noting)
    resumer = Resumer(world.now)
    resumer.start()
    try:
        world.recover()
        resumer.wake()
        assert resumed.wait(10)
    finally:
        resumer.stop()
    assert became()[0] == "resumed"
