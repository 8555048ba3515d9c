"""Gated DAGs for ``test_chaos.py``; each extraction writes down when it begins and when it has landed."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task, task_group

from mbi_reauth.gate import GateOptions, authorized

LANDINGS = Path(os.environ["MBI_CHAOS_LANDINGS"])
AT_WORK = 0.5
"""Seconds in which an extraction can be killed."""

WAITING: GateOptions = {"on_blocked": "wait", "poke_interval": 20, "timeout": 3600}
RESCHEDULED: GateOptions = {"deferrable": False, "mode": "reschedule"}

RETRIED = {"retries": 20, "retry_delay": timedelta(seconds=2), "retry_exponential_backoff": False}
"""More often than anything is killed: what is left undone at the end is not for want of tries."""


def note(event: str) -> None:
    """Append a line, whole or not at all."""
    ti = get_current_context()["ti"]
    line: dict[str, Any] = {"event": event, "dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id}
    line |= {"map_index": ti.map_index, "try_number": ti.try_number, "at": time.time()}
    with LANDINGS.open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")


@task
def extract() -> None:
    note("begun")
    time.sleep(AT_WORK)
    note("landed")


GATED: dict[str, tuple[list[str], GateOptions]] = {
    "skips": (["key_north"], {"max_age": 0}),
    "skips_too": (["shop_north"], {"max_age": 0}),
    "needs_both": (["key_south", "shop_south"], {"max_age": 0}),
    "waits": (["key_north"], {"max_age": 0, **WAITING}),
    "waits_on_worker": (["shop_north"], {"max_age": 0, **WAITING, **RESCHEDULED}),
}

for name, (integrations, options) in GATED.items():
    with DAG(name, schedule=None, default_args=RETRIED), authorized(*integrations, **options):
        extract()

with DAG("mapped", schedule=None, default_args=RETRIED):

    @task_group
    def each(number: int) -> None:
        with authorized("key_mapped", max_age=0):
            extract()

    each.expand(number=[1, 2])
