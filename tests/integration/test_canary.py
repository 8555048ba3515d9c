"""Secrets that are searched for in all that a renewal leaves behind: pages, logs, output and the database."""

from __future__ import annotations

import base64
import html
import json
import logging
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import httpx
import pytest
from airflow.api_fastapi.common.http_access_log import HttpAccessLogMiddleware
from airflow.models.crypto import get_fernet
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from fastapi.testclient import TestClient
from sqlalchemy import MetaData, select

from demo import connections
from demo.third_party import ThirdParty
from mbi_reauth.api.datamodels import FindingReport
from mbi_reauth.api.pages import COOKIE
from mbi_reauth.api.services import findings, links, requests
from mbi_reauth.api.services.surroundings import Mailing, Surroundings
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.models.connection_tests import AirflowConnectionTests
from mbi_reauth.models.metadata_db import engine, transact
from mbi_reauth.models.tables import AuthorizationRequest, Incident
from mbi_reauth.probes.candidate import Candidate, as_extra, try_out
from tests.loopback import Loopback, serving
from tests.metadata_db import extra_of, put_connection
from tests.owners_browser import ORIGIN, Browser, path_of

CALLBACK = f"{ORIGIN}/mbi-reauth/oauth"
OWNER = {"name": "Dana Example", "email": "dana@example.com"}
OLD_KEY, WRONG_KEY = 'fake/canary "old" key+Zq7', 'fake/canary "wrong" key+Xw3\\'
RIGHT_KEY = 'fake/canary "right" key+Pm9'
PASSPHRASE = "fake-canary-passphrase-Vb5"
SSH_PASSWORD = "fake-canary-ssh-password-Lk2"
ECHOING = """
display_name: Echoing
docs: https://vendor.example/docs
kind: http
base_url: https://vendor.example
connection:
  password: {title: API key, secret: true}
auth: {method: bearer}
probe: {url: "{base_url}/me?verbose=1"}
rules:
  - id: welcome
    when: {status: [200], present: [who]}
    cause: authorized
    because: It lets us in.
    samples:
      - evidence: {endpoint: probe, status_code: 200, body: {who: somebody}}
  - id: no_such_key
    when: {status: [401], present: [message]}
    cause: credentials_rejected
    because: It says that the key is wrong.
    samples:
      - evidence: {endpoint: probe, status_code: 401, body: {message: The key is wrong}}
owner_steps:
  airflow: [Press the button.]
  mbi: [Press the button.]
"""


def spellings(secret: str) -> set[str]:
    """Write a secret in each way in which it might be found."""
    raw = secret.encode()
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        raw.hex(),
    }


@dataclass
class Traces:
    """All that was left behind, by where it was."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, where: str, text: str) -> None:
        self.found.setdefault(where, []).append(text)

    def of(self, secret: str, *places: str) -> list[str]:
        """List where a secret was found."""
        return [
            f"{where}: {text[max(0, text.find(spelled) - 80) :][:200]}"
            for where in places or self.found
            for text in self.found.get(where, [])
            for spelled in spellings(secret)
            if spelled in text
        ]

    def add_tables(self, where: str) -> None:
        """Read every table of the database, Airflow's own ones among them, as it stands there."""
        metadata = MetaData()
        metadata.reflect(engine())
        with engine().connect() as connection:
            for table in metadata.sorted_tables:
                rows = connection.execute(select(table)).all()
                self.add(where, f"{table.name}: {[list(row) for row in rows]!r}")


class _Everything(logging.Handler):
    """Keeps each record as it is written, without any masking."""

    def __init__(self, traces: Traces) -> None:
        super().__init__(logging.DEBUG)
        self._traces = traces
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        # The browser of these tests logs where it goes, and the third party, in this process too, who comes.
        if record.name == "httpx" and ORIGIN in record.getMessage():
            return
        if not record.name.startswith(("uvicorn", "demo", "authlib")):
            self._traces.add("logs", self.format(record))


class Watched(Browser):
    """A browser of which each answer is kept, at an API server that logs as Airflow's does."""

    def __init__(self, outside: Surroundings, traces: Traces) -> None:
        super().__init__(outside)
        logging_too = HttpAccessLogMiddleware(self.client.app)
        hooks: Any = {"response": [lambda response: self._keep(response, traces)]}
        self.client = TestClient(logging_too, base_url=ORIGIN, follow_redirects=False)
        self.client.event_hooks = hooks

    @staticmethod
    def _keep(response: httpx.Response, traces: Traces) -> None:
        response.read()
        headers = {name: value for name, value in response.headers.items() if name != "set-cookie"}
        leaving = 'http-equiv="refresh" content="0;' in response.text
        traces.add("the page on the way to consent" if leaving else "answers", f"{headers} {response.text}")


@pytest.fixture
def traces(capfd: pytest.CaptureFixture[str]) -> Iterator[Traces]:
    traces = Traces()
    root, handler = logging.getLogger(), _Everything(traces)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield traces
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@pytest.fixture(autouse=True)
def _encrypted(metadata_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    shutil.copy("demo/integration_types/shopdemo.yaml", tmp_path)
    (tmp_path / "echoing.yaml").write_text(ECHOING)
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER", str(tmp_path))
    get_fernet.cache_clear()
    put_connection("mbi_reauth_api", conn_type="generic", password="fake-key-of-the-app")
    yield
    get_fernet.cache_clear()


@pytest.fixture
def outside(traces: Traces) -> Surroundings:
    """The real surroundings; each candidate lies in Airflow's table of connection tests for a moment."""

    def verify(candidate: Candidate) -> Finding:
        tests = AirflowConnectionTests()
        test_id = tests.put(as_extra(candidate))
        traces.add_tables("the database meanwhile")
        tests.drop(test_id)
        found = try_out(candidate)
        return found.model_copy(update={"checked_at": found.checked_at or Surroundings().now()})

    return replace(Surroundings(mailing=Mailing), verify=verify)


def lost(entry: dict[str, Any], rule: str, outside: Surroundings) -> str:
    """Report a loss; return the link about it."""
    integration = Integration.model_validate({"conn_id": entry["id"], "owner": OWNER, **entry})
    finding = Finding(cause=Cause.CREDENTIALS_REJECTED, rule=rule, explanation="-", checked_at=outside.now())
    findings.report(FindingReport(integration=integration, finding=finding), outside)
    its = select(Incident.id).where(Incident.open_key == integration.id)
    incident = transact(lambda session: session.scalar(its))
    return links.for_incident(str(incident), now=outside.now())


def outcomes() -> list[str]:
    query = select(AuthorizationRequest).order_by(AuthorizationRequest.created_at)
    rows = transact(lambda session: list(session.scalars(query)))
    return [str(row.result["outcome"]) for row in rows if row.result]


def assert_nowhere(secrets: dict[str, str], traces: Traces, capfd: pytest.CaptureFixture[str]) -> None:
    """Look for every secret in everything; that a text of no secret is found shows that it was looked."""
    traces.add_tables("the database")
    output = capfd.readouterr()
    traces.add("output", output.out + output.err)
    for where in ("logs", "answers", "the database", "output"):
        assert traces.found.get(where), f"{where} was not looked at"
    for name, secret in secrets.items():
        assert len(secret) >= 10, name
        assert (name, traces.of(secret)) == (name, [])


@contextmanager
def _echoing() -> Iterator[Loopback]:
    """A third party that admits one key, and repeats any other in every way that it knows."""

    def answer(connection: socket.socket, head: bytes) -> None:
        key = head.decode("latin-1").partition("Bearer ")[2].partition("\r\n")[0]
        good = key == RIGHT_KEY
        words = {"message": f"The key {key} is wrong", "Authorization": f"Bearer {key}", "again": quote(key)}
        body = json.dumps({"who": "somebody"} if good else words).encode()
        status = "200 OK" if good else "401 Unauthorized"
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
        lines += ["Content-Type: application/json", f"X-Echo: {quote(key)}"]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    with serving(answer) as server:
        yield server


def test_consent_leaves_no_secret_behind(
    outside: Surroundings, traces: Traces, capfd: pytest.CaptureFixture[str]
) -> None:
    with ThirdParty(redirect_uris=[f"{CALLBACK}/shopdemo/callback"], access_token_lifetime=3600) as vendor:
        connection = connections.shopdemo(vendor)
        put_connection("shop", extra=connection["extra"], host=connection["host"])
        vendor.switch("revoke_grant")
        link = lost({"id": "shop", "type": "shopdemo"}, "test.lost", outside)
        old = extra_of("shop")
        browser = Watched(outside, traces)
        browser.open(link)
        denied = _answered(browser.consent_page(link), decision="deny")
        browser.follow(browser.come_back("shopdemo", **denied))
        answer = _answered(browser.consent_page(link))
        cookie = browser.client.cookies[COOKIE]
        browser.follow(browser.come_back("shopdemo", **answer))
        browser.come_back("shopdemo", **answer)
    assert outcomes() == ["denied", "saved"]
    new = extra_of("shop")
    assert new["refresh_token"] != old["refresh_token"]
    assert traces.of(answer["state"], "the page on the way to consent"), "the page must name the state"
    del traces.found["the page on the way to consent"][:]
    secrets = {
        "client secret": old["client_secret"],
        "old refresh token": old["refresh_token"],
        "old access token": old["access_token"],
        "new refresh token": new["refresh_token"],
        "new access token": new["access_token"],
        "code": answer["code"],
        "state": answer["state"],
        "state of the denial": denied["state"],
        "cookie": cookie,
        "verifier": requests.verifier_of(cookie),
        "app's key": "fake-key-of-the-app",
    }
    assert_nowhere(secrets, traces, capfd)
    token = path_of(link).rpartition("/")[2]
    assert traces.of(token, "logs", "output", "the database", "the database meanwhile") == []


def _answered(address: str, decision: str = "allow") -> dict[str, str]:
    """Consent, or do not, in a browser of which nothing is logged."""
    noisy = [logging.getLogger(name) for name in ("httpx", "httpcore.http11", "httpcore.connection")]
    for each in noisy:
        each.disabled = True
    try:
        with httpx.Client(follow_redirects=False, timeout=20) as browser:
            page = browser.get(address)
            secret = page.text.partition('name="consent" value="')[2].partition('"')[0]
            form = {"consent": secret, "account": connections.ACCOUNT, "decision": decision}
            back = browser.post(address, data=form).headers["location"]
    finally:
        for each in noisy:
            each.disabled = False
    return dict(parse_qsl(urlsplit(back).query))


def test_a_form_and_a_check_leave_no_secret_behind(
    outside: Surroundings, traces: Traces, capfd: pytest.CaptureFixture[str]
) -> None:
    with _echoing() as vendor:
        put_connection("keyed", password=OLD_KEY, host=vendor.url)
        link = lost({"id": "keyed", "type": "echoing"}, "test.lost", outside)
        browser = Watched(outside, traces)
        browser.follow(browser.press(link, "check"))
        browser.follow(browser.press(link, "form"))
        cookies = [browser.client.cookies[COOKIE]]
        for key in (WRONG_KEY, "x" * 5000 + "too-long-to-be-tried", WRONG_KEY[:-1] + "two", RIGHT_KEY):
            answer = browser.post("/mbi-reauth/credential", {"password": key})
            if answer.status_code == 303:
                browser.follow(answer)
            cookies.append(browser.client.cookies[COOKIE])
        sent = "".join(head.decode("latin-1") for head in vendor.requests)
    assert outcomes() == ["refused", "refused", "refused", "saved"]
    assert RIGHT_KEY in sent
    secrets = {
        "old key": OLD_KEY,
        "wrong key": WRONG_KEY,
        "right key": RIGHT_KEY,
        "other": "too-long-to-be-tried",
    }
    secrets |= {f"cookie {number}": cookie for number, cookie in enumerate(cookies)}
    assert_nowhere(secrets, traces, capfd)


def test_a_login_of_an_ssh_server_leaves_no_secret_behind(
    outside: Surroundings, traces: Traces, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda connection, _: connection.sendall(b"SSH-1.0-nobody\r\n")) as server:
        database = {"conn_type": "postgres", "host": "db.example", "login": "reader", "schema": "shop"}
        put_connection("behind", **database, password="fake-canary-db-Ws4", extra={"ssh_conn_id": "bastion"})
        bastion: dict[str, Any] = {
            "conn_type": "ssh",
            "host": "127.0.0.1",
            "port": server.port,
            "login": "tunnel",
        }
        put_connection("bastion", **bastion, password=SSH_PASSWORD)
        link = lost({"id": "behind", "type": "postgresql_ssh"}, "default_ssh.refused", outside)
        browser = Watched(outside, traces)
        browser.follow(browser.press(link, "form"))
        private_key = (
            Ed25519PrivateKey.generate()
            .private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(PASSPHRASE.encode()))
            .decode()
        )
        typed = {
            "login": "tunnel",
            "password": "fake-canary-typed-Nh8",
            "private_key": private_key,
            "private_key_passphrase": PASSPHRASE,
        }
        browser.follow(browser.post("/mbi-reauth/credential", typed))
    assert len(outcomes()) == 1
    assert outcomes() != ["saved"]
    secrets = {
        "old password": SSH_PASSWORD,
        "database's password": "fake-canary-db-Ws4",
        "typed password": typed["password"],
        "private key": private_key.splitlines()[3],
        "passphrase": PASSPHRASE,
    }
    assert_nowhere(secrets, traces, capfd)
