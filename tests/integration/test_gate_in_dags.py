"""Gates in real DAGs, run by ``dag.test()`` with the plugin's app and real OAuth and mail servers."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
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
LOST = ("lost", "lost_mapped", "lost_failing", "lost_waiting", "lost_shadow", "lost_later")
IN_SHADOW = ("lost_shadow", "lost_later")
GATE, EMAIL = "check_authorization", "needs_reauth.email_owner"

ENDS = {
    "one_healthy": ("success", "success", "skipped"),
    "one_lost": ("skipped", "skipped", "success"),
    "classic": ("success", "success", "skipped"),
    "setup_healthy": ("success", "success", "skipped"),
    "setup_lost": ("skipped", "skipped", "skipped"),
    "outage": ("success", "success", "skipped"),
    "behind_mbi": ("failed", "upstream_failed", "skipped"),
    "behind_mbi_proceeds": ("success", "success", "skipped"),
    "misconfigured": ("failed", "upstream_failed", "skipped"),
    "fails": ("failed", "upstream_failed", "success"),
    "waits": ("failed", "upstream_failed", "skipped"),
    "shadow": ("success", "success", "skipped"),
}
"""How the gate, the tasks of the extraction, and the email of each DAG end."""


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


@dataclass(frozen=True)
class Outcome:
    """What became of the tasks of each DAG, the mails that came, and what the app remembers afterwards."""

    states: dict[str, dict[str, str]]
    mails: list[Any]
    output: str
    would_block: list[tuple[str, str, str]]
    blocked: list[str]
    incidents: list[str]


@dataclass
class Scene:
    airflow: Airflow
    home: Path
    mailbox: Mailbox

    def run(self, *dag_ids: str, **settings: str) -> Outcome:
        """Run DAGs once, with these settings of the plugin for them and for its app."""
        self.mailbox.clear()
        before = dict(self.airflow.environment)
        self.airflow.environment |= {
            f"AIRFLOW__MBI_REAUTH__{name.upper()}": value for name, value in settings.items()
        }
        app = self.airflow.serve()
        try:
            output = self.airflow.run(str(self.airflow.dags / "gated_dags.py"), *dag_ids)
        finally:
            app.terminate()
            app.wait(timeout=30)
            self.airflow.environment = before
        states = next(line for line in output.splitlines() if line.startswith("STATES "))
        return Outcome(
            json.loads(states.removeprefix("STATES ")),
            self.mailbox.messages,
            output,
            self._rows("SELECT dag_id, task_id, cause FROM mbi_reauth_would_block ORDER BY dag_id"),
            [row[0] for row in self._rows("SELECT DISTINCT dag_id FROM mbi_reauth_blocked_run")],
            [row[0] for row in self._rows("SELECT integration_id FROM mbi_reauth_incident")],
        )

    def _rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            return database.execute(query).fetchall()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("gates") / "home"
    airflow = Airflow(home)
    with ThirdParty(access_token_lifetime=3600) as third_party, Mailbox() as mailbox, mbi_server() as mbi:
        mbi.job = a_job("2020-01-01 00:00:00")
        stored = {**stored_connections(third_party, mailbox), "mbi_updates": mbi_updates(mbi)}
        airflow.run("-m", "airflow", "db", "migrate")
        connections.import_all(stored, home=home, environment=airflow.environment)
        yield Scene(airflow, home, mailbox)


@pytest.fixture(scope="module")
def outcome(scene: Scene) -> Outcome:
    """Run each DAG of ``gated_dags.py`` once, without the plugin's shadow mode."""
    return scene.run(*ENDS, "two", "mapped", "skipped_by_its_own_upstream")


@pytest.mark.parametrize("dag_id", ENDS)
def test_gate_extraction_and_email_end_as_they_should(outcome: Outcome, dag_id: str) -> None:
    assert ends(outcome.states[dag_id]) == ENDS[dag_id]


def ends(states: dict[str, str]) -> tuple[str, str, str]:
    """Tell how the gate, the extraction and the email ended."""
    named = {task_id.partition(".")[2] or task_id: state for task_id, state in states.items()}
    gate, email = named.pop(GATE), named.pop(EMAIL)
    (extraction,) = set(named.values())
    return gate, extraction, email


def test_two_integrations_are_one_gate_that_either_can_close(outcome: Outcome) -> None:
    assert outcome.states["two"] == {
        f"healthy_and_lost.{GATE}": "skipped",
        "healthy_and_lost.extract": "skipped",
        f"healthy_and_lost.{EMAIL}": "skipped",
        "after": "skipped",
    }


def test_every_instance_of_a_mapped_group_is_gated_and_one_of_them_sends_the_email(outcome: Outcome) -> None:
    states = outcome.states["mapped"]
    for index in (0, 1):
        assert states[f"each.lost_mapped.{GATE}[{index}]"] == "skipped"
        assert states[f"each.lost_mapped.work[{index}]"] == "skipped"
    assert sorted(states[f"each.lost_mapped.{EMAIL}[{index}]"] for index in (0, 1)) == ["skipped", "success"]


def test_a_gate_skipped_by_its_own_upstream_tells_nobody(outcome: Outcome) -> None:
    assert set(outcome.states["skipped_by_its_own_upstream"].values()) == {"skipped"}


def test_each_owner_of_a_lost_authorization_got_one_email_and_nobody_else_did(outcome: Outcome) -> None:
    told = sorted(recipient for mail in outcome.mails for recipient in mail.recipients)
    assert told == [f"{name}@example.com" for name in sorted(LOST) if name not in IN_SHADOW]


def test_a_gate_in_shadow_mode_has_only_counted_what_it_would_have_stopped(outcome: Outcome) -> None:
    assert outcome.would_block == [("shadow", f"lost_shadow.{GATE}", "grant_revoked")]
    assert "shadow" not in outcome.blocked
    assert "lost_shadow" not in outcome.incidents
    assert "Shadow mode: the extraction proceeds; otherwise it would be skipped" in outcome.output


def test_in_the_plugins_shadow_mode_nothing_is_stopped_or_mailed_but_the_loss_is_known(
    scene: Scene, outcome: Outcome
) -> None:
    names = ("plugin_shadow_fails", "plugin_shadow_skips", "plugin_shadow_waits")
    shadowed = scene.run(*names, shadow="True")
    assert {ends(states) for states in shadowed.states.values()} == {("success", "success", "skipped")}
    assert shadowed.mails == []
    counted = set(shadowed.would_block) - set(outcome.would_block)
    assert counted == {(name, f"lost_later.{GATE}", "grant_revoked") for name in names}
    assert set(shadowed.blocked) == set(outcome.blocked)
    assert "lost_later" in shadowed.incidents


def test_the_command_lists_what_shadow_mode_would_have_done(scene: Scene, outcome: Outcome) -> None:
    app = scene.airflow.serve()
    try:
        listed = scene.airflow.run("-m", "mbi_reauth", "shadow")
    finally:
        app.terminate()
        app.wait(timeout=30)
    assert "lost_shadow" in listed
    assert "grant_revoked" in listed
