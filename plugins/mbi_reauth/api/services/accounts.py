"""The intended change of an integration's account: an act of its own, by an engineer."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session

from mbi_reauth.api.services import audit
from mbi_reauth.api.services.audit import Concerning, Event, Visitor
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.core.integration import Integration
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Status
from mbi_reauth.probes.credential import MisconfiguredError


async def conn_id_of(integration_id: str) -> str | None:
    """Return the Airflow connection of an integration; None where nothing is known of it."""
    query = select(Status.conn_id).where(Status.integration_id == integration_id)
    return await to_thread.run_sync(lambda: transact(lambda session: session.scalar(query)))


def allow_any(integration_id: str, hours: float, visitor: Visitor, outside: Surroundings) -> datetime:
    """Let the next credential lead to any account; the first one that is saved ends that.

    :raises MisconfiguredError: the registry names the account, which is where to change it
    """
    until = outside.now() + timedelta(hours=hours)
    transact(partial(_allow, integration_id=integration_id, until=until, visitor=visitor, now=outside.now()))
    return until


def _allow(
    session: Session, *, integration_id: str, until: datetime, visitor: Visitor, now: datetime
) -> None:
    status = session.get_one(Status, integration_id, with_for_update=True)
    account = Integration.model_validate(status.integration).account
    if account:
        raise MisconfiguredError(
            f"The registry says that {integration_id!r} is the account {account!r}; change it there"
        )
    status.any_account_until = until
    audit.write(
        session,
        Event.ACCOUNT_FREED,
        Concerning(integration_id=integration_id, conn_id=status.conn_id),
        visitor,
        now=now,
        until=until.isoformat(),
        before=status.proved_account,
    )
