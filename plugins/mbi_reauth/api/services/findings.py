"""What a reported finding changes: status, incident, emails that are due, runs that are owed a resume."""

from __future__ import annotations

import uuid
from datetime import datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import FindingReceipt, FindingReport, RunReference
from mbi_reauth.api.services.credentials import (
    held_elsewhere,
    known_of,
    present_credential,
    store,
    take_turn,
)
from mbi_reauth.api.services.incidents import latest_incident, open_incident, view
from mbi_reauth.api.services.notifications import message_id
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.api.services.turns import end_turn
from mbi_reauth.core.incident import OpenIncident, Report, Transition, decide
from mbi_reauth.core.verdict import Verdict
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import BlockedRun, Incident, Notification, Status
from mbi_reauth.probes.credential import Credential

BLOCKED = "blocked"


def report(finding_report: FindingReport, surroundings: Surroundings) -> FindingReceipt:
    """Judge one report and store what follows, in one transaction.

    The connection is read again, so that a finding about a credential that has been replaced since does not
    count against the new one.

    :raises MisconfiguredError: the connection's extra is not a JSON object
    """
    elsewhere = held_elsewhere(finding_report.integration.conn_id)
    work = partial(_report, finding_report=finding_report, elsewhere=elsewhere, now=surroundings.now())
    return transact(work)


def _report(
    session: Session, *, finding_report: FindingReport, elsewhere: Credential | None, now: datetime
) -> FindingReceipt:
    status = take_turn(session, finding_report.integration, now=now)
    end_turn(status, finding_report.turn)
    present_credential(session, status, elsewhere, now=now)
    incident = open_incident(session, status.integration_id)
    transition = decide(
        known_of(status),
        _as_value(incident),
        Report(finding=finding_report.finding, credential_version=finding_report.credential_version),
        now=now,
    )
    if transition.accepted:
        store(status, transition.known)
        incident = _apply(session, status, incident, transition, now=now)
    if finding_report.blocked_run is not None and finding_report.finding.verdict is Verdict.NEEDS_REAUTH:
        # a run stopped just before the incident ended is owed a resume all the same
        stopped_by = incident or latest_incident(session, status.integration_id)
        _record_blocked_run(session, stopped_by, finding_report.blocked_run, now=now)
    return FindingReceipt(
        accepted=transition.accepted,
        reason=transition.reason,
        credential_replaced=transition.credential_replaced,
        incident=view(incident) if incident is not None else None,
    )


def _as_value(incident: Incident | None) -> OpenIncident | None:
    if incident is None:
        return None
    return OpenIncident(opened_at=incident.opened_at, confirmed_at=incident.confirmed_at)


def _apply(
    session: Session, status: Status, incident: Incident | None, transition: Transition, *, now: datetime
) -> Incident | None:
    """Carry a transition out; return the incident that is open afterwards."""
    finding = transition.known.finding
    if transition.opens:
        incident = Incident(id=str(uuid.uuid4()), integration_id=status.integration_id, opened_at=now)
        incident.open_key = status.integration_id
        session.add(incident)
    if incident is None or finding is None:
        return None
    if finding.verdict is Verdict.NEEDS_REAUTH:
        incident.finding, incident.cause = finding.model_dump(mode="json"), finding.cause.value
    if transition.confirms:
        incident.confirmed_at = now
    if transition.closes:
        incident.closed_at, incident.open_key = now, None
    session.flush()
    for due in transition.due:
        session.add(
            Notification(
                incident_id=incident.id,
                kind=due.kind.value,
                ordinal=due.ordinal,
                due_at=due.due_at,
                message_id=message_id(incident.id, due.kind.value),
            )
        )
    session.flush()
    return None if transition.closes else incident


def _record_blocked_run(
    session: Session, incident: Incident | None, run: RunReference, *, now: datetime
) -> None:
    if incident is None:
        return
    key = {
        "incident_id": incident.id,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "task_id": run.task_id,
        "map_index": run.map_index,
    }
    if session.scalar(select(BlockedRun.id).filter_by(**key)) is None:
        session.add(BlockedRun(**key, try_number=run.try_number, state=BLOCKED, blocked_at=now))
        session.flush()
