"""A small world around the services of incidents and emails, with a model of it, and what must always hold.

Integrations, owners, reporters whose clocks are wrong, senders that die and a mail server with moods do one
thing after the other to the real services. The model knows only what it has seen go in and come out; it
judges for itself whether an authorization is lost, whether that is certain, and who has had which email.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import (
    CheckRequest,
    ClaimRequest,
    FindingReceipt,
    FindingReport,
    MailView,
    Notice,
    RunReference,
    SettleRequest,
)
from mbi_reauth.api.services import checks, findings, notifications
from mbi_reauth.api.services.claims import LEASE
from mbi_reauth.api.services.notifications import LeaseLostError
from mbi_reauth.api.services.outbox import UNSETTLED
from mbi_reauth.api.services.surroundings import Mailing, Surroundings
from mbi_reauth.core.integration import Integration, Owner
from mbi_reauth.core.notice import NotificationKind, Reason
from mbi_reauth.core.quiet import quiet_hours
from mbi_reauth.core.verdict import Cause, Certainty, Finding, Verdict
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Incident, Notification, Status
from tests.app import NOON, fake_type
from tests.metadata_db import put_connection

ENGINEER = "ops@example.com"
ZONE = "Europe/Amsterdam"
OWNERS = {
    "dana": {"name": "Dana Example", "email": "dana@example.com", "backup": "team@example.com"},
    "kim": {"name": "Kim Example", "email": "kim@example.com"},
}
ADDRESSES = ("dana@example.com", "team@example.com", "kim@example.com", ENGINEER)
TO_PEOPLE = (NotificationKind.OPENED, NotificationKind.REMINDER, NotificationKind.ESCALATION)
NEWS = (Reason.LOST, Reason.LOST_AGAIN, Reason.REPLACEMENT_REFUSED)
CONFIRMS = timedelta(seconds=60)
LIFETIME = timedelta(days=20)
TICK = timedelta(milliseconds=1)


def integration(integration_id: str, type_id: str, owner: str) -> Integration:
    return Integration.model_validate(
        {
            "id": integration_id,
            "type": type_id,
            "conn_id": integration_id,
            "owner": {**OWNERS[owner], "time_zone": ZONE},
        }
    )


INTEGRATIONS = (
    integration("ads_1", "ads", "dana"),
    integration("ads_2", "ads", "dana"),
    integration("ads_3", "ads", "kim"),
    integration("ads_4", "ads", "kim"),
    integration("db_1", "db", "dana"),
    integration("db_2", "db", "kim"),
)


class Answer(NamedTuple):
    """What a third party answered to a check."""

    cause: Cause
    certainty: Certainty = Certainty.EXPLICIT
    expires: bool = False

    def __repr__(self) -> str:
        kind = "?" if self.certainty is Certainty.AMBIGUOUS else ""
        return f"{self.cause.value}{kind}{' expires' if self.expires else ''}"


WORKS = Answer(Cause.AUTHORIZED)
REFUSED = Answer(Cause.GRANT_REVOKED)
TURNED_DOWN = Answer(Cause.USER_DEACTIVATED)
DOUBTFUL = Answer(Cause.CREDENTIALS_REJECTED, Certainty.AMBIGUOUS)
SAYS_NOTHING = Answer(Cause.ACCESS_TOKEN_EXPIRED)
ANSWERS = (
    WORKS,
    REFUSED,
    DOUBTFUL,
    TURNED_DOWN,
    Answer(Cause.AUTHORIZED, expires=True),
    Answer(Cause.PROVIDER_OUTAGE),
    Answer(Cause.RATE_LIMITED),
    Answer(Cause.UNKNOWN),
    Answer(Cause.PROBE_MISCONFIGURED),
    Answer(Cause.MBI_STALE),
    SAYS_NOTHING,
)


@dataclass
class Account:
    """What the model knows of an integration: its credential, and what was said of it since a proof."""

    integration: Integration
    credential: int = 1
    put_at: datetime = NOON
    lost: bool = False
    sure: bool = False
    flips: list[datetime] = field(default_factory=list)
    first_doubt: dict[int, datetime] = field(default_factory=dict)
    last_checked: dict[int, datetime] = field(default_factory=dict)

    def hears(self, finding: Finding, checked_at: datetime, credential: int, now: datetime) -> None:
        """Take in an accepted finding."""
        self.last_checked[credential] = checked_at
        if finding.proves:
            self.lost = self.sure = False
            self.first_doubt.clear()
        elif finding.verdict is Verdict.NEEDS_REAUTH:
            if not self.lost:
                self.flips.append(now)
            self.lost = True
            first = checked_at
            if finding.certainty is Certainty.AMBIGUOUS:
                first = self.first_doubt.setdefault(credential, checked_at)
            explicit = finding.certainty is Certainty.EXPLICIT
            self.sure = self.sure or explicit or checked_at - first >= CONFIRMS


class Seen(NamedTuple):
    """A finding on its way, and the credential that it is really about."""

    report: FindingReport
    credential: int


@dataclass
class Hand:
    """A claimed email in a sender's hands."""

    mail: MailView
    claimed_at: datetime
    asker: RunReference | None
    outcome: str | None = None
    number: int = 0
    refused: set[str] = field(default_factory=set)
    dead: bool = False
    over: bool = False
    """Settled, or claimed by somebody else since."""

    def holds(self, now: datetime) -> bool:
        return not self.over and now < self.claimed_at + LEASE

    def about(self, incident_id: str | None) -> bool:
        return any(_incident(notice) == incident_id for notice in self.mail.notices)

    def is_of(self, integration_id: str) -> bool:
        return any(each.integration and each.integration.id == integration_id for each in self.mail.notices)


class Copy(NamedTuple):
    """One notification as it came to one address."""

    number: int
    at: datetime
    address: str
    kind: NotificationKind
    reason: Reason
    message_id: str
    notice: int
    incident: str | None
    integration: str | None


class World:
    """The services with everything around them."""

    def __init__(self, *, engineers: bool = True, quiet: bool = False) -> None:
        self.moment = NOON
        self.mailing = Mailing(
            engineers=(ENGINEER,) if engineers else (),
            quiet=quiet_hours("20:00-08:00" if quiet else ""),
            time_zone=ZONE,
        )
        self.shadow = False
        self.surroundings = Surroundings(
            now=lambda: self.moment,
            type_of=lambda _: fake_type("plain"),
            mailing=lambda: self.mailing,
        )
        self.accounts = {each.id: Account(each) for each in INTEGRATIONS}
        self.on_their_way: list[Seen] = []
        self.hands: list[Hand] = []
        self.handed_out: list[MailView] = []
        self.copies: list[Copy] = []
        self.doubts: dict[str, list[str]] = defaultdict(list)
        """By integration: addresses to which an email about its loss may have gone, as nobody said."""
        self.settled: list[tuple[int, str, Hand]] = []
        """When the mail server answered, how that ended, and what had been in hand."""
        self.refuses: set[str] = set()
        self.runs: dict[str, int] = defaultdict(lambda: 1)
        self._number = 0
        for each in self.accounts:
            self._put(each)
            self._version(each)

    # What happens

    def wait(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)

    def replace(self, integration_id: str) -> None:
        account = self.accounts[integration_id]
        account.credential += 1
        account.put_at = self.moment
        self._put(integration_id)

    def check(self, integration_id: str, answer: Answer, skew: float = 0, versionless: bool = False) -> Seen:
        """Check an integration; the finding is on its way. Only right clocks come without a version here."""
        account = self.accounts[integration_id]
        version = None if versionless else self._version(integration_id)
        checked_at = self.moment + timedelta(seconds=0 if versionless else skew)
        finding = Finding(
            cause=answer.cause,
            certainty=answer.certainty,
            rule="test.rule",
            explanation="-",
            checked_at=checked_at,
            expires_at=account.put_at + LIFETIME if answer.expires else None,
        )
        report = FindingReport(integration=account.integration, finding=finding, credential_version=version)
        seen = Seen(report, account.credential)
        self.on_their_way.append(seen)
        return seen

    def deliver(self, seen: Seen, *, again: bool = False) -> FindingReceipt:
        if not again:
            self.on_their_way.remove(seen)
        integration_id = seen.report.integration.id
        before = _written_about(integration_id)
        self.moment += TICK
        receipt = findings.report(seen.report, self.surroundings)
        self._judge(seen, receipt)
        if not receipt.accepted:
            assert _written_about(integration_id) == before, "a refused report changed something"
        return receipt

    def look(self, integration_id: str, answer: Answer, *, skew: float = 0) -> FindingReceipt:
        return self.deliver(self.check(integration_id, answer, skew=skew))

    def claim(self, integration_id: str | None = None, passed_over: Iterable[int] = ()) -> Hand | None:
        """Ask as the sweep does, or as a gate about its integration."""
        asker = None
        if integration_id is not None:
            asker = RunReference(
                dag_id="dag", run_id="run", task_id=integration_id, try_number=self.runs[integration_id]
            )
        self.moment += TICK
        response = notifications.claim(
            ClaimRequest(
                integration_id=integration_id,
                serving=integration_id is None,
                claimed_by=asker,
                passed_over=sorted(passed_over),
            ),
            self.surroundings,
        )
        if response.mail is None:
            assert response.reason
            return None
        hand = Hand(response.mail, self.moment, asker)
        self._may_be_claimed(hand)
        self.hands.append(hand)
        self.handed_out.append(hand.mail)
        return hand

    def transmit(self, hand: Hand, *, mood: str = "takes") -> None:
        """Hand an email to the mail server, while it is the sender's to send; note what came of it.

        The server ``takes`` it, ``defers`` it or is ``away``; or it hangs up before it has said whether it
        took it: it ``took`` it then, or had ``not``.
        """
        if hand.outcome is not None or hand.dead or not hand.holds(self.moment):
            return
        hand.number = self._next()
        refused = {address for address in hand.mail.recipients if address in self.refuses}
        if mood in ("defers", "away", "not"):
            hand.outcome = {"defers": "unsent", "away": "untried", "not": "unsure"}[mood]
        elif len(refused) == len(hand.mail.recipients):
            hand.outcome, hand.refused = "refused", refused
        else:
            hand.outcome = "sent" if mood == "takes" else "unsure"
            hand.refused = refused
            self._arrive(hand.mail, set(hand.mail.recipients) - refused)

    def settle(self, hand: Hand) -> None:
        if hand.dead or hand.outcome is None:
            return
        request: dict[str, Any] = {"lease": hand.mail.lease, "outcome": hand.outcome, "error": "-"}
        self.moment += TICK
        try:
            notifications.settle(SettleRequest(**request), self.surroundings)
        except LeaseLostError:
            assert hand.over, "the lease was lost though nobody else had claimed the email"
            self._doubt(hand)
        else:
            if hand.outcome == "unsure":
                self._doubt(hand)
            self.settled.append((hand.number, hand.outcome, hand))
        hand.over = True
        self.hands.remove(hand)

    def die(self, hand: Hand) -> None:
        """The sender dies, with what it has in hand; a task is tried again then."""
        if hand.dead:
            return
        hand.dead = True
        if hand.asker is not None:
            self.runs[hand.asker.task_id] += 1
            for other in self.hands:
                other.dead = other.dead or other.asker == hand.asker

    def serve(self) -> None:
        """Send what is due, as the sweep does."""
        passed_over: set[int] = set()
        while hand := self.claim(passed_over=passed_over):
            passed_over |= {notice.id for notice in hand.mail.notices}
            self.transmit(hand)
            self.settle(hand)

    def arrives(self, number: int, again: bool) -> None:
        """Let one of the findings that are on their way arrive; ``again``, and it will once more."""
        if self.on_their_way:
            self.deliver(self.on_their_way[number % len(self.on_their_way)], again=again)

    def storm(self, type_id: str, answer: Answer) -> None:
        """Look at all integrations of a type; they answer alike."""
        for each in self.accounts.values():
            if each.integration.type == type_id:
                self.look(each.integration.id, answer)

    def passes_on(self, integration_id: str) -> None:
        """Give an integration to the other owner, in the registry."""
        account = self.accounts[integration_id]
        other = "kim" if account.integration.owner.email == OWNERS["dana"]["email"] else "dana"
        account.integration = integration(integration_id, account.integration.type, other)

    def transmits(self, number: int, mood: str) -> None:
        if self.hands:
            self.transmit(self.hands[number % len(self.hands)], mood=mood)

    def settles(self, number: int) -> None:
        if self.hands:
            self.settle(self.hands[number % len(self.hands)])

    def dies(self, number: int, runs_out: bool) -> None:
        """Let a sender die; ``runs_out``: and what it had in hand be given up."""
        if self.hands:
            self.die(self.hands[number % len(self.hands)])
        if runs_out:
            self.moment += LEASE

    def tries(self, integration_id: str | None, mood: str, then: str) -> None:
        """Claim what is due and try to send it; it is told how that ended, or the sender dies first."""
        hand = self.claim(integration_id)
        if hand is not None:
            self.transmit(hand, mood=mood)
            (self.settle if then == "settles" else self.die)(hand)

    def changes_its_mind(self, address: str) -> None:
        """Let the mail server refuse an address from now on, or take its mail again."""
        self.refuses ^= {address}

    def be_shadow(self, shadow: bool) -> None:
        self.shadow = shadow
        self.mailing = Mailing(
            shadow=shadow, engineers=self.mailing.engineers, quiet=self.mailing.quiet, time_zone=ZONE
        )

    # What must hold of it

    def _judge(self, seen: Seen, receipt: FindingReceipt) -> None:
        """Accept or refuse the report by the model's own rules, and compare."""
        account = self.accounts[seen.report.integration.id]
        finding = seen.report.finding
        assert finding.checked_at is not None
        checked_at = min(finding.checked_at, self.moment)
        if seen.credential != account.credential:
            assert not receipt.accepted, "a report about a replaced credential was accepted"
            assert receipt.credential_replaced
        elif seen.report.credential_version is not None:
            last = account.last_checked.get(account.credential)
            assert receipt.accepted is (last is None or checked_at >= last), receipt.reason
        if receipt.accepted:
            account.hears(finding, checked_at, seen.credential, self.moment)

    def _may_be_claimed(self, hand: Hand) -> None:
        mail = hand.mail
        assert not self.shadow, "somebody is emailed in shadow mode"
        assert mail.recipients
        assert len(set(mail.recipients)) == len(mail.recipients)
        self._is_recognisable(mail)
        for notice in mail.notices:
            self._is_in_no_other_hand(hand, notice)
            if mail.kind is NotificationKind.ENGINEER:
                assert mail.recipients == [ENGINEER]
            elif mail.kind is NotificationKind.EXPIRING:
                assert not self._account(notice).lost, "a lost credential's end is no news"
            elif mail.kind is NotificationKind.RECOVERED:
                self._may_be_over(mail, notice)
            else:
                self._may_be_told(mail, notice)
        if mail.kind in (NotificationKind.REMINDER, NotificationKind.EXPIRING) and self.mailing.quiet:
            assert 8 <= self.moment.astimezone(ZoneInfo(ZONE)).hour < 20, "somebody is woken"

    def _is_in_no_other_hand(self, hand: Hand, notice: Notice) -> None:
        for other in list(self.hands):
            if not any(each.id == notice.id for each in other.mail.notices):
                continue
            taken_over = other.dead and other.asker is not None and hand.asker is not None
            assert taken_over or not other.holds(self.moment), "two senders have the same email in hand"
            known = other.mail.message_id
            assert hand.mail.message_id == known or self._is_hidden(known, notice.id), "not recognisable"
            other.over = True
            if other.dead:
                self._doubt(other)
                self.hands.remove(other)
        for _, outcome, other in self.settled:
            if outcome in ("sent", "refused"):
                assert all(each.id != notice.id for each in other.mail.notices), "a settled email again"

    def _is_hidden(self, message_id: str, notice: int) -> bool:
        """Whether a digest was sent again without this one, so that its Message-ID tells of it no more."""
        [*_, last] = [each for each in self.handed_out if each.message_id == message_id]
        return notice not in {each.id for each in last.notices}

    def _is_recognisable(self, mail: MailView) -> None:
        """Who has had an email of this Message-ID has had what this one says."""
        had: dict[tuple[str, datetime], set[int]] = defaultdict(set)
        for each in self.copies:
            if each.message_id == mail.message_id and each.address in mail.recipients:
                had[each.address, each.at].add(each.notice)
        for notices in had.values():
            assert {notice.id for notice in mail.notices} <= notices, "another email of the same Message-ID"

    def _may_be_told(self, mail: MailView, notice: Notice) -> None:
        account, incident_id = self._account(notice), _incident(notice)
        assert account.lost, f"{mail.kind.value} about what is known to work"
        assert account.sure, f"{mail.kind.value} about what is not certain"
        assert notice.integration is not None
        owner = notice.integration.owner
        assert mail.recipients == self._people(mail.kind, owner, incident_id)
        assert mail.addressee is None or mail.recipients == [owner.email]
        if mail.kind is NotificationKind.OPENED:
            assert self.moment >= self._held_until(account), "an owner is emailed for an outage"
            before = {
                each.message_id for each in self.copies if each.incident == incident_id and _opens(each)
            }
            before -= {each for each in before if self._is_hidden(each, notice.id)}
            assert before <= {mail.message_id}, "a second opening email"
        elif mail.in_reply_to is not None:
            opened = {
                each.message_id for each in self.copies if each.incident == incident_id and _opens(each)
            }
            doubted = not opened or bool(self.doubts[account.integration.id])
            assert mail.in_reply_to in opened or doubted, "a reply to an email that nobody had"
        if notice.facts.reason is Reason.STILL_LOST:
            self._is_one_of_three(notice)

    def _people(self, kind: NotificationKind, owner: Owner, incident_id: str | None) -> list[str]:
        """Name whom the emails about this incident go to now."""
        refused = {
            address
            for _, outcome, hand in self.settled
            if outcome == "refused" and hand.about(incident_id)
            for address in hand.mail.recipients
        }
        if kind is not NotificationKind.ESCALATION and owner.email not in refused:
            return [owner.email]
        if owner.backup is not None and owner.backup not in refused:
            return [owner.backup]
        return [ENGINEER]

    def _held_until(self, account: Account) -> datetime:
        """Until when the last loss counts as one of many, at least."""
        alike = [each for each in self.accounts.values() if each.integration.type == account.integration.type]
        flip = account.flips[-1]
        holds = [NOON]
        for begin in {at for each in alike for at in each.flips}:
            end = begin + timedelta(minutes=10)
            lost = [each for each in alike if any(begin <= at <= end for at in each.flips)]
            if begin <= flip <= end and len(lost) >= 3 and 2 * len(lost) > len(alike):
                holds.append(begin + timedelta(hours=1))
        return min(holds[1:], default=NOON)

    def _is_one_of_three(self, notice: Notice) -> None:
        about = [
            each
            for each in self.copies
            if each.incident == _incident(notice)
            and each.kind in (NotificationKind.OPENED, NotificationKind.REMINDER)
        ]
        news = [each.number for each in about if each.reason in NEWS]
        since = [
            each for each in about if each.reason is Reason.STILL_LOST and each.number > max(news, default=0)
        ]
        others = {each.notice for each in since} - {notice.id}
        assert len(others) < 3, "a fourth reminder of one loss"
        for each in since:
            assert each.notice == notice.id or self.moment - each.at >= timedelta(hours=24)

    def _may_be_over(self, mail: MailView, notice: Notice) -> None:
        """Whom a recovery is told was told of a loss, or may have been, since the last such email."""
        account = self._account(notice)
        assert not account.lost, "recovered, and it is lost"
        ours = account.integration.id
        over = max(
            (
                number
                for number, outcome, hand in self.settled
                if outcome in ("sent", "refused")
                and hand.mail.kind is NotificationKind.RECOVERED
                and hand.is_of(ours)
            ),
            default=0,
        )
        told = {each.address for each in self._told(ours) if each.number > over}
        doubted = set(self.doubts[ours])
        dead = {
            address
            for hand in self.hands
            if hand.is_of(ours) and not hand.holds(self.moment) and hand.mail.kind in TO_PEOPLE
            for address in hand.mail.recipients
        }
        heard = told | doubted | dead
        assert set(mail.recipients) <= heard, "recovered, to somebody who never heard of a loss"

    def _told(self, integration_id: str) -> list[Copy]:
        return [each for each in self.copies if each.integration == integration_id and each.kind in TO_PEOPLE]

    def is_consistent(self) -> None:
        """Compare the tables with the model."""
        incidents = _incidents(Incident.closed_at.is_(None))
        for integration_id, account in self.accounts.items():
            still_open = [each for each in incidents if each.integration_id == integration_id]
            assert len(still_open) <= 1, "two open incidents of one integration"
            assert bool(still_open) is account.lost
            assert [each.confirmed_at is not None for each in still_open] == [account.sure] * len(still_open)

    def ends(self) -> None:
        """Senders and the mail server are well, the sweep comes, days pass: then nothing may be missing."""
        self.be_shadow(False)
        self.refuses.clear()
        for hand in list(self.hands):
            self.die(hand)
        for integration_id in self.accounts:
            # what is not looked at any more counts as taken out of the registry
            self.look(integration_id, SAYS_NOTHING)
        for pause in [600] * 14 + [8 * 3600] * 33:
            self.wait(pause)
            self.serve()
        self.is_consistent()
        self._nothing_is_left()
        self._everybody_knows()

    def _everybody_knows(self) -> None:
        for incident in _incidents(Incident.closed_at.is_(None), Incident.confirmed_at.is_not(None)):
            self._was_told(incident, self.accounts[incident.integration_id])
        for integration_id, account in self.accounts.items():
            if not account.lost:
                self._heard_the_end(integration_id)

    def _nothing_is_left(self) -> None:
        left = transact(lambda session: session.scalars(select(Notification).where(UNSETTLED)).all())
        for row in left:
            unaddressed = (row.last_error or "").startswith("there is no")
            assert unaddressed, f"{row.kind} was never sent"
            assert not self.mailing.engineers

    def _was_told(self, incident: Incident, account: Account) -> None:
        own = [each for each in self.copies if each.incident == incident.id]
        owner = account.integration.owner
        people = {owner.email, owner.backup, *self.mailing.engineers} - {None}
        refusals = [
            hand for _, outcome, hand in self.settled if outcome == "refused" and hand.about(incident.id)
        ]
        refused = {address for hand in refusals for address in hand.mail.recipients}
        over = max((each.number for each in own if each.kind is NotificationKind.RECOVERED), default=0)
        lately = [each for each in own if each.kind in TO_PEOPLE and each.number > over]
        assert lately or people <= refused, f"nobody was told that {owner.email}'s is lost"
        had = {each.address for each in own if each.kind in TO_PEOPLE}
        assert owner.email in had | refused, f"{owner.email} was not told"
        escalated = [each for each in own if each.kind is NotificationKind.ESCALATION]
        others = people - {owner.email} - refused
        assert escalated or not others, "nobody but the owner was told in 11 days"

    def _heard_the_end(self, integration_id: str) -> None:
        told = {each.address: each.number for each in self._told(integration_id)}
        for address, number in told.items():
            over = [
                each.number
                for each in self.copies
                if each.integration == integration_id
                and each.address == address
                and each.kind is NotificationKind.RECOVERED
            ]
            refused = [
                at for at, _, hand in self.settled if hand.is_of(integration_id) and address in hand.refused
            ]
            assert max(over + refused, default=0) > number, f"{address} never heard that it is over"

    # Odds and ends

    def _arrive(self, mail: MailView, addresses: set[str]) -> None:
        for notice in mail.notices:
            for address in sorted(addresses):
                self.copies.append(
                    Copy(
                        number=self._next(),
                        at=self.moment,
                        address=address,
                        kind=mail.kind,
                        reason=notice.facts.reason,
                        message_id=mail.message_id,
                        notice=notice.id,
                        incident=_incident(notice),
                        integration=notice.integration.id if notice.integration else None,
                    )
                )

    def _doubt(self, hand: Hand) -> None:
        if hand.mail.kind in TO_PEOPLE:
            for notice in hand.mail.notices:
                self.doubts[self._account(notice).integration.id] += hand.mail.recipients

    def _account(self, notice: Notice) -> Account:
        assert notice.integration is not None
        return self.accounts[notice.integration.id]

    def _put(self, integration_id: str) -> None:
        put_connection(integration_id, password=f"fake-password-{self.accounts[integration_id].credential}")

    def _version(self, integration_id: str) -> int:
        request = CheckRequest(integration=self.accounts[integration_id].integration)
        return asyncio.run(checks.prepare(request, self.surroundings)).credential_version

    def _next(self) -> int:
        self._number += 1
        return self._number


def _opens(copy: Copy) -> bool:
    return copy.kind is NotificationKind.OPENED


def _incident(notice: Notice) -> str | None:
    return notice.incident.id if notice.incident is not None else None


def _incidents(*which: ColumnElement[bool]) -> Sequence[Incident]:
    return transact(lambda session: session.scalars(select(Incident).where(*which)).all())


def _written_about(integration_id: str) -> list[str]:
    """Everything that a report could change: the last finding, incidents, notifications."""

    def work(session: Session) -> list[str]:
        status = session.get(Status, integration_id)
        found = [str(status.finding), str(status.trouble), str(status.expiry)] if status is not None else []
        rows: list[Any] = []
        for table in (Incident, Notification):
            rows += session.scalars(select(table).where(table.integration_id == integration_id)).all()
        columns = [
            sorted((key, str(value)) for key, value in vars(row).items() if key[0] != "_") for row in rows
        ]
        return [*found, *map(str, columns)]

    return transact(work)
