from __future__ import annotations

from typing import Any

import psycopg
import pymssql
import pytest

from mbi_reauth.core.evidence import TransportFailure
from mbi_reauth.probes.database import ENGINES
from mbi_reauth.probes.secret_values import SecretValues
from mbi_reauth.probes.sql import evidence_of

PSYCOPG = 'connection failed: connection to server at "127.0.0.1", port 1 failed: '


class NumberedError(Exception):
    """As mysql.connector's: number and SQLSTATE are attributes."""

    def __init__(self, errno: int, msg: str, sqlstate: str | None = None) -> None:
        super().__init__(errno, msg, sqlstate)
        self.errno, self.msg, self.sqlstate = errno, msg, sqlstate


class ReadTimeoutError(NumberedError):
    """As mysql.connector's: its number is -1."""


def evidence(conn_type: str, error: Exception) -> Any:
    return evidence_of(error, ENGINES[conn_type], SecretValues(["fake-secret"]))


@pytest.mark.parametrize(
    ("error", "code", "sqlstate", "failure"),
    [
        (Exception(1045, "Access denied"), 1045, None, None),
        (NumberedError(1142, "SELECT denied", "42000"), 1142, "42000", None),
        (Exception(2003, "Can't connect"), 2003, None, TransportFailure.CONNECTION_REFUSED),
        (Exception(2005, "Unknown server host"), 2005, None, TransportFailure.DNS),
        (Exception(2013, "Lost connection"), 2013, None, TransportFailure.CONNECTION_RESET),
        (Exception(2026, "TLS/SSL error"), 2026, None, TransportFailure.TLS),
        (ReadTimeoutError(-1, "timed out"), -1, None, TransportFailure.TIMEOUT),
        (Exception("no number at all"), None, None, None),
    ],
)
def test_a_mysql_error_gives_its_number(
    error: Exception, code: int | None, sqlstate: str | None, failure: TransportFailure | None
) -> None:
    found = evidence("mysql", error)
    assert (found.error_code, found.sqlstate, found.failure) == (code, sqlstate, failure)
    assert str(code) not in found.message


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        (f"{PSYCOPG}Connection refused", TransportFailure.CONNECTION_REFUSED),
        (f"{PSYCOPG}timeout expired", TransportFailure.TIMEOUT),
        (f"{PSYCOPG}server closed the connection unexpectedly", TransportFailure.CONNECTION_RESET),
        (f"{PSYCOPG}SSL error: certificate verify failed", TransportFailure.TLS),
        ('could not translate host name "x" to address', TransportFailure.DNS),
        (f'{PSYCOPG}FATAL:  database "Connection refused" does not exist', None),
        (f"{PSYCOPG}Connection refused\nFATAL:  password authentication failed", None),
    ],
)
def test_only_libpqs_own_words_are_a_transport_failure(
    message: str, failure: TransportFailure | None
) -> None:
    assert evidence("postgres", psycopg.OperationalError(message)).failure is failure


def test_a_postgresql_error_gives_its_sqlstate() -> None:
    found = evidence("postgres", psycopg.errors.InsufficientPrivilege("permission denied for table orders"))
    assert (found.sqlstate, found.error_code, found.failure) == ("42501", None, None)


APPENDED = b"DB-Lib error message 20018, severity 14:\nGeneral SQL Server error: Check messages\n"
TIMED_OUT = (
    b"DB-Lib error message 20003, severity 6:\nTDS server connection timed out\n"
    b"DB-Lib error message 20047, severity 9:\nDBPROCESS is dead or not enabled\n"
)


@pytest.mark.parametrize(
    ("error", "code", "message", "failure"),
    [
        (pymssql.OperationalError(229, b"denied on 'orders'" + APPENDED), 229, "denied on 'orders'", None),
        (pymssql.OperationalError(4060, "Cannot open database"), 4060, "Cannot open database", None),
        (pymssql.OperationalError(40613, "caf\u00e9"), 40613, "caf\u00e9", None),
        (
            pymssql.OperationalError(20047, TIMED_OUT),
            20003,
            "TDS server connection timed out",
            TransportFailure.TIMEOUT,
        ),
        (
            pymssql.OperationalError(20009, "Unable to connect: Connection refused"),
            20009,
            "Unable to connect: Connection refused",
            TransportFailure.CONNECTION_REFUSED,
        ),
        (
            pymssql.OperationalError(20009, "Unable to connect: Connection timed out"),
            20009,
            "Unable to connect: Connection timed out",
            TransportFailure.TIMEOUT,
        ),
        (pymssql.OperationalError(20013, "Unknown host"), 20013, "Unknown host", TransportFailure.DNS),
        (pymssql.InterfaceError("Connection is closed."), None, "Connection is closed.", None),
    ],
)
def test_a_sql_server_error_gives_its_number_and_only_its_words(
    error: Exception, code: int | None, message: str, failure: TransportFailure | None
) -> None:
    found = evidence("mssql", error)
    assert (found.error_code, found.message, found.failure) == (code, message, failure)


def test_a_secret_in_a_drivers_message_is_hidden() -> None:
    assert evidence("mysql", Exception(1064, "near 'fake-secret'")).message == "near '***'"
