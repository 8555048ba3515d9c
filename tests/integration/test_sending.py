"""What is due reaches people: by HTTP from the real app, by SMTP to a real server, by a test's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from demo.mailbox import Mail
from mbi_reauth.api.app import create_app
from mbi_reauth.api.datamodels import FindingReport, RunReference, WouldBlockResponse
from mbi_reauth.api.dependencies import surroundings
from mbi_reauth.api.services.surroundings import Mailing, Surroundings
from mbi_reauth.core.gate import GateFinding
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.quiet import quiet_hours
from mbi_reauth.core.verdict import Cause, Certainty, Finding
from mbi_reauth.hooks.api import ReauthApiHook
from mbi_reauth.notifications.sending import NotSentError, Told, tell_owner
from mbi_reauth.probes.credential import Credential
from mbi_reauth.sweep import serve
from tests.served import served
from tests.smtp import MailServer, connection

KEY = "fake-key-of-the-app"
NOON = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
DANA, TEAM, ENGINEERS = "dana@example.com", "team@example.com", "engineers@example.com"
SWEEP = RunReference(dag_id="mbi_authorization_sweep", run_id="s1", task_id="send_due")
UNKNOWN = "550 5.1.1 There is nobody of that name"


def an_integration(name: str, *, kind: str = "quickbooks", **owner: Any) -> Integration:
    person = {"name": "Dana Example", "email": DANA, **owner}
    return Integration.model_validate({"id": name, "type": kind, "conn_id": name, "owner": person})


@dataclass
class World:
    """The app at a port, a mail server, and a clock."""

    port: int
    mail: MailServer
    moment: datetime = NOON
    mailing: Mailing = field(default_factory=Mailing)
    runs: int = 0

    async def get(self, conn_id: str) -> Credential:
        host = f"http://127.0.0.1:{self.port}"
        return Credential(conn_id=conn_id, conn_type="generic", host=host, password=KEY)

    @property
    def api(self) -> ReauthApiHook:
        return ReauthApiHook(connections=self)

    def as_surroundings(self) -> Surroundings:
        return Surroundings(now=lambda: self.moment, mailing=lambda: self.mailing)

    def passes(self, **time: float) -> None:
        self.moment += timedelta(**time)

    def gate(self, integration: Integration) -> Told:
        """End a gate blocked, and let its branch tell the owner."""
        self.runs += 1
        run = RunReference(dag_id="extract", run_id=f"r{self.runs}", task_id="gate")
        found = GateFinding(integration=integration, finding=self._finding(Cause.GRANT_REVOKED))
        return asyncio.run(tell_owner(found, run=run, api=self.api))

    def report(self, *integrations: Integration, cause: Cause = Cause.GRANT_REVOKED, **fields: Any) -> None:
        """Report one finding about each, as the shards of a sweep do."""
        for integration in integrations:
            report = FindingReport(integration=integration, finding=self._finding(cause), **fields)
            asyncio.run(self.api.report(report))

    def _finding(self, cause: Cause) -> Finding:
        return Finding(cause=cause, rule="test", explanation="As told.", checked_at=self.moment)

    def serve(self) -> dict[str, int]:
        """Send what is due, as the last task of a sweep."""
        return asyncio.run(serve(SWEEP, api=self.api))

    def would_block(self) -> WouldBlockResponse:
        return asyncio.run(self.api.would_block())

    def arrived(self) -> list[Mail]:
        """Take what has come since the last time."""
        mails, self.mail.mails[:] = list(self.mail.mails), []
        return mails

    def told(self) -> list[tuple[str, ...]]:
        return [mail.recipients for mail in self.arrived()]


@pytest.fixture
def answers(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """What the mail server says to RCPT of an address."""
    return getattr(request, "param", {})


@pytest.fixture
def world(
    metadata_db: str, answers: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    with ExitStack() as stack:
        mail = stack.enter_context(MailServer(answers))
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection(mail.port))
        app = create_app(resumes=False)
        world = World(stack.enter_context(served(app)), mail)
        app.dependency_overrides[surroundings] = world.as_surroundings
        yield world


BOOKS, SHOP = an_integration("books"), an_integration("shop", kind="zendesk")


def test_losses_that_one_sweep_finds_reach_their_owner_as_one_email(world: World) -> None:
    other = an_integration("sheets", kind="zendesk", email="sam@example.com")
    world.report(BOOKS, SHOP, other)
    assert world.serve() == {"opened_emails": 2}
    arrived = {mail.recipients: str(mail.text) for mail in world.arrived()}
    assert set(arrived) == {(DANA,), ("sam@example.com",)}
    assert "books" in arrived[DANA,]
    assert "shop" in arrived[DANA,]
    assert world.serve() == {}


def test_what_is_lost_just_after_an_email_follows_ten_minutes_later_while_a_sweep_comes(world: World) -> None:
    world.serve()
    assert world.gate(BOOKS).recipients == (DANA,)
    held = world.gate(SHOP)
    assert (held.recipients, held.failed, held.held) == ((), False, True)
    assert "follows at" in held.reason
    world.passes(minutes=9)
    assert world.serve() == {}
    world.passes(minutes=2)
    assert world.serve() == {"opened_emails": 1}
    assert world.told() == [(DANA,), (DANA,)]


def test_without_a_sweep_nothing_waits_for_a_digest(world: World) -> None:
    assert [world.gate(each).recipients for each in (BOOKS, SHOP)] == [(DANA,), (DANA,)]


@pytest.mark.parametrize("answers", [{DANA: [UNKNOWN]}], indirect=True)
def test_where_the_server_refuses_the_owners_address_the_backup_hears_at_once(world: World) -> None:
    told = world.gate(an_integration("books", backup=TEAM))
    assert told.recipients == (TEAM,)
    assert "5.1.1" in told.reason
    (mail,) = world.arrived()
    assert mail.recipients == (TEAM,)
    assert world.gate(an_integration("books", backup=TEAM)).recipients == ()


@pytest.mark.parametrize("answers", [{DANA: [UNKNOWN]}], indirect=True)
def test_without_a_backup_the_engineers_hear_of_the_refused_address(world: World) -> None:
    world.mailing = replace(world.mailing, engineers=(ENGINEERS,))
    assert world.gate(BOOKS).recipients == (ENGINEERS,)


@pytest.mark.parametrize("answers", [{DANA: [UNKNOWN]}], indirect=True)
def test_where_there_is_nobody_else_the_sweep_warns_and_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.report(BOOKS, an_integration("sheets", kind="zendesk", email="sam@example.com"))
    assert world.serve() == {"opened_emails": 1, "emails_refused": 1}
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len([line for line in warnings if "engineer_email" in line]) == 1


def test_everybody_who_was_written_to_hears_at_the_next_sweep_that_it_works_again(world: World) -> None:
    world.gate(BOOKS)
    (opened,) = world.arrived()
    world.passes(minutes=20)
    world.report(BOOKS, cause=Cause.AUTHORIZED)
    assert world.serve() == {"recovered_emails": 1}
    (recovered,) = world.arrived()
    assert recovered.recipients == (DANA,)
    assert recovered.header("In-Reply-To") == opened.header("Message-ID")
    assert recovered.subject == f"Re: {opened.subject}"
    assert world.serve() == {}


def test_a_nightly_run_reminds_the_owner_where_no_sweep_runs(world: World) -> None:
    assert world.gate(BOOKS).reason == f"books: sent to {DANA} (opened)"
    assert f"sent to {DANA} at" in world.gate(BOOKS).reason
    world.passes(days=1)
    assert world.gate(BOOKS).reason == f"books: sent to {DANA} (reminder)"


def test_a_reminder_waits_for_the_end_of_the_night(world: World) -> None:
    world.mailing = Mailing(quiet=quiet_hours("20:00-08:00"))
    late = an_integration("books", time_zone="Europe/Amsterdam")
    world.passes(hours=10)  # 23:00 in Amsterdam, and a loss is told at once
    assert world.gate(late).recipients == (DANA,)
    world.passes(days=1)
    held = world.gate(late)
    assert held.recipients == ()
    assert "it is night for dana@example.com until 2026-03-04T07:00:00+00:00" in held.reason
    assert world.serve() == {}
    world.passes(hours=9)
    assert world.serve() == {"reminder_emails": 1}


def test_many_losses_of_one_type_at_once_are_an_outage_until_an_hour_later(world: World) -> None:
    world.mailing = replace(world.mailing, engineers=(ENGINEERS,))
    everybody = [an_integration(f"books{number}", email=f"owner{number}@example.com") for number in range(4)]
    world.report(*everybody, cause=Cause.AUTHORIZED)
    world.passes(minutes=15)
    world.report(*everybody[:3])
    assert world.serve() == {"engineer_emails": 1}
    assert world.told() == [(ENGINEERS,)]
    held = world.gate(everybody[0])
    assert (held.recipients, held.failed, held.held) == ((), False, True)
    assert held.reason == "books0: held until 2026-03-02T13:15:00+00:00"
    world.passes(minutes=61)
    assert world.serve() == {"opened_emails": 3}
    assert sorted(world.told()) == [(f"owner{number}@example.com",) for number in range(3)]


def test_while_the_mail_server_is_away_nothing_is_lost_and_the_failures_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.report(BOOKS, an_integration("sheets", kind="zendesk", email="sam@example.com"))
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection(1))
    assert world.serve() == {"emails_unsent": 2}
    with pytest.raises(NotSentError):
        world.gate(BOOKS)
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection(world.mail.port))
    assert world.serve() == {"opened_emails": 2}


def test_all_mails_of_a_sweep_go_over_one_connection(world: World) -> None:
    world.report(*(an_integration(f"a{number}", email=f"o{number}@example.com") for number in range(2)))
    world.report(an_integration("b", kind="zendesk", email="o3@example.com"))
    assert world.serve() == {"opened_emails": 3}
    assert len(set(world.mail.clients)) == 1


def test_in_shadow_mode_nobody_is_mailed_and_afterwards_what_is_still_lost_is_told(world: World) -> None:
    world.mailing = replace(world.mailing, shadow=True)
    run = RunReference(dag_id="extract", run_id="r1", task_id="gate")
    world.report(BOOKS)
    for _ in range(2):
        world.report(BOOKS, shadow=True, blocked_run=run)
    assert world.serve() == {}
    assert "shadow mode" in world.gate(BOOKS).reason
    answer = world.would_block()
    assert [(each.integration_id, each.runs, each.causes) for each in answer.would_block] == [
        ("books", 1, ["grant_revoked"])
    ]
    assert answer.waiting_mails == 1
    assert world.arrived() == []
    world.mailing = replace(world.mailing, shadow=False)
    assert world.serve() == {"opened_emails": 1}


def test_a_bare_refusal_is_counted_in_shadow_mode_only_once_its_incident_is_certain(world: World) -> None:
    def count(run_id: str) -> int:
        run = RunReference(dag_id="extract", run_id=run_id, task_id="gate")
        finding = Finding(
            cause=Cause.CREDENTIALS_REJECTED,
            rule="test",
            explanation="-",
            certainty=Certainty.AMBIGUOUS,
            checked_at=world.moment,
        )
        report = FindingReport(integration=BOOKS, finding=finding, shadow=True, blocked_run=run)
        asyncio.run(world.api.report(report))
        return sum(each.runs for each in world.would_block().would_block)

    assert count("r1") == 0
    world.report(BOOKS)
    assert count("r2") == 1
