"""Reading incidents."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import IncidentView
from mbi_reauth.core.verdict import Finding
from mbi_reauth.models.tables import Incident


def open_incident(session: Session, integration_id: str) -> Incident | None:
    """Return the integration's open incident."""
    return session.scalar(select(Incident).where(Incident.open_key == integration_id))


def latest_incident(session: Session, integration_id: str) -> Incident | None:
    """Return the integration's last incident, over or not."""
    query = select(Incident).where(Incident.integration_id == integration_id)
    return session.scalar(query.order_by(Incident.opened_at.desc()).limit(1))


def view(incident: Incident) -> IncidentView:
    """Show an incident to tasks."""
    return IncidentView(
        id=incident.id,
        opened_at=incident.opened_at,
        confirmed_at=incident.confirmed_at,
        finding=Finding.model_validate(incident.finding),
    )
