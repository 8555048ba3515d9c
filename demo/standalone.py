"""``airflow standalone`` with its own home, on loopback, as one family of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from demo.airflow_client import AirflowClient
from demo.keeper import Kept
from demo.keys import write_private
from demo.options import CHECKOUT, Options
from demo.webserver import LOOPBACK

USER = "admin"
_START_TIMEOUT = 240.0


def url(options: Options) -> str:
    """Airflow's address, without a trailing slash."""
    return f"http://{LOOPBACK}:{options.ports['airflow']}"


def environment(options: Options) -> dict[str, str]:
    """Airflow's settings for the demo; whatever another Airflow has set in the environment is left out."""
    settings = {
        "CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "CORE__DEFAULT_TASK_RETRY_DELAY": "10",  # seconds; nobody watches a demo for Airflow's five minutes
        "CORE__EXECUTION_API_SERVER_URL": f"{url(options)}/execution/",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__PARALLELISM": "4",  # the default starts 32 worker processes
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_passwords_file(options)),
        "CORE__TEST_CONNECTION": "Enabled",
        "API__HOST": LOOPBACK,
        "API__PORT": str(options.ports["airflow"]),
        "API__BASE_URL": url(options),
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(options.ports["triggerer-log"]),
        "LOGGING__WORKER_LOG_SERVER_PORT": str(options.ports["worker-log"]),
        "MBI_REAUTH__CATALOGUE_FOLDER": str(CHECKOUT / "demo" / "integration_types"),
        "MBI_REAUTH__CONTACT": "data-team@example.com",
        "MBI_REAUTH__ENGINEER_EMAIL": "data-team@example.com",
        "MBI_REAUTH__MAX_AGE": "0",  # a switch of the page shows in the very next run
        "MBI_REAUTH__REGISTRY": str(CHECKOUT / "demo" / "integrations.yaml"),
        "MBI_REAUTH__SWEEP_SCHEDULE": "",  # when its button is pressed, so that the story goes step by step
        "MBI_REAUTH__SWEEP_SPREAD": "0",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    programs = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    return {
        **inherited,
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        "AIRFLOW_HOME": str(options.home),
        "PATH": programs,  # standalone starts its components as `airflow`
        "NO_COLOR": "1",
    }


def prepare(options: Options, password: str) -> None:
    """Create or migrate Airflow's database, and set the password of its one user."""
    write_private(_passwords_file(options), json.dumps({USER: password}))
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(  # noqa: S603
        command, env=environment(options), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"`airflow db migrate` failed:\n{(done.stderr or done.stdout).strip()[-3000:]}")


def start(options: Options) -> Kept:
    """Start Airflow; its output goes to :func:`log_file`."""
    command = [sys.executable, "-m", "airflow", "standalone"]
    return Kept(command, log=log_file(options), environment=environment(options))


def log_file(options: Options) -> Path:
    """Name the file with the output of all of Airflow's components."""
    return options.home / "standalone.log"


def wait_until_healthy(client: AirflowClient, *, alive: Callable[[], bool], log: Path) -> None:
    """Return when every component reports healthy; RuntimeError when Airflow ends or takes too long."""
    deadline = time.monotonic() + _START_TIMEOUT
    while missing := client.unhealthy():
        if not alive():
            raise RuntimeError(f"Airflow ended while it was starting; the end of {log}:\n{_tail(log, '')}")
        if time.monotonic() > deadline:
            words = f"not healthy after {_START_TIMEOUT:.0f} s: {', '.join(missing)}"
            raise RuntimeError(f"Airflow is {words}; of {log}:\n{_tail(log, missing[0])}")
        time.sleep(0.5)


def _tail(log: Path, component: str) -> str:
    """Read the last lines of one component, or of all."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if line.startswith(component.replace("_", "-"))][-25:])


def _passwords_file(options: Options) -> Path:
    return options.home / "simple_auth_manager_passwords.json"
