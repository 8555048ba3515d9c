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
from airflow.models.taskinstance import TaskInstance
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
    transact(lambda session: [session.execute(delete(model)) for model in (TaskInstance, DagRun)])


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
