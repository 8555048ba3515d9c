"""Sending what is due: once, under a claim, never lost; and telling an owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.message import EmailMessage
from typing import Any

import pytest
from typing_extensions import Self

from mbi_reauth.api.datamodels import (
    ClaimRequest,
    ClaimResponse,
    FindingReceipt,
    FindingReport,
    IncidentView,
    MailView,
    Notice,
    RunReference,
    SettleRequest,
)
from mbi_reauth.core.gate import GateFinding
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import Facts, NotificationKind, Reason
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.hooks.api import ApiRefusedError, ApiUnavailableError, ReauthApiHook
from mbi_reauth.notifications.sending import (
    NotSentError,
    Sent,
    SentMail,
    Told,
    send_due,
    tell_owner,
    tell_owners,
)
from mbi_reauth.notifications.smtp import AddressRefusedError, MailError, NoServerError

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
RUN = RunReference(dag_id="extract_books", run_id="r1", task_id="books.check_authorization")
FINDING = Finding(cause=Cause.GRANT_REVOKED, rule="test", explanation="Withdrawn.", checked_at=NOON)
AWAY = ApiUnavailableError("the app did not answer")
OWNER = "dana@example.com"
OPENED, ESCALATION = NotificationKind.OPENED, NotificationKind.ESCALATION


def an_integration(name: str = "books", *, kind: str = "quickbooks") -> Integration:
    owner = {"name": "Dana Example", "email": OWNER}
    return Integration.model_validate({"id": name, "type": kind, "conn_id": name, "owner": owner})


def found(name: str = "books") -> GateFinding:
    return GateFinding(integration=an_integration(name), finding=FINDING, credential_version=3)


def a_mail(number: int, *names: str, to: str = OWNER, kind: NotificationKind = OPENED) -> MailView:
    """Make a claimed email about these integrations; a digest where they are several."""
    incident = IncidentView(id="42", opened_at=NOON, confirmed_at=NOON, finding=FINDING)
    notices = [
        Notice(
            id=10 * number + place,
            integration=an_integration(name),
            integration_type="quickbooks",
            facts=Facts(reason=Reason.LOST if kind is OPENED else Reason.ADDRESS_REFUSED),
            incident=incident,
            blocked_runs=[RUN],
        )
        for place, name in enumerate(names or ("books",))
    ]
    return MailView(
        lease=f"lease-{number}",
        kind=kind,
        recipients=[to],
        addressee="Dana Example",
        message_id=f"<mbi-reauth.{number}@airflow.example.com>",
        notices=notices,
    )


class Outbox(ReauthApiHook):
    """The plugin's app with a queue of emails; remembers what it was asked and told.

    ``then`` raises at the claims after the first, ``upset`` raises at each settling in turn.
    """

    def __init__(
        self,
        *mails: MailView,
        reason: str = "nothing else is due",
        then: Exception | None = None,
        upset: Sequence[Exception] = (),
    ) -> None:
        super().__init__()
        self.due = list(mails)
        self.reason, self.then, self.upset = reason, then, list(upset)
        self.escalation: MailView | None = None
        self.reports: list[FindingReport] = []
        self.claims: list[ClaimRequest] = []
        self.settled: list[SettleRequest] = []

    async def report(self, report: FindingReport) -> FindingReceipt:
        self.reports.append(report)
        return FindingReceipt(accepted=True)

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        self.claims.append(request)
        if self.then is not None and len(self.claims) > 1:
            raise self.then
        for mail in self.due:
            if not {notice.id for notice in mail.notices} & set(request.passed_over):
                return ClaimResponse(mail=mail)
        return ClaimResponse(reason=self.reason)

    async def settle(self, request: SettleRequest) -> None:
        if self.upset:
            raise self.upset.pop(0)
        self.settled.append(request)
        if request.outcome != "unsent":
            self.due = [mail for mail in self.due if mail.lease != request.lease]
        if request.outcome == "refused" and self.escalation is not None:
            self.due.append(self.escalation)


class Down(Outbox):
    async def report(self, report: FindingReport) -> FindingReceipt:
        raise AWAY

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        raise AWAY


@dataclass
class Server:
    """A mail server; ``answers`` raise for the mails to an address, one after the other."""

    answers: dict[str, list[Exception]] = field(default_factory=dict)
    always: Exception | None = None
    messages: list[EmailMessage] = field(default_factory=list)
    tried: int = 0

    def __call__(self, message: EmailMessage) -> None:
        self.tried += 1
        if self.always is not None:
            raise self.always
        if queue := self.answers.get(str(message["To"])):
            raise queue.pop(0)
        self.messages.append(message)


def send(outbox: Outbox, server: Server, **options: Any) -> Sent:
    return asyncio.run(send_due(api=outbox, run=RUN, deliver=server, **options))


def tell(outbox: Outbox, server: Server, **options: Any) -> Told:
    return asyncio.run(tell_owner(found(), run=RUN, api=outbox, deliver=server, **options))


def to(number: int) -> str:
    return f"owner{number}@example.com"


def test_everything_that_is_due_is_sent_and_settled_one_after_the_other() -> None:
    outbox, server = Outbox(a_mail(1, to=to(1)), a_mail(2, "shop", "books", to=to(2))), Server()
    sent = send(outbox, server)
    assert sent.mails == [
        SentMail(OPENED, (to(1),), ("books",)),
        SentMail(OPENED, (to(2),), ("shop", "books")),
    ]
    assert [message["To"] for message in server.messages] == [to(1), to(2)]
    assert outbox.settled == [SettleRequest(lease=f"lease-{number}", outcome="sent") for number in (1, 2)]
    assert (sent.unsent, sent.refused, sent.reason) == ([], [], "nothing else is due")


def test_only_the_first_claim_says_that_the_outbox_is_served() -> None:
    outbox = Outbox(a_mail(1), a_mail(2))
    send(outbox, Server(), serving=True)
    assert [claim.serving for claim in outbox.claims] == [True, False, False]
    assert all(claim.integration_id is None and claim.claimed_by == RUN for claim in outbox.claims)


def test_what_the_mail_server_did_not_take_is_passed_over_and_the_others_are_sent() -> None:
    outbox = Outbox(a_mail(1, "shop", "books", to=to(1)), a_mail(2, to=to(2)))
    sent = send(outbox, Server({to(1): [MailError("the mailbox is full")]}))
    assert [mail.recipients for mail in sent.mails] == [(to(2),)]
    assert sent.unsent == ["shop, books: the mailbox is full"]
    assert outbox.settled[0] == SettleRequest(lease="lease-1", outcome="unsent", error="the mailbox is full")
    assert [claim.passed_over for claim in outbox.claims] == [[], [10, 11], [10, 11]]


def test_a_server_that_takes_three_mails_in_a_row_not_is_left_alone() -> None:
    outbox = Outbox(*(a_mail(number, to=to(number)) for number in range(1, 9)))
    server = Server(always=MailError("no route to host"))
    sent = send(outbox, server)
    assert server.tried == 3
    assert len(sent.unsent) == 3
    assert "none of the last 3" in sent.reason
    assert [each.outcome for each in outbox.settled] == ["unsent"] * 3


def test_where_there_is_no_mail_server_nothing_is_held_against_the_mails() -> None:
    outbox = Outbox(*(a_mail(number, to=to(number)) for number in range(1, 9)))
    sent = send(outbox, Server(always=NoServerError("connection refused")))
    assert len(sent.unsent) == 3
    assert [each.outcome for each in outbox.settled] == ["untried"] * 3


def test_failures_that_are_not_in_a_row_end_nothing() -> None:
    failing: dict[str, list[Exception]] = {to(number): [MailError("greylisted")] for number in (1, 2, 4, 5)}
    outbox = Outbox(*(a_mail(number, to=to(number)) for number in range(1, 7)))
    sent = send(outbox, Server(failing))
    assert [mail.recipients for mail in sent.mails] == [(to(3),), (to(6),)]
    assert len(sent.unsent) == 4


def test_an_address_that_is_refused_for_good_lets_the_escalation_go_out_at_once() -> None:
    outbox = Outbox(a_mail(1))
    outbox.escalation = a_mail(2, to="team@example.com", kind=ESCALATION)
    sent = send(outbox, Server({OWNER: [AddressRefusedError("550 5.1.1 nobody here")]}))
    assert sent.mails == [SentMail(ESCALATION, ("team@example.com",), ("books",))]
    assert (sent.unsent, sent.refused) == ([], ["books: 550 5.1.1 nobody here"])
    assert [each.outcome for each in outbox.settled] == ["refused", "sent"]


def test_a_refused_address_is_the_answer_of_a_server_that_works() -> None:
    outbox = Outbox(*(a_mail(number, to=to(number)) for number in range(1, 6)))
    failing: dict[str, list[Exception]] = {to(number): [MailError("greylisted")] for number in (1, 2, 4)}
    sent = send(outbox, Server({**failing, to(3): [AddressRefusedError("nobody")]}))
    assert [mail.recipients for mail in sent.mails] == [(to(5),)]


def test_a_mail_that_cannot_be_written_keeps_no_other_from_being_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = a_mail(1, to=to(1))
    notice = odd.notices[0].model_copy(update={"integration": an_integration(kind="no_such_type")})
    odd = odd.model_copy(update={"notices": [notice.model_copy(update={"integration_type": "no_such_type"})]})
    outbox = Outbox(odd, a_mail(2, to=to(2)))
    sent = send(outbox, Server())
    assert [mail.recipients for mail in sent.mails] == [(to(2),)]
    assert outbox.settled[0].outcome == "unsent"
    assert outbox.settled[0].error
    assert outbox.settled[0].error.endswith("Error")
    assert "Traceback" in caplog.text


def test_a_fault_of_our_own_while_sending_gives_the_mail_back() -> None:
    outbox = Outbox(a_mail(1, to=to(1)), a_mail(2, to=to(2)))
    sent = send(outbox, Server({to(1): [ZeroDivisionError("a bug")]}))
    assert [mail.recipients for mail in sent.mails] == [(to(2),)]
    assert outbox.settled[0] == SettleRequest(lease="lease-1", outcome="unsent", error="ZeroDivisionError")


def test_a_sent_mail_is_settled_even_if_the_app_stumbles_just_then() -> None:
    outbox, server = Outbox(a_mail(1), upset=[AWAY]), Server()
    assert len(send(outbox, server).mails) == 1
    assert len(server.messages) == 1
    assert outbox.settled == [SettleRequest(lease="lease-1", outcome="sent")]


def test_a_mail_whose_lease_another_has_is_not_claimed_again() -> None:
    outbox, server = Outbox(a_mail(1), upset=[ApiRefusedError("another claimed it", 409)]), Server()
    sent = send(outbox, server)
    assert len(server.messages) == 1
    assert (len(sent.mails), sent.unsent) == (1, [])
    assert outbox.claims[-1].passed_over == [10]


def test_while_the_app_cannot_be_told_that_a_mail_is_out_no_other_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mbi_reauth.notifications.sending.SETTLES_WITHIN", 0)
    outbox, server = Outbox(a_mail(1), a_mail(2), upset=[AWAY]), Server()
    sent = send(outbox, server)
    assert len(server.messages) == 1
    assert sent.unsent == ["books: sent, which is not recorded. the app did not answer"]


def test_an_app_that_goes_away_meanwhile_leaves_what_was_sent_told() -> None:
    sent = send(Outbox(a_mail(1), a_mail(2), then=AWAY), Server())
    assert len(sent.mails) == 1
    assert sent.unsent == ["What else is due is not known. the app did not answer"]


def test_an_app_that_is_away_from_the_beginning_is_an_error_of_its_own() -> None:
    server = Server()
    with pytest.raises(ApiUnavailableError):
        send(Down(), server)
    assert server.messages == []


def test_what_is_held_meanwhile_is_told_although_something_was_sent() -> None:
    class Holding(Outbox):
        async def claim(self, request: ClaimRequest) -> ClaimResponse:
            response = await super().claim(request)
            return (
                response.model_copy(update={"reason": "it is night for dana"}) if response.mail else response
            )

    assert send(Holding(a_mail(1)), Server()).reason == "it is night for dana; nothing else is due"


# Telling an owner.


def test_the_blocked_run_and_the_credentials_version_are_reported_before_the_claim() -> None:
    outbox = Outbox(a_mail(1))
    assert tell(outbox, Server()) == Told((OWNER,), "books: sent to dana@example.com (opened)")
    assert outbox.reports == [
        FindingReport(integration=an_integration(), finding=FINDING, credential_version=3, blocked_run=RUN)
    ]
    assert [claim.integration_id for claim in outbox.claims] == ["books", "books"]


def test_an_email_that_is_not_due_is_not_sent_and_the_reason_is_told() -> None:
    server = Server()
    told = tell(Outbox(reason="sent to dana@example.com at 02:15 UTC"), server)
    assert told == Told((), "books: sent to dana@example.com at 02:15 UTC")
    assert server.messages == []


def test_an_address_that_is_refused_is_told_also_where_there_is_nobody_else() -> None:
    told = tell(
        Outbox(a_mail(1), reason="nobody else"), Server({OWNER: [AddressRefusedError("nobody here")]})
    )
    assert (told.recipients, told.failed) == ((), False)
    assert "nobody here" in told.reason
    assert "nobody else" in told.reason


def test_mail_that_cannot_be_sent_is_an_error() -> None:
    with pytest.raises(NotSentError, match="books: the mail server is down"):
        tell(Outbox(a_mail(1)), Server(always=MailError("the mail server is down")))


def test_an_app_that_is_away_sends_nothing_that_it_could_not_count() -> None:
    server = Server()
    with pytest.raises(NotSentError, match="books: the app did not answer"):
        tell(Down(), server)
    assert server.messages == []


@pytest.fixture
def deliver(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], None]:
    """Put a server in the place of Airflow's mail connection."""

    class Line:
        server = Server()

        def __init__(self, conn_id: str) -> None: ...

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def send(self, message: EmailMessage) -> None:
            self.server(message)

    monkeypatch.setattr("mbi_reauth.notifications.sending.Outgoing", Line)
    return lambda server: setattr(Line, "server", server)


def test_what_came_of_each_is_told_and_one_failure_keeps_nobody_else_from_being_told(
    deliver: Callable[[Server], None], caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(Outbox):
        async def report(self, report: FindingReport) -> FindingReceipt:
            if report.integration.id == "shop":
                raise ZeroDivisionError("a bug")
            return await super().report(report)

    outbox = Faulty(a_mail(1, "books"))
    deliver(Server())
    told = asyncio.run(tell_owners([found("shop"), found("books")], run=RUN, api=outbox))
    assert told["shop"] == Told((), "shop: ZeroDivisionError", failed=True)
    assert told["books"].recipients == (OWNER,)
    assert "a bug" in caplog.text


def test_an_owner_who_cannot_be_told_is_so_in_the_log_and_in_what_came_of_it(
    deliver: Callable[[Server], None], caplog: pytest.LogCaptureFixture
) -> None:
    deliver(Server(always=MailError("the mail server is down")))
    told = asyncio.run(tell_owners([found()], run=RUN, api=Outbox(a_mail(1))))
    assert told == {"books": Told((), "books: the mail server is down", failed=True)}
    assert "not told yet" in caplog.text
