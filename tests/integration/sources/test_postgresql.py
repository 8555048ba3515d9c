"""What a real PostgreSQL says when a login is lost, through both drivers, and what that means."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.source_database import DATABASE, SourceDatabase
from mbi_reauth.check import Checker
from mbi_reauth.core.evidence import Driver, Evidence, TransportFailure
from mbi_reauth.core.integration import Table
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Verdict
from mbi_reauth.hooks.database import database
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.database_probe import probe_database
from mbi_reauth.probes.sql import probe_sql
from tests.checking import FakeConnections, an_integration
from tests.judging import cause_on

ORDERS = (Table(name="shop.orders"), Table(name="shop.customers"))
PASSWORD = "fake-reader-password"
ADMIN_PASSWORD = "fake-admin-password"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SourceDatabase]:
    folder = tmp_path_factory.mktemp("source") / "cluster"
    with SourceDatabase(folder, admin_password=ADMIN_PASSWORD, reader_password=PASSWORD) as started:
        _prepare(started, folder)
        yield started


def _prepare(server: SourceDatabase, folder: Path) -> None:
    hba = folder / "pg_hba.conf"
    hba.write_text(f"host all unwelcome all reject\n{hba.read_text()}")
    admin(
        server,
        "SELECT pg_reload_conf()",
        *(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' {rest}" for name, rest in _ROLES.items()),
        f"GRANT CONNECT ON DATABASE {DATABASE} TO {', '.join(_ROLES)}",
        "GRANT USAGE ON SCHEMA shop TO nothing, one_column",
        "GRANT SELECT (id) ON shop.orders TO one_column",
        "ALTER ROLE no_login NOLOGIN",
    )


_ROLES = {
    "lapsed": "VALID UNTIL '2020-01-01'",
    "nothing": "",
    "one_column": "",
    "unwelcome": "",
    "crowded": "CONNECTION LIMIT 0",
    "no_login": "",
}


def admin(server: SourceDatabase, *statements: str) -> None:
    login = f"postgresql://postgres:{ADMIN_PASSWORD}@127.0.0.1:{server.port}/{DATABASE}"
    with psycopg.connect(login, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(params=["psycopg", "psycopg2"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have Airflow's hook take one driver or the other; it decides when it is imported."""
    hook = pytest.importorskip("airflow.providers.postgres.hooks.postgres")
    monkeypatch.setattr(hook, "USE_PSYCOPG3", request.param == "psycopg")
    return str(request.param)


def login(server: SourceDatabase, **fields: Any) -> Credential:
    defaults: dict[str, Any] = {
        "conn_id": "shop_conn",
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": server.port,
        "schema": DATABASE,
        "login": "reader",
        "password": PASSWORD,
    }
    return Credential(**(defaults | fields))


def cause_of(evidence: Evidence) -> Cause:
    return cause_on(Driver.POSTGRESQL, evidence)


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("tables", [(), ORDERS], ids=["SELECT 1", "two tables"])
def test_a_good_login_is_authorized(server: SourceDatabase, tables: tuple[Table, ...]) -> None:
    evidence = probe_sql(login(server), tables)
    assert evidence.body == {"readable": True}
    assert cause_of(evidence) is Cause.AUTHORIZED


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("fields", "cause", "sqlstate"),
    [
        ({"password": "fake-wrong"}, Cause.CREDENTIALS_REJECTED, None),
        ({"login": "never_was"}, Cause.CREDENTIALS_REJECTED, None),
        ({"login": "lapsed"}, Cause.CREDENTIALS_REJECTED, None),
        ({"login": "no_login"}, Cause.USER_DEACTIVATED, None),
        ({"login": "nothing"}, Cause.INSUFFICIENT_SCOPE, "42501"),
        ({"login": "one_column"}, Cause.INSUFFICIENT_SCOPE, "42501"),
        ({"login": "unwelcome"}, Cause.NETWORK_DENIED, None),
        ({"login": "crowded"}, Cause.RATE_LIMITED, None),
        ({"schema": "gone"}, Cause.ACCOUNT_UNLINKED, None),
        ({"password": ""}, Cause.PROBE_MISCONFIGURED, None),
        ({"extra": {"sslmode": "require"}}, Cause.PROBE_MISCONFIGURED, None),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)  # fmt: skip
def test_every_lost_login_has_its_cause(
    server: SourceDatabase, fields: dict[str, Any], cause: Cause, sqlstate: str | None
) -> None:
    evidence = probe_sql(login(server, **fields), ORDERS)
    assert (cause_of(evidence), evidence.sqlstate, evidence.failure) == (cause, sqlstate, None)


@pytest.mark.usefixtures("driver")
def test_a_table_that_is_not_there_is_for_the_engineer(server: SourceDatabase) -> None:
    evidence = probe_sql(login(server), [Table(name="shop.gone")])
    assert evidence.sqlstate == "42P01"
    assert cause_of(evidence) is Cause.PROBE_MISCONFIGURED


@pytest.mark.usefixtures("driver")
def test_a_server_without_a_free_connection_is_throttling(server: SourceDatabase) -> None:
    address = f"postgresql://reader:{PASSWORD}@127.0.0.1:{server.port}/{DATABASE}"
    with contextlib.ExitStack() as crowd:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                crowd.enter_context(psycopg.connect(address))
        assert cause_of(probe_sql(login(server), ())) is Cause.RATE_LIMITED


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({"port": 1}, TransportFailure.CONNECTION_REFUSED),
        ({"host": "nowhere.invalid"}, TransportFailure.DNS),
    ],
)
def test_a_server_that_is_not_there_blames_nobody(
    server: SourceDatabase, fields: dict[str, Any], failure: TransportFailure
) -> None:
    evidence = probe_sql(login(server, **fields), ())
    assert evidence.failure is failure
    assert cause_of(evidence) is Cause.PROVIDER_OUTAGE


@pytest.mark.usefixtures("driver")
def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        credential = Credential("c", "postgres", host="127.0.0.1", port=port, login="reader")
        began = time.monotonic()
        evidence = probe_sql(credential, (), timeout=2)
    assert evidence.failure is TransportFailure.TIMEOUT
    assert time.monotonic() - began < 4


@pytest.mark.usefixtures("driver")
def test_a_locked_table_is_given_up_within_the_timeout(server: SourceDatabase) -> None:
    admin_login = f"postgresql://postgres:{ADMIN_PASSWORD}@127.0.0.1:{server.port}/{DATABASE}"
    with psycopg.connect(admin_login) as holder:
        holder.execute("LOCK TABLE shop.orders IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        evidence = probe_sql(login(server), ORDERS, timeout=1)
    assert evidence.sqlstate == "57014"
    assert VERDICT_OF[cause_of(evidence)] is Verdict.UNAVAILABLE
    assert time.monotonic() - began < 3


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    "fields",
    [
        {"password": "fake-wrong"},
        {"login": "never_was"},
        {"login": "lapsed"},
        {"login": "no_login"},
        {"login": "unwelcome"},
        {"schema": "gone"},
    ],
    ids=str,
)
def test_a_refused_login_is_one_login(server: SourceDatabase, fields: dict[str, Any]) -> None:
    before = refusals(server)
    probe_sql(login(server, **fields), ORDERS)
    assert refusals(server) - before == 1


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("last_digits", ["11", "12", "21", "121"])
def test_a_refused_login_is_one_login_however_many_addresses_the_host_has(
    server: SourceDatabase, last_digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens on 127.0.0.2."""
    addresses = [f"127.0.0.{digit}" for digit in last_digits]
    known = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, server.port)) for each in addresses]
    resolve = socket.getaddrinfo

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        return known if host == "db.example.com" else resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    before = refusals(server)
    evidence = probe_sql(login(server, host="db.example.com", password="fake-wrong"), ORDERS)
    assert (cause_of(evidence), refusals(server) - before) == (Cause.CREDENTIALS_REJECTED, 1)


@pytest.mark.parametrize("type_id", ["postgresql_ssh", "spree", "amazon_rds"])
def test_a_whole_check_of_a_refused_login_is_one_login(server: SourceDatabase, type_id: str) -> None:
    connections = FakeConnections({"shop_conn": [login(server, password="fake-wrong")]})
    before = refusals(server)
    checked = asyncio.run(Checker(api=None, connections=connections).check(an_integration(type=type_id)))
    assert checked.finding.verdict is Verdict.NEEDS_REAUTH
    assert refusals(server) - before == 1


def refusals(server: SourceDatabase) -> int:
    return server._folder.with_suffix(".log").read_text().count("FATAL:")


@pytest.mark.usefixtures("driver")
def test_a_dropped_database_is_gone(server: SourceDatabase) -> None:
    admin(server, "CREATE DATABASE doomed", "GRANT CONNECT ON DATABASE doomed TO reader")
    assert cause_of(probe_sql(login(server, schema="doomed"), ())) is Cause.AUTHORIZED
    admin(server, "DROP DATABASE doomed")
    assert cause_of(probe_sql(login(server, schema="doomed"), ())) is Cause.ACCOUNT_UNLINKED


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("take", "give", "cause"),
    [
        (
            "REVOKE CONNECT ON DATABASE {db} FROM PUBLIC, reader",
            "GRANT CONNECT ON DATABASE {db} TO PUBLIC",
            Cause.INSUFFICIENT_SCOPE,
        ),
        (
            "REVOKE USAGE ON SCHEMA shop FROM reader",
            "GRANT USAGE ON SCHEMA shop TO reader",
            Cause.INSUFFICIENT_SCOPE,
        ),
        (
            "ALTER DATABASE {db} ALLOW_CONNECTIONS false",
            "ALTER DATABASE {db} ALLOW_CONNECTIONS true",
            Cause.PROVIDER_OUTAGE,
        ),
    ],
    ids=["no CONNECT", "no USAGE", "closed to all"],
)
def test_a_right_that_was_taken_is_told_apart_from_a_database_that_is_closed(
    server: SourceDatabase, take: str, give: str, cause: Cause
) -> None:
    in_maintenance(server, take)
    try:
        evidence = probe_sql(login(server), ORDERS)
    finally:
        in_maintenance(server, give)
    assert cause_of(evidence) is cause, evidence


def in_maintenance(server: SourceDatabase, statement: str) -> None:
    database = "postgres" if "{db}" in statement else DATABASE
    address = f"postgresql://postgres:{ADMIN_PASSWORD}@127.0.0.1:{server.port}/{database}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement.format(db=DATABASE).encode())


@pytest.mark.usefixtures("driver")
def test_no_password_is_in_evidence_or_log(server: SourceDatabase, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for fields in ({}, {"login": "never_was"}, {"port": 1}, {"extra": {"no_such_option": PASSWORD}}):
        evidence = probe_sql(login(server, **fields), ORDERS)
        assert PASSWORD not in evidence.model_dump_json()
    assert PASSWORD not in caplog.text


def test_many_probes_run_side_by_side(server: SourceDatabase) -> None:
    async def probe_many() -> list[Evidence]:
        return await asyncio.gather(*(probe_database(login(server), ORDERS) for _ in range(20)))

    assert all(evidence.body == {"readable": True} for evidence in asyncio.run(probe_many()))


@pytest.mark.usefixtures("driver")
def test_extraction_streams_from_the_server(server: SourceDatabase) -> None:
    connection = as_airflow(login(server))
    with (
        database(an_integration(), connection) as opened,
        contextlib.closing(opened.cursor(name="rows")) as cursor,
    ):
        cursor.execute("SELECT id FROM shop.orders ORDER BY id")
        assert cursor.fetchmany(2) == [(1,), (2,)]


def as_airflow(credential: Credential) -> Any:
    from mbi_reauth.probes.airflow_value import as_connection

    return as_connection(replace(credential))
