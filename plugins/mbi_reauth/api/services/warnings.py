"""Emails that belong to no incident: what engineers have to know, and credentials that end soon."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from mbi_reauth.api.services.in_use import in_use
from mbi_reauth.api.services.outbox import UNSETTLED, cancel, of_kind, put
from mbi_reauth.catalogue.model import IntegrationType, Sunset
from mbi_reauth.core.expiry import ExpiryWatch
from mbi_reauth.core.incident import Known, Transition
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import Facts, NotificationKind, Reason, Retirement
from mbi_reauth.core.outage import HELD_FOR, Outage
from mbi_reauth.core.retirement import stage
from mbi_reauth.core.trouble import Trouble
from mbi_reauth.models.tables import Incident, Notification, Status
from mbi_reauth.probes.credential import MisconfiguredError

log = logging.getLogger(__name__)

MOST_NAMED = 200
"""How many integrations one email names."""


def tell_engineers(
    session: Session, status: Status, before: Known, transition: Transition, *, now: datetime
) -> None:
    """Put in what engineers are to be told of this integration; take out what is over and was never told."""
    trouble = transition.known.trouble
    if trouble is None:
        return
    tell, known = transition.tell_engineers, before.trouble
    if trouble.over_at is not None and known is not None and known.over_at is None:
        told = _still_told(session, status.integration_id, trouble, now=now)
        status.trouble = told.model_dump(mode="json")
        tell = tell if told.was_told else None
    if tell is None:
        return
    facts = Facts(
        reason=tell,
        finding=transition.known.finding,
        since=trouble.since,
        until=trouble.over_at,
        checks=trouble.checks,
    )
    key = f"{status.integration_id}:engineer:{tell.value}:{trouble.since.isoformat()}"
    put(session, _notification(key, NotificationKind.ENGINEER, now), facts, about=status)


def _still_told(session: Session, integration_id: str, trouble: Trouble, *, now: datetime) -> Trouble:
    """Take out what nobody has been told yet of a trouble that is over; it counts as not told."""
    rows = session.scalars(
        select(Notification).where(
            Notification.integration_id == integration_id, of_kind(NotificationKind.ENGINEER), UNSETTLED
        )
    ).all()
    facts = {row: Facts.model_validate(row.facts) for row in rows}
    untold = [row for row in rows if facts[row].reason is not Reason.WORKS_AGAIN]
    for row in untold:
        row.cancelled_at = now
    found = [facts[row].finding for row in untold if row.lease is None and row.maybe_sent_at is None]
    return trouble.forget(finding.cause for finding in found if finding is not None)


def warn_of_expiry(session: Session, status: Status, transition: Transition, *, now: datetime) -> None:
    """Put a warning of the credential's end in; take out those of one that was renewed or lost meanwhile."""
    known, lost = transition.known, transition.opens or transition.reopens
    expiry = known.expiry
    if lost or expiry is None or expiry.warned_days is None or transition.expires:
        its = Notification.integration_id == status.integration_id
        cancel(session, its, of_kind(NotificationKind.EXPIRING), now=now)
    if expiry is None:
        return
    if transition.closes and not transition.expires and expiry.expires_at > now:
        _put_back(session, status.integration_id, expiry)
    if not transition.expires:
        return
    key = (
        f"{status.integration_id}:expiring:{expiry.credential_version}:{expiry.expires_at:%Y-%m-%d}"
        f":{expiry.warned_days}"
    )
    facts = Facts(reason=Reason.EXPIRES, finding=known.finding, expires_at=expiry.expires_at)
    notification = _notification(key, NotificationKind.EXPIRING, now)
    notification.ordinal = expiry.warned_days or 0
    put(session, notification, facts, about=status)


def _put_back(session: Session, integration_id: str, expiry: ExpiryWatch) -> None:
    """Let a warning go out that was taken out for a loss that is over, if the credential is the same."""
    last = session.scalar(
        select(Notification)
        .where(Notification.integration_id == integration_id, of_kind(NotificationKind.EXPIRING))
        .order_by(Notification.id.desc())
        .limit(1)
    )
    if last is not None and last.sent_at is None and last.ordinal == expiry.warned_days:
        last.cancelled_at = None


def tell_of_outage(session: Session, type_id: str, outage: Outage, *, now: datetime) -> None:
    """Tell engineers that many integrations of one type were lost at once; of one outage they hear once."""
    lately = select(Notification.id).where(
        Notification.key.startswith(f"type:{type_id}:many_at_once:", autoescape=True),
        Notification.due_at > now - HELD_FOR,
    )
    if session.scalar(lately.limit(1)) is not None:
        return
    facts = Facts(
        reason=Reason.MANY_AT_ONCE,
        since=outage.began_at,
        held_until=outage.held_until,
        affected=tuple(_labels(session, Status.integration_type == type_id, only=outage.integration_ids)),
    )
    key = f"type:{type_id}:many_at_once:{outage.began_at.isoformat()}"
    _put_about_type(session, type_id, key, facts, now=now)


def forget_past_outages(session: Session, *, now: datetime) -> None:
    """Take out what engineers were to hear of losses at once, where nothing of that type is lost any more."""
    lost = (
        select(Incident.id)
        .join(Status, Status.integration_id == Incident.integration_id)
        .where(Incident.open_key.is_not(None), Status.integration_type == Notification.integration_type)
    )
    cancel(session, Notification.key.contains(":many_at_once:"), ~lost.exists(), now=now)


def tell_of_retirements(session: Session, sunsets: Sequence[tuple[str, Sunset]], *, now: datetime) -> None:
    """Tell engineers of what third parties will retire, at each of its stages once."""
    for type_id, sunset in sunsets:
        reached = stage(sunset.on, now.astimezone(timezone.utc).date())
        if reached is None:
            continue
        key = f"type:{type_id}:sunset:{sunset.on.isoformat()}:{reached}"
        if session.scalar(select(Notification.id).where(Notification.key == key)) is not None:
            continue
        earlier = key.removesuffix(str(reached))
        cancel(session, Notification.key.startswith(earlier, autoescape=True), now=now)
        facts = Facts(
            reason=Reason.SUNSET,
            retirement=Retirement(on=sunset.on, what=sunset.what, source=sunset.source),
            affected=tuple(_labels(session, Status.integration_type == type_id, in_use(session, now=now))),
        )
        _put_about_type(session, type_id, key, facts, now=now)


def sunsets_of(types: Sequence[str], type_of: Callable[[str], IntegrationType]) -> list[tuple[str, Sunset]]:
    """List what is known to be retired of these types; one that the catalogue lacks has no dates."""
    return [(type_id, sunset) for type_id in types for sunset in _sunsets(type_id, type_of)]


def _sunsets(type_id: str, type_of: Callable[[str], IntegrationType]) -> Sequence[Sunset]:
    try:
        return type_of(type_id).sunsets
    except MisconfiguredError as error:
        log.warning("No sunsets of the integration type %s. %s", type_id, error)
        return ()


def types_in_use(session: Session, *, now: datetime) -> list[str]:
    """List the types of the integrations that are in use."""
    types = select(Status.integration_type).where(in_use(session, now=now)).distinct()
    return list(session.scalars(types.order_by(Status.integration_type)))


def _put_about_type(session: Session, type_id: str, key: str, facts: Facts, *, now: datetime) -> None:
    notification = _notification(key, NotificationKind.ENGINEER, now)
    notification.integration_type = type_id
    put(session, notification, facts)


def _labels(session: Session, *which: ColumnElement[bool], only: Collection[str] | None = None) -> list[str]:
    # as many as there are integrations: too many for parameters of a query
    wanted = set(only) if only is not None else None
    rows = session.execute(
        select(Status.integration_id, Status.integration).where(*which).order_by(Status.integration_id)
    )
    entries = [entry for integration_id, entry in rows if wanted is None or integration_id in wanted]
    return [Integration.model_validate(entry).full_label for entry in entries[:MOST_NAMED]]


def _notification(key: str, kind: NotificationKind, now: datetime) -> Notification:
    return Notification(key=key, kind=kind.value, ordinal=0, due_at=now)
