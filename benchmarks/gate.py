"""What a gate adds to a run, beside a task that does nothing in the same run, on a real Airflow.

Run with ``python -m benchmarks.gate``. It starts ``airflow standalone`` (SQLite, four workers) in a folder of
its own. A run is a chain of tasks that do nothing with a step between each two: nothing, an EmptyOperator
(which Airflow never starts), a Python task that does nothing, a DateTimeSensorAsync of a time long past (the
least that a trigger can do), a gate that checks in the triggerer (``start_from_trigger``, as that sensor),
one that checks on a worker (``deferrable=False``), and one in a mapped group (which begins on a worker).

What a step adds is the time between the ends of its neighbours, less that of the step that is nothing. Every
gate probes (``max_age`` 0); the order of the steps changes from run to run. Requests to the API server are
what its own log has between those ends, but for this benchmark's own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.accounts import TYPE_FOLDER, Accounts
from benchmarks.figures import spread, table
from benchmarks.folder import temporary_folder
from benchmarks.scene import ThirdParty, started_shop
from demo import connections, standalone
from demo.airflow_client import AirflowClient
from demo.keeper import Kept
from demo.options import Options
from demo.ports import free_port

DAGS = Path(__file__).parent / "dags"
KINDS = {
    "none": "nothing",
    "empty_operator": "EmptyOperator",
    "python": "empty Python task",
    "async_sensor": "DateTimeSensorAsync",
    "triggerer": "gate, in the triggerer",
    "worker": "gate, on a worker",
    "mapped": "gate, mapped",
}
_PASSWORD = "fake-password-of-admin"
_ENDS_WITHIN = 600.0


@dataclass(frozen=True)
class Span:
    """The time between the ends of a step's neighbours, and how many requests the API server had in it."""

    seconds: float
    airflow: int
    plugin: int


@dataclass(frozen=True)
class Airflow:
    """A running one."""

    client: AirflowClient
    log: Path

    def run(self, dag_id: str) -> dict[str, Span]:
        """Run a DAG, and tell the span of each kind of step.

        :raises RuntimeError: it failed, or took too long
        """
        run_id = self.client.trigger(dag_id)
        path = f"/dags/{dag_id}/dagRuns/{run_id}"
        deadline = time.monotonic() + _ENDS_WITHIN
        while (state := self._ask(path)["state"]) not in ("success", "failed"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{dag_id} is still {state}")
            time.sleep(2)
        found = self._ask(f"{path}/taskInstances?limit=100")["task_instances"]
        if state == "failed":
            raise RuntimeError(f"{dag_id} failed: { {each['task_id']: each['state'] for each in found} }")
        return self._spans(found)

    def _ask(self, path: str) -> Any:
        return self.client._ask("GET", path)  # noqa: SLF001

    def _spans(self, instances: Sequence[Mapping[str, Any]]) -> dict[str, Span]:
        requests = list(requests_in(self.log.read_text(errors="replace")))
        ends = {
            each["task_id"].rpartition(".")[2]: datetime.fromisoformat(each["end_date"])
            for each in instances
            if each["end_date"] and each["task_id"].rpartition(".")[2].startswith(("start", "after_"))
        }
        spans, (_, before), *rest = {}, *sorted(ends.items(), key=lambda each: each[1])
        for name, end in rest:
            within = [path for at, path in requests if before <= at < end]
            plugin = sum(path.startswith("/mbi-reauth") for path in within)
            spans[name.removeprefix("after_")] = Span(
                (end - before) / timedelta(seconds=1),
                airflow=sum(path.startswith("/execution") for path in within),
                plugin=plugin,
            )
            before = end
        return spans


def requests_in(log: str) -> Iterator[tuple[datetime, str]]:
    """Find the requests in the log of ``airflow standalone``: when each had been answered, and its path."""
    for line in log.splitlines():
        if "request finished" not in line:
            continue
        entry = json.loads(line[line.index("{") :])
        yield datetime.fromisoformat(entry["timestamp"]), entry["path"]


@contextmanager
def airflow() -> Iterator[Airflow]:
    """Start everything, and leave nothing behind."""
    with ExitStack() as ends:
        folder = ends.enter_context(temporary_folder())
        accounts = Accounts(1, started_shop(ends, ThirdParty(hosts=1), folder))
        ports = {name: free_port() for name in ("airflow", "worker-log", "triggerer-log")}
        options = Options(home=folder / "home", fresh=True, ports=ports)
        options.home.mkdir()
        environment = _environment(options, accounts)
        standalone.prepare(options, _PASSWORD)
        stored = {each: accounts.connection(each) for each in accounts.ids}
        connections.import_all(stored, home=options.home, environment=environment)
        log = standalone.log_file(options)
        running = Kept([sys.executable, "-m", "airflow", "standalone"], log=log, environment=environment)
        ends.callback(running.stop)
        client = AirflowClient(standalone.url(options), user=standalone.USER, password=_PASSWORD)
        standalone.wait_until_healthy(client, alive=lambda: running.alive, log=log)
        while len(client.dags()) < len(KINDS):
            if faults := client.import_errors():
                raise RuntimeError("\n".join(faults))
            time.sleep(1)
        yield Airflow(client, log)


def _environment(options: Options, accounts: Accounts) -> dict[str, str]:
    return {
        **standalone.environment(options),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__LOGGING__JSON_LOGS": "True",
        "AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER": str(TYPE_FOLDER),
        "AIRFLOW__MBI_REAUTH__REGISTRY": str(accounts.registry(options.home)),
    }


def report(runs: Sequence[Mapping[str, Span]]) -> str:
    """Write what each kind of step added, beside the empty Python task of the same run."""
    rows = []
    for kind, name in KINDS.items():
        if kind == "none":
            continue
        added = [run[kind].seconds - run["none"].seconds for run in runs]
        empty = [run["python"].seconds - run["none"].seconds for run in runs]
        ratios = [one / other for one, other in zip(added, empty, strict=True)]
        asked = [run[kind].airflow - run["none"].airflow for run in runs]
        asked_plugin = [run[kind].plugin for run in runs]
        rows.append((name, spread(added, 2), spread(ratios, 2), spread(asked, 0), spread(asked_plugin, 0)))
    heads = ("step", "adds, seconds", "beside the empty task", "requests, Execution API", "requests, plugin")
    return table(heads, rows)


def main() -> None:
    """Run the DAGs in turns, and print the figures; the first run warms up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=12)
    options = parser.parse_args()
    with airflow() as running:
        running.run("gate_cost_0")
        runs = [running.run(f"gate_cost_{number % len(KINDS)}") for number in range(options.runs)]
    print(f"{options.runs} runs\n\n{report(runs)}")  # noqa: T201


if __name__ == "__main__":
    main()
