"""Who may send which email, to whom, and until when.

All claims take turns on one row, so that what each of them sees of the others is certain.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import ColumnElement, and_, false, or_, select, update
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import ClaimRequest, ClaimResponse, MailView, Notice, RunReference
from mbi_reauth.api.services import links
from mbi_reauth.api.services.credentials import changed
from mbi_reauth.api.services.explanation import why_nothing
from mbi_reauth.api.services.holds import Hold, Holds, held_until
from mbi_reauth.api.services.incidents import blocked_runs, view
from mbi_reauth.api.services.outbox import UNSETTLED, message_id, of_kind
from mbi_reauth.api.services.recipients import integration_of, recipients_of
from mbi_reauth.api.services.resuming import STILL_OWED
from mbi_reauth.api.services.surroundings import Mailing
from mbi_reauth.api.services.warnings import forget_past_outages, tell_of_retirements
from mbi_reauth.catalogue.model import Sunset
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import OF_INCIDENTS, TO_PEOPLE, Facts, NotificationKind
from mbi_reauth.models.tables import BlockedRun, Incident, Notification, Outbox, Status

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
UNADDRESSED_FOR = timedelta(hours=1)
"""When to look again for an address where there is none."""
MOST_IN_ONE = 50
"""How many notifications one email holds: more would be an email that nobody reads and no server takes."""
_AT_A_TIME = 50
_ROW = 1

_UNADDRESSED = {
    NotificationKind.ENGINEER: "there is no address to write to: set [mbi_reauth] engineer_email",
    NotificationKind.ESCALATION: (
        "there is nobody else to write to: give the owner a backup, or set [mbi_reauth] engineer_email"
    ),
}


@dataclass
class Claim:
    """One asker's turn at the outbox."""

    session: Session
    request: ClaimRequest
    mailing: Mailing
    now: datetime
    sunsets: Sequence[tuple[str, Sunset]] = ()
    held: list[str] = field(default_factory=list)

    def answer(self) -> ClaimResponse:
        """Hand out the email whose turn it is, or say why there is none."""
        outbox = self._take_turn()
        if self.mailing.shadow:
            return ClaimResponse(reason="shadow mode: nobody is emailed")
        if self.request.serving:
            outbox.served_at = self.now
            tell_of_retirements(self.session, self.sunsets, now=self.now)
            forget_past_outages(self.session, now=self.now)
        holds = Holds(self.session, self.mailing, outbox.served_at, self.now)
        while rows := self._due():
            for row in rows:
                if mail := self._tried(row, holds):
                    return ClaimResponse(mail=mail, reason=self._held())
            self.session.flush()
        its = self.request.integration_id
        return ClaimResponse(
            reason=self._held() or why_nothing(self.session, its, now=self.now),
            held_until=held_until(self.session, its, now=self.now),
        )

    def _held(self) -> str:
        return "; ".join(dict.fromkeys(self.held))

    def _take_turn(self) -> Outbox:
        # The UPDATE comes first for SQLite's sake: see credentials.take_turn.
        if not changed(self.session, update(Outbox).where(Outbox.id == _ROW).values(claimed_at=self.now)):
            self.session.add(Outbox(id=_ROW, claimed_at=self.now))
            self.session.flush()
        return self.session.get_one(Outbox, _ROW, populate_existing=True)

    def _due(self) -> Sequence[Notification]:
        its = self.request.integration_id
        about = [Notification.integration_id == its] if its is not None else []
        due = select(Notification).where(self._claimable(), *about)
        # what the mail server did not take before comes last, so that it keeps no other from going out
        in_turn = due.order_by(Notification.attempts, Notification.due_at, Notification.id)
        return self.session.scalars(in_turn.limit(_AT_A_TIME)).all()

    def _claimable(self) -> ColumnElement[bool]:
        return and_(
            UNSETTLED,
            Notification.due_at <= self.now,
            or_(Notification.lease.is_(None), Notification.lease_expires_at <= self.now, self._is_retried()),
            Notification.id.not_in(self.request.passed_over),
        )

    def _is_retried(self) -> ColumnElement[bool]:
        """Whether the holder is an earlier try of the asking task instance: Airflow runs one at a time."""
        asker = self.request.claimed_by
        if asker is None:
            return false()
        held = select(Notification.id, Notification.claimed_by).where(
            UNSETTLED, Notification.lease.is_not(None), Notification.lease_expires_at > self.now
        )
        mine = [row_id for row_id, holder in self.session.execute(held) if _is_earlier_try(holder, asker)]
        return Notification.id.in_(mine) if mine else false()

    def _doubt(self, row: Notification) -> None:
        """Remember that who had it in hand has not said how that ended."""
        if row.lease is not None:
            row.maybe_sent_at = min(self.now, row.lease_expires_at or self.now)

    def _tried(self, row: Notification, holds: Holds) -> MailView | None:
        """Hand a notification out unless it waits; one that cannot be read keeps no other from going out."""
        try:
            if hold := holds.of(row):
                self._hold(row, hold)
                return None
            return self._mail(row, holds)
        except ValidationError as error:
            why = f"notification {row.id} cannot be read ({error.error_count()} faults in {error.title})"
            log.warning("In the outbox, %s", why)
            row.last_error = why
            self._hold(row, Hold(self.now + UNADDRESSED_FOR, why))
            return None

    def _hold(self, row: Notification, hold: Hold) -> None:
        self._doubt(row)
        row.due_at = hold.until
        self.held.append(hold.why)

    def _mail(self, first: Notification, holds: Holds) -> MailView | None:
        recipients = recipients_of(self.session, first, self.mailing)
        if not recipients:
            self._set_aside(first)
            return None
        batch = self._batch(first, recipients, holds)
        if not self._are_still_due(batch):
            return None
        notices = [self._notice(row) for row in batch]
        lease, shared_id = str(uuid.uuid4()), _shared_message_id(batch)
        for row in batch:
            self._doubt(row)
            row.lease, row.lease_expires_at = lease, self.now + LEASE
            row.recipient, row.message_id = ",".join((*recipients, *_others_told(row, recipients))), shared_id
            row.claimed_by = self.request.claimed_by.model_dump() if self.request.claimed_by else None
        self.session.flush()
        owner = integration_of(self.session, first).owner if first.integration_id else None
        to_owner = owner is not None and recipients == (owner.email,)
        to_engineers = owner is None or recipients == self.mailing.engineers
        return MailView(
            lease=lease,
            kind=NotificationKind(first.kind),
            recipients=list(recipients),
            addressee=owner.name if owner is not None and to_owner else None,
            locale="en" if owner is None or to_engineers else owner.locale,
            message_id=shared_id,
            in_reply_to=self._thread(batch),
            notices=notices,
        )

    def _are_still_due(self, batch: Sequence[Notification]) -> bool:
        """Lock them; false if one was taken out, or settled, since it was read."""
        ids = [row.id for row in batch]
        due = select(Notification.id).where(Notification.id.in_(ids), UNSETTLED)
        if len(self.session.scalars(due.with_for_update()).all()) == len(ids):
            return True
        self.session.expire_all()
        return False

    def _set_aside(self, row: Notification) -> None:
        """Nobody can be written to now; and of a recovery nobody has to hear who never heard of the loss."""
        kind = NotificationKind(row.kind)
        if kind is NotificationKind.RECOVERED:
            row.cancelled_at = self.now
            return
        why = _UNADDRESSED.get(kind, _UNADDRESSED[NotificationKind.ESCALATION])
        row.last_error = why
        self._hold(row, Hold(self.now + UNADDRESSED_FOR, why))

    def _batch(self, first: Notification, recipients: tuple[str, ...], holds: Holds) -> list[Notification]:
        """Take together what goes to the same people; what may be out already stays as it was."""
        begun = first.lease is not None or first.attempts > 0 or first.maybe_sent_at is not None
        alike = Notification.message_id == first.message_id if begun else self._fresh_like(first)
        rows = self.session.scalars(
            select(Notification)
            .where(self._claimable(), alike, Notification.id != first.id)
            .order_by(Notification.id)
            .limit(MOST_IN_ONE - 1)
        ).all()
        return [first, *(row for row in rows if self._joins(row, recipients, holds))]

    def _fresh_like(self, first: Notification) -> ColumnElement[bool]:
        like = and_(
            Notification.kind == first.kind,
            Notification.lease.is_(None),
            Notification.maybe_sent_at.is_(None),
            Notification.attempts == 0,
        )
        if first.integration_id is None or first.kind == NotificationKind.ENGINEER.value:
            return like
        owner = self.session.get_one(Status, first.integration_id).owner_email
        same_owner = select(Status.integration_id).where(Status.owner_email == owner)
        return and_(like, Notification.integration_id.in_(same_owner))

    def _joins(self, row: Notification, recipients: tuple[str, ...], holds: Holds) -> bool:
        kept = holds.keeps_from_digest(row)
        return not kept and recipients_of(self.session, row, self.mailing) == recipients

    def _thread(self, batch: Sequence[Notification]) -> str | None:
        """Return the opening email that all of them belong to; an opening one begins its thread."""
        kind = NotificationKind(batch[0].kind)
        if kind not in OF_INCIDENTS or kind is NotificationKind.OPENED:
            return None
        handed_out = self.session.execute(
            select(Notification.incident_id, Notification.message_id)
            .where(
                Notification.incident_id.in_([row.incident_id for row in batch]),
                of_kind(NotificationKind.OPENED),
                Notification.recipient.is_not(None),
            )
            .order_by(Notification.ordinal)
        )
        openings = {row.incident_id: row.message_id for row in handed_out}
        threads = {openings.get(row.incident_id) for row in batch}
        return threads.pop() if len(threads) == 1 else None

    def _notice(self, row: Notification) -> Notice:
        incident = self.session.get(Incident, row.incident_id) if row.incident_id else None
        return Notice(
            id=row.id,
            integration=self._in_their_zone(row) if row.integration_id else None,
            integration_type=row.integration_type,
            ordinal=row.ordinal,
            facts=Facts.model_validate(row.facts),
            incident=view(incident) if incident is not None else None,
            blocked_runs=self._waiting(row, incident) if incident is not None else [],
            link=self._link(row),
        )

    def _waiting(self, row: Notification, incident: Incident) -> list[RunReference]:
        """List what waits now; after the recovery, what had waited."""
        is_over = row.kind == NotificationKind.RECOVERED.value
        which = () if is_over else (BlockedRun.state.in_(STILL_OWED),)
        return blocked_runs(self.session, incident.id, *which)

    def _link(self, row: Notification) -> str | None:
        """Give the address of the page on which what the row asks for is done."""
        kind = NotificationKind(row.kind)
        if kind in TO_PEOPLE and row.incident_id is not None:
            return links.for_incident(row.incident_id, now=self.now)
        if kind is NotificationKind.EXPIRING and row.integration_id is not None:
            version = self.session.get_one(Status, row.integration_id).credential_version
            return links.for_expiry(row.integration_id, version, now=self.now)
        return None

    def _in_their_zone(self, row: Notification) -> Integration:
        """Return the registry's entry with the owner's time zone, be it Airflow's own."""
        entry = integration_of(self.session, row)
        zone = entry.owner.time_zone or self.mailing.time_zone
        return entry.model_copy(update={"owner": entry.owner.model_copy(update={"time_zone": zone})})


def _others_told(row: Notification, recipients: tuple[str, ...]) -> tuple[str, ...]:
    """Name who may have it already and is written to no more, as the registry has changed meanwhile."""
    if row.maybe_sent_at is None or row.recipient is None:
        return ()
    return tuple(each for each in row.recipient.split(",") if each not in recipients)


def _is_earlier_try(holder: object, asker: RunReference) -> bool:
    if holder is None:
        return False
    run = RunReference.model_validate(holder)
    again = run.model_copy(update={"try_number": asker.try_number})
    return again == asker and asker.try_number > run.try_number


def _shared_message_id(batch: Sequence[Notification]) -> str:
    """Return the Message-ID of one email about all of them; of the same ones it is always the same.

    What may be out keeps the one it had.
    """
    for row in batch:
        if row.lease is not None or row.maybe_sent_at is not None:
            return row.message_id
    if len(batch) == 1:
        return message_id(batch[0].key)
    keys = "\n".join(sorted(row.key for row in batch))
    return message_id(f"digest:{hashlib.sha256(keys.encode()).hexdigest()}")
