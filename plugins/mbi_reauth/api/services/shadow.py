"""What gates in shadow mode would have stopped."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import FindingReport, RunReference, WouldBlock, WouldBlockResponse
from mbi_reauth.api.services.incidents import open_incident
from mbi_reauth.api.services.outbox import UNSETTLED
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.core.verdict import Certainty
from mbi_reauth.models import tables
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Notification
from mbi_reauth.models.types import UtcDateTime


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
    waiting = select(func.count()).select_from(Notification).where(UNSETTLED, Notification.due_at <= now)
    causes = defaultdict(list)
    row = tables.WouldBlock
    for integration_id, cause in session.execute(
        select(row.integration_id, row.cause).distinct().order_by(row.cause)
    ):
        causes[integration_id].append(cause)
    return WouldBlockResponse(
        would_block=[
            WouldBlock(
                integration_id=integration_id,
                runs=runs,
                first_at=first_at,
                last_at=last_at,
                causes=causes[integration_id],
            )
            for integration_id, runs, first_at, last_at in session.execute(_by_integration())
        ],
        waiting_mails=session.scalar(waiting) or 0,
    )


def _by_integration() -> Select[Any]:
    """Count runs, not the gates in them."""
    row = tables.WouldBlock
    runs = (
        select(
            row.integration_id,
            func.min(row.seen_at, type_=UtcDateTime()).label("first_at"),
            func.max(row.seen_at, type_=UtcDateTime()).label("last_at"),
        )
        .group_by(row.integration_id, row.dag_id, row.run_id)
        .subquery()
    )
    return (
        select(
            runs.c.integration_id,
            func.count(),
            func.min(runs.c.first_at, type_=UtcDateTime()),
            func.max(runs.c.last_at, type_=UtcDateTime()),
        )
        .group_by(runs.c.integration_id)
        .order_by(runs.c.integration_id)
    )
