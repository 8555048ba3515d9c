"""The one place that touches Airflow's connection tests.

Written against Airflow 3.3.2. A scheduler hands each row of the table ``connection_test_request`` to the
default executor, whose worker tests the connection in the row and writes into the row what came of it.
Airflow offers that to users who are logged in alone, over its REST API, and only where ``[core]
test_connection`` is enabled; an app in the API server that verifies a credential before it is saved has no
public way. So this uses the model ``ConnectionTestRequest``, its states, and what tells whether the executor
can do it (``ExecutorLoader``, ``supports_connection_test``, the Fernet key and the registered hooks);
``tests/unit/models/test_connection_tests.py`` fails when Airflow changes what is used of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from airflow.models.connection_test import (
    TERMINAL_STATES,
    ConnectionTestRequest,
    ConnectionTestState,
)
from airflow.models.crypto import get_fernet
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mbi_reauth.models.metadata_db import transact

CONN_TYPE = "mbireauth"
PREFIX = "mbi_reauth_verification_"
"""What the connection ids of our tests begin with; each has its own, as Airflow allows an id one test."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a test is; ``message`` is what the worker said, and only there when it has ended."""

    taken: bool
    ended: bool
    message: str | None = None


class AirflowConnectionTests:
    """Tests of connections that exist nowhere else, run by the default executor's workers."""

    def supported(self) -> bool:
        """Whether a worker can run one, and nothing of it stands unencrypted meanwhile."""
        try:
            return _executor_supports_them() and _hook_is_registered() and bool(get_fernet().is_encrypted)
        except Exception:
            # An executor that is not installed here, for one; whoever verifies goes on without workers.
            log.exception("Whether the executor can test connections cannot be told")
            return False

    def put(self, extra: Mapping[str, Any]) -> UUID:
        """Ask for a test of a connection that has nothing but an extra, which is stored encrypted."""
        return transact(lambda session: _put(session, json.dumps(dict(extra))))

    def look(self, test_id: UUID) -> Progress | None:
        """Tell how far it is; None: it is gone."""
        return transact(lambda session: _look(session, test_id))

    def drop(self, test_id: UUID) -> None:
        """Delete it, with all it holds, whatever became of it."""
        query = delete(ConnectionTestRequest).where(ConnectionTestRequest.id == test_id)
        transact(lambda session: session.execute(query), outlast=True)

    def drop_older(self, moment: datetime) -> None:
        """Delete those of ours that a crash has left behind."""
        # Looked for first: on SQLite a DELETE waits for its turn even where there is nothing to delete.
        mine = ConnectionTestRequest.connection_id.startswith(PREFIX, autoescape=True)
        query = select(ConnectionTestRequest.id).where(mine, ConnectionTestRequest.created_at < moment)
        for test_id in transact(lambda session: list(session.scalars(query))):
            self.drop(test_id)


@cache
def _executor_supports_them() -> bool:
    from airflow.executors.executor_loader import ExecutorLoader

    executor, _ = ExecutorLoader.import_default_executor_cls()
    return bool(executor.supports_connection_test)


@cache
def _hook_is_registered() -> bool:
    """Whether Airflow knows our connection type, which a plugins folder alone cannot tell it."""
    return CONN_TYPE in ProvidersManagerTaskRuntime().hooks  # type: ignore[no-untyped-call]


def _put(session: Session, extra: str) -> UUID:
    request = ConnectionTestRequest(connection_id=f"{PREFIX}{uuid4().hex}", conn_type=CONN_TYPE, extra=extra)
    session.add(request)
    session.flush()
    return request.id


def _look(session: Session, test_id: UUID) -> Progress | None:
    columns = (ConnectionTestRequest.state, ConnectionTestRequest.result_message)
    row = session.execute(select(*columns).where(ConnectionTestRequest.id == test_id)).one_or_none()
    if row is None:
        return None
    ended = row.state in TERMINAL_STATES
    return Progress(row.state != ConnectionTestState.PENDING, ended, row.result_message if ended else None)
