"""Run by ``test_gate_in_dags.py`` in a process of its own: DAGs with gates, each run by ``dag.test()``.

Prints one JSON object: for each DAG that the arguments name, the states of its task instances.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, setup, task, task_group, teardown
from airflow.sdk.exceptions import AirflowSkipException

from mbi_reauth.gate import GateOptions, authorized

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAGS: dict[str, DAG] = {}


def bash(task_id: str) -> BashOperator:
    return BashOperator(task_id=task_id, bash_command="true")


def dag(dag_id: str) -> DAG:
    DAGS[dag_id] = DAG(dag_id, start_date=START, schedule=None)
    return DAGS[dag_id]


@task
def extract() -> int:
    return 3


@task
def load(rows: Any) -> Any:
    return rows


@task
def after() -> str:
    return "done"


for name in ("healthy", "lost"):
    with dag(f"one_{name}"):
        with authorized(name) as group:
            load(extract())
        group >> after()

with dag("two"):
    with authorized("healthy", "lost") as group:
        extract()
    group >> after()

with dag("mapped"):

    @task_group
    def each(number: int) -> None:
        @task
        def work(number: int) -> int:
            return number

        with authorized("lost_mapped"):
            work(number)

    each.expand(number=[1, 2])

for name in ("healthy", "lost"):
    with dag(f"setup_{name}"), authorized(name):

        @setup
        def create() -> None: ...

        @teardown
        def delete() -> None: ...

        created = create()
        created >> extract() >> delete().as_teardown(setups=created)

with dag("skipped_by_its_own_upstream"):

    @task
    def skipped() -> None:
        raise AirflowSkipException

    with authorized("lost") as group:
        extract()
    skipped() >> group

with dag("fails"), authorized("lost_failing", on_blocked="fail"):
    extract()

with dag("misconfigured"), authorized("no_connection"):
    extract()

with dag("outage"), authorized("down"):
    extract()

with dag("behind_mbi"), authorized("behind_mbi"):
    extract()

with dag("behind_mbi_proceeds"), authorized("behind_mbi", on_misconfigured="proceed"):
    extract()

WAITING: GateOptions = {"on_blocked": "wait", "deferrable": False, "poke_interval": 0.2, "timeout": 1}
with dag("waits"), authorized("lost_waiting", **WAITING):
    extract()

with dag("shadow"), authorized("lost_shadow", shadow=True):
    extract()

IN_PLUGINS_SHADOW: dict[str, GateOptions] = {
    "plugin_shadow_skips": {},
    "plugin_shadow_fails": {"on_blocked": "fail"},
    "plugin_shadow_waits": {"on_blocked": "wait", "deferrable": False},
}
for name, options in IN_PLUGINS_SHADOW.items():
    with dag(name), authorized("lost_later", **options):
        extract()

with dag("classic"):
    with authorized("healthy") as group:
        bash("extract") >> bash("load")
    group >> bash("after")


def states(run: Any) -> dict[str, str]:
    return {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state)
        for ti in run.get_task_instances()
    }


if __name__ == "__main__":
    result = {dag_id: states(DAGS[dag_id].test()) for dag_id in sys.argv[1:]}
    sys.stdout.write("STATES " + json.dumps(result) + "\n")
