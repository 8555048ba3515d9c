"""Eight threads report, claim, send, settle and die at once, on both databases; what holds in any order.

The services' clock runs five hundred times as fast as ours, so that leases run out.
"""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
from sqlalchemy import select

from mbi_reauth.api.datamodels import ClaimRequest, FindingReport, MailView, SettleRequest
from mbi_reauth.api.services import findings, notifications
from mbi_reauth.api.services.claims import LEASE
from mbi_reauth.api.services.notifications import LeaseLostError
from mbi_reauth.api.services.outbox import UNSETTLED
from mbi_reauth.api.services.surroundings import Mailing, Surroundings
from mbi_reauth.core.notice import TO_PEOPLE, NotificationKind
from mbi_reauth.core.verdict import Finding
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Incident, Notification
from tests.app import NOON, fake_type
from tests.history import DOUBTFUL, ENGINEER, INTEGRATIONS, REFUSED, WORKS, Answer
from tests.metadata_db import put_connection

FEW = [INTEGRATIONS[number] for number in (0, 2, 4, 5)]
"""Two of a type, which can be no outage."""
THREADS, STEPS, SPEED = 8, 40, 500.0


class Span(NamedTuple):
    """When something was asked and when it was answered, by the services' clock."""

    begin: datetime
    end: datetime


class Said(NamedTuple):
    """A finding that was accepted."""

    span: Span
    integration: str
    lost: bool


@dataclass
class Claimed:
    """An email in hand, and what came of it; ``given_back`` is when it was said not to have been sent."""

    span: Span
    mail: MailView
    sent_at: datetime | None = None
    given_back: datetime | None = None
    settled: datetime | None = None


@dataclass
class Crowd:
    """What all threads do, and have seen."""

    began: float = field(default_factory=time.monotonic)
    ahead: timedelta = timedelta()
    said: list[Said] = field(default_factory=list)
    claims: list[Claimed] = field(default_factory=list)

    def now(self) -> datetime:
        return NOON + timedelta(seconds=(time.monotonic() - self.began) * SPEED) + self.ahead

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(
            now=self.now,
            type_of=lambda _: fake_type("plain"),
            mailing=lambda: Mailing(engineers=(ENGINEER,)),
        )

    def works(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - threads differ, and differ alike each time
        for _ in range(STEPS):
            if chance.random() < 0.5:
                chosen = chance.choice(FEW)
                self.reports(chosen.id, chance.choice((WORKS, REFUSED, REFUSED, DOUBTFUL)))
            else:
                ours = chance.choice((None, None, FEW[0].id, FEW[1].id))
                self.sends(ours, chance.choice(("sent", "sent", "sent", "unsent", "unsure", "dies", "died")))

    def reports(self, integration_id: str, answer: Answer) -> None:
        begin = self.now()
        integration = next(each for each in INTEGRATIONS if each.id == integration_id)
        finding = Finding(
            cause=answer.cause, certainty=answer.certainty, rule="r.r", explanation="-", checked_at=begin
        )
        receipt = findings.report(
            FindingReport(integration=integration, finding=finding, credential_version=1), self.surroundings
        )
        if receipt.accepted:
            self.said.append(Said(Span(begin, self.now()), integration_id, lost=not finding.proves))

    def sends(self, integration_id: str | None, how: str) -> bool:
        """Claim and send one email; ``dies`` before it is sent, ``died`` after, ``unsure``: it was sent."""
        begin = self.now()
        request = ClaimRequest(integration_id=integration_id, serving=integration_id is None)
        mail = notifications.claim(request, self.surroundings).mail
        if mail is None:
            return False
        claimed = Claimed(Span(begin, self.now()), mail)
        self.claims.append(claimed)
        if self.now() < begin + LEASE and how in ("sent", "unsure", "died"):
            claimed.sent_at = self.now()
        if how in ("dies", "died"):
            return True
        outcome = "unsent" if claimed.sent_at is None else how
        if outcome in ("unsent", "unsure"):
            claimed.given_back = self.now()
        settled = self.now()
        try:
            notifications.settle(
                SettleRequest.model_validate({"lease": mail.lease, "outcome": outcome}), self.surroundings
            )
        except LeaseLostError:
            assert self.now() >= begin + LEASE, "a lease was lost before it ran out"
        else:
            claimed.settled = settled
        return True

    def copies(self, integration_id: str, *kinds: NotificationKind) -> list[tuple[datetime, str]]:
        """List when which address had email of these kinds about an integration."""
        return [
            (claimed.sent_at, address)
            for claimed in self.claims
            if claimed.sent_at is not None and claimed.mail.kind in kinds and _is_of(claimed, integration_id)
            for address in claimed.mail.recipients
        ]


def _is_of(claimed: Claimed, integration_id: str) -> bool:
    return any(each.integration and each.integration.id == integration_id for each in claimed.mail.notices)


@pytest.fixture
def crowd(metadata_db: str) -> Crowd:
    """All threads at work, until they are done."""
    for each in INTEGRATIONS:
        put_connection(each.conn_id, password="fake-password")
    crowd, barrier = Crowd(), threading.Barrier(THREADS)

    def work(seed: int) -> None:
        barrier.wait()
        crowd.works(seed)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    return crowd


def test_what_must_hold_holds_whoever_was_quicker(crowd: Crowd) -> None:
    assert len(crowd.said) > 20
    assert len(crowd.claims) > 10
    no_integration_has_two_open_incidents()
    no_email_is_in_two_hands(crowd)
    nobody_is_told_of_a_loss_that_was_known_to_be_over(crowd)
    every_loss_opens_with_one_email(crowd)
    everything_is_sent_in_the_end(crowd)


def no_integration_has_two_open_incidents() -> None:
    still_open = transact(
        lambda session: session.scalars(
            select(Incident.integration_id).where(Incident.closed_at.is_(None))
        ).all()
    )
    assert len(still_open) == len(set(still_open))


def no_email_is_in_two_hands(crowd: Crowd) -> None:
    for claimed in crowd.claims:
        ids = {notice.id for notice in claimed.mail.notices}
        for later in crowd.claims:
            if later is claimed or later.span.end < claimed.span.end:
                continue
            if ids & {notice.id for notice in later.mail.notices}:
                ran_out = later.span.end >= claimed.span.begin + LEASE
                given_back = claimed.given_back is not None and claimed.given_back <= later.span.end
                assert ran_out or given_back, f"{claimed.mail.kind.value} is in two hands"
                if claimed.settled is not None and not claimed.given_back:
                    assert later.span.begin <= claimed.settled, "what was sent is sent again"


def nobody_is_told_of_a_loss_that_was_known_to_be_over(crowd: Crowd) -> None:
    for claimed in (each for each in crowd.claims if each.mail.kind in TO_PEOPLE):
        for notice in claimed.mail.notices:
            assert notice.integration is not None
            about = [each for each in crowd.said if each.integration == notice.integration.id]
            for over in (each for each in about if not each.lost and each.span.end < claimed.span.begin):
                again = [
                    each
                    for each in about
                    if each.lost and each.span.end > over.span.begin and each.span.begin < claimed.span.end
                ]
                assert again, f"{claimed.mail.kind.value} about what was known to work"


def every_loss_opens_with_one_email(crowd: Crowd) -> None:
    opened: dict[str, set[str]] = {}
    for claimed in crowd.claims:
        if claimed.mail.kind is NotificationKind.OPENED and claimed.sent_at is not None:
            for notice in claimed.mail.notices:
                assert notice.incident is not None
                opened.setdefault(notice.incident.id, set()).add(claimed.mail.message_id)
    assert opened
    assert all(len(message_ids) == 1 for message_ids in opened.values())


def everything_is_sent_in_the_end(crowd: Crowd) -> None:
    for hours in [1] * 3 + [24] * 14:
        crowd.ahead += timedelta(hours=hours)
        while crowd.sends(None, "sent"):
            pass
    assert transact(lambda session: session.scalars(select(Notification.key).where(UNSETTLED)).all()) == []
    lost = transact(
        lambda session: session.scalars(
            select(Incident.integration_id).where(
                Incident.closed_at.is_(None), Incident.confirmed_at.is_not(None)
            )
        ).all()
    )
    for each in FEW:
        told = crowd.copies(each.id, *TO_PEOPLE)
        over = crowd.copies(each.id, NotificationKind.RECOVERED)
        if each.id in lost:
            assert max(told) > max(over, default=(NOON, "")), "nobody knows that it is lost"
        for at, address in told if each.id not in lost else ():
            assert any(address == whose and at < later for later, whose in over), "nobody knows it is over"
