"""The outbox: who may send which email, until when, and what came of it."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mbi_reauth import settings
from mbi_reauth.api.datamodels import (
    ClaimRequest,
    ClaimResponse,
    NotificationView,
    RunReference,
    SettleRequest,
)
from mbi_reauth.api.services.credentials import changed
from mbi_reauth.api.services.incidents import open_incident, view
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.redact import redact
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import ERROR_LENGTH, BlockedRun, Incident, Notification, Status

LEASE = timedelta(minutes=5)


class UnknownNotificationError(LookupError):
    """There is no notification of that id."""


class LeaseLostError(ValueError):
    """The notification is not held under the lease that was named."""


def message_id(incident_id: str, kind: str) -> str:
    """Make an email's Message-ID (RFC 5322 section 3.6.4), so that a repeat is recognised as one."""
    host = urlsplit(settings.base_url()).hostname or "localhost"
    return f"<mbi-reauth.{incident_id}.{kind}@{host}>"


def claim(request: ClaimRequest, surroundings: Surroundings) -> ClaimResponse:
    """Hand the notification that is due to one asker, under a lease; tell the others why they get none."""
    return transact(partial(_claim, request=request, now=surroundings.now()))


def settle(notification_id: int, request: SettleRequest, surroundings: Surroundings) -> None:
    """Record how sending ended; the same answer twice is fine, an unsent email is due again at once.

    :raises UnknownNotificationError: no such notification
    :raises LeaseLostError: another holds the lease, or it was given back
    """
    work = partial(_settle, notification_id=notification_id, request=request, now=surroundings.now())
    return transact(work)


def _claim(session: Session, *, request: ClaimRequest, now: datetime) -> ClaimResponse:
    turn = update(Status).where(Status.integration_id == request.integration_id).values(updated_at=now)
    if not changed(session, turn):
        return ClaimResponse(reason="nothing is due: nothing has been reported about it")
    status = session.get_one(Status, request.integration_id)
    incident = open_incident(session, request.integration_id)
    if incident is None:
        return ClaimResponse(reason="nothing is due: it is not known as lost, or it works again")
    notification = session.scalar(
        select(Notification)
        .where(Notification.incident_id == incident.id, Notification.kind == request.kind)
        .order_by(Notification.ordinal.desc())
        .limit(1)
    )
    if notification is None or notification.due_at > now:
        return ClaimResponse(reason="nothing is due: one ambiguous refusal waits for a second to confirm it")
    if reason := _taken(notification, request.claimed_by, now=now):
        return ClaimResponse(reason=reason)
    integration = Integration.model_validate(status.integration)
    notification.lease, notification.lease_expires_at = str(uuid.uuid4()), now + LEASE
    notification.recipient = integration.owner.email
    notification.claimed_by = request.claimed_by.model_dump() if request.claimed_by else None
    session.flush()
    return ClaimResponse(notification=_view(session, notification, incident, integration))


def _taken(notification: Notification, asker: RunReference | None, *, now: datetime) -> str:
    """Say why a notification is not to be had; empty when it is."""
    if notification.sent_at is not None:
        sent_at = notification.sent_at.isoformat(timespec="seconds")
        return f"sent to {notification.recipient} at {sent_at}"
    expires_at = notification.lease_expires_at
    if notification.lease is None or expires_at is None or expires_at <= now:
        return ""
    holder = RunReference.model_validate(notification.claimed_by) if notification.claimed_by else None
    if holder is not None and asker is not None and _is_retry_of(holder, asker):
        return ""
    name = f"{holder.dag_id}/{holder.run_id}" if holder is not None else "somebody else"
    return f"being sent by {name} until {expires_at.isoformat(timespec='seconds')}"


def _is_retry_of(holder: RunReference, asker: RunReference) -> bool:
    """Whether the holder is an earlier try of the asking task instance: Airflow runs one at a time."""
    again = holder.model_copy(update={"try_number": asker.try_number})
    return again == asker and asker.try_number > holder.try_number


def _view(
    session: Session, notification: Notification, incident: Incident, integration: Integration
) -> NotificationView:
    runs = session.scalars(
        select(BlockedRun).where(BlockedRun.incident_id == incident.id).order_by(BlockedRun.id)
    )
    return NotificationView(
        id=notification.id,
        lease=str(notification.lease),
        kind="opened",
        recipient=integration.owner.email,
        message_id=notification.message_id,
        integration=integration,
        incident=view(incident),
        blocked_runs=[
            RunReference(
                dag_id=run.dag_id,
                run_id=run.run_id,
                task_id=run.task_id,
                map_index=run.map_index,
                try_number=run.try_number,
            )
            for run in runs
        ],
    )


def _settle(session: Session, *, notification_id: int, request: SettleRequest, now: datetime) -> None:
    mine = (
        update(Notification)
        .where(
            Notification.id == notification_id,
            Notification.lease == request.lease,
            Notification.sent_at.is_(None),
        )
        .values(attempts=Notification.attempts + 1)
    )
    if request.sent:
        outcome = mine.values(sent_at=now, lease_expires_at=None, last_error=None)
    else:
        error = redact(request.error or "not sent; no reason was given", limit=ERROR_LENGTH)
        outcome = mine.values(lease=None, lease_expires_at=None, due_at=now, last_error=error)
    if changed(session, outcome):
        return
    notification = session.get(Notification, notification_id)
    if notification is None:
        raise UnknownNotificationError(f"There is no notification {notification_id}")
    if request.sent and notification.lease == request.lease and notification.sent_at is not None:
        return
    raise LeaseLostError(
        f"Notification {notification_id} is not held under this lease: it ran out and another claimed it, "
        "or it was given back"
    )
