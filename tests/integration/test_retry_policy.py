"""An authorization that is lost between the gate and the extraction, in DAGs run by ``dag.test()``.

The plugin's app, the mail server and the third party are real servers on loopback ports.
"""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import connections
from demo.mailbox import Mailbox
from tests.integration.test_gate_in_dags import CHECKOUT, EMAIL, GATE, Airflow
from tests.loopback import reply, serving

LOST = ("lost_session", "lost_hook", "lost_httpx", "lost_aiohttp")
KEPT = ("ambiguous", "this_only", "outage", "shadowed")
TRIES = 3
KEYSHOP = CHECKOUT / "tests" / "e2e" / "integration_types" / "keyshop.yaml"
KEY = "fake-canary-key-of"

_ANSWERS = {
    "good": reply(body=b'{"account": "north"}', content_type="application/json"),
    "lost": reply("401 Unauthorized", www_authenticate='Bearer error="invalid_token"'),
    "bare": reply("401 Unauthorized"),
    "outage": reply("503 Service Unavailable"),
}


@dataclass
class Shop:
    """Lets everybody in until orders are read; then refuses both, or the orders only."""

    asked: Counter[str] = field(default_factory=Counter)

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        _, name, question = head.split(b" ")[1].decode().split("/")
        self.asked[f"{name}/{question}"] += 1
        orders = {"ambiguous": "bare", "outage": "outage"}.get(name, "lost")
        if name == "recovers":
            orders = "outage" if self.asked[f"{name}/orders"] == 1 else "good"
        read = self.asked[f"{name}/orders"] > 0
        me = orders if read and name not in ("this_only", "outage") else "good"
        _ANSWERS[orders if question == "orders" else me](connection, head)


@dataclass(frozen=True)
class Outcome:
    states: dict[str, dict[str, str]]
    asked: Counter[str]
    mails: list[Any]
    blocked: list[tuple[str, str, int]]
    would_block: list[tuple[str, str]]
    output: str


def catalogue(folder: Path, names: Iterable[str]) -> Path:
    folder.mkdir()
    for name in names:
        shutil.copyfile(KEYSHOP, folder / f"{name}.yaml")
    return folder


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Run every DAG of ``dags_losing_it.py`` once."""
    home = tmp_path_factory.mktemp("losing") / "home"
    airflow = Airflow(home)
    dags = airflow.dags / "dags_losing_it.py"
    dags.symlink_to(Path(__file__).with_name("dags_losing_it.py"))
    (airflow.dags / "gated_dags.py").unlink()
    owner = {"name": "Dana Example"}
    names = (*LOST, *KEPT, "recovers")
    # Each of a type of its own: all at once, they would be an outage.
    entries = {name: {"type": name, "owner": {**owner, "email": f"{name}@example.com"}} for name in names}
    (home / "integrations.yaml").write_text(yaml.safe_dump({"integrations": entries}))
    airflow.environment["AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER"] = str(catalogue(home / "types", names))
    shop = Shop()
    with serving(shop) as loopback, Mailbox() as mailbox:
        stored: dict[str, connections.Connection] = {
            name: {"conn_type": "http", "host": f"{loopback.url}/{name}", "password": f"{KEY}-{name}"}
            for name in names
        }
        stored[connections.SMTP] = connections.mailbox(mailbox.port)
        airflow.run("-m", "airflow", "db", "migrate")
        connections.import_all(stored, home=home, environment=airflow.environment)
        app = airflow.serve()
        try:
            output = airflow.run(str(dags))
        finally:
            app.terminate()
            app.wait(timeout=30)
        states = next(line for line in output.splitlines() if line.startswith("STATES "))
        with closing(sqlite3.connect(home / "airflow.db")) as database:
            blocked = database.execute(
                "SELECT dag_id, task_id, try_number FROM mbi_reauth_blocked_run ORDER BY dag_id"
            ).fetchall()
            would_block = database.execute("SELECT dag_id, task_id FROM mbi_reauth_would_block").fetchall()
        yield Outcome(
            states=json.loads(states.removeprefix("STATES ")),
            asked=shop.asked,
            mails=mailbox.messages,
            blocked=blocked,
            would_block=would_block,
            output=output,
        )


@pytest.mark.parametrize("name", LOST)
def test_a_lost_authorization_ends_the_extraction_at_its_first_try(outcome: Outcome, name: str) -> None:
    assert outcome.states[name] == {
        f"{name}.{GATE}": "success",
        f"{name}.extract": "failed",
        f"{name}.{EMAIL}": "skipped",
    }
    assert outcome.asked[f"{name}/orders"] == 1


def test_each_failed_extraction_is_owed_a_resume_and_its_owner_got_one_mail(outcome: Outcome) -> None:
    assert outcome.blocked == [(name, f"{name}.extract", 1) for name in sorted(LOST)]
    told = [recipient for mail in outcome.mails for recipient in mail.recipients]
    assert sorted(told) == [f"{name}@example.com" for name in sorted(LOST)]


@pytest.mark.parametrize("name", KEPT)
def test_all_retries_are_made_where_no_check_is_certain(outcome: Outcome, name: str) -> None:
    assert outcome.states[name][f"{name}.extract"] == "failed"
    assert outcome.asked[f"{name}/orders"] == TRIES


def test_in_shadow_mode_it_is_only_counted_that_the_retries_would_have_ended(outcome: Outcome) -> None:
    assert outcome.would_block == [("shadowed", "shadowed.extract")]


def test_an_outage_is_not_checked_and_a_retry_gets_over_it(outcome: Outcome) -> None:
    assert outcome.asked["outage/me"] == 1, "the gate's"
    assert outcome.states["recovers"]["recovers.extract"] == "success"
    assert outcome.asked["recovers/orders"] == 2


def test_no_key_is_in_the_log_or_a_mail(outcome: Outcome) -> None:
    assert "Retry policy decision" in outcome.output
    said = outcome.output + "".join(f"{mail.text}{mail.html}" for mail in outcome.mails)
    assert KEY not in said
