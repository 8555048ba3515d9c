"""The record of who did what to which integration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy.orm import Session

from mbi_reauth.models.metadata_db import log_to_airflow
from mbi_reauth.models.tables import CLIENT_LENGTH, Audit

BY_LINK = "mbi_reauth link"
"""Whom Airflow's audit log names where nobody was signed in."""


class Event(str, Enum):
    """What somebody did."""

    OPENED = "opened"
    BEGUN = "begun"
    REFUSED = "refused"
    SAVED = "saved"
    CHECKED = "checked"
    ACCOUNT_FREED = "account_freed"


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who asks: the address they come from, the Airflow user they are, if any, and the browser's secret.

    ``locale`` is the language they chose on the page, if they chose one. ``may_change`` tells whether they
    may change the connection of an id.
    """

    client: str | None = None
    user: str | None = None
    secret: str | None = None
    locale: str | None = None
    may_change: Callable[[str], bool] = lambda _: True


@dataclass(frozen=True, kw_only=True)
class Concerning:
    """What it was done to."""

    integration_id: str
    incident_id: str | None = None
    conn_id: str | None = None


def write(
    session: Session,
    event: Event,
    concerning: Concerning,
    visitor: Visitor,
    *,
    now: datetime,
    **details: Any,
) -> None:
    """Add an entry; of what changes anything, one to Airflow's audit log as well.

    :param details: nothing secret
    """
    entry = Audit(
        at=now,
        event=event.value,
        integration_id=concerning.integration_id,
        incident_id=concerning.incident_id,
        actor=visitor.user,
        client=visitor.client[:CLIENT_LENGTH] if visitor.client is not None else None,
        details=details,
    )
    session.add(entry)
    if event in (Event.SAVED, Event.ACCOUNT_FREED):
        extra = {
            "integration": concerning.integration_id,
            "connection": concerning.conn_id,
            "incident": concerning.incident_id,
            **details,
        }
        log_to_airflow(session, f"mbi_reauth.{event.value}", owner=visitor.user or BY_LINK, extra=extra)
    session.flush()
