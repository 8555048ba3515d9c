"""A real Airflow with a DAG for each mode of the gate, and third parties that a test controls."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from demo import connections, standalone
from demo.airflow_client import AirflowClient
from demo.keeper import Kept
from demo.mailbox import Mailbox
from demo.options import CHECKOUT, Options
from demo.third_party import Switch, ThirdParty
from tests.e2e.conftest import free_ports, listening, until
from tests.loopback import Loopback, reply, serving

HERE = Path(__file__).parent
GATE, EMAIL = "check_authorization", "needs_reauth.email_owner"
API_CONN_ID = "mbi_reauth_api"

HEALTHY = ("healthy", "mapped_healthy", "cut_off_oauth")
LOST = (
    "lost", "fails", "cleared", "mapped_lost", "waits", "waits_out", "waits_out_softly",
    "waits_long", "waits_long_on_worker", "waits_on_worker", "waits_out_on_worker",
    "waits_out_softly_on_worker", "cut_off_lost_oauth",
)  # fmt: skip
KEYS = ("refused_401", "refused_403", "refused_once", "hangs", "cut_off", "mapped_one", "lost_again")
CONNECTED = (*HEALTHY, *LOST, *KEYS)
UNCONNECTED = ("misconfigured",)

_ANSWERS = {
    "401": reply("401 Unauthorized"),
    "403": reply("403 Forbidden"),
    "200": reply(body=b'{"account": "north"}', content_type="application/json"),
    "invalid_token": reply("401 Unauthorized", www_authenticate='Bearer error="invalid_token"'),
}


def owner_of(integration_id: str) -> str:
    return f"{integration_id}@example.com"


@dataclass
class Keyshop:
    """Answers each integration as told, one answer after the other until the last, or never."""

    answers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        integration_id = head.split(b"/")[1].decode()
        self.asked.append(integration_id)
        answer, _, then = self.answers[integration_id].partition(", ")
        self.answers[integration_id] = then or answer
        if answer == "hang":
            self.closed.wait(60)
        else:
            _ANSWERS[answer](connection, head)


@dataclass
class Gates:
    """The running Airflow, as a data engineer and a test reach it."""

    home: Path
    client: AirflowClient
    mailbox: Mailbox
    third_party: ThirdParty
    keyshop: Keyshop
    environment: dict[str, str]
    secrets: set[str] = field(default_factory=set)

    def ask(self, method: str, path: str, **request: Any) -> Any:
        return self.client._ask(method, path, **request)

    def start(self, dag_id: str) -> GateRun:
        return GateRun(self, dag_id, self.client.trigger(dag_id))

    def mails_to(self, integration_id: str) -> list[str]:
        return [mail.subject for mail in self.mailbox.messages if owner_of(integration_id) in mail.recipients]

    def put_right(self, integration_id: str) -> None:
        """Consent anew and save the grant in the connection, as its owner would."""
        connection = connections.shopdemo(self.third_party)
        self.secrets |= secrets_of(connection)
        self.client.save_connection(connections.as_request_body(integration_id, connection))

    def lead_the_app_to(self, host: str) -> None:
        """Set the address at which tasks and triggers look for the plugin's app."""
        body = {"connection_id": API_CONN_ID, "conn_type": "generic", "host": host}
        self.ask("PATCH", f"/connections/{API_CONN_ID}", json=body, params={"update_mask": ["host"]})


@dataclass
class GateRun:
    """One DAG run."""

    gates: Gates
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"

    @property
    def state(self) -> str:
        return str(self.gates.ask("GET", self.path)["state"])

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Return the task instances; ids without their group's, with the map index where there is one."""
        listed = self.gates.ask("GET", f"{self.path}/taskInstances", params={"limit": 100})["task_instances"]
        return {self._name(found): found for found in listed}

    def _name(self, found: dict[str, Any]) -> str:
        name = found["task_id"].removeprefix("each.").removeprefix(f"{self.dag_id}.")
        return name if found["map_index"] < 0 else f"{name}[{found['map_index']}]"

    def states(self) -> dict[str, str | None]:
        return {name: found["state"] for name, found in self.tasks().items()}

    def ended(self, *, within: float = 170) -> dict[str, str | None]:
        """Wait for the run's end; return the states of its tasks."""
        what = f"{self.dag_id} to end"
        until(lambda: True if self.state in ("success", "failed") else None, what, within=within)
        return self.states()

    def reaches(self, task: str, *states: str, within: float = 120) -> str:
        """Wait for a task to be in one of these states; return it."""

        def found() -> str | None:
            state = self.states().get(task)
            return state if state in states else None

        return str(until(found, f"{task} of {self.dag_id} to be {states}", within=within))

    def xcom(self, task: str = GATE) -> Any:
        """Return the gate's XCom as Airflow shows it."""
        path = f"{self.path}/taskInstances/{self.dag_id}.{task}/xcomEntries/mbi_reauth"
        value = self.gates.ask("GET", path, params={"deserialize": True})["value"]
        return json.loads(value) if isinstance(value, str) else value

    def stored_xcom(self) -> Any:
        """Return the gate's XCom as it is in the database."""
        path = f"{self.path}/taskInstances/{self.dag_id}.{GATE}/xcomEntries/mbi_reauth"
        return self.gates.ask("GET", path)["value"]

    def finding(self) -> dict[str, Any]:
        """Return the gate's one finding."""
        return cast("dict[str, Any]", self.xcom()[self.dag_id])

    def clear(self, task: str, **further: Any) -> None:
        """Clear a task and all that comes after it, as the button in Airflow does."""
        body = {
            "dag_run_id": self.run_id,
            "task_ids": [task],
            "include_downstream": True,
            "only_failed": False,
            "dry_run": False,
            "reset_dag_runs": True,
            **further,
        }
        self.gates.ask("POST", f"/dags/{self.dag_id}/clearTaskInstances", json=body)

    def logs(self, task: str = GATE) -> list[dict[str, Any]]:
        """Return what is in the task's log, all tries, worker and triggerer, in order of time."""
        folder = self.gates.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        files = [path for path in folder.rglob("*.log") if f"task_id={self.dag_id}.{task}" in str(path)]
        lines = [line for path in files for line in path.read_text().splitlines(keepends=True)]
        entries = [json.loads(line) for line in lines if line.endswith("\n")]  # the last may be half written
        return sorted(entries, key=lambda entry: str(entry["timestamp"]))

    def said(self, task: str = GATE) -> str:
        return "\n".join(str(entry["event"]) for entry in self.logs(task))

    def said_of_its_end(self, task: str = GATE) -> str:
        """Return the reasons for which the task failed or was skipped."""
        reasons = [str(entry["reason"]) for entry in self.logs(task) if "reason" in entry]
        faults = [fault for entry in self.logs(task) for fault in entry.get("error_detail") or []]
        return "\n".join([*reasons, *(str(fault["exc_value"]) for fault in faults)])

    def faults(self, task: str = GATE) -> list[dict[str, Any]]:
        """Return the entries with a traceback."""
        return [
            entry for entry in self.logs(task) if entry.get("error_detail") or "Traceback" in entry["event"]
        ]


def secrets_of(connection: connections.Connection) -> set[str]:
    extra = connection.get("extra", {})
    hidden = {extra[name] for name in ("client_secret", "refresh_token", "access_token") if name in extra}
    return hidden | ({connection["password"]} if connection.get("password") else set())


def exported_connections(gates: Gates) -> dict[str, connections.Connection]:
    """Return every connection as it is stored now, with the tokens that the app has refreshed."""
    path = gates.home / "exported.json"
    command = [sys.executable, "-m", "airflow", "connections", "export", str(path)]
    subprocess.run(command, env=gates.environment, capture_output=True, check=True)
    found: dict[str, connections.Connection] = json.loads(path.read_text())
    path.unlink()
    for connection in found.values():
        extra = connection.get("extra") or {}
        connection["extra"] = json.loads(extra) if isinstance(extra, str) else extra
    return found


def registry(path: Path) -> Path:
    """Write an integration for each gate, each of a type of its own: all at once, they would be an outage."""
    entries = {
        name: {"type": name, "owner": {"name": "Dana Example", "email": owner_of(name)}}
        for name in (*HEALTHY, *LOST, *UNCONNECTED, *KEYS)
    }
    path.write_text(yaml.safe_dump({"integrations": entries}))
    return path


def catalogue(folder: Path) -> Path:
    """Write the integration types: what shopdemo or keyshop is, under the name of each integration."""
    folder.mkdir()
    shopdemo = CHECKOUT / "demo" / "integration_types" / "shopdemo.yaml"
    for name in (*HEALTHY, *LOST, *UNCONNECTED):
        shutil.copyfile(shopdemo, folder / f"{name}.yaml")
    for name in KEYS:
        shutil.copyfile(HERE / "integration_types" / "keyshop.yaml", folder / f"{name}.yaml")
    return folder


def stored(third_party: ThirdParty, keyshop: Loopback, mailbox: Mailbox) -> dict[str, connections.Connection]:
    """Return every connection: lost grants have been withdrawn, the healthy ones come afterwards."""
    found = {name: connections.shopdemo(third_party) for name in LOST}
    third_party.switch(Switch.REVOKE_GRANT, account=connections.ACCOUNT)
    found |= {name: connections.shopdemo(third_party) for name in HEALTHY}
    for name in KEYS:
        host = f"{keyshop.url}/{name}"
        found[name] = {"conn_type": "http", "host": host, "password": f"fake-canary-key-of-{name}"}
    return {**found, connections.SMTP: connections.mailbox(mailbox.port)}


def _environment(options: Options) -> dict[str, str]:
    return {
        **standalone.environment(options),
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
        "AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER": str(catalogue(options.home / "integration_types")),
        "AIRFLOW__MBI_REAUTH__REGISTRY": str(registry(options.home / "integrations.yaml")),
    }


@contextmanager
def running_airflow(options: Options, environment: dict[str, str], password: str) -> Iterator[AirflowClient]:
    client = AirflowClient(standalone.url(options), user=standalone.USER, password=password)
    log = standalone.log_file(options)
    airflow = Kept([sys.executable, "-m", "airflow", "standalone"], log=log, environment=environment)
    try:
        standalone.wait_until_healthy(client, alive=lambda: airflow.alive, log=log)
        yield client
    finally:
        airflow.stop()
        assert [name for name, port in options.ports.items() if listening(port)] == [], "ports still taken"


@contextmanager
def started(folder: Path) -> Iterator[Gates]:
    """Start everything; every DAG has been read when this is entered."""
    ports = free_ports(("airflow", "worker-log", "triggerer-log"))
    options = Options(home=folder / "home", fresh=True, ports=ports)
    options.home.mkdir()
    keyshop = Keyshop()
    with (
        ThirdParty(access_token_lifetime=3600) as third_party,
        Mailbox() as mailbox,
        serving(keyshop) as loopback,
    ):
        environment = _environment(options)
        standalone.prepare(options, "fake-password-of-admin")
        saved = stored(third_party, loopback, mailbox)
        connections.import_all(saved, home=options.home, environment=environment)
        with running_airflow(options, environment, "fake-password-of-admin") as client:
            gates = Gates(options.home, client, mailbox, third_party, keyshop, environment)
            gates.secrets = {secret for connection in saved.values() for secret in secrets_of(connection)}
            _wait_for_dags(client)
            try:
                yield gates
            finally:
                keyshop.closed.set()


def _wait_for_dags(client: AirflowClient) -> None:
    def all_read() -> bool | None:
        assert client.import_errors() == []
        return True if {"healthy", "expanded"} <= client.dags().keys() else None

    until(all_read, "the DAGs to be read", within=60)


def eventually(holds: Callable[[], bool], what: str, *, within: float = 60) -> None:
    until(lambda: True if holds() else None, what, within=within)
