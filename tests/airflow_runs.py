"""Airflow's runs in a migrated metadata database, in this process, as gates have left them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from airflow.dag_processing.collection import update_dag_parsing_results_in_db
from airflow.models.dag import DagModel
from airflow.models.dagbag import DBDagBag
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.trigger import Trigger
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import delete, select, update

from mbi_reauth.models.metadata_db import transact

BUNDLE = "tests"


def store(dag: DAG) -> None:
    """Write a DAG into the database as Airflow's DAG processor does; it is not paused."""

    def work(session: Any) -> None:
        if session.get(DagBundleModel, BUNDLE) is None:
            session.add(DagBundleModel(name=BUNDLE))
            session.flush()
        parsed = [LazyDeserializedDAG.from_dag(dag)]
        update_dag_parsing_results_in_db(BUNDLE, None, parsed, {}, None, set(), session=session)

    transact(work)
    change_dag(dag.dag_id, is_paused=False, is_stale=False)


def change_dag(dag_id: str, **values: Any) -> None:
    transact(lambda session: session.execute(update(DagModel).filter_by(dag_id=dag_id).values(**values)))


def forget_runs() -> None:
    models = (TaskReschedule, TaskInstance, DagRun, Trigger, Log)
    transact(lambda session: [session.execute(delete(model)) for model in models])


def delete_run(run_id: str) -> None:
    transact(lambda session: session.execute(delete(DagRun).filter_by(run_id=run_id)))


def create_run(
    dag_id: str, run_id: str, states: Mapping[str, str], *, day: int = 1, state: str = "success"
) -> None:
    """Create a run that has ended; ``states`` gives the states of its tasks, all at their first try."""

    def work(session: Any) -> None:
        dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
        assert dag is not None
        date = datetime(2026, 2, day, tzinfo=timezone.utc)
        run = dag.create_dagrun(
            run_id=run_id,
            logical_date=date,
            data_interval=(date, date),
            run_after=date,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState(state),
            session=session,
        )
        for instance in run.get_task_instances(session=session):
            instance.state = states[instance.task_id]
            instance.try_number = 1
            instance.start_date = instance.end_date = date

    transact(work)


def change_task(run_id: str, task_id: str, map_index: int = -1, **values: Any) -> None:
    its = {"run_id": run_id, "task_id": task_id, "map_index": map_index}
    transact(lambda session: session.execute(update(TaskInstance).filter_by(**its).values(**values)))


def defer(run_id: str, task_id: str, trigger: str) -> None:
    """Let a task wait in the triggerer, in a trigger of this class."""

    def work(session: Any) -> None:
        waits_in = Trigger(classpath=trigger, kwargs={})
        session.add(waits_in)
        session.flush()
        instance = session.scalars(select(TaskInstance).filter_by(run_id=run_id, task_id=task_id)).one()
        instance.state, instance.trigger_id = "deferred", waits_in.id
        instance.next_method, instance.end_date = "execute_complete", None

    transact(work)


def reschedule(run_id: str, task_id: str, until: datetime) -> None:
    """Let a task wait for its next turn on a worker, for the second time."""

    def work(session: Any) -> None:
        instance = session.scalars(select(TaskInstance).filter_by(run_id=run_id, task_id=task_id)).one()
        instance.state, instance.end_date = "up_for_reschedule", None
        for date in (instance.start_date, until):
            session.add(TaskReschedule(instance.id, instance.start_date, instance.start_date, date))
            session.flush()

    transact(work)


def next_turns(run_id: str, task_id: str) -> list[datetime]:
    instance = task(run_id, task_id)
    turns = TaskReschedule.stmt_for_task_instance(instance)
    return transact(lambda session: [each.reschedule_date for each in session.scalars(turns)])


def audit_log() -> list[Log]:
    """Return what was written down of what this plugin did, the oldest first."""
    its = select(Log).filter_by(owner="mbi_reauth").order_by(Log.id)
    return transact(lambda session: list(session.scalars(its)))


def states(run_id: str) -> dict[str, str | None]:
    """Return the tasks' states, by their ids and map indices."""

    def work(session: Any) -> dict[str, str | None]:
        found = session.scalars(select(TaskInstance).filter_by(run_id=run_id))
        return {_name(each): str(each.state) if each.state is not None else None for each in found}

    return transact(work)


def run_states(*run_ids: str) -> list[str]:
    found = transact(lambda session: {run.run_id: str(run.state) for run in session.scalars(select(DagRun))})
    return [found[run_id] for run_id in run_ids]


def task(run_id: str, task_id: str) -> TaskInstance:
    its = select(TaskInstance).filter_by(run_id=run_id, task_id=task_id)
    return transact(lambda session: session.scalars(its).one())


def note(run_id: str, task_id: str) -> str | None:
    its = select(TaskInstance).filter_by(run_id=run_id, task_id=task_id)
    content: str | None = transact(lambda session: session.scalars(its).one().note)
    return content


def _name(instance: TaskInstance) -> str:
    index = instance.map_index
    return instance.task_id if index < 0 else f"{instance.task_id}[{index}]"
