"""Which due emails wait, until when and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mbi_reauth.api.services.in_use import in_use_since
from mbi_reauth.api.services.outages import Outages
from mbi_reauth.api.services.outbox import UNSETTLED, of_kind
from mbi_reauth.api.services.surroundings import Mailing
from mbi_reauth.api.services.warnings import tell_of_outage
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import IN_WAKING_HOURS, TO_PEOPLE, NotificationKind
from mbi_reauth.core.outage import Outage
from mbi_reauth.core.quiet import quiet_until
from mbi_reauth.models.tables import Incident, Notification, Status

DIGESTS_FOR = timedelta(minutes=10)
"""For how long after an email about a loss further ones to the same owner wait for each other."""
_DISUSED_FOR = timedelta(hours=6)
_WHILE_IN_USE = (*TO_PEOPLE, NotificationKind.EXPIRING)
SERVED_WITHIN = timedelta(minutes=30)
"""How recent the last sweep must be for an email to be left to the next one."""


class Hold(NamedTuple):
    """When an email may go out, and in words why not before."""

    until: datetime
    why: str


@dataclass
class Holds:
    """What makes emails wait; ``served_at`` is when a sweep last sent what was due."""

    session: Session
    mailing: Mailing
    served_at: datetime | None
    now: datetime
    outages: Outages = field(init=False)
    in_use_since: datetime = field(init=False)
    _told: set[Outage] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        """Look for outages in the same transaction."""
        self.outages = Outages(self.session, self.now)
        self.in_use_since = in_use_since(self.session, now=self.now)

    def of(self, row: Notification) -> Hold | None:
        """Return what an email waits for, if it has to."""
        kind = NotificationKind(row.kind)
        if kind in _WHILE_IN_USE and (hold := self._of_disuse(row)):
            return hold
        if kind is NotificationKind.OPENED:
            return self.of_outage(row) or self._of_digest(row)
        if kind is NotificationKind.RECOVERED:
            return self._of_news_in_hand(row)
        return self._of_night(row) if kind in IN_WAKING_HOURS else None

    def keeps_from_digest(self, row: Notification) -> bool:
        """Tell whether an email waits even where others of its kind go out to the same people."""
        kind = NotificationKind(row.kind)
        if kind in _WHILE_IN_USE and self._of_disuse(row) is not None:
            return True
        if kind is NotificationKind.RECOVERED:
            return self._of_news_in_hand(row) is not None
        return kind is NotificationKind.OPENED and self.of_outage(row) is not None

    def of_outage(self, row: Notification) -> Hold | None:
        """Return until when a loss counts as part of an outage; engineers are then told of that."""
        incident = self.session.get_one(Incident, row.incident_id)
        outage = self.outages.of(incident, row.integration_type)
        if outage is None or outage.held_until <= self.now:
            return None
        if outage not in self._told:
            tell_of_outage(self.session, row.integration_type, outage, now=self.now)
            self._told.add(outage)
        return Hold(
            outage.held_until,
            f"held until {clock(outage.held_until)}: {len(outage.integration_ids)} integrations of type "
            f"{row.integration_type} were lost within ten minutes, which looks like an outage",
        )

    def _of_digest(self, row: Notification) -> Hold | None:
        """Wait for further losses of the same owner, if somebody will come and send them."""
        served = self.served_at is not None and self.served_at > self.now - SERVED_WITHIN
        begun = row.lease is not None or row.maybe_sent_at is not None or row.attempts > 0
        if not served or begun:
            return None
        owner = self.session.get_one(Status, row.integration_id).owner_email
        written_at = self._written_at(owner, row)
        if written_at is None or written_at + DIGESTS_FOR <= self.now:
            return None
        until = written_at + DIGESTS_FOR
        why = f"{owner} was written to just now; what else is lost follows at {clock(until)}"
        return Hold(until, why)

    def _written_at(self, owner: str, row: Notification) -> datetime | None:
        """Tell when an owner was last written to about another loss; what is being sent counts as now."""
        to_owner = (
            of_kind(NotificationKind.OPENED),
            Notification.recipient == owner,
            Notification.integration_id != row.integration_id,
        )
        in_hand = select(Notification.id).where(
            *to_owner, UNSETTLED, Notification.lease_expires_at > self.now
        )
        if self.session.scalar(in_hand.limit(1)) is not None:
            return self.now
        lately = Notification.sent_at > self.now - DIGESTS_FOR
        return self.session.scalar(select(func.max(Notification.sent_at)).where(*to_owner, lately))

    def _of_news_in_hand(self, row: Notification) -> Hold | None:
        """Wait until it is known who was told of the loss."""
        until = self.session.scalar(
            select(func.max(Notification.lease_expires_at)).where(
                Notification.integration_id == row.integration_id,
                of_kind(*TO_PEOPLE),
                Notification.lease_expires_at > self.now,
            )
        )
        if until is None:
            return None
        return Hold(until, f"an email about its loss is being sent until {clock(until)}")

    def _of_disuse(self, row: Notification) -> Hold | None:
        """Ask nobody to mend what the registry does not have any more, or by another id."""
        checked_at = self.session.get_one(Status, row.integration_id).checked_at
        if checked_at is not None and checked_at >= self.in_use_since:
            return None
        until = self.now + _DISUSED_FOR
        why = f"nothing has been reported about {row.integration_id} for a day; is it still in the registry?"
        return Hold(until, why)

    def _of_night(self, row: Notification) -> Hold | None:
        status = self.session.get_one(Status, row.integration_id)
        owner = Integration.model_validate(status.integration).owner
        until = quiet_until(self.now, owner.time_zone or self.mailing.time_zone, self.mailing.quiet)
        if until is None:
            return None
        return Hold(until, f"it is night for {owner.email} until {clock(until)}")


def held_until(session: Session, integration_id: str | None, *, now: datetime) -> datetime | None:
    """Tell until when the email about an integration's loss waits; None where it does not."""
    waits = select(func.min(Notification.due_at)).where(
        Notification.integration_id == integration_id,
        UNSETTLED,
        of_kind(NotificationKind.OPENED),
        Notification.due_at > now,
    )
    return session.scalar(waits) if integration_id is not None else None


def clock(moment: datetime | None) -> str:
    """Write a moment for a log."""
    return moment.isoformat(timespec="seconds") if moment is not None else "?"
