"""Resuming the runs that were stopped, when all that stopped them is over: a few at a time, oldest first.

Waiting gates are told to look at once. A gate that stops again after a resume has its email branch run again,
which the resume had left out: the new loss is news.

One process at a time does so, under a lease. Each run is one transaction: that it is not blocked any more,
and that Airflow runs it again, are stored together or not at all. A run is due whenever its incidents are
closed, so that one that is stopped in the very second of the recovery is not forgotten.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from mbi_reauth.api.services.credentials import changed
from mbi_reauth.core.resume import Decision, Owed, RunState, Stopped, decide, of_dag
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import BlockedRun, Incident, Resumption

if TYPE_CHECKING:
    # Airflow's models are imported when there is something to resume.
    from mbi_reauth.models.airflow_runs import GateKey, RunKey, StoppedRun

    Gates = dict[GateKey, list[BlockedRun]]

log = logging.getLogger(__name__)

EVERY = timedelta(seconds=15)
"""In each such time a batch of runs is resumed."""
LEASE = timedelta(seconds=30)
"""Prolonged with each run; who takes longer for one loses the lease and does not resume that run."""
LOOK_AGAIN = EVERY
"""When a run is looked at again whose task has not ended yet."""
AFTER_A_FAULT = timedelta(minutes=5)

_ROW = 1
STILL_OWED = (RunState.BLOCKED.value, RunState.AGAIN.value, RunState.PAUSED.value)
_GOES_ON = (RunState.RESUMED, RunState.RELEASED)


class LeaseLostError(Exception):
    """Another process has taken over."""


@dataclass(frozen=True)
class Resuming:
    """One process' way to resume runs, ``batch`` of them in each :data:`EVERY`, whichever process does it."""

    now: Callable[[], datetime]
    batch: int
    lease: str = field(default_factory=lambda: str(uuid.uuid4()))

    def run(self, *, is_over: Callable[[], bool] = lambda: False) -> int:
        """Resume what is due, up to the batch; return how many runs. Nothing is done while others do it.

        :param is_over: asked between two runs; stops early
        """
        if not transact(_is_anything_due):
            return 0
        budget = transact(self._take_lease)
        if budget is None:
            return 0
        resumed = 0
        try:
            while not is_over() and (key := transact(_stopped_again)) is not None:
                self._tell_again(key)
            transact(self._sort_out_dags)
            while resumed < budget and not is_over() and (key := transact(self._next)) is not None:
                resumed += self._resume(key)
        except LeaseLostError:
            log.info("Another process resumes runs now")
        finally:
            transact(self._give_back)
        return resumed

    def _take_lease(self, session: Session) -> int | None:
        """Return how many more runs may be resumed now; None: another process has the lease."""
        now = self.now()
        free = or_(Resumption.lease.is_(None), Resumption.lease_expires_at <= now)
        taken = {"lease": self.lease, "lease_expires_at": now + LEASE}
        if not changed(session, update(Resumption).where(Resumption.id == _ROW, free).values(**taken)):
            if session.get(Resumption, _ROW) is not None:
                return None
            session.add(Resumption(id=_ROW, resumed=0, **taken))
            session.flush()
        row = session.get_one(Resumption, _ROW, populate_existing=True)
        if row.begun_at is None or row.begun_at + EVERY <= now:
            row.begun_at, row.resumed = now, 0
        return self.batch - row.resumed

    def _hold(self, session: Session, *, resumed: int = 0) -> None:
        """Prolong the lease; nobody else can resume a run before this transaction ends."""
        mine = update(Resumption).where(Resumption.id == _ROW, Resumption.lease == self.lease)
        values = {"lease_expires_at": self.now() + LEASE, "resumed": Resumption.resumed + resumed}
        if not changed(session, mine.values(values)):
            raise LeaseLostError

    def _give_back(self, session: Session) -> None:
        mine = update(Resumption).where(Resumption.id == _ROW, Resumption.lease == self.lease)
        changed(session, mine.values(lease=None, lease_expires_at=None))

    def _sort_out_dags(self, session: Session) -> None:
        """Set the runs of DAGs aside that cannot run, and take back those that can again."""
        from mbi_reauth.models.airflow_runs import dags_standing

        self._hold(session)
        over = _over(states=(RunState.BLOCKED.value, RunState.PAUSED.value))
        dag_ids = session.scalars(select(BlockedRun.dag_id).where(over).distinct()).all()
        for dag_id, standing in dags_standing(session, dag_ids).items():
            decision = of_dag(standing) or Decision(RunState.BLOCKED, "")
            ids = select(BlockedRun.id).where(
                over, BlockedRun.dag_id == dag_id, BlockedRun.state != decision.state.value
            )
            self._settle(session, session.scalars(ids).all(), decision)

    def _tell_again(self, key: RunKey) -> None:
        try:
            transact(partial(self._told_again, key=key, clears=True))
        except LeaseLostError:
            raise
        except Exception:
            # The sweep sends what is due all the same; the run must not stay behind for it.
            log.exception("The email branch of %s of %s could not be run again", key.run_id, key.dag_id)
            transact(partial(self._told_again, key=key, clears=False))

    def _told_again(self, session: Session, *, key: RunKey, clears: bool) -> None:
        from mbi_reauth.models.airflow_runs import StoppedRun

        self._hold(session)
        gates = _by_gate(session, and_(_of_run(key), BlockedRun.state == RunState.AGAIN.value))
        if clears:
            StoppedRun.locked(session, key, gates).tell_again(gates)
        for rows in gates.values():
            self._settle(session, [row.id for row in rows], Decision(RunState.BLOCKED, ""))

    def _next(self, session: Session) -> RunKey | None:
        from mbi_reauth.models.airflow_runs import oldest_first

        return next(iter(oldest_first(session, self._due(), limit=1)), None)

    def _resume(self, key: RunKey) -> int:
        try:
            decisions = transact(partial(self._resumed, key=key))
        except LeaseLostError:
            raise
        except Exception as error:
            # One run that cannot be cleared must not keep the others waiting.
            log.exception("%s of %s could not be resumed; once more in a while", key.run_id, key.dag_id)
            why = Decision(RunState.BLOCKED, f"It could not be cleared: {type(error).__name__}.")
            transact(partial(self._put_off, key=key, why=why))
            return 0
        for decision in decisions:
            log.info("%s of %s: %s. %s", key.run_id, key.dag_id, decision.state.value, decision.reason)
        return int(any(decision.state in _GOES_ON for decision in decisions))

    def _resumed(self, session: Session, *, key: RunKey) -> list[Decision]:
        """Decide about each stopped task instance of a run, and clear those that are to be resumed."""
        from mbi_reauth.models.airflow_runs import StoppedRun, dags_standing

        self._hold(session)
        gates = _by_gate(session, and_(_of_run(key), self._due()))
        run = StoppedRun.locked(session, key, gates)
        dag = dags_standing(session, [key.dag_id])[key.dag_id]
        decisions = {
            gate: decide(self._stopped(session, key, gate, rows), dag, run.standing(gate), now=self.now())
            for gate, rows in gates.items()
        }
        for gate, decision in decisions.items():
            self._settle(session, [row.id for row in gates[gate]], decision)
        self._let_go(session, run, gates, decisions)
        return list(decisions.values())

    def _let_go(
        self, session: Session, run: StoppedRun, gates: Gates, decisions: dict[GateKey, Decision]
    ) -> None:
        going = [gate for gate, decision in decisions.items() if decision.state in _GOES_ON]
        if not going:
            return
        self._hold(session, resumed=1)
        for gate in going:
            incidents = sorted(row.incident_id for row in gates[gate])
            facts = {"reason": decisions[gate].reason, "incidents": incidents}
            event = "release" if decisions[gate].state is RunState.RELEASED else "resume"
            run.note_in_audit_log(f"mbi_reauth.{event}", gate, facts)
        run.release([gate for gate in going if decisions[gate].state is RunState.RELEASED])
        if resumed := [gate for gate in going if decisions[gate].state is RunState.RESUMED]:
            run.clear(resumed)

    @staticmethod
    def _stopped(session: Session, key: RunKey, gate: GateKey, rows: Sequence[BlockedRun]) -> Stopped:
        last = max(rows, key=lambda row: (row.try_number, row.blocked_at))
        owed = Owed.model_validate({"resume": last.resume, "within": last.resume_within, "ends": last.ends})
        newer = owed.resume == "latest" and _is_newer_one_stopped(session, key, gate, last.incident_id)
        return Stopped(owed, last.try_number, last.blocked_at, newer)

    def _settle(self, session: Session, ids: Sequence[int], decision: Decision) -> None:
        """Store what was decided, where nobody else has decided."""
        final = decision.state.value not in STILL_OWED
        values = {
            "state": decision.state.value,
            "reason": decision.reason or None,
            "settled_at": self.now() if final else None,
            "look_at": self.now() + LOOK_AGAIN if decision.reason and not final else None,
        }
        mine = and_(BlockedRun.id.in_(ids), BlockedRun.state.in_(STILL_OWED))
        changed(session, update(BlockedRun).where(mine).values(values))

    def _put_off(self, session: Session, *, key: RunKey, why: Decision) -> None:
        self._hold(session)
        ids = session.scalars(select(BlockedRun.id).where(_of_run(key), self._due())).all()
        self._settle(session, ids, why)
        later = update(BlockedRun).where(BlockedRun.id.in_(ids))
        changed(session, later.values(look_at=self.now() + AFTER_A_FAULT))

    def _due(self) -> ColumnElement[bool]:
        ready = or_(BlockedRun.look_at.is_(None), BlockedRun.look_at <= self.now())
        return and_(_over(states=(RunState.BLOCKED.value,)), ready)


def _is_anything_due(session: Session) -> bool:
    due = or_(BlockedRun.state == RunState.AGAIN.value, _over(states=STILL_OWED))
    return session.scalar(select(BlockedRun.id).where(due).limit(1)) is not None


def _stopped_again(session: Session) -> RunKey | None:
    from mbi_reauth.models.airflow_runs import RunKey

    runs = select(BlockedRun.dag_id, BlockedRun.run_id).where(BlockedRun.state == RunState.AGAIN.value)
    found = session.execute(runs.order_by(BlockedRun.id).limit(1)).first()
    return RunKey(*found) if found is not None else None


def _of_run(key: RunKey) -> ColumnElement[bool]:
    return and_(BlockedRun.dag_id == key.dag_id, BlockedRun.run_id == key.run_id)


def _by_gate(session: Session, which: ColumnElement[bool]) -> Gates:
    """Return these rows by the task instance that was stopped; locked."""
    from mbi_reauth.models.airflow_runs import GateKey

    def gate(row: BlockedRun) -> GateKey:
        return GateKey(row.task_id, row.map_index)

    rows = select(BlockedRun).where(which).with_for_update()
    found = session.scalars(rows.execution_options(populate_existing=True)).all()
    return {known: list(those) for known, those in groupby(sorted(found, key=gate), key=gate)}


def _over(*, states: Sequence[str]) -> ColumnElement[bool]:
    """Select what is still owed, and stopped by no incident any more."""
    closed = BlockedRun.incident_id.in_(select(Incident.id).where(Incident.closed_at.is_not(None)))
    other = aliased(BlockedRun)
    same_gate = and_(
        other.dag_id == BlockedRun.dag_id,
        other.run_id == BlockedRun.run_id,
        other.task_id == BlockedRun.task_id,
        other.map_index == BlockedRun.map_index,
        other.state.in_(STILL_OWED),
    )
    still_lost = exists(
        select(other.id)
        .join(Incident, Incident.id == other.incident_id)
        .where(same_gate, Incident.closed_at.is_(None))
    ).correlate(BlockedRun)
    return and_(BlockedRun.state.in_(states), closed, ~still_lost)


def _is_newer_one_stopped(session: Session, run: RunKey, gate: GateKey, incident_id: str) -> bool:
    """Whether a later run was stopped at the same gate, and waits, or has just been resumed."""
    from mbi_reauth.models.airflow_runs import later_than

    resumed_with_it = and_(BlockedRun.state == RunState.RESUMED.value, BlockedRun.incident_id == incident_id)
    others = select(BlockedRun.run_id).where(
        BlockedRun.dag_id == run.dag_id,
        BlockedRun.run_id != run.run_id,
        BlockedRun.task_id == gate.task_id,
        BlockedRun.map_index == gate.map_index,
        or_(BlockedRun.state.in_(STILL_OWED), resumed_with_it),
    )
    return bool(later_than(session, run, session.scalars(others).all()))
