"""The one place that touches Airflow's metadata database.

Written against Airflow 3.3.2. Airflow has no public way for a plugin in the API server to keep tables of its
own or to change a Connection under a lock: the Task SDK only reads connections, and the REST API has no
compare-and-swap, nor does it take entries for the audit log. So this uses ``airflow.settings``,
``airflow.utils.session``, the ``Connection`` and ``Log`` models, and the secrets masker of the API server's
own logs (the Task SDK's public one masks a task's logs);
``tests/unit/models/test_metadata_db.py`` fails when Airflow changes what is used of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import tenacity
from airflow import settings
from airflow._shared.secrets_masker import mask_secret
from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.log import Log
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.utils.session import create_session
from sqlalchemy import Engine, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from mbi_reauth.models.tables import Base
from mbi_reauth.probes.credential import Credential, MisconfiguredError

T = TypeVar("T")

_CHANGING = frozenset({"access_token", "refresh_token"})

_CONTENTION = frozenset({"40001", "40P01", "55P03", 1205, 1213})
"""PostgreSQL: serialization, deadlock, lock not available. MySQL: lock wait timeout, deadlock."""


class Stored(NamedTuple):
    """A credential, and whether Airflow's database holds it: not so in a variable or a secrets backend."""

    credential: Credential
    in_database: bool


def engine() -> Engine:
    """Return the engine that Airflow has configured."""
    if settings.engine is None:
        raise RuntimeError("Airflow's database is not configured in this process")
    return settings.engine


def transact(work: Callable[[Session], T], *, attempts: int = 6, outlast: bool = False) -> T:
    """Run ``work`` in one transaction, again from the start when another writer got in the way.

    A unique constraint that another transaction was quicker to satisfy counts as such: run again, ``work``
    finds that row. ``work`` must not do anything but database work.
    With ``outlast``, also again when the database went away, for what must not be lost; ``work`` may then
    find what it had committed.
    """
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda exc: _lost_a_race(exc) or (outlast and _went_away(exc))),
        wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
        stop=tenacity.stop_after_attempt(attempts),
        reraise=True,
    ):
        with attempt, create_session(scoped=False) as session:
            return work(session)
    raise AssertionError("tenacity ends with a result or with the last error")


def _went_away(exc: BaseException) -> bool:
    return isinstance(exc, (InterfaceError, OperationalError))


def _lost_a_race(exc: BaseException) -> bool:
    if isinstance(exc, IntegrityError):
        return True
    if not isinstance(exc, DBAPIError):
        return False
    state = getattr(exc.orig, "sqlstate", None) or getattr(exc.orig, "pgcode", None)
    code = state or next(iter(exc.orig.args if exc.orig is not None else ()), None)
    return code in _CONTENTION or (isinstance(exc, OperationalError) and "locked" in str(exc.orig))


def find_credential(conn_id: str) -> Stored | None:
    """Look a connection up as Airflow does: environment, secrets backends, database; outside a transaction.

    One that Airflow cannot read, because its extra is not a JSON object, counts as missing, as it does there.
    """
    try:
        connection = Connection.get_connection_from_secrets(conn_id, team_name=team_of(conn_id))
    except AirflowNotFoundException:
        return None
    return Stored(_credential_of(connection), in_database=connection.id is not None)


def team_of(conn_id: str) -> str | None:
    """Return the team that a connection of the database belongs to, where Airflow has teams."""
    return (
        Connection.get_team_name(conn_id) if conf.getboolean("core", "multi_team", fallback=False) else None
    )


def stored_credential(session: Session, conn_id: str) -> Credential | None:
    """Read a connection's row; it stays as it is until the transaction ends.

    :raises MisconfiguredError: its extra is not a JSON object
    """
    connection = _lock_row(session, conn_id)
    return _credential_of(connection) if connection is not None else None


def save_extra(session: Session, conn_id: str, changes: Mapping[str, Any]) -> Credential:
    """Change single values in the extra of a connection's row; None removes one.

    :raises LookupError: there is no such row
    """
    return _with_extra(session, _locked_row(session, conn_id), changes)


def save_credential(session: Session, conn_id: str, changes: Mapping[str, str | None]) -> Credential:
    """Change ``login``, ``password`` and single values of the extra of a connection's row; None removes one.

    :raises LookupError: there is no such row
    """
    connection = _locked_row(session, conn_id)
    extra = dict(changes)
    if "login" in extra:
        connection.login = extra.pop("login")
    if "password" in extra:
        connection._password = None  # noqa: SLF001 - set_password leaves the old one where it is given nothing
        connection.set_password(extra.pop("password"))
    return _with_extra(session, connection, extra)


def _with_extra(session: Session, connection: Connection, changes: Mapping[str, Any]) -> Credential:
    extra = {**_credential_of(connection).extra, **changes}
    connection.set_extra(json.dumps({key: value for key, value in extra.items() if value is not None}))
    session.flush()
    return _credential_of(connection)


def log_to_airflow(session: Session, event: str, *, owner: str, extra: Mapping[str, Any]) -> None:
    """Add a row to Airflow's own audit log, which its page Audit Log shows."""
    session.add(Log(event=event, owner=owner, extra=json.dumps(dict(extra))))


def create_connection(session: Session, *, conn_id: str, password: str, description: str) -> None:
    """Insert a connection that holds only a password; an existing one raises IntegrityError."""
    session.add(Connection(conn_id=conn_id, conn_type="generic", password=password, description=description))
    session.flush()


def fingerprint_keys() -> list[str]:
    """Return the secrets that credentials are fingerprinted under: Airflow's Fernet keys, newest first.

    Without a Fernet key, the API server's secret key.
    """
    fernet_keys = [key.strip() for key in conf.get("core", "fernet_key", fallback="").split(",")]
    return [key for key in fernet_keys if key] or [conf.get("api", "secret_key")]


def _lock_row(session: Session, conn_id: str) -> Connection | None:
    query = select(Connection).where(Connection.conn_id == conn_id)
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))


def _locked_row(session: Session, conn_id: str) -> Connection:
    connection = _lock_row(session, conn_id)
    if connection is None:
        raise LookupError(f"There is no connection {conn_id!r} in Airflow's database")
    return connection


def _credential_of(connection: Connection) -> Credential:
    try:
        credential = Credential.of(connection)
    except ValueError as error:  # Airflow's own check of the extra, when it is read
        raise MisconfiguredError(
            f"The extra of the Airflow connection {connection.conn_id!r} is not a JSON object; edit it"
        ) from error
    # Airflow knows by their names which are secret. Not what changes every hour: its masker never forgets,
    # and looks in every log line for all that it has ever been told (3.3.2).
    mask_secret({name: value for name, value in credential.extra.items() if name not in _CHANGING})
    return credential


def has_tables() -> bool:
    """Say whether the plugin's tables have been created."""
    return set(Base.metadata.tables) <= set(inspect(engine()).get_table_names())
