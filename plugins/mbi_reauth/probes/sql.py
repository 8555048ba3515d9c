"""A database login and the right to read, turned into evidence."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from mbi_reauth.core.evidence import Driver, Endpoint, Evidence, TransportFailure
from mbi_reauth.core.integration import Table
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.database import Engine, driver_errors, engine_of, open_database
from mbi_reauth.probes.expiry import expiry_of
from mbi_reauth.probes.secret_values import SecretValues
from mbi_reauth.probes.ssh import TunnelError

# No connection came about, or it broke: the client library's own errors, which are no answer of a server.
# https://dev.mysql.com/doc/mysql-errors/8.0/en/client-error-reference.html
_MYSQL_FAILURES = {
    2002: TransportFailure.CONNECTION_REFUSED,
    2003: TransportFailure.CONNECTION_REFUSED,
    2005: TransportFailure.DNS,
    2006: TransportFailure.CONNECTION_RESET,
    2013: TransportFailure.CONNECTION_RESET,
    2026: TransportFailure.TLS,
    2055: TransportFailure.CONNECTION_RESET,
}
# DB-Library's own numbers (FreeTDS, include/sybdb.h).
_MSSQL_FAILURES = {
    20003: TransportFailure.TIMEOUT,
    20004: TransportFailure.CONNECTION_RESET,
    20006: TransportFailure.CONNECTION_RESET,
    20009: TransportFailure.CONNECTION_REFUSED,
    20013: TransportFailure.DNS,
    20017: TransportFailure.CONNECTION_RESET,
    20047: TransportFailure.CONNECTION_RESET,
}
_NUMBERED = {Driver.MYSQL: _MYSQL_FAILURES, Driver.MSSQL: _MSSQL_FAILURES}
_NOT_CONNECTED = 20009
_TOO_LATE = re.compile(r"timed out|now in progress")
# libpq has no error numbers; these are its own messages, never the server's.
_POSTGRESQL_FAILURES = (
    (re.compile(r"timeout expired|connection timeout|Connection timed out"), TransportFailure.TIMEOUT),
    (re.compile(r"Connection refused|No route to host"), TransportFailure.CONNECTION_REFUSED),
    (re.compile(r"could not translate host name|failed to resolve host"), TransportFailure.DNS),
    (re.compile(r"server closed the connection|Connection reset by peer"), TransportFailure.CONNECTION_RESET),
    (re.compile(r"SSL error|certificate verify failed|server certificate"), TransportFailure.TLS),
)


def probe_sql(
    credential: Credential, tables: Sequence[Table], *, ssh: Credential | None = None, timeout: float = 10
) -> Evidence:
    """Log in once and prove the right to read every column of each table; without tables, ``SELECT 1``.

    Blocks; connecting and each statement may take ``timeout`` seconds. The body of a success is
    ``{"readable": true}``, with ``expires_at`` (ISO 8601, UTC) where the server tells when the password ends.

    :raises MisconfiguredError: the connection lacks something, or a package is missing
    """
    engine = engine_of(credential)
    body: dict[str, Any] = {"readable": True}
    try:
        with (
            open_database(credential, ssh=ssh, timeout=timeout, read_timeout=timeout) as connection,
            _deadline(connection, engine, timeout * (3 + len(tables))),
        ):
            if expires_at := _read(connection, engine, tables, timeout):
                body["expires_at"] = expires_at.isoformat()
    except TunnelError as error:
        return error.evidence
    except driver_errors() as error:
        return evidence_of(error, engine, SecretValues.of(credential))
    return Evidence(endpoint=Endpoint.PROBE, driver=engine.driver, body=body)


def _read(connection: Any, engine: Engine, tables: Sequence[Table], timeout: float) -> datetime | None:
    """Read nothing of each table, and then when the password ends."""
    cursor = connection.cursor()
    if engine.driver is Driver.POSTGRESQL:
        # Not by the start-up packet's options, which PgBouncer refuses.
        cursor.execute(f"SET LOCAL statement_timeout = {int(timeout * 1000)}")
    if not tables:
        cursor.execute("SELECT 1 AS one")  # pymssql gives no rows of a column without a name
        cursor.fetchall()
    for table in tables:
        # All columns, since a grant may cover a few only; no row, so that nothing is read.
        cursor.execute(f"SELECT * FROM {engine.quoted(table.name)} WHERE 1 = 0")  # noqa: S608 - quoted
        cursor.fetchall()
    expires_at = expiry_of(cursor, engine.driver)
    # The login is proved: a connection that breaks from here on says nothing against it.
    with suppress(*driver_errors()):
        cursor.close()
        connection.rollback()
    return expires_at


@contextmanager
def _deadline(connection: Any, engine: Engine, seconds: float) -> Iterator[None]:
    """Break a PostgreSQL connection off in the end; libpq would wait forever for a server that hangs."""
    if engine.driver is not Driver.POSTGRESQL:
        yield
        return
    timer = threading.Timer(seconds, _shut_down, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut_down(connection: Any) -> None:
    # OSError: it was closed in this very moment.
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


def evidence_of(error: Exception, engine: Engine, secrets: SecretValues) -> Evidence:
    """Read a driver's error; the drivers keep number and SQLSTATE in different places."""
    code, message = _told(error, engine)
    return Evidence(
        endpoint=Endpoint.PROBE,
        driver=engine.driver,
        error_code=code,
        sqlstate=getattr(error, "sqlstate", None) or getattr(error, "pgcode", None),
        failure=TransportFailure.TIMEOUT if _is_timeout(error) else _failure_of(engine, code, message),
        message=secrets.hide(message),
    )


def _told(error: Exception, engine: Engine) -> tuple[int | None, str]:
    """Read an error's number and its words."""
    if engine.driver is Driver.MSSQL:
        from mbi_reauth.probes.sql_server import told

        return told(error) or (None, str(error).strip())
    code = getattr(error, "errno", None)
    if code is None and error.args and isinstance(error.args[0], int):
        code = error.args[0]
    numbered = error.args[1] if code is not None and len(error.args) > 1 else error
    return code, str(getattr(error, "msg", None) or numbered).strip()


def _is_timeout(error: Exception) -> bool:
    """Tell by its class: psycopg and mysql.connector have some for it, without a number."""
    return any("Timeout" in cls.__name__ for cls in type(error).__mro__)


def _failure_of(engine: Engine, code: int | None, message: str) -> TransportFailure | None:
    if engine.driver is not Driver.POSTGRESQL:
        if code == _NOT_CONNECTED and _TOO_LATE.search(message):
            return TransportFailure.TIMEOUT
        return _NUMBERED[engine.driver].get(code or 0)
    found = (failure for pattern, failure in _POSTGRESQL_FAILURES if pattern.search(message))
    return None if "FATAL" in message else next(found, None)
