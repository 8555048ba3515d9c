"""The whole chain of a signal: MBI's three APIs, a third party, and the real app, all over HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from demo.mailbox import Mailbox
from mbi_reauth.api.datamodels import ClaimRequest, RunReference
from mbi_reauth.catalogue import type_ids
from mbi_reauth.check import Checked, check
from mbi_reauth.core.gate import GateFinding, GatePolicy, Outcome, decide, published
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.registry import Registry, load_registry
from mbi_reauth.core.verdict import Cause, Verdict
from mbi_reauth.hooks.api import ReauthApiHook
from mbi_reauth.hooks.mbi import MbiHook, TooSoonError
from mbi_reauth.models.metadata_db import find_credential, transact
from mbi_reauth.models.tables import BlockedRun, Incident, Notification
from mbi_reauth.notifications.sending import tell_owner
from mbi_reauth.probes.credential import Credential
from mbi_reauth.round import Round
from tests.loopback import Loopback, serving
from tests.mbi import CLIENT_ID, EXPORT_KEY, FAILED, IMPORT_KEY, Answer, Mbi, a_job, mbi_server
from tests.metadata_db import put_connection

KEY = "fake-key-of-the-app"
MANY = 100
CYCLE = f"/0.1/client/{CLIENT_ID}/fullupdatestatus"
FIGURE = "/0.1/figure/360531/export"
NEW_YORK = ZoneInfo("America/New_York")
OWNER = "owner: {name: Dana Example, email: dana@example.com}"
REGISTRY = f"""
integrations:
  updates: {{type: mbi_update_cycle, conn_id: mbi_export, {OWNER}}}
  orders: {{type: mbi_integration_freshness, conn_id: mbi_export, {OWNER}}}
  exports: {{type: mbi_export_api, conn_id: mbi_export, {OWNER}}}
  imports: {{type: mbi_import_api, conn_id: mbi_import, {OWNER}}}
  upload: {{type: mbi_file_upload, mbi_signal: updates, {OWNER}}}
  help: {{type: zendesk, name: Help desk, conn_id: help, mbi_signal: updates, {OWNER}}}
  sales: {{type: zendesk, conn_id: help, mbi_signal: orders, {OWNER}}}
"""


class Database:
    """Airflow's connections, and where the app listens."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def get(self, conn_id: str) -> Credential:
        if conn_id == "mbi_reauth_api":
            host = f"http://127.0.0.1:{self.port}"
            return Credential(conn_id=conn_id, conn_type="generic", host=host, password=KEY)
        found = await asyncio.to_thread(find_credential, conn_id)
        assert found is not None
        return found.credential


@dataclass
class HelpDesk:
    """The third party: accepts the login, unless it has been told not to."""

    server: Loopback
    accepts: list[bool] = field(default_factory=lambda: [True])

    @property
    def asked(self) -> int:
        return len(self.server.requests)


@dataclass
class Scene:
    """Everything there is; ``checked`` checks entries of the registry, all at once."""

    mbi: Mbi
    help_desk: HelpDesk
    connections: Database
    registry: Registry

    @property
    def api(self) -> ReauthApiHook:
        return ReauthApiHook(connections=self.connections)

    def checked(self, *entries: str | Integration, max_age: float = 60) -> list[Checked]:
        async def all_at_once() -> list[Checked]:
            return await asyncio.gather(
                *(
                    check(
                        self.registry.get(entry) if isinstance(entry, str) else entry,
                        api=self.api,
                        connections=self.connections,
                        max_age=max_age,
                    )
                    for entry in entries
                )
            )

        return asyncio.run(all_at_once())

    def gate(self, *ids: str) -> dict[str, GateFinding]:
        run = RunReference(dag_id="extract", run_id="r1", task_id="gate")
        checks = Round(connections=self.connections, api=self.api, blocked_run=run)
        return asyncio.run(checks.findings([self.registry.get(each) for each in ids]))


def echoing(body: dict[str, Any]) -> Callable[[str], Answer]:
    return lambda query: Answer(403, {**body, "query": query})


def rows(table: Any) -> int:
    return transact(lambda session: int(session.scalar(select(func.count()).select_from(table)) or 0))


def ago(**span: float) -> datetime:
    """Give a time by the clock of the MBI account."""
    return datetime.now(NEW_YORK) - timedelta(**span)


@pytest.fixture
def scene(app_port: int, tmp_path: Path) -> Iterator[Scene]:
    def answer(connection: Any, _: bytes) -> None:
        good = accepts[-1]
        body = json.dumps({"users": []} if good else {"error": "Couldn't authenticate you"})
        status = "200 OK" if good else "401 Unauthorized"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall((head + body).encode())

    accepts = [True]
    path = tmp_path / "integrations.yaml"
    path.write_text(REGISTRY)
    with mbi_server() as mbi, serving(answer) as server:
        extra = {"time_zone": "America/New_York", "figure_id": "360531", "max_age_hours": "26"}
        put_connection("mbi_export", host=mbi.url, login=CLIENT_ID, password=EXPORT_KEY, extra=extra)
        put_connection("mbi_import", host=mbi.url, login=CLIENT_ID, password=IMPORT_KEY)
        put_connection("help", host=server.url, login="dana@example.com", password="fake-token")
        mbi.job = a_job(ago(hours=2))
        yield Scene(mbi, HelpDesk(server, accepts), Database(app_port), load_registry(path, type_ids()))


def test_a_hundred_integrations_ask_mbi_once_and_all_hear_the_answer(scene: Scene) -> None:
    scene.mbi.job = a_job(ago(days=4))
    help_desk = scene.registry.get("help")
    many = [help_desk.model_copy(update={"id": f"help_{number}"}) for number in range(MANY)]
    findings = [each.finding for each in scene.checked(*many, max_age=0)]
    assert scene.mbi.calls[CYCLE] == 1
    assert {finding.cause for finding in findings} == {Cause.MBI_STALE}
    assert {finding.verdict for finding in findings} == {Verdict.MISCONFIGURED}
    assert all(finding.proved_at == finding.checked_at for finding in findings)
    assert scene.help_desk.asked == MANY


def test_no_owner_hears_of_it_and_the_engineer_gets_the_ticket(scene: Scene, mailbox: Mailbox) -> None:
    scene.mbi.job = a_job(ago(hours=2), status=FAILED)
    findings = scene.gate("help", "upload", "updates")
    decision = decide(findings, GatePolicy())
    assert decision.outcome is Outcome.FAIL
    assert {found.finding.cause for found in findings.values()} == {Cause.MBI_UPDATE_FAILED}
    assert "Subject: Commerce Intelligence: last update was not successful (Help desk)" in decision.sentence
    assert "MBI says: Status: Failed" in decision.sentence
    assert "Third party: accepted the credential at" in decision.sentence
    assert not any(found.blocks for found in findings.values())
    run = RunReference(dag_id="extract", run_id="r1", task_id="gate")
    for found in findings.values():
        assert asyncio.run(tell_owner(found, run=run, api=scene.api)).recipients == ()
    assert mailbox.messages == []
    assert (rows(Incident), rows(BlockedRun)) == (0, 0)
    assert kinds_due() <= {"engineer"}


def kinds_due() -> set[str]:
    return transact(lambda session: set(session.scalars(select(Notification.kind))))


def test_a_lost_authorization_outranks_mbi_and_its_owner_is_due_an_email(scene: Scene) -> None:
    scene.mbi.job = a_job(ago(days=4))
    scene.help_desk.accepts.append(False)
    (lost,) = scene.checked("help")
    assert lost.finding.verdict is Verdict.NEEDS_REAUTH
    assert scene.mbi.asked == []
    claim = asyncio.run(scene.api.claim(ClaimRequest(integration_id="help")))
    assert claim.mail is not None


def test_an_incident_ends_when_the_third_party_accepts_although_mbi_does_not_keep_up(scene: Scene) -> None:
    scene.mbi.job = a_job(ago(days=4))
    scene.help_desk.accepts.append(False)
    scene.checked("help")
    scene.help_desk.accepts.append(True)
    (behind,) = scene.checked("help")
    assert behind.finding.cause is Cause.MBI_STALE
    claim = asyncio.run(scene.api.claim(ClaimRequest(integration_id="help")))
    assert claim.mail is None


def test_a_fresh_mbi_leaves_everything_authorized(scene: Scene) -> None:
    scene.mbi.figure = f"table,latest\norders,{ago(hours=1):%Y-%m-%d %H:%M:%S}\n"
    names = ["imports", "exports", "updates", "orders", "upload", "help", "sales"]
    assert [each.finding.verdict for each in scene.checked(*names)] == [Verdict.AUTHORIZED] * len(names)
    assert (scene.mbi.calls[CYCLE], scene.mbi.calls[FIGURE]) == (1, 1)


def test_a_report_on_the_newest_rows_is_a_signal_of_its_own(scene: Scene) -> None:
    scene.mbi.figure = (
        f"table,latest\norders,{ago(hours=1):%Y-%m-%d %H:%M:%S}\nusers,{ago(days=3):%Y-%m-%d %H:%M:%S}\n"
    )
    sales, help_desk = scene.checked("sales", "help")
    assert (sales.finding.cause, sales.finding.rule) == (Cause.MBI_STALE, "mbi_signal.orders")
    assert help_desk.finding.cause is Cause.AUTHORIZED
    assert "orders" in sales.finding.facts["Report"]


@pytest.mark.parametrize("status", [403, 429, 500])
def test_an_mbi_that_does_not_tell_stops_nobody(scene: Scene, status: int) -> None:
    scene.mbi.instead[CYCLE] = lambda _: Answer(status)
    findings = scene.gate("help")
    assert findings["help"].finding.verdict is Verdict.AUTHORIZED
    assert decide(findings, GatePolicy()).outcome is Outcome.PROCEED


def test_the_hook_and_the_gates_share_the_turn(scene: Scene) -> None:
    scene.checked("help")
    hook = MbiHook(scene.registry.get("updates"), api=scene.api)
    hook.credential = asyncio.run(scene.connections.get("mbi_export"))
    with pytest.raises(TooSoonError) as raised:
        hook.update_cycle()
    assert 0 < raised.value.retry_after <= 65
    assert scene.mbi.calls[CYCLE] == 1


def test_what_the_hook_heard_is_what_the_gates_know(scene: Scene) -> None:
    scene.mbi.job = a_job(ago(days=4))
    hook = MbiHook(scene.registry.get("updates"), api=scene.api)
    hook.credential = asyncio.run(scene.connections.get("mbi_export"))
    job = hook.update_cycle().last_completed
    assert job is not None
    assert job.ended_at is not None
    assert (
        timedelta(days=3, hours=23) < datetime.now(timezone.utc) - job.ended_at < timedelta(days=4, hours=1)
    )
    (behind,) = scene.checked("help")
    assert behind.finding.cause is Cause.MBI_STALE
    assert scene.mbi.calls[CYCLE] == 1


def test_no_key_of_mbi_is_in_the_log_or_in_what_a_gate_publishes(
    scene: Scene, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for logger in (None, "httpx", "httpcore", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=logger)
    for path, key in ((f"/v2/client/{CLIENT_ID}/authenticate", IMPORT_KEY), ("/0.1/export", EXPORT_KEY)):
        body = {"code": 403, "message": f"No: {key} /authenticate?apikey={key}"}
        scene.mbi.instead[path] = echoing(body)
    findings = scene.gate("imports", "exports", "updates", "help", "upload")
    assert findings["imports"].finding.cause is Cause.MBI_KEY_REJECTED
    assert findings["exports"].finding.cause is Cause.MBI_KEY_REJECTED
    shown = [record.getMessage() for record in caplog.records] + list(capfd.readouterr())
    shown += [json.dumps(published(findings)), decide(findings, GatePolicy()).sentence]
    for secret in ("canary-import-key", "canary-export-key"):
        assert not any(secret in text for text in shown)
