"""One DAG for each way a gate can be set up or end; ``test_gate_modes.py`` runs them on a real Airflow."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Variable, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from mbi_reauth.gate import GateOptions, authorized
from mbi_reauth.sensors.authorization import AuthorizationSensor

SKIP_BEFORE = "skip_before"

WAITING: GateOptions = {"on_blocked": "wait", "poke_interval": 2, "timeout": 150}
WAITING_SHORTLY: GateOptions = {"on_blocked": "wait", "poke_interval": 2, "timeout": 8}
WAITING_LONG: GateOptions = {"on_blocked": "wait", "poke_interval": 3600, "timeout": 7200}
RESCHEDULED: GateOptions = {"deferrable": False, "mode": "reschedule", "poke_interval": 15}

GATED: dict[str, GateOptions] = {
    "healthy": {},
    "lost": {},
    "lost_again": {"max_age": 0},
    "fails": {"on_blocked": "fail"},
    "misconfigured": {},
    "refused_401": {},
    "refused_403": {"deferrable": False},
    "refused_once": {},
    "waits": WAITING,
    "waits_out": WAITING_SHORTLY,
    "waits_out_softly": {**WAITING_SHORTLY, "soft_fail": True},
    "waits_long": WAITING_LONG,
    "waits_long_on_worker": {**WAITING_LONG, "deferrable": False, "mode": "reschedule"},
    "waits_on_worker": {**WAITING, **RESCHEDULED},
    "waits_out_on_worker": {**WAITING_SHORTLY, **RESCHEDULED},
    "waits_out_softly_on_worker": {**WAITING_SHORTLY, **RESCHEDULED, "soft_fail": True},
    "hangs": {"timeout": 3},
    "cut_off": {},
    "cut_off_oauth": {},
    "cut_off_lost_oauth": {},
}
"""Each is the name of a DAG and of the integration that its gate checks."""


@task
def extract() -> int:
    return 3


@task
def load(rows: Any) -> Any:
    return rows


@task
def after() -> str:
    return "done"


for name, options in GATED.items():
    with DAG(name, schedule=None, default_args={"retries": 3}):
        with authorized(name, **options) as group:
            load(extract())
        group >> after()

MAPPED: dict[str, list[int]] = {"mapped_healthy": [1, 2], "mapped_lost": [1, 2], "mapped_one": [1, 2, 3]}

for name, numbers in MAPPED.items():
    with DAG(name, schedule=None):

        @task_group
        def each(number: int, *, integration_id: str) -> None:
            with authorized(integration_id, max_age=0):
                load(number)

        each.partial(integration_id=name).expand(number=numbers)

with DAG("cleared", schedule=None):

    @task
    def before() -> None:
        if Variable.get(SKIP_BEFORE, default=""):
            raise AirflowSkipException("nothing to do today")

    with authorized("cleared") as group:
        load(extract())
    before() >> group >> after()

with DAG("expanded", schedule=None):
    AuthorizationSensor.partial(task_id="check").expand(integrations=["healthy", "mapped_healthy"])
