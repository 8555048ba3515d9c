"""The product as a new user starts it: ``python -m demo``, on free ports and in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from demo.airflow_client import AirflowClient, Run
from demo.story import SWEEP

CHECKOUT = Path(__file__).resolve().parents[2]
PORTS = ("airflow", "demo", "shop", "smtp", "database", "worker-log", "triggerer-log")
STARTS_WITHIN = 300.0
ENDED = {"success", "failed"}
RUNS_WITHIN = 180.0


@dataclass
class Demo:
    """A running demo: its page, its Airflow, its mailbox, as a person reaches them."""

    process: subprocess.Popen[str]
    home: Path
    ports: dict[str, int]
    airflow: AirflowClient
    page: httpx.Client

    def press(self, path: str) -> str:
        """Press a button of the page and return what it said."""
        answer = self.page.post(path, headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["said"])

    def lose(self, integration_id: str, switch: str) -> None:
        self.press(f"/integrations/{integration_id}/switch/{switch}")

    def put_right(self, integration_id: str) -> None:
        self.press(f"/integrations/{integration_id}/put-right")

    def start(self, integration_id: str) -> str:
        """Start an extraction and return its run id."""
        return self.airflow.trigger(f"mbi_extract_{integration_id}")

    def run(self, integration_id: str) -> Run:
        """Run an extraction and return it when it has ended."""
        return self.ended(integration_id, self.start(integration_id))

    def ended(self, integration_id: str, run_id: str) -> Run:
        """Return a run when it has ended."""

        def found() -> Run | None:
            run = self._run(integration_id, run_id)
            return run if run and run.state in {"success", "failed"} else None

        return cast("Run", until(found, f"{run_id} to end", within=RUNS_WITHIN))

    def sweep(self) -> Run:
        """Run the sweep and return it when it has ended."""
        run_id = self.airflow.trigger(SWEEP)

        def found() -> Run | None:
            runs = self.airflow.latest_runs(SWEEP, 20)
            return next((run for run in runs if run.run_id == run_id and run.state in ENDED), None)

        return cast("Run", until(found, f"{run_id} to end", within=RUNS_WITHIN))

    def task_state(self, integration_id: str, run_id: str, task_id: str, awaited: set[str]) -> str:
        """Return the state of one task of the integration's group when it is one of those awaited."""

        def found() -> str | None:
            run = self._run(integration_id, run_id)
            state = run.tasks.get(f"{integration_id}.{task_id}") if run else None
            return state if state in awaited else None

        return str(until(found, f"{task_id} of {run_id} to be {awaited}", within=RUNS_WITHIN))

    def _run(self, integration_id: str, run_id: str) -> Run | None:
        runs = self.airflow.latest_runs(f"mbi_extract_{integration_id}", 20)
        return next((run for run in runs if run.run_id == run_id), None)

    def mails(self) -> list[dict[str, Any]]:
        return list(self.page.get("/mailbox/messages.json").json())

    def rows(self, integration_id: str) -> int:
        """Count the rows that have landed in files."""
        import gzip

        files = [path for path in (self.home / "data" / integration_id).rglob("*.gz") if path.is_file()]
        return sum(len(gzip.decompress(path.read_bytes()).splitlines()) for path in files)


def until(found: Callable[[], Any], what: str, *, within: float) -> Any:
    """Poll until there is something."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if (result := found()) is not None:
            return result
        time.sleep(0.5)
    pytest.fail(f"waited {within:.0f} s for {what}")


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    ports = {name: listening.getsockname()[1] for name, listening in sockets.items()}
    for listening in sockets.values():
        listening.close()
    return ports


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    home = tmp_path_factory.mktemp("demo") / "home"
    ports = free_ports(PORTS)
    options = [option for name, port in ports.items() for option in (f"--{name}-port", str(port))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    log = (home.parent / "demo.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "demo", "--home", str(home), *options],
        cwd=CHECKOUT,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield _started(process, home, ports, Path(log.name))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=90)
        log.close()
        assert [name for name, port in ports.items() if listening(port)] == [], "ports still taken"


def _started(process: subprocess.Popen[str], home: Path, ports: dict[str, int], log: Path) -> Demo:
    page = httpx.Client(base_url=f"http://127.0.0.1:{ports['demo']}", timeout=30, trust_env=False)

    def ready() -> bool | None:
        assert process.poll() is None, log.read_text()[-4000:]
        return True if "Ctrl-C" in log.read_text() else None

    until(ready, f"the demo to start\n{log.read_text()[-2000:]}", within=STARTS_WITHIN)
    password = json.loads((home / "keys.json").read_text())["airflow_password"]
    airflow = AirflowClient(f"http://127.0.0.1:{ports['airflow']}", user="admin", password=password)
    return Demo(process, home, ports, airflow, page)
