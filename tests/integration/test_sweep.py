"""The sweep as Airflow runs it (``airflow dags test``), with the plugin's app, a mail server and a shop."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import connections
from demo.mailbox import Mailbox
from tests.integration.test_gate_in_dags import CHECKOUT, Airflow
from tests.loopback import Script, reply, serving

DAG_ID = "mbi_authorization_sweep"
KEY = "fake-canary-key-of"
GOOD = ("good_0", "good_1", "good_2", "good_3")
BAD = ("lost", "bare", "throttled", "missing")
ANSWERS: dict[str, Script] = {
    "lost": reply("401 Unauthorized", www_authenticate='Bearer error="invalid_token"'),
    "bare": reply("401 Unauthorized"),
    "throttled": reply("429 Too Many Requests", retry_after="900"),
}
FINE = reply(body=b'{"account": "north"}', content_type="application/json")


@dataclass
class Shop:
    """Answers each integration, by the first part of the path, and counts the questions."""

    asked: Counter[str] = field(default_factory=Counter)

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        name = head.split(b" ")[1].decode().split("/")[1]
        self.asked[name] += 1
        ANSWERS.get(name, FINE)(connection, head)


@dataclass(frozen=True)
class Swept:
    """One run of the sweep; ``asked`` and ``mailed`` are of this run alone."""

    succeeded: bool
    output: str
    asked: Counter[str]
    mailed: list[tuple[str, ...]]
    shards: list[dict[str, int]]
    summary: dict[str, int] | None


@dataclass
class Scene:
    airflow: Airflow
    home: Path
    shop: Shop
    mailbox: Mailbox

    def sweep(self, day: int) -> Swept:
        asked, mailed = self.shop.asked.copy(), len(self.mailbox.messages)
        date = f"2026-02-{day:02}"
        command = [sys.executable, "-m", "airflow", "dags", "test", DAG_ID, date]
        done = subprocess.run(
            command, env=self.airflow.environment, capture_output=True, text=True, check=False, timeout=100
        )
        return Swept(
            succeeded=self._state(date) == "success",
            output=done.stdout + done.stderr,
            asked=self.shop.asked - asked,
            mailed=[mail.recipients for mail in self.mailbox.messages[mailed:]],
            shards=self._values(date, "check_shard"),
            summary=next(iter(self._values(date, "summarize")), None),
        )

    def _state(self, date: str) -> str | None:
        rows = self._rows("SELECT state FROM dag_run WHERE dag_id = ? AND logical_date LIKE ?", date)
        return next(iter(rows), None)

    def _values(self, date: str, task_id: str) -> list[Any]:
        rows = self._rows(
            "SELECT x.value FROM xcom x JOIN dag_run r ON r.id = x.dag_run_id WHERE x.dag_id = ?"
            " AND r.logical_date LIKE ? AND x.task_id = ? AND x.key = 'return_value' ORDER BY x.map_index",
            date,
            task_id,
        )
        return [json.loads(value) for value in rows]

    def _rows(self, query: str, date: str, *more: str) -> list[Any]:
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            return [row[0] for row in database.execute(query, (DAG_ID, f"{date}%", *more))]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("sweep") / "home"
    airflow = Airflow(home)
    (airflow.dags / "gated_dags.py").unlink()
    (airflow.dags / "mbi_authorization_sweep.py").symlink_to(CHECKOUT / "dags" / "mbi_authorization_sweep.py")
    entries = {
        name: {"type": "keyshop", "owner": {"name": "Dana Example", "email": f"{name}@example.com"}}
        for name in (*GOOD, *BAD)
    }
    (home / "integrations.yaml").write_text(yaml.safe_dump({"integrations": entries}))
    airflow.environment |= {
        "AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER": str(CHECKOUT / "tests" / "e2e" / "integration_types"),
        "AIRFLOW__MBI_REAUTH__MAX_AGE": "3600",
        "AIRFLOW__MBI_REAUTH__SWEEP_SHARD_SIZE": "3",
        "AIRFLOW__MBI_REAUTH__SWEEP_SPREAD": "0",
    }
    shop = Shop()
    with serving(shop) as loopback, Mailbox() as mailbox:
        stored: dict[str, connections.Connection] = {
            name: {"conn_type": "http", "host": f"{loopback.url}/{name}", "password": f"{KEY}-{name}"}
            for name in (*GOOD, *BAD)
            if name != "missing"
        }
        stored[connections.SMTP] = connections.mailbox(mailbox.port)
        airflow.run("-m", "airflow", "db", "migrate")
        connections.import_all(stored, home=home, environment=airflow.environment)
        yield Scene(airflow, home, shop, mailbox)


@pytest.fixture(scope="module")
def sweeps(scene: Scene) -> tuple[Swept, Swept]:
    """Sweep twice while the app is there."""
    app = scene.airflow.serve()
    try:
        return scene.sweep(1), scene.sweep(2)
    finally:
        app.terminate()
        app.wait(timeout=30)


@pytest.fixture
def first(sweeps: tuple[Swept, Swept]) -> Swept:
    return sweeps[0]


@pytest.fixture
def second(sweeps: tuple[Swept, Swept]) -> Swept:
    return sweeps[1]


def test_every_integration_is_asked_once_in_shards_and_the_run_succeeds(first: Swept) -> None:
    assert first.succeeded, first.output[-4000:]
    assert first.asked == Counter([*GOOD, "lost", "bare", "throttled"])
    assert sorted(shard["integrations"] for shard in first.shards) == [2, 3, 3]


def test_the_summary_counts_what_was_found(first: Swept) -> None:
    assert first.summary == {
        "integrations": 8,
        "probes": 7,
        "authorized": 4,
        "needs_reauth": 2,
        "unavailable": 1,
        "misconfigured": 1,
        "opened_emails": 1,
    }


def test_the_owner_of_the_one_certain_loss_is_mailed_and_only_once(first: Swept, second: Swept) -> None:
    assert first.mailed == [("lost@example.com",)]
    assert second.mailed == []
    assert second.summary is not None
    assert second.summary["needs_reauth"] == 2
    assert "opened_emails" not in second.summary


def test_a_recent_proof_is_not_renewed_and_a_throttle_is_respected(second: Swept) -> None:
    assert second.succeeded, second.output[-4000:]
    assert second.asked == Counter(["lost", "bare"])
    assert second.summary is not None
    assert (second.summary["authorized"], second.summary["unavailable"]) == (4, 1)


def test_the_log_tells_progress_and_no_key(first: Swept, second: Swept) -> None:
    assert "3 of 3 checked" in first.output
    assert KEY not in first.output + second.output


def test_the_run_fails_while_the_app_is_away(scene: Scene, sweeps: object) -> None:
    swept = scene.sweep(3)
    assert not swept.succeeded
    assert "took part in none of 8 checks" in swept.output
    assert sum(shard["integrations"] for shard in swept.shards) == 8
    assert swept.asked == Counter([*GOOD, "lost", "bare", "throttled"])


def test_the_run_fails_on_a_registry_with_faults_and_says_them(scene: Scene, sweeps: object) -> None:
    registry = scene.home / "integrations.yaml"
    good = registry.read_text()
    registry.write_text(good.replace("type: keyshop", "type: keyshpo", 1))
    try:
        swept = scene.sweep(4)
    finally:
        registry.write_text(good)
    assert not swept.succeeded
    assert 'did you mean "keyshop"' in swept.output
    assert swept.asked == Counter()
