"""To whom an email goes."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, or_, select, true
from sqlalchemy.orm import Session

from mbi_reauth.api.services.outbox import of_kind
from mbi_reauth.api.services.surroundings import Mailing
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import TO_PEOPLE, NotificationKind
from mbi_reauth.models.tables import Notification, Status


def recipients_of(session: Session, row: Notification, mailing: Mailing) -> tuple[str, ...]:
    """List the addresses; none where the configuration has none, or where nobody needs to hear any more."""
    kind = NotificationKind(row.kind)
    if kind is NotificationKind.ENGINEER:
        return mailing.engineers
    if kind is NotificationKind.RECOVERED:
        return _everybody_told(session, row)
    owner = integration_of(session, row).owner
    refused = _refused(session, row)
    if kind is not NotificationKind.ESCALATION and owner.email not in refused:
        return (owner.email,)
    known = owner.backup is not None and owner.backup not in {owner.email, *refused}
    return (owner.backup,) if known and owner.backup is not None else mailing.engineers


def integration_of(session: Session, row: Notification) -> Integration:
    """Return the registry's entry, as it was last seen."""
    return Integration.model_validate(session.get_one(Status, row.integration_id).integration)


def _refused(session: Session, row: Notification) -> set[str]:
    """Name the addresses that a mail server has refused in this incident."""
    if row.incident_id is None:
        return set()
    return set(
        _addresses(
            session.scalars(
                select(Notification.recipient).where(
                    Notification.incident_id == row.incident_id, Notification.refused_at.is_not(None)
                )
            ).all()
        )
    )


def _everybody_told(session: Session, row: Notification) -> tuple[str, ...]:
    """Name who was told of a loss, or may have been, since people were last told that it is over."""
    its = Notification.integration_id == row.integration_id
    told = or_(
        Notification.sent_at.is_not(None),
        Notification.lease.is_not(None),
        Notification.maybe_sent_at.is_not(None),
    )
    over_at = session.scalar(
        select(func.max(func.coalesce(Notification.sent_at, Notification.refused_at))).where(
            its, of_kind(NotificationKind.RECOVERED)
        )
    )
    told_at = func.coalesce(
        Notification.sent_at, Notification.lease_expires_at, Notification.maybe_sent_at, Notification.due_at
    )
    since = told_at > over_at if over_at else true()
    listed = session.scalars(
        select(Notification.recipient)
        .where(its, of_kind(*TO_PEOPLE), Notification.refused_at.is_(None), told, since)
        .order_by(Notification.id)
    )
    return tuple(dict.fromkeys(_addresses(listed.all())))


def _addresses(recipients: Iterable[str | None]) -> list[str]:
    return [address for each in recipients for address in (each or "").split(",") if address]
