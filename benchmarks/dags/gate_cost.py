"""A chain of tasks that do nothing, with a step of another kind between each two; one DAG for each order.

``benchmarks.gate`` runs them. A step's cost is what lies between the ends of its neighbours.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG, task, task_group

from mbi_reauth.gate import authorized

INTEGRATION = "shop_0"
KINDS = ("none", "empty_operator", "python", "async_sensor", "triggerer", "worker", "mapped")
LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)


@task
def nothing() -> None:
    """Do it."""


def step(kind: str, before: Any) -> Any:
    """Put a step and a task that does nothing after ``before``; return that task, or the group it is in."""
    after = nothing.override(task_id=f"after_{kind}")
    if kind in ("triggerer", "worker"):
        with authorized(INTEGRATION, group_id=kind, deferrable=kind == "triggerer") as gated:
            after()
        before >> gated
        return gated
    if kind == "mapped":
        mapped = _mapped(after)
        before >> mapped
        return mapped
    if kind == "empty_operator":
        before = before >> EmptyOperator(task_id=kind)
    elif kind == "async_sensor":
        sensor = DateTimeSensorAsync(
            task_id=kind, target_time=LONG_AGO, start_from_trigger=True, end_from_trigger=True
        )
        before = before >> sensor
    elif kind == "python":
        before = before >> nothing.override(task_id=kind)()
    return before >> after()


def _mapped(after: Any) -> Any:
    @task_group(group_id="each")
    def each(number: int) -> None:  # noqa: ARG001 - a group is mapped over something
        with authorized(INTEGRATION, group_id="mapped"):
            after()

    return each.expand(number=[1])


for number in range(len(KINDS)):
    with DAG(f"gate_cost_{number}", schedule=None, catchup=False):
        previous: Any = nothing.override(task_id="start")()
        for kind in (*KINDS[number:], *KINDS[:number]):
            previous = step(kind, previous)
