"""Reading incidents."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import IncidentView
from mbi_reauth.core.incident import LastIncident
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.models.tables import Incident


def open_incident(session: Session, integration_id: str) -> Incident | None:
    """Return the integration's open incident."""
    return session.scalar(select(Incident).where(Incident.open_key == integration_id))


def last_incident(session: Session, integration_id: str) -> Incident | None:
    """Return the integration's open incident, else the last one."""
    query = select(Incident).where(Incident.integration_id == integration_id)
    last = query.order_by(Incident.opened_at.desc()).limit(1)
    return open_incident(session, integration_id) or session.scalar(last)


def as_value(incident: Incident | None) -> LastIncident | None:
    """Make the value that decisions are made on."""
    if incident is None:
        return None
    return LastIncident(
        opened_at=incident.opened_at,
        cause=Cause(incident.cause),
        confirmed_at=incident.confirmed_at,
        closed_at=incident.closed_at,
        credential_version=incident.credential_version,
    )


def view(incident: Incident, *, confirmed: bool = True) -> IncidentView:
    """Show an incident to tasks.

    :param confirmed: whether its confirmation covers the refusal at hand, which may be about a credential
        that was entered since
    """
    return IncidentView(
        id=incident.id,
        opened_at=incident.opened_at,
        confirmed_at=incident.confirmed_at if confirmed else None,
        closed_at=incident.closed_at,
        finding=Finding.model_validate(incident.finding),
    )
