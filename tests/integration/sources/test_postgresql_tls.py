"""A real PostgreSQL that speaks TLS: encrypted where it can be, and never a second login."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mbi_reauth.core.evidence import TransportFailure
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.database import open_database
from mbi_reauth.probes.sql import probe_sql
from tests.servers import PostgreSQL, tls_postgresql_server

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
