"""A real PostgreSQL that speaks TLS: encrypted where it can be, and never a second login."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mbi_reauth.core.evidence import Driver, TransportFailure
from mbi_reauth.core.verdict import Cause
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.database import open_database
from mbi_reauth.probes.sql import probe_sql
from tests.judging import cause_on
from tests.loopback import exactly, listening
from tests.servers import PostgreSQL, tls_postgresql_server
from tests.tls import self_signed_chain

PASSWORD = "fake-reader-password"
IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    users = [f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'" for name in ("reader", "plain_only")]
    with tls_postgresql_server(*users) as started:
        yield started


def login(server: PostgreSQL, **fields: Any) -> Credential:
    defaults: dict[str, Any] = {
        "conn_id": "c",
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": server.port,
    }
    defaults |= {"port": server.port, "schema": "postgres", "login": "reader", "password": PASSWORD}
    return Credential(**(defaults | fields))


@pytest.mark.parametrize(
    ("fields", "encrypted"),
    [
        ({}, True),
        ({"login": "plain_only"}, False),
        ({"extra": {"sslmode": "disable"}}, False),
        ({"extra": {"sslmode": "require"}}, True),
    ],
    ids=["by itself", "where only plain is admitted", "disable", "require"],
)
def test_the_connection_is_encrypted_where_the_server_can(
    server: PostgreSQL, fields: dict[str, Any], encrypted: bool
) -> None:
    with open_database(login(server, **fields)) as connection:
        assert connection.execute(IS_ENCRYPTED).fetchone() == (encrypted,)


def test_a_wrong_password_is_tried_once(server: PostgreSQL) -> None:
    refused = 'password authentication failed for user "reader"'
    before = server.log.count(refused)
    evidence = probe_sql(login(server, password="fake-wrong"), ())
    assert refused in (evidence.message or "")
    assert server.log.count(refused) - before == 1


def test_an_untrusted_certificate_blames_nobody_and_gets_no_password(server: PostgreSQL) -> None:
    extra = {"sslmode": "verify-full", "sslrootcert": "system"}
    evidence = probe_sql(login(server, extra=extra), ())
    assert evidence.failure is TransportFailure.TLS, evidence


_ASKS_FOR_TLS = 80877103
_PASSWORD_IN_CLEAR = b"R" + struct.pack(">II", 8, 3)


@pytest.mark.parametrize(("handshake", "passwords"), [(True, 1), (False, 0)], ids=["password", "handshake"])
@pytest.mark.parametrize("psycopg3", [True, False], ids=["psycopg", "psycopg2"])
def test_a_server_that_hangs_up_gets_no_password_without_encryption(
    *, psycopg3: bool, handshake: bool, passwords: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", psycopg3)
    (tmp_path / "chain.pem").write_bytes(self_signed_chain())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem")
    received = []

    def message(connection: socket.socket) -> bytes:
        (length,) = struct.unpack(">I", exactly(connection, 4))
        return exactly(connection, length - 4)

    def speak(connection: socket.socket) -> None:
        encrypted = message(connection) == struct.pack(">I", _ASKS_FOR_TLS)
        if encrypted:
            connection.sendall(b"S")
            if not handshake:
                return
            connection = context.wrap_socket(connection, server_side=True)
            message(connection)
        connection.sendall(_PASSWORD_IN_CLEAR)
        exactly(connection, 1)
        received.append((encrypted, message(connection)))
        connection.close()

    with listening(speak) as port:
        credential = Credential(
            "c", "postgres", host="127.0.0.1", port=port, login="reader", password=PASSWORD
        )
        evidence = probe_sql(credential, ())
    assert received == passwords * [(True, PASSWORD.encode() + b"\0")]
    assert cause_on(Driver.POSTGRESQL, evidence) is Cause.PROVIDER_OUTAGE, evidence
