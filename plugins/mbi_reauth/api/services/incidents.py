"""Reading incidents, and what they stopped."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import IncidentView, RunReference
from mbi_reauth.core.incident import LastIncident
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.models.tables import BlockedRun, Incident

MOST_RUNS = 1000


def open_incident(session: Session, integration_id: str) -> Incident | None:
    """Return the integration's open incident."""
    return session.scalar(select(Incident).where(Incident.open_key == integration_id))


def last_incident(session: Session, integration_id: str) -> Incident | None:
    """Return the integration's open incident, else the last one."""
    query = select(Incident).where(Incident.integration_id == integration_id)
    last = query.order_by(Incident.opened_at.desc()).limit(1)
    return open_incident(session, integration_id) or session.scalar(last)


def blocked_runs(session: Session, incident_id: str, *which: ColumnElement[bool]) -> list[RunReference]:
    """List what an incident has stopped, the first 1,000 in the order in which they were."""
    runs = select(BlockedRun).where(BlockedRun.incident_id == incident_id, *which).order_by(BlockedRun.id)
    return [
        RunReference(
            dag_id=run.dag_id,
            run_id=run.run_id,
            task_id=run.task_id,
            map_index=run.map_index,
            try_number=run.try_number,
        )
        for run in session.scalars(runs.limit(MOST_RUNS))
    ]


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
