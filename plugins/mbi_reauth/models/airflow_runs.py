"""The one place that reads and clears Airflow's runs.

Written against Airflow 3.3.2. There is no public way for a plugin in the API server to do so: the REST API
wants a person's token, and clears in a transaction of its own, so that a crash in between would resume a run
twice or never; the Task SDK clears only whole runs. So this does what
``POST /api/v2/dags/{dag_id}/clearTaskInstances`` does (``DBDagBag``, ``SerializedDAG.clear``,
``clear_task_instances``), in the caller's transaction. A gate in the triggerer is woken as Airflow's own
route for human input wakes its tasks (``handle_event_submit``), a rescheduled one by its
``TaskReschedule``, and all of it is in Airflow's audit log (``Log``).
``tests/unit/models/test_airflow_runs.py`` fails when Airflow changes what is used of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NamedTuple

from airflow.models.dag import DagModel
from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.trigger import Trigger, handle_event_submit
from airflow.triggers.base import TriggerEvent
from airflow.utils.state import DagRunState, State, TaskInstanceState
from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import Session

from mbi_reauth.core.gate import released
from mbi_reauth.core.resume import WORKS_AGAIN, DagStanding, Standing
from mbi_reauth.models.tables import BlockedRun

EMAIL_OPERATOR = "EmailOwnerOperator"
TRIGGER = "mbi_reauth.triggers.authorization.AuthorizationTrigger"
OWNER = "mbi_reauth"
"""Who acts, in Airflow's audit log."""
NOTE = "Resumed, because the authorization works again."

_DID_NOT_END_WELL = (TaskInstanceState.FAILED, TaskInstanceState.UPSTREAM_FAILED)


class RunKey(NamedTuple):
    """One DAG run."""

    dag_id: str
    run_id: str


class GateKey(NamedTuple):
    """One task instance of a run."""

    task_id: str
    map_index: int


def dags_standing(session: Session, dag_ids: Collection[str]) -> dict[str, DagStanding]:
    """Say of each DAG whether Airflow would run it now."""
    columns = (DagModel.dag_id, DagModel.is_paused, DagModel.is_stale)
    found = session.execute(select(*columns).where(DagModel.dag_id.in_(dag_ids)))
    standing = {dag_id: _standing(paused=paused, stale=stale) for dag_id, paused, stale in found}
    return {dag_id: standing.get(dag_id, DagStanding.GONE) for dag_id in dag_ids}


def _standing(*, paused: bool, stale: bool) -> DagStanding:
    if stale:
        return DagStanding.STALE
    return DagStanding.PAUSED if paused else DagStanding.ACTIVE


def oldest_first(session: Session, which: ColumnElement[bool], *, limit: int) -> list[RunKey]:
    """Return the runs of these blocked runs in the order of their dates; those that are gone come anyhow.

    Runs with a waiting gate come first: they have their place among the DAG's active runs already.
    """
    its_run = and_(DagRun.dag_id == BlockedRun.dag_id, DagRun.run_id == BlockedRun.run_id)
    date = func.min(func.coalesce(DagRun.logical_date, DagRun.run_after))
    runs = (
        select(BlockedRun.dag_id, BlockedRun.run_id)
        .outerjoin(DagRun, its_run)
        .where(which)
        .group_by(BlockedRun.dag_id, BlockedRun.run_id)
        .order_by(func.min(case((BlockedRun.ends == "waiting", 0), else_=1)), date, func.min(BlockedRun.id))
    )
    return [RunKey(*row) for row in session.execute(runs.limit(limit))]


def later_than(session: Session, run: RunKey, others: Collection[str]) -> set[str]:
    """Return those of the DAG's other runs whose date is later."""
    date = func.coalesce(DagRun.logical_date, DagRun.run_after)
    own = select(date).where(DagRun.dag_id == run.dag_id, DagRun.run_id == run.run_id).scalar_subquery()
    later = select(DagRun.run_id).where(DagRun.dag_id == run.dag_id, DagRun.run_id.in_(others), date > own)
    return set(session.scalars(later))


@dataclass
class StoppedRun:
    """A run and those of its task instances that were stopped; locked until the transaction ends.

    Airflow's scheduler passes a locked run over, as it does one that another scheduler has.
    """

    session: Session
    key: RunKey
    run: DagRun | None = None
    dag: Any = None
    instances: Mapping[GateKey, TaskInstance] = field(default_factory=dict)
    tasks: Mapping[GateKey, set[str | tuple[str, int]]] = field(default_factory=dict)

    @classmethod
    def locked(cls, session: Session, key: RunKey, gates: Collection[GateKey]) -> StoppedRun:
        """Read it as it is now, and keep it so."""
        of_run = select(DagRun).where(DagRun.dag_id == key.dag_id, DagRun.run_id == key.run_id)
        run = session.scalar(_fresh(of_run.with_for_update(of=DagRun)))
        if run is None:
            return cls(session, key)
        dag = DBDagBag(load_op_links=False).get_dag_for_run(dag_run=run, session=session)
        rows = _locked(session, key, {gate.task_id for gate in gates})
        found = {_key(row): row for row in rows}
        known = {gate: found[gate] for gate in gates if gate in found and dag and dag.has_task(gate.task_id)}
        # All before the first SerializedDAG.clear, after which tasks may have lost their groups (3.3.2).
        return cls(session, key, run, dag, known, {gate: _with_downstream(dag, gate) for gate in known})

    def standing(self, gate: GateKey) -> Standing:
        """Say what Airflow says of a stopped task instance."""
        instance = self.instances.get(gate)
        if self.run is None or instance is None:
            return Standing(found=False)
        return Standing(
            found=True,
            state=str(instance.state) if instance.state is not None else None,
            try_number=instance.try_number,
            over=instance.state in State.finished,
            waits=self._waits(instance),
            busy=next((ti.task_id for ti in self._below([gate]) if _is_busy(ti)), None),
            ended_by_hand=self.run.state == DagRunState.FAILED and not self._has_failures(),
        )

    def clear(self, gates: Sequence[GateKey]) -> None:
        """Clear these task instances and what comes after them, so that Airflow runs them again.

        What has never begun is left as it is.
        """
        begun = [ti for ti in self._below(gates) if ti.state is not None]
        clear_task_instances(begun, self.session)
        for gate in gates:
            instance = self.instances[gate]
            # Airflow 3.3.2 forgets to where a task begins in the triggerer: its duration would be negative.
            instance.end_date = instance.duration = None
            if instance.note is None:
                instance.note = NOTE
        self.session.flush()

    def release(self, gates: Sequence[GateKey]) -> None:
        """Let these waiting gates look at once, on a worker."""
        for gate in gates:
            instance = self.instances[gate]
            if instance.state == TaskInstanceState.DEFERRED:
                event = TriggerEvent(released(WORKS_AGAIN))  # type: ignore[no-untyped-call]
                handle_event_submit(event, task_instance=instance, session=self.session)
            else:
                last = TaskReschedule.stmt_for_task_instance(instance, descending=True).limit(1)
                self.session.scalars(last).one().reschedule_date = datetime.now(timezone.utc)
        self.session.flush()

    def tell_again(self, gates: Iterable[GateKey]) -> None:
        """Let the email branches of these gates run once more, where they have ended."""
        branches = {key for gate in gates for key in self._branches(gate)}
        instances = _locked(self.session, self.key, {key.task_id for key in branches})
        ended = [ti for ti in instances if _key(ti) in branches and ti.state in State.finished]
        clear_task_instances(ended, self.session)
        self.session.flush()

    def note_in_audit_log(self, event: str, gate: GateKey, facts: Mapping[str, Any]) -> None:
        """Write down what is done to a task instance; ``facts`` are ready for JSON."""
        extra = json.dumps(facts, sort_keys=True)
        self.session.add(Log(event, self.instances[gate], owner=OWNER, extra=extra))

    def _waits(self, instance: TaskInstance) -> bool:
        if instance.state == TaskInstanceState.UP_FOR_RESCHEDULE:
            return True
        if instance.state != TaskInstanceState.DEFERRED or instance.trigger_id is None:
            return False
        trigger = self.session.get(Trigger, instance.trigger_id)
        return trigger is not None and trigger.classpath == TRIGGER

    def _branches(self, gate: GateKey) -> set[GateKey]:
        """Name the email branch beside a gate; the same map index is the same gate's."""
        if gate not in self.instances:
            return set()
        beside = self.dag.get_task(gate.task_id).downstream_task_ids
        emails = {name for name in beside if self.dag.get_task(name).task_type == EMAIL_OPERATOR}
        return {GateKey(name, gate.map_index) for name in emails}

    def _below(self, gates: Iterable[GateKey]) -> list[TaskInstance]:
        chosen = {each for gate in gates for each in self.tasks[gate]}
        return list(
            self.dag.clear(dry_run=True, task_ids=chosen, run_id=self.key.run_id, session=self.session)
        )

    def _has_failures(self) -> bool:
        failed = select(TaskInstance.id).where(
            TaskInstance.dag_id == self.key.dag_id,
            TaskInstance.run_id == self.key.run_id,
            TaskInstance.state.in_(_DID_NOT_END_WELL),
        )
        return self.session.scalar(failed.limit(1)) is not None


def _locked(session: Session, key: RunKey, task_ids: Collection[str]) -> list[TaskInstance]:
    its = select(TaskInstance).where(
        TaskInstance.dag_id == key.dag_id,
        TaskInstance.run_id == key.run_id,
        TaskInstance.task_id.in_(task_ids),
    )
    return list(session.scalars(_fresh(its.with_for_update(of=TaskInstance))))


def _key(instance: TaskInstance) -> GateKey:
    return GateKey(instance.task_id, instance.map_index)


def _fresh(query: Any) -> Any:
    return query.execution_options(populate_existing=True)


def _is_busy(instance: TaskInstance) -> bool:
    return instance.state is not None and instance.state not in State.finished


def _with_downstream(dag: Any, gate: GateKey) -> set[str | tuple[str, int]]:
    """Select a task instance and what comes after it: inside its mapped group of its own map index only.

    The branch that writes the email is left out: what it has done stays, and it may be at it.
    """
    task = dag.get_task(gate.task_id)
    group = task.get_closest_mapped_task_group() if gate.map_index >= 0 else None
    chosen: set[str | tuple[str, int]] = {(gate.task_id, gate.map_index)}
    for task_id in task.get_flat_relative_ids(upstream=False):
        below = dag.get_task(task_id)
        if below.task_type == EMAIL_OPERATOR and gate.task_id in below.upstream_task_ids:
            continue
        same = group is not None and _is(below.get_closest_mapped_task_group(), group)
        chosen.add((task_id, gate.map_index) if same else task_id)
    return chosen


def _is(group: Any, other: Any) -> bool:
    return group is not None and group.group_id == other.group_id
