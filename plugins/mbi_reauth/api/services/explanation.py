"""Why there is no email to send about an integration, for the log of who asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import RunReference
from mbi_reauth.api.services.holds import clock
from mbi_reauth.api.services.incidents import open_incident
from mbi_reauth.api.services.outbox import of_kind
from mbi_reauth.core.notice import NotificationKind
from mbi_reauth.models.tables import Notification, Status


def why_nothing(session: Session, integration_id: str | None, *, now: datetime) -> str:
    """Say what became of the last email about an integration's loss."""
    if integration_id is None:
        return "nothing else is due"
    if session.get(Status, integration_id) is None:
        return "nothing is due: nothing has been reported about it"
    incident = open_incident(session, integration_id)
    if incident is None:
        return "nothing is due: it is not known as lost, or it works again"
    known = or_(Notification.due_at <= now, of_kind(NotificationKind.OPENED))
    last = session.scalar(
        select(Notification)
        .where(Notification.incident_id == incident.id, Notification.cancelled_at.is_(None), known)
        .order_by(Notification.id.desc())
        .limit(1)
    )
    if last is None:
        return "nothing is due: one ambiguous refusal waits for a second to confirm it"
    return _state_of(last, now)


def _state_of(row: Notification, now: datetime) -> str:
    told: tuple[tuple[bool, Callable[[], str]], ...] = (
        (row.sent_at is not None, lambda: f"sent to {row.recipient} at {clock(row.sent_at)}"),
        (row.refused_at is not None, lambda: f"the mail server refuses {row.recipient}: {row.last_error}"),
        (row.lease is not None, lambda: f"being sent by {_name(row)} until {clock(row.lease_expires_at)}"),
        (row.due_at > now, lambda: f"held until {clock(row.due_at)}"),
    )
    return next((sentence() for holds, sentence in told if holds), "it could not be sent just now")


def _name(row: Notification) -> str:
    holder = RunReference.model_validate(row.claimed_by) if row.claimed_by else None
    return f"{holder.dag_id}/{holder.run_id}" if holder is not None else "somebody else"
