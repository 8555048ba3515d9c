"""A real Airflow in separate processes that can be killed, a wire that repeats reports, owners who act."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml
from psycopg.rows import dict_row

from demo import connections, standalone
from demo.airflow_client import AirflowClient, AirflowError
from demo.keeper import Kept
from demo.keys import write_private
from demo.mailbox import Mail, Mailbox
from demo.options import CHECKOUT, Options
from demo.source_database import SourceDatabase
from demo.third_party import Switch, ThirdParty
from tests.e2e.conftest import free_ports, listening, until
from tests.loopback import Script, reply, serving
from tests.postgresql import PASSWORD, create_database

HERE = Path(__file__).parent
COMPONENTS = ("api-server", "scheduler", "triggerer", "dag-processor")
MORTAL = ("api-server", "scheduler", "triggerer")
"""Those that are killed; the scheduler with its workers and their tasks."""

KEYS = ("key_north", "key_south", "key_mapped")
SHOPS = {"shop_north": "shop-north", "shop_south": "shop-south"}
INTEGRATIONS = (*KEYS, *SHOPS)
DAGS = ("skips", "skips_too", "needs_both", "waits", "waits_on_worker", "mapped")
SWEEP = "mbi_authorization_sweep"

_JOBS = {"scheduler": "SchedulerJob", "triggerer": "TriggererJob"}
_PASSWORD = "fake-password-of-admin"
_UNREACHABLE = (AirflowError, httpx.HTTPError)


def owner_of(integration_id: str) -> str:
    return f"{integration_id}@example.com"


class Keyshop:
    """Knows the API keys of each account; a new key takes the place of the last."""

    def __init__(self) -> None:
        self.minted: list[str] = []
        self._valid: dict[str, str] = {}
        self._lock = threading.Lock()

    def mint(self, integration_id: str) -> str:
        with self._lock:
            key = f"fake-canary-key-of-{integration_id}-{len(self.minted)}"
            self.minted.append(key)
            self._valid[integration_id] = key
        return key

    def withdraw(self, integration_id: str) -> None:
        with self._lock:
            self._valid.pop(integration_id, None)

    def __call__(self, connection: Any, head: bytes) -> None:
        self._answer(head)(connection, head)

    def _answer(self, head: bytes) -> Script:
        integration_id = head.split(b"/")[1].decode()
        given = re.search(rb"(?i)^authorization: bearer (\S+)", head, re.MULTILINE)
        with self._lock:
            valid = self._valid.get(integration_id)
        if given and given[1].decode() == valid:
            body = json.dumps({"account": integration_id}).encode()
            return reply(body=body, content_type="application/json")
        return reply("401 Unauthorized", www_authenticate='Bearer error="invalid_token"')


STEPS = ("checks", "findings", "claim", "settle", "opens", "submits", "returns", "renewed")
"""Moments of the loop: what tasks ask of the app, what an owner does on the page, and that all is well."""


class Moments:
    """Where those who take a step say so, and who waits for one is woken."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._changed = threading.Condition()

    def reached(self, step: str) -> None:
        with self._changed:
            self.seen[step] += 1
            self._changed.notify_all()

    def await_next(self, steps: Sequence[str], *, within: float) -> str | None:
        """Return the first of these steps that is taken from now on; None: none in so many seconds."""
        with self._changed:
            before = self.seen.copy()
            return self._changed.wait_for(
                lambda: next((step for step in steps if self.seen[step] > before[step]), None), within
            )


class Wire:
    """Stands between the tasks and the plugin's app: repeats reports, at once or late, and loses answers.

    It learns the app's key from what goes through, and so can repeat a report at any time by itself.
    """

    def __init__(self, upstream: str, seed: int, moments: Moments) -> None:
        self.calm = False
        self.key = ""
        self.happened: Counter[str] = Counter()
        self._moments = moments
        self._upstream = upstream
        self._dice = random.Random(f"wire {seed}")  # noqa: S311
        self._lock = threading.Lock()
        self._late: list[threading.Timer] = []
        self._http = httpx.Client(timeout=60, trust_env=False)
        wire = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                wire._pass_on(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        for timer in self._late:
            timer.cancel()
        self._server.shutdown()
        self._server.server_close()

    @property
    def owes(self) -> int:
        """How many late reports are still to come."""
        return sum(timer.is_alive() for timer in self._late)

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type")}
        self.key = headers["Authorization"].removeprefix("Bearer ")
        self._moments.reached(request.path.rpartition("/")[2])
        mischief = self._mischief(request.path)
        self.happened[mischief] += 1

        def send() -> httpx.Response:
            return self._http.post(self._upstream + request.path, content=body, headers=headers)

        try:
            answer = send()
            if mischief == "report repeated":
                answer = send()
            elif mischief == "report repeated late":
                self._later(send)
        except httpx.HTTPError:
            self.happened["app away"] += 1
            return  # the connection closes without an answer
        if mischief == "answer lost":
            return
        with suppress(OSError):  # a killed task does not wait for it
            request.send_response(answer.status_code)
            request.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            request.send_header("Content-Length", str(len(answer.content)))
            request.end_headers()
            request.wfile.write(answer.content)

    def _mischief(self, path: str) -> str:
        with self._lock:
            roll = self._dice.random()
        if self.calm:
            return "passed on"
        if path.endswith("/api/findings"):
            chances = {"report repeated": 0.2, "report repeated late": 0.25, "answer lost": 0.1}
        else:
            chances = {"answer lost": 0.1} if path.endswith(("/api/checks", "/settle")) else {}
        for name, chance in chances.items():
            if roll < chance:
                return name
            roll -= chance
        return "passed on"

    def _later(self, send: Callable[[], httpx.Response]) -> None:
        """Repeat a report after up to half a minute, and until the app has taken note of it."""
        with self._lock:
            pause = self._dice.uniform(1, 30)

        def deliver() -> None:
            for _ in range(60):
                with suppress(httpx.HTTPError):
                    if send().status_code < 500:
                        return
                time.sleep(1)

        timer = threading.Timer(pause, deliver)
        timer.daemon = True
        self._late.append(timer)
        timer.start()


@dataclass
class Component:
    """One of Airflow's processes, with all that it starts."""

    name: str
    log: Path
    environment: Mapping[str, str]
    _process: Kept | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "airflow", self.name]
        # SIGKILL at once for the whole family: nobody gets to tidy up.
        self._process = Kept(command, log=self.log, environment=self.environment, signal_name="KILL", grace=0)

    def kill(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive


class Owner(threading.Thread):
    """One integration's owner: reads their mail, opens the link, and tries until the page says it works."""

    def __init__(self, chaos: Chaos, integration_id: str, seed: int) -> None:
        super().__init__(daemon=True, name=f"owner of {integration_id}")
        self.attempts = 0
        self.renewed = 0
        self._chaos = chaos
        self._its = integration_id
        self._dice = random.Random(f"{integration_id} {seed}")  # noqa: S311
        self._read: set[str] = set()
        self.troubles: list[str] = []

    def run(self) -> None:
        while not self._chaos.over.wait(0.5):
            mail = next((mail for mail in self._mails() if _id_of(mail) not in self._read), None)
            if mail is None:
                continue
            self._chaos.over.wait(self._dice.uniform(0, 5))
            self._act_on(mail)
            self._read.add(_id_of(mail))

    def _mails(self) -> list[Mail]:
        mine = [mail for mail in self._chaos.mailbox.messages if owner_of(self._its) in mail.recipients]
        return [mail for mail in mine if _link_of(mail) is not None]

    def _act_on(self, mail: Mail) -> None:
        link = _link_of(mail)
        while link is not None and not self._chaos.over.is_set():
            browser = httpx.Client(timeout=90, trust_env=False)
            try:
                with browser:
                    if self._is_done(browser, link):
                        return
            except (httpx.HTTPError, LookupError) as error:
                self.troubles.append(f"{type(error).__name__}: {error}"[:200])
            self._chaos.over.wait(self._dice.uniform(2, 4))

    def _is_done(self, browser: httpx.Client, link: str) -> bool:
        """Look at the page, press its button if there is one, and tell whether all is well."""
        self._chaos.moments.reached("opens")
        page = browser.get(link)
        if page.status_code != 200:
            raise LookupError(f"the page answered {page.status_code}")
        ways = re.findall(r'name="way" value="(\w+)"', page.text)
        if not ways:
            return True
        self.attempts += 1
        outcome = self._consent(browser, link) if "consent" in ways else self._enter(browser, link)
        done = 'role="status"' in outcome.text
        self.renewed += done
        if done:
            self._chaos.moments.reached("renewed")
        if not done:
            self.troubles.append(re.sub(r"<[^>]*>|\s+", " ", outcome.text.partition("<h1>")[2])[:200])
        return done

    def _enter(self, browser: httpx.Client, link: str) -> httpx.Response:
        self._post(browser, link, {"way": "form"})
        key = self._chaos.keyshop.mint(self._its)
        page = f"{self._chaos.url}/mbi-reauth/credential"
        self._chaos.moments.reached("submits")
        return self._followed(browser, self._post(browser, page, {"password": key}))

    def _consent(self, browser: httpx.Client, link: str) -> httpx.Response:
        leaving = self._post(browser, link, {"way": "consent"})
        [address] = re.findall(r'http-equiv="refresh" content="0; ?url=([^"]+)"', leaving.text) or [""]
        if not address:
            raise LookupError(f"no way to the consent page: {leaving.status_code}")
        return self._allow(browser, unescape(address))

    def _allow(self, browser: httpx.Client, address: str) -> httpx.Response:
        page = browser.get(address)
        [consent] = re.findall(r'name="consent" value="([^"]+)"', page.text)
        form = {"consent": consent, "account": SHOPS[self._its], "decision": "allow"}
        allowed = browser.post(address, data=form)
        self._chaos.moments.reached("returns")
        return self._followed(browser, allowed)

    def _post(self, browser: httpx.Client, page: str, values: dict[str, str]) -> httpx.Response:
        return browser.post(page, data=values, headers={"Origin": self._chaos.url})

    def _followed(self, browser: httpx.Client, response: httpx.Response) -> httpx.Response:
        while response.is_redirect:
            response = browser.get(str(response.url.join(response.headers["location"])))
        return response


def _id_of(mail: Mail) -> str:
    return mail.header("Message-ID") or ""


def _link_of(mail: Mail) -> str | None:
    found = re.search(r"http://\S+/mbi-reauth/reauthorize/[\w.~-]+", mail.text or "")
    return found[0] if found else None


@dataclass
class Chaos:
    """The running Airflow and all around it."""

    home: Path
    url: str
    client: AirflowClient
    components: dict[str, Component]
    mailbox: Mailbox
    third_party: ThirdParty
    keyshop: Keyshop
    wire: Wire
    moments: Moments
    database: str
    landings: Path
    over: threading.Event = field(default_factory=threading.Event)
    triggered: list[tuple[str, str]] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)
    _naming: threading.Lock = field(default_factory=threading.Lock)
    _killed_at: dict[str, datetime] = field(default_factory=dict)

    def lose(self, integration_id: str) -> None:
        if integration_id in SHOPS:
            self.third_party.switch(Switch.REVOKE_GRANT, account=SHOPS[integration_id])
        else:
            self.keyshop.withdraw(integration_id)

    def kill(self, name: str) -> None:
        """Kill a process and all that it has started, and start it anew."""
        self.components[name].kill()
        self.killed[name] += 1
        self._killed_at[name] = datetime.now(timezone.utc)
        self.components[name].start()

    def is_back(self, name: str) -> bool:
        """Whether a process works again; of those without a page of their own, a new one says so itself."""
        if name == "api-server":
            return self.client.unhealthy() != ["api_server"]
        query = "SELECT id FROM job WHERE job_type = %s AND start_date > %s AND latest_heartbeat > start_date"
        return bool(self.rows(query, _JOBS[name], self._killed_at[name]))

    def trigger(self, dag_id: str) -> None:
        """Start a run of a name of its own, as soon as the API server is there to take the request."""
        with self._naming:
            run_id = f"chaos_{len(self.triggered):03}"
            self.triggered.append((dag_id, run_id))
        body = {"dag_run_id": run_id, "logical_date": None}

        def taken() -> bool | None:
            try:
                self.client._ask("POST", f"/dags/{dag_id}/dagRuns", json=body)
            except _UNREACHABLE as error:
                return True if " 409 " in str(error) else None  # taken, and its answer was lost
            return True

        until(taken, f"a run of {dag_id} to be taken", within=120)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Ask the metadata database."""
        with psycopg.connect(self.database, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def landed(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.landings.read_text().splitlines()]
        return [line for line in lines if line["event"] == "landed"]

    def wait_until_healthy(self) -> None:
        def healthy() -> bool | None:
            dead = [each.name for each in self.components.values() if not each.alive]
            assert not dead, f"{dead} ended by themselves; see {self.home}"
            return True if not self.client.unhealthy() else None

        until(healthy, "Airflow to be healthy", within=120)


def _settings(options: Options, database: str, wire: Wire, landings: Path) -> dict[str, str]:
    """Airflow's settings: it notices within seconds who has died, not within minutes."""
    settings = {
        "CORE__DAGS_FOLDER": str(options.home / "dags"),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__DEFAULT_TASK_RETRY_DELAY": "2",
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "DATABASE__SQL_ALCHEMY_POOL_SIZE": "4",
        "DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "4",
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        "SCHEDULER__JOB_HEARTBEAT_SEC": "2",
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "25",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        "SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
        "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
        "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        "WORKERS__MAX_FAILED_HEARTBEATS": "10",
        "MBI_REAUTH__APP_URL": f"{wire.url}/mbi-reauth",
        "MBI_REAUTH__CATALOGUE_FOLDER": str(options.home / "integration_types"),
        "MBI_REAUTH__QUIET_HOURS": "",
        "MBI_REAUTH__REGISTRY": str(options.home / "integrations.yaml"),
    }
    own = {f"AIRFLOW__{name}": value for name, value in settings.items()}
    return {**standalone.environment(options), **own, "MBI_CHAOS_LANDINGS": str(landings)}


def _write_files(home: Path) -> None:
    """Write DAGs, registry and types; each integration is of a type of its own, or all would be an outage."""
    (home / "dags").mkdir()
    shutil.copyfile(HERE / "chaos_dags" / "chaos.py", home / "dags" / "chaos.py")
    shutil.copyfile(CHECKOUT / "dags" / f"{SWEEP}.py", home / "dags" / f"{SWEEP}.py")
    (home / "integration_types").mkdir()
    for name in INTEGRATIONS:
        is_shop = name in SHOPS
        folder = CHECKOUT / "demo" if is_shop else HERE
        source = folder / "integration_types" / ("shopdemo.yaml" if is_shop else "keyshop.yaml")
        shutil.copyfile(source, home / "integration_types" / f"{name}.yaml")
    entries = {
        name: {"type": name, "owner": {"name": "Dana Example", "email": owner_of(name)}}
        for name in INTEGRATIONS
    }
    (home / "integrations.yaml").write_text(yaml.safe_dump({"integrations": entries}))


def _stored(chaos: Chaos, keyshop_url: str) -> dict[str, connections.Connection]:
    found: dict[str, connections.Connection] = {}
    for name in KEYS:
        host = f"{keyshop_url}/{name}"
        found[name] = {"conn_type": "http", "host": host, "password": chaos.keyshop.mint(name)}
    for name, account in SHOPS.items():
        token = chaos.third_party.issue_grant(account)
        connection = connections.shopdemo(chaos.third_party)
        grant = {"refresh_token": token["refresh_token"], "account": account}
        own = {key: value for key, value in connection["extra"].items() if key.startswith("client")}
        found[name] = {**connection, "extra": own | grant}
    return {**found, connections.SMTP: connections.mailbox(chaos.mailbox.port)}


@contextmanager
def started(folder: Path, seed: int) -> Iterator[Chaos]:
    """Start everything; whatever was started is gone at the end."""
    ports = free_ports(("airflow", "worker-log", "triggerer-log"))
    options = Options(home=folder / "home", fresh=True, ports=ports)
    options.home.mkdir()
    landings = folder / "landings"
    landings.touch()
    url = standalone.url(options)
    with ExitStack() as stack:
        database = SourceDatabase(
            folder / "postgresql", admin_password=PASSWORD, reader_password="fake-password-of-reader"
        )
        stack.enter_context(database)
        address = create_database(database, "airflow")
        moments = Moments()
        wire = Wire(url, seed, moments)
        stack.callback(wire.close)
        redirects = [f"{url}/mbi-reauth/oauth/{name}/callback" for name in SHOPS]
        third_party = ThirdParty(access_token_lifetime=30, redirect_uris=redirects)
        environment = _settings(options, address, wire, landings)
        chaos = Chaos(
            home=options.home,
            url=url,
            client=AirflowClient(url, user=standalone.USER, password=_PASSWORD),
            components={name: Component(name, folder / f"{name}.log", environment) for name in COMPONENTS},
            mailbox=stack.enter_context(Mailbox()),
            third_party=stack.enter_context(third_party),
            keyshop=Keyshop(),
            wire=wire,
            moments=moments,
            database=address.replace("+psycopg2", ""),
            landings=landings,
        )
        keyshop = stack.enter_context(serving(chaos.keyshop))
        _write_files(options.home)
        _prepare(options, environment)
        connections.import_all(_stored(chaos, keyshop.url), home=options.home, environment=environment)
        stack.callback(_end, chaos, ports)
        for component in chaos.components.values():
            component.start()
        chaos.wait_until_healthy()
        _wait_for_dags(chaos)
        yield chaos


def _prepare(options: Options, environment: Mapping[str, str]) -> None:
    write_private(standalone._passwords_file(options), json.dumps({standalone.USER: _PASSWORD}))
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def _end(chaos: Chaos, ports: Mapping[str, int]) -> None:
    chaos.over.set()
    for component in chaos.components.values():
        component.kill()
    assert [name for name, port in ports.items() if listening(port)] == [], "ports still taken"


def _wait_for_dags(chaos: Chaos) -> None:
    def all_read() -> bool | None:
        assert chaos.client.import_errors() == []
        return True if {*DAGS, SWEEP} <= chaos.client.dags().keys() else None

    until(all_read, "the DAGs to be read", within=60)
