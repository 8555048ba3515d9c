"""What is used of Airflow 3.3 beyond its public interface; ``tests/integration/test_resume.py`` uses it."""

from __future__ import annotations

import inspect

from airflow.models.dag import DagModel
from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.trigger import Trigger, handle_event_submit
from airflow.serialization.definitions.baseoperator import SerializedBaseOperator
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.definitions.mappedoperator import SerializedMappedOperator
from airflow.triggers.base import TriggerEvent
from airflow.utils.state import DagRunState, State, TaskInstanceState

from mbi_reauth.models.airflow_runs import EMAIL_OPERATOR, TRIGGER
from mbi_reauth.operators.email_owner import EmailOwnerOperator
from mbi_reauth.triggers.authorization import AuthorizationTrigger


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


def test_airflows_tables_have_the_columns_that_are_used() -> None:
    assert {"dag_id", "is_paused", "is_stale"} <= set(DagModel.__table__.columns.keys())
    assert {"dag_id", "run_id", "state", "logical_date", "run_after"} <= set(DagRun.__table__.columns.keys())
    columns = {
        "id",
        "dag_id",
        "run_id",
        "task_id",
        "map_index",
        "state",
        "try_number",
        "end_date",
        "duration",
        "trigger_id",
    }
    assert columns <= set(TaskInstance.__table__.columns.keys())
    assert hasattr(TaskInstance, "note")


def test_airflows_clear_takes_what_it_is_given() -> None:
    assert parameters(clear_task_instances)[:2] == ["tis", "session"]
    assert inspect.signature(clear_task_instances).parameters["dag_run_state"].default is DagRunState.QUEUED
    assert {"task_ids", "run_id", "dry_run", "session"} <= set(parameters(SerializedDAG.clear))
    assert parameters(DBDagBag.get_dag_for_run) == ["self", "dag_run", "session"]
    assert "load_op_links" in parameters(DBDagBag)


def test_airflows_tasks_tell_what_comes_after_them_and_their_mapped_group() -> None:
    for operator in (SerializedBaseOperator, SerializedMappedOperator):
        assert "upstream" in parameters(operator.get_flat_relative_ids)
        assert parameters(operator.get_closest_mapped_task_group) == ["self"]
        assert hasattr(operator, "task_type")


def test_airflow_wakes_what_waits() -> None:
    assert parameters(handle_event_submit) == ["event", "task_instance", "session"]
    assert {"id", "classpath"} <= set(Trigger.__table__.columns.keys())
    assert "reschedule_date" in TaskReschedule.__table__.columns
    assert {"ti", "descending"} <= set(parameters(TaskReschedule.stmt_for_task_instance))
    assert parameters(TriggerEvent.__init__)[:2] == ["self", "payload"]


def test_airflows_audit_log_takes_what_it_is_given() -> None:
    assert {"event", "task_instance", "owner", "extra"} <= set(parameters(Log.__init__))
    assert Log.__table__.columns["event"].type.length >= len("mbi_reauth.release")


def test_the_gates_trigger_is_known_by_its_class() -> None:
    trigger = AuthorizationTrigger(integrations=[], policy={}, poke_interval=60, max_age=60)
    assert trigger.serialize()[0] == TRIGGER == f"{type(trigger).__module__}.{type(trigger).__qualname__}"


def test_airflow_calls_final_what_a_gate_can_end_in() -> None:
    assert {TaskInstanceState.SKIPPED, TaskInstanceState.FAILED} <= State.finished
    assert TaskInstanceState.DEFERRED not in State.finished
    assert (str(TaskInstanceState.SKIPPED), str(TaskInstanceState.FAILED)) == ("skipped", "failed")


def test_the_email_branch_is_known_by_its_operator() -> None:
    assert EmailOwnerOperator.__name__ == EMAIL_OPERATOR
