"""What lies in the outbox: put in when it becomes due, taken out when it is over."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.orm import Session

from mbi_reauth import settings
from mbi_reauth.api.services.incidents import open_incident
from mbi_reauth.api.services.surroundings import Mailing
from mbi_reauth.core import correspondence
from mbi_reauth.core.correspondence import Case, Letter, LetterState
from mbi_reauth.core.notice import OF_INCIDENTS, TO_PEOPLE, Facts, NotificationKind, Reason
from mbi_reauth.models.tables import Incident, Notification, Status

UNSETTLED: ColumnElement[bool] = and_(
    Notification.sent_at.is_(None), Notification.refused_at.is_(None), Notification.cancelled_at.is_(None)
)
"""Still to be sent."""


def correspond(
    session: Session,
    incident: Incident,
    mailing: Mailing,
    *,
    now: datetime,
    replacement_refused: bool = False,
) -> None:
    """Put in what is due about an incident, and take out what is not any more.

    Who was told of an earlier incident, and not that it was over, hears it at the end of the next one. The
    caller has the turn of the incident's integration.
    """
    closed = incident.closed_at is not None
    its = Notification.incident_id == incident.id
    cancel(session, its, of_kind(*TO_PEOPLE) if closed else of_kind(NotificationKind.RECOVERED), now=now)
    if closed:
        if open_incident(session, incident.integration_id) is not None:
            return
        its = Notification.integration_id == incident.integration_id
    rows = session.scalars(
        select(Notification).where(its, of_kind(*OF_INCIDENTS)).order_by(Notification.id)
    ).all()
    case = Case(
        confirmed=incident.confirmed_at is not None,
        closed=closed,
        replacement_refused=replacement_refused,
        owner=session.get_one(Status, incident.integration_id).owner_email,
    )
    letters = [_letter(row, now) for row in rows]
    for due in correspondence.due(case, letters, reminder_days=mailing.reminder_days, now=now):
        _cancel_rows([row for row in rows if NotificationKind(row.kind) in due.supersedes], now)
        since = incident.flipped_at if due.reason is Reason.LOST_AGAIN else incident.opened_at
        facts = Facts(reason=due.reason, since=since, until=incident.closed_at)
        key = f"{incident.id}:{due.kind.value}:{due.ordinal}"
        put(
            session,
            Notification(key=key, kind=due.kind.value, ordinal=due.ordinal, due_at=due.due_at),
            facts,
            about=session.get_one(Status, incident.integration_id),
            incident=incident,
        )
    session.flush()


def put(
    session: Session,
    notification: Notification,
    facts: Facts,
    *,
    about: Status | None = None,
    incident: Incident | None = None,
) -> None:
    """Put one notification in, unless one of its key has been there already; one taken out is put back."""
    known = session.scalar(select(Notification).where(Notification.key == notification.key))
    told = facts.model_dump(mode="json", exclude_defaults=True)
    if known is not None:
        if known.cancelled_at is not None and known.sent_at is None and known.refused_at is None:
            known.cancelled_at, known.due_at, known.facts = None, notification.due_at, told
            if _went_out_without(session, known):
                known.message_id = message_id(known.key)
            session.flush()
        return
    notification.facts = told
    notification.message_id = message_id(notification.key)
    if about is not None:
        notification.integration_id, notification.integration_type = (
            about.integration_id,
            about.integration_type,
        )
    if incident is not None:
        notification.incident_id = incident.id
    session.add(notification)
    session.flush()


def _went_out_without(session: Session, row: Notification) -> bool:
    """Whether a digest was handed out again when this one was no part of it any more.

    Who has had that one would not be shown another email of the same Message-ID.
    """
    since = select(Notification.id).where(
        Notification.message_id == row.message_id, Notification.lease.is_distinct_from(row.lease)
    )
    return session.scalar(since.limit(1)) is not None


def cancel(session: Session, *which: ColumnElement[bool], now: datetime) -> None:
    """Take out what is not to be sent any more; who has it in hand may still say that it went out."""
    session.execute(
        update(Notification).where(*which, UNSETTLED).values(cancelled_at=now),
        execution_options={"synchronize_session": "fetch"},
    )


def message_id(key: str) -> str:
    """Make an email's Message-ID (RFC 5322 section 3.6.4), so that a repeat is recognised as one."""
    host = urlsplit(settings.base_url()).hostname or "localhost"
    return f"<mbi-reauth.{hashlib.sha256(key.encode()).hexdigest()[:40]}@{host}>"


def of_kind(*kinds: NotificationKind) -> ColumnElement[bool]:
    """Select notifications by their kinds."""
    return Notification.kind.in_([kind.value for kind in kinds])


def _letter(row: Notification, now: datetime) -> Letter:
    return Letter(
        kind=NotificationKind(row.kind),
        reason=Facts.model_validate(row.facts).reason,
        ordinal=row.ordinal,
        state=_state(row, now),
        at=row.sent_at or row.refused_at or row.lease_expires_at or row.maybe_sent_at or row.due_at,
        claimed=(row.lease is not None or row.maybe_sent_at is not None)
        and row.sent_at is None
        and row.refused_at is None,
        to=tuple(row.recipient.split(",")) if row.recipient else (),
    )


def _state(row: Notification, now: datetime) -> LetterState:
    if row.sent_at is not None:
        return LetterState.SENT
    if row.refused_at is not None:
        return LetterState.REFUSED
    if row.cancelled_at is not None:
        return LetterState.CANCELLED
    held = row.lease is not None and row.lease_expires_at is not None and row.lease_expires_at > now
    return LetterState.CLAIMED if held else LetterState.DUE


def _cancel_rows(rows: Sequence[Notification], now: datetime) -> None:
    for row in rows:
        if row.sent_at is None and row.refused_at is None and row.cancelled_at is None:
            row.cancelled_at = now
