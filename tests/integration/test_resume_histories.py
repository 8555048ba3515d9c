"""Random histories of stopped runs; ``HISTORIES=500`` in the environment: for longer, and made short.

The reports, the resuming and Airflow's tables are the real ones, on SQLite. Played are Airflow's scheduler
and workers, the third parties, the people, and two processes that resume, and die before or after a commit.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.sdk import DAG, task
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import FindingReport, RunReference
from mbi_reauth.api.services import findings
from mbi_reauth.api.services.resuming import LEASE, Resuming
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.resume import Owed, RunState
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.gate import authorized
from mbi_reauth.models.airflow_runs import TRIGGER
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import BlockedRun
from tests import airflow_runs
from tests.app import INTEGRATION, NOON, fake_type
from tests.metadata_db import airflow, connected_to, empty

MANY = int(os.environ.get("HISTORIES", "0"))
DAG_ID, GATE, EMAIL = "history", "group.check_authorization", "group.needs_reauth.email_owner"
BELOW = ("group.extract", "after")
ALL = (GATE, EMAIL, *BELOW)
INTEGRATIONS = (INTEGRATION, INTEGRATION.model_copy(update={"id": "books", "conn_id": "books"}))
ENDS = ("skipped", "failed", "waiting")
UNTIL = NOON + timedelta(days=365 * 50)
FINAL = {state.value for state in RunState} - {"blocked", "again", "paused"}
RUNS = st.integers(0, 3)


class Died(BaseException):
    """A process is no more; nothing of what it would still have done is done."""


@contextmanager
def dying(commits: int, *, after: bool) -> Iterator[None]:
    """Let this process die at one of its next commits, before or after it; 0: it lives."""
    left = commits

    def dies(_: Session) -> None:
        nonlocal left
        left -= 1
        if commits and left <= 0:
            raise Died

    name = "after_commit" if after else "before_commit"
    event.listen(Session, name, dies)
    try:
        yield
    except Died:
        pass
    finally:
        event.remove(Session, name, dies)


@dataclass
class Look:
    """A gate that is looking: at which of them it found lost, and whether it has said so."""

    lost: list[Integration]
    at: datetime
    told: bool = False


@dataclass
class Run:
    """One run, as a person sees it; ``dealt_with``: what somebody has left of it, for good."""

    run_id: str
    ends: str
    look: Look | None = None
    stopped_by: frozenset[str] = frozenset()
    dealt_with: dict[str, str | None] | None = None


class Deed(NamedTuple):
    """An entry of the audit log: what was done to which try of which run."""

    event: str
    run_id: str
    try_number: int


@dataclass
class World:
    """Everything but what is tested."""

    moment: datetime = NOON
    lost: set[str] = field(default_factory=set)
    runs: dict[str, Run] = field(default_factory=dict)
    paused: bool = False
    seen: int = 0

    def now(self) -> datetime:
        return self.moment

    def report(
        self, integration: Integration, cause: Cause, at: datetime | None = None, **facts: Any
    ) -> None:
        self.moment += timedelta(seconds=1)
        finding = Finding(cause=cause, rule="r.r", explanation="-", checked_at=at or self.moment)
        report = FindingReport(integration=integration, finding=finding, credential_version=1, **facts)
        findings.report(report, Surroundings(type_of=fake_type, now=self.now))

    # Airflow

    def create(self, ends: str) -> None:
        run = Run(f"r{len(self.runs)}", ends)
        self.runs[run.run_id] = run
        states: Any = dict.fromkeys(ALL)
        airflow_runs.create_run(DAG_ID, run.run_id, states, day=1 + len(self.runs), state="running")
        for name in ALL:
            airflow_runs.change_task(run.run_id, name, try_number=0)

    def goes_on(self, run: Run) -> bool:
        """Take one step of a run, if there is any; of a paused DAG there is none."""
        found = airflow_runs.states(run.run_id)
        if not found or self.paused:
            return False
        gate = found[GATE]
        if run.look is not None:
            self.looks(run, run.look)
        elif gate in (None, "scheduled") or self.has_its_turn(run, gate):
            self.begins(run, anew=gate is None)
        elif gate in ("deferred", "up_for_reschedule"):
            return False
        elif None in found.values():
            self.completes(run, found)
        else:
            return False
        return True

    def has_its_turn(self, run: Run, gate: str | None) -> bool:
        return gate == "up_for_reschedule" and airflow_runs.next_turns(run.run_id, GATE)[-1] < UNTIL

    def begins(self, run: Run, *, anew: bool) -> None:
        tries = airflow_runs.task(run.run_id, GATE).try_number + anew
        airflow_runs.change_task(run.run_id, GATE, state="running", try_number=tries, trigger_id=None)
        self.sets_run(run, "running")
        run.look = Look([each for each in INTEGRATIONS if each.id in self.lost], self.moment)

    def looks(self, run: Run, look: Look) -> None:
        if not look.told:
            look.told = True
            run.stopped_by = frozenset(each.id for each in look.lost)
            gate = RunReference(
                dag_id=DAG_ID, run_id=run.run_id, task_id=GATE,
                try_number=airflow_runs.task(run.run_id, GATE).try_number,
            )  # fmt: skip
            owed = Owed.model_validate({"ends": run.ends})
            for each in look.lost:
                self.report(each, Cause.GRANT_REVOKED, look.at, blocked_run=gate, owed=owed)
            return
        run.look = None
        if not look.lost:
            airflow_runs.change_task(run.run_id, GATE, state="success")
        elif run.ends != "waiting":
            airflow_runs.change_task(run.run_id, GATE, state=run.ends)
        elif len(run.run_id) % 2:
            airflow_runs.reschedule(run.run_id, GATE, UNTIL)
        else:
            airflow_runs.defer(run.run_id, GATE, TRIGGER)

    def completes(self, run: Run, found: dict[str, str | None]) -> None:
        gate = found[GATE]
        below = {"success": "success", "skipped": "skipped"}.get(str(gate), "upstream_failed")
        email = "success" if gate in ("skipped", "failed") and run.ends != "waiting" else "skipped"
        for name, state in {**dict.fromkeys(BELOW, below), EMAIL: email}.items():
            if found[name] is None:
                tries = airflow_runs.task(run.run_id, name).try_number + 1
                airflow_runs.change_task(run.run_id, name, state=state, try_number=tries)
        self.sets_run(run, "failed" if gate == "failed" else "success")

    def sets_run(self, run: Run, state: str) -> None:
        its = update(DagRun).filter_by(run_id=run.run_id)
        transact(lambda session: session.execute(its.values(state=state)))

    # What must hold at any time

    def judge(self) -> None:
        deeds = [
            Deed(each.event, str(each.run_id), each.try_number or 0) for each in airflow_runs.audit_log()
        ]
        twice = Counter(deed for deed in deeds if deed.event == "mbi_reauth.resume")
        assert set(twice.values()) <= {1}, "the same try was cleared twice"
        for deed in deeds[self.seen :]:
            run = self.runs[deed.run_id]
            assert not run.stopped_by & self.lost, "let go while it is lost"
            assert (deed.event == "mbi_reauth.release") == (run.ends == "waiting")
            assert run.dealt_with is None, "somebody had dealt with it"
        self.seen = len(deeds)


class Histories(RuleBasedStateMachine):
    """What can happen, one thing after the other."""

    @initialize(
        ends=st.lists(st.sampled_from(ENDS), min_size=2, max_size=3),
        lost=st.sampled_from((INTEGRATIONS[:1], INTEGRATIONS, INTEGRATIONS)),
        steps=st.integers(1, 3),
    )
    def begin(self, ends: list[str], lost: tuple[Integration, ...], steps: int) -> None:
        empty()
        airflow_runs.forget_runs()
        airflow_runs.change_dag(DAG_ID, is_paused=False)
        self.world = World()
        self.processes = [self.process(), self.process()]
        for which in lost:
            self.loses(which)
        for each in ends:
            self.starts(each)
            self.goes_on(len(self.world.runs) - 1, steps)

    def process(self) -> Resuming:
        return Resuming(self.world.now, 25)

    def run_of(self, number: int) -> Run | None:
        """Choose a run that is there and is not looking just now."""
        runs = list(self.world.runs.values())
        chosen = runs[number % len(runs)] if runs else None
        if chosen is None or chosen.look is not None or not airflow_runs.states(chosen.run_id):
            return None
        return chosen

    @rule(which=st.sampled_from(INTEGRATIONS))
    def loses(self, which: Integration) -> None:
        self.world.report(which, Cause.GRANT_REVOKED)
        self.world.lost.add(which.id)

    @rule(which=st.sampled_from(INTEGRATIONS))
    def recovers(self, which: Integration) -> None:
        self.world.report(which, Cause.AUTHORIZED)
        self.world.lost.discard(which.id)

    @precondition(lambda self: len(self.world.runs) < 4)
    @rule(ends=st.sampled_from(ENDS))
    def starts(self, ends: str) -> None:
        self.world.create(ends)

    @rule(number=RUNS, steps=st.integers(1, 5))
    def goes_on(self, number: int, steps: int) -> None:
        runs = list(self.world.runs.values())
        for _ in range(steps if runs else 0):
            self.world.goes_on(runs[number % len(runs)])

    @rule(number=RUNS)
    def polls(self, number: int) -> None:
        run = self.run_of(number)
        waits = ("deferred", "up_for_reschedule")
        if run is not None and airflow_runs.states(run.run_id)[GATE] in waits and not self.world.paused:
            self.world.begins(run, anew=False)

    @rule(number=RUNS, downstream=st.booleans())
    def is_cleared_by_hand(self, number: int, downstream: bool) -> None:
        run = self.run_of(number)
        if run is not None:
            run.dealt_with, names = None, ALL if downstream else (GATE,)

            def work(session: Session) -> None:
                its = select(TaskInstance).filter_by(run_id=run.run_id)
                found = session.scalars(its).all()
                clear_task_instances([each for each in found if each.task_id in names], session)

            transact(work)

    @rule(number=RUNS)
    def is_marked_by_hand(self, number: int) -> None:
        run = self.run_of(number)
        if run is not None and airflow_runs.states(run.run_id)[GATE] in ("skipped", "failed", "deferred"):
            airflow_runs.change_task(run.run_id, GATE, state="success", trigger_id=None)
            run.dealt_with = airflow_runs.states(run.run_id)

    @rule(number=RUNS)
    def is_deleted(self, number: int) -> None:
        run = self.run_of(number)
        if run is not None:
            airflow_runs.delete_run(run.run_id)

    @rule(paused=st.booleans())
    def is_paused(self, paused: bool) -> None:
        airflow_runs.change_dag(DAG_ID, is_paused=paused)
        self.world.paused = paused

    @rule(seconds=st.sampled_from((1, 15, 31, 301)))
    def waits(self, seconds: int) -> None:
        self.world.moment += timedelta(seconds=seconds)

    @rule(
        which=st.integers(0, 1),
        commits=st.sampled_from((0, 0, 0, 1, 2, 3, 4, 5, 6)),
        after=st.booleans(),
        overtaken=st.booleans(),
    )
    def resumes(self, which: int, commits: int, after: bool, overtaken: bool) -> None:
        def between() -> bool:
            if overtaken:
                self.world.moment += LEASE
                self.processes[1 - which].run()
            return False

        with dying(commits, after=after):
            self.processes[which].run(is_over=between)
        if commits:
            self.processes[which] = self.process()
        self.world.judge()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.is_paused(False)
        for which in INTEGRATIONS:
            self.recovers(which)
        for _ in range(8):
            for run in self.world.runs.values():
                assert not all(self.world.goes_on(run) for _ in range(50)), "it comes to no end"
            self.world.moment += timedelta(minutes=6)
            self.process().run()
            self.world.judge()
        rows = transact(lambda session: session.scalars(select(BlockedRun)).all())
        assert [(row.run_id, row.state, row.reason) for row in rows if row.state not in FINAL] == []
        for run in self.world.runs.values():
            self.has_ended_well(run)

    def has_ended_well(self, run: Run) -> None:
        found = airflow_runs.states(run.run_id)
        if run.dealt_with is not None:
            assert found in ({}, run.dealt_with) or None in run.dealt_with.values()
        elif found:
            assert found[GATE] == "success", "it could have run"
            assert {found[name] for name in BELOW} == {"success"}
            assert found[EMAIL] is not None


def history_dag() -> DAG:
    with DAG(DAG_ID, schedule=None) as dag:

        @task
        def step() -> None: ...

        with authorized(INTEGRATION, group_id="group") as group:  # type: ignore[arg-type]
            step.override(task_id="extract")()
        group >> step.override(task_id="after")()
    return dag


@pytest.fixture(scope="module")
def _airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("airflow")
    url = f"sqlite:///{home / 'airflow.db'}"
    airflow(home, url, "db", "migrate")
    with connected_to(url):
        airflow_runs.store(history_dag())
        yield home


@pytest.mark.usefixtures("_airflow")
def test_in_the_end_nothing_is_blocked_that_could_run_and_nothing_was_cleared_twice() -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=MANY or 15,
            stateful_step_count=40,
            deadline=None,
            derandomize=not MANY,
            phases=tuple(Phase) if MANY else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
