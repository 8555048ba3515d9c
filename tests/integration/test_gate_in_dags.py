"""Gates in real DAGs, run by ``dag.test()`` with the plugin's app and real OAuth and mail servers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from demo import connections
from demo.mailbox import Mailbox
from demo.third_party import Switch, ThirdParty
from tests.mbi import CLIENT_ID, EXPORT_KEY, Mbi, a_job, mbi_server

CHECKOUT = Path(__file__).resolve().parents[2]
LOST = ("lost", "lost_mapped", "lost_failing", "lost_waiting", "lost_shadow")
Outcome = tuple[dict[str, Any], list[Any]]
GATE, EMAIL = "check_authorization", "needs_reauth.email_owner"


def registry(path: Path) -> Path:
    entries: dict[str, dict[str, Any]] = {
        name: {"type": "shopdemo", "owner": {"name": "Dana Example", "email": f"{name}@example.com"}}
        for name in ("healthy", "down", "no_connection", "behind_mbi", "mbi_updates", *LOST)
    }
    entries["behind_mbi"] |= {"mbi_signal": "mbi_updates", "conn_id": "healthy"}
    entries["mbi_updates"]["type"] = "mbi_update_cycle"
    path.write_text(yaml.safe_dump({"integrations": entries}))
    return path


def stored_connections(third_party: ThirdParty, mailbox: Mailbox) -> dict[str, connections.Connection]:
    """One account's grants live, those of the other have been revoked; one server does not listen."""
    found = {name: connections.shopdemo(third_party) for name in (*LOST, "down")}
    third_party.switch(Switch.REVOKE_GRANT, account=connections.ACCOUNT)
    found["healthy"] = connections.shopdemo(third_party)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        found["down"]["host"] = f"http://127.0.0.1:{closed.getsockname()[1]}"
    return {**found, connections.SMTP: connections.mailbox(mailbox.port)}


def mbi_updates(mbi: Mbi) -> connections.Connection:
    """Make the connection of an MBI account whose last update is years old."""
    return {
        "conn_type": "mbireauth",
        "host": mbi.url,
        "login": CLIENT_ID,
        "password": EXPORT_KEY,
        "extra": {"time_zone": "America/New_York"},
    }


class Airflow:
    """An Airflow home of its own, with the plugin's app on a loopback port."""

    def __init__(self, home: Path) -> None:
        self.dags = home / "dags"
        self.dags.mkdir(parents=True)
        # dag.test() reads the DAG file again, from Airflow's own DAGs folder.
        (self.dags / "gated_dags.py").symlink_to(Path(__file__).with_name("gated_dags.py"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__MBI_REAUTH__APP_URL": f"http://127.0.0.1:{self.port}",
            "AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER": str(CHECKOUT / "demo" / "integration_types"),
            "AIRFLOW__MBI_REAUTH__REGISTRY": str(registry(home / "integrations.yaml")),
            "PYTHONPATH": str(CHECKOUT),
        }

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def serve(self) -> subprocess.Popen[bytes]:
        factory = "mbi_reauth.api.app:create_app"
        command = [sys.executable, "-m", "uvicorn", "--factory", factory, "--port", str(self.port)]
        process = subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/health", trust_env=False).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.2)
            else:
                return process
        process.kill()
        pytest.fail("the plugin's app did not start")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Run every DAG of ``gated_dags.py`` once; yield the states of their tasks and the mails that came."""
    home = tmp_path_factory.mktemp("gates") / "home"
    airflow = Airflow(home)
    with ThirdParty(access_token_lifetime=3600) as third_party, Mailbox() as mailbox, mbi_server() as mbi:
        mbi.job = a_job("2020-01-01 00:00:00")
        stored = {**stored_connections(third_party, mailbox), "mbi_updates": mbi_updates(mbi)}
        airflow.run("-m", "airflow", "db", "migrate")
        connections.import_all(stored, home=home, environment=airflow.environment)
        app = airflow.serve()
        try:
            output = airflow.run(str(airflow.dags / "gated_dags.py"))
        finally:
            app.terminate()
            app.wait(timeout=30)
        states = next(line for line in output.splitlines() if line.startswith("STATES "))
        yield json.loads(states.removeprefix("STATES ")), mailbox.messages


@pytest.mark.parametrize(
    ("dag_id", "gate", "extraction", "email"),
    [
        ("one_healthy", "success", "success", "skipped"),
        ("one_lost", "skipped", "skipped", "success"),
        ("classic", "success", "success", "skipped"),
        ("setup_healthy", "success", "success", "skipped"),
        ("setup_lost", "skipped", "skipped", "skipped"),
        ("outage", "success", "success", "skipped"),
        ("behind_mbi", "failed", "upstream_failed", "skipped"),
        ("behind_mbi_proceeds", "success", "success", "skipped"),
        ("misconfigured", "failed", "upstream_failed", "skipped"),
        ("fails", "failed", "upstream_failed", "success"),
        ("waits", "failed", "upstream_failed", "skipped"),
        ("shadow", "success", "success", "skipped"),
    ],
)
def test_gate_extraction_and_email_end_as_they_should(
    outcome: Outcome, dag_id: str, gate: str, extraction: str, email: str
) -> None:
    states = {task_id.partition(".")[2] or task_id: state for task_id, state in outcome[0][dag_id].items()}
    assert states.pop(GATE) == gate
    assert states.pop(EMAIL) == email
    assert set(states.values()) == {extraction}


def test_two_integrations_are_one_gate_that_either_can_close(outcome: Outcome) -> None:
    assert outcome[0]["two"] == {
        f"healthy_and_lost.{GATE}": "skipped",
        "healthy_and_lost.extract": "skipped",
        f"healthy_and_lost.{EMAIL}": "skipped",
        "after": "skipped",
    }


def test_every_instance_of_a_mapped_group_is_gated_and_one_of_them_sends_the_email(outcome: Outcome) -> None:
    states = outcome[0]["mapped"]
    for index in (0, 1):
        assert states[f"each.lost_mapped.{GATE}[{index}]"] == "skipped"
        assert states[f"each.lost_mapped.work[{index}]"] == "skipped"
    assert sorted(states[f"each.lost_mapped.{EMAIL}[{index}]"] for index in (0, 1)) == ["skipped", "success"]


def test_a_gate_skipped_by_its_own_upstream_tells_nobody(outcome: Outcome) -> None:
    assert set(outcome[0]["skipped_by_its_own_upstream"].values()) == {"skipped"}


def test_each_owner_of_a_lost_authorization_got_one_email_and_nobody_else_did(outcome: Outcome) -> None:
    told = sorted(recipient for mail in outcome[1] for recipient in mail.recipients)
    assert told == [f"{name}@example.com" for name in sorted(LOST) if name != "lost_shadow"]
