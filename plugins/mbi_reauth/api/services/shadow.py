"""What gates in shadow mode would have stopped."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import FindingReport, RunReference, WouldBlock, WouldBlockResponse
from mbi_reauth.api.services.incidents import open_incident
from mbi_reauth.api.services.outbox import UNSETTLED
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.core.verdict import Certainty
from mbi_reauth.models import tables
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Notification


def count(report: FindingReport, surroundings: Surroundings) -> None:
    """Remember the run that would have been stopped; once, whatever the gate's tries.

    A refusal that is not certain by itself counts only where the incident is: shadow mode has no second look.
    """
    if report.blocked_run is not None:
        transact(partial(_count, report=report, run=report.blocked_run, now=surroundings.now()))


def _count(session: Session, *, report: FindingReport, run: RunReference, now: datetime) -> None:
    if report.finding.certainty is Certainty.AMBIGUOUS and not _is_known(session, report.integration.id):
        return
    key = {
        "integration_id": report.integration.id,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "task_id": run.task_id,
        "map_index": run.map_index,
    }
    if session.scalar(select(tables.WouldBlock.id).filter_by(**key)) is None:
        session.add(tables.WouldBlock(**key, cause=report.finding.cause.value, seen_at=now))
        session.flush()


def _is_known(session: Session, integration_id: str) -> bool:
    incident = open_incident(session, integration_id)
    return incident is not None and incident.confirmed_at is not None


def would_block(surroundings: Surroundings) -> WouldBlockResponse:
    """Count what would have been stopped, by integration, and the emails that are due."""
    return transact(partial(_would_block, now=surroundings.now()))


def _would_block(session: Session, *, now: datetime) -> WouldBlockResponse:
    rows: defaultdict[str, list[tables.WouldBlock]] = defaultdict(list)
    for row in session.scalars(select(tables.WouldBlock).order_by(tables.WouldBlock.integration_id)):
        rows[row.integration_id].append(row)
    waiting = select(func.count()).select_from(Notification).where(UNSETTLED, Notification.due_at <= now)
    return WouldBlockResponse(
        would_block=[_counted(integration_id, found) for integration_id, found in rows.items()],
        waiting_mails=session.scalar(waiting) or 0,
    )


def _counted(integration_id: str, rows: list[tables.WouldBlock]) -> WouldBlock:
    return WouldBlock(
        integration_id=integration_id,
        runs=len({(row.dag_id, row.run_id) for row in rows}),
        first_at=min(row.seen_at for row in rows),
        last_at=max(row.seen_at for row in rows),
        causes=sorted({row.cause for row in rows}),
    )
