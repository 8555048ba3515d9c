"""Fifty runs blocked at the same moment, over HTTP to the real app and SMTP to a real server: one email."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import pytest

from demo.mailbox import Mailbox
from mbi_reauth.api.datamodels import RunReference
from mbi_reauth.core.gate import GateFinding
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.hooks.api import ReauthApiHook
from mbi_reauth.notifications.sending import NotSentError, Told, tell_owner
from mbi_reauth.probes.credential import Credential

KEY = "fake-key-of-the-app"
MANY = 50
BOOKS = Integration.model_validate(
    {
        "id": "books",
        "type": "quickbooks",
        "conn_id": "books",
        "owner": {"name": "Dana Example", "email": "dana@example.com"},
    }
)


class AppAt:
    """The connection of an app on a loopback port."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def get(self, conn_id: str) -> Credential:
        return Credential(
            conn_id=conn_id, conn_type="generic", host=f"http://127.0.0.1:{self.port}", password=KEY
        )


@pytest.fixture
def app(app_port: int) -> AppAt:
    return AppAt(app_port)


def tell(app: AppAt, number: int) -> Told | NotSentError:
    finding = Finding(
        cause=Cause.GRANT_REVOKED, rule="test", explanation="-", checked_at=datetime.now(timezone.utc)
    )
    run = RunReference(
        dag_id=f"dag_{number % 20}", run_id=f"run {number}", task_id="books.check_authorization"
    )
    found = GateFinding(integration=BOOKS, finding=finding)
    try:
        return asyncio.run(tell_owner(found, run=run, api=ReauthApiHook(connections=app)))
    except NotSentError as error:
        return error


def all_at_once(app: AppAt) -> list[Told | NotSentError]:
    barrier = threading.Barrier(MANY)

    def blocked(number: int) -> Told | NotSentError:
        barrier.wait()
        return tell(app, number)

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(blocked, range(MANY)))


def senders(outcomes: list[Told | NotSentError]) -> list[Told]:
    return [outcome for outcome in outcomes if isinstance(outcome, Told) and outcome.recipients]


def test_fifty_runs_blocked_at_once_send_one_email(app: AppAt, mailbox: Mailbox) -> None:
    outcomes = all_at_once(app)
    assert [outcome for outcome in outcomes if isinstance(outcome, NotSentError)] == []
    assert len(senders(outcomes)) == 1
    assert [mail.recipients for mail in mailbox.messages] == [("dana@example.com",)]


def test_while_the_mail_server_is_down_nothing_is_lost_and_afterwards_one_email_goes_out(
    app: AppAt, mailbox: Mailbox
) -> None:
    mailbox.refuse(True)
    outcomes = all_at_once(app)
    assert senders(outcomes) == []
    assert any(isinstance(outcome, NotSentError) for outcome in outcomes)
    mailbox.refuse(False)
    assert len(senders(all_at_once(app))) == 1
    assert len(mailbox.messages) == 1
    assert (mailbox.messages[0].header("Message-ID") or "").startswith("<mbi-reauth.")
