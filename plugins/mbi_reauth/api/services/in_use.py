"""Which integrations are in use: the app does not read the registry, but hears of each that it has."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from mbi_reauth.models.tables import Status

UNHEARD_OF_FOR = timedelta(days=1)
"""An integration of which nothing is heard for so long, while others are reported about, is not in use."""


def in_use_since(session: Session, *, now: datetime) -> datetime:
    """Return from when on something was reported about every integration that is in use."""
    # an app's clock that ran ahead must not put everything else out of use
    latest = session.scalar(select(func.max(Status.checked_at)).where(Status.checked_at <= now))
    return (latest or now) - UNHEARD_OF_FOR


def in_use(session: Session, *, now: datetime) -> ColumnElement[bool]:
    """Select the status rows of the integrations in use."""
    return Status.checked_at >= in_use_since(session, now=now)
