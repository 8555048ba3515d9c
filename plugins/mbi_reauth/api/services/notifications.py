"""The outbox, for those who send: claim an email, say what came of it."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import ClaimRequest, ClaimResponse, SettleRequest
from mbi_reauth.api.services.claims import Claim
from mbi_reauth.api.services.outbox import correspond
from mbi_reauth.api.services.surroundings import Mailing, Surroundings
from mbi_reauth.api.services.warnings import sunsets_of, types_in_use
from mbi_reauth.core.redact import redact
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import ERROR_LENGTH, Incident, Notification, Status


class LeaseLostError(ValueError):
    """No email is held under the lease that was named."""


def claim(request: ClaimRequest, surroundings: Surroundings) -> ClaimResponse:
    """Hand the email that is due to one asker, under a lease; tell the others why they get none."""
    mailing, now = surroundings.mailing(), surroundings.now()
    types = transact(partial(types_in_use, now=now)) if request.serving else ()
    sunsets = sunsets_of(types, surroundings.type_of)

    def work(session: Session) -> ClaimResponse:
        return Claim(session, request, mailing, now, sunsets).answer()

    return transact(work)


def settle(request: SettleRequest, surroundings: Surroundings) -> None:
    """Record how sending ended; the same answer twice is fine, an unsent email is due again at once.

    :raises LeaseLostError: the lease ran out and another holds it, or it was given back
    """
    transact(partial(_settle, request=request, mailing=surroundings.mailing(), now=surroundings.now()))


def _settle(session: Session, *, request: SettleRequest, mailing: Mailing, now: datetime) -> None:
    incidents = _lock_incidents(session, request.lease, now)
    held = select(Notification).where(Notification.lease == request.lease)
    rows = session.scalars(held.with_for_update().execution_options(populate_existing=True)).all()
    if not rows:
        raise LeaseLostError(
            "No email is held under this lease: it ran out and another claimed it, or it was given back"
        )
    for row in rows:
        if row.sent_at is None and row.refused_at is None:
            _record(row, request, now)
    session.flush()
    for incident in incidents:
        correspond(session, incident, mailing, now=now)


def _lock_incidents(session: Session, lease: str, now: datetime) -> list[Incident]:
    """Take the turns of all integrations that an email is about."""
    held = select(Notification.integration_id).where(Notification.lease == lease)
    session.execute(
        update(Status).where(Status.integration_id.in_(held)).values(updated_at=now),
        execution_options={"synchronize_session": False},
    )
    ids = select(Notification.incident_id).where(Notification.lease == lease)
    incidents = select(Incident).where(Incident.id.in_(ids)).order_by(Incident.id)
    return list(session.scalars(incidents.execution_options(populate_existing=True)))


def _record(row: Notification, request: SettleRequest, now: datetime) -> None:
    lent_until = row.lease_expires_at
    row.attempts += request.outcome != "untried"
    row.lease_expires_at = None
    if request.outcome == "sent":
        # who says so late has sent it while it had the lease
        row.sent_at, row.last_error = min(now, lent_until or now), None
        return
    row.last_error = redact(request.error or "not sent; no reason was given", limit=ERROR_LENGTH)
    if request.outcome == "refused":
        row.refused_at = now
        return
    row.lease = None
    row.due_at = min(row.due_at, now)
    if request.outcome == "unsure":
        row.maybe_sent_at = now
