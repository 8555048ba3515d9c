"""Telling an owner: once, under a claim, and never lost."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from email.message import EmailMessage
from typing import Any

import pytest

from mbi_reauth.api.datamodels import (
    ClaimRequest,
    ClaimResponse,
    FindingReceipt,
    FindingReport,
    IncidentView,
    NotificationView,
    RunReference,
    SettleRequest,
)
from mbi_reauth.core.gate import GateFinding
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.hooks.api import ApiUnavailableError
from mbi_reauth.notifications.sending import NotSentError, tell_owner
from mbi_reauth.notifications.smtp import MailError

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
RUN = RunReference(dag_id="extract_books", run_id="r1", task_id="books.check_authorization")
BOOKS = Integration.model_validate(
    {
        "id": "books",
        "type": "quickbooks",
        "conn_id": "books",
        "owner": {"name": "Dana Example", "email": "dana@example.com"},
    }
)
FINDING = Finding(cause=Cause.GRANT_REVOKED, rule="test", explanation="Withdrawn.", checked_at=NOON)
FOUND = GateFinding(integration=BOOKS, finding=FINDING, credential_version=3)


class FakeApi:
    """The plugin's app with one notification due; remembers what it was told."""

    def __init__(self, *, due: bool = True, down: bool = False) -> None:
        self.due = due
        self.down = down
        self.reports: list[FindingReport] = []
        self.settled: list[SettleRequest] = []
        self.settle_failures = 0

    async def report(self, report: FindingReport) -> FindingReceipt:
        if self.down:
            raise ApiUnavailableError("the app did not answer")
        self.reports.append(report)
        return FindingReceipt(accepted=True)

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        if not self.due:
            return ClaimResponse(reason="sent to dana@example.com at 02:15 UTC")
        incident = IncidentView(id="42", opened_at=NOON, confirmed_at=NOON, finding=FINDING)
        notification = NotificationView(
            id=1,
            lease="lease",
            kind="opened",
            recipient="dana@example.com",
            message_id="<mbi-reauth.42.opened@airflow.example.com>",
            integration=BOOKS,
            incident=incident,
            blocked_runs=[RUN],
        )
        return ClaimResponse(notification=notification)

    async def settle(self, notification_id: int, request: SettleRequest) -> None:
        if self.settle_failures:
            self.settle_failures -= 1
            raise ApiUnavailableError("the app did not answer")
        self.settled.append(request)


class Outbox:
    """A mail server that accepts, or refuses, what it is given."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.refuse = refuse
        self.messages: list[EmailMessage] = []

    def __call__(self, message: EmailMessage) -> None:
        if self.refuse:
            raise MailError("the mail server is down")
        self.messages.append(message)


def tell(api: FakeApi, outbox: Outbox) -> Any:
    return asyncio.run(tell_owner(FOUND, run=RUN, api=api, deliver=outbox))  # type: ignore[arg-type]


def test_a_due_email_is_sent_and_settled() -> None:
    api, outbox = FakeApi(), Outbox()
    assert tell(api, outbox).recipient == "dana@example.com"
    assert [message["To"] for message in outbox.messages] == ["dana@example.com"]
    assert api.settled == [SettleRequest(lease="lease", sent=True)]


def test_the_blocked_run_and_the_credentials_version_are_reported_before_the_claim() -> None:
    api = FakeApi()
    tell(api, Outbox())
    assert api.reports == [
        FindingReport(integration=BOOKS, finding=FINDING, credential_version=3, blocked_run=RUN)
    ]


def test_an_email_that_is_not_due_is_not_sent_and_the_reason_is_told() -> None:
    outbox = Outbox()
    told = tell(FakeApi(due=False), outbox)
    assert told.recipient is None
    assert told.reason == "books: sent to dana@example.com at 02:15 UTC"
    assert outbox.messages == []


def test_a_mail_server_that_is_down_leaves_the_email_due() -> None:
    api = FakeApi()
    with pytest.raises(NotSentError, match="books: the mail server is down"):
        tell(api, Outbox(refuse=True))
    assert api.settled == [SettleRequest(lease="lease", sent=False, error="the mail server is down")]


def test_an_app_that_is_down_sends_nothing_that_it_could_not_count() -> None:
    outbox = Outbox()
    with pytest.raises(NotSentError, match="the app did not answer"):
        tell(FakeApi(down=True), outbox)
    assert outbox.messages == []


def test_a_sent_email_is_settled_even_if_the_app_stumbles_just_then() -> None:
    api, outbox = FakeApi(), Outbox()
    api.settle_failures = 1
    tell(api, outbox)
    assert len(outbox.messages) == 1
    assert api.settled == [SettleRequest(lease="lease", sent=True)]


def test_a_gate_that_waits_is_not_owed_a_resume() -> None:
    api = FakeApi()
    asyncio.run(tell_owner(FOUND, run=RUN, stopped=False, api=api, deliver=Outbox()))  # type: ignore[arg-type]
    assert [report.blocked_run for report in api.reports] == [None]
