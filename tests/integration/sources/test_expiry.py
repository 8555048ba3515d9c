"""Passwords of a real PostgreSQL and a real MariaDB that will end, found while they still work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from mbi_reauth.check import Checker
from mbi_reauth.core.evidence import Driver
from mbi_reauth.core.verdict import Verdict
from mbi_reauth.probes import expiry
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.database import open_database
from mbi_reauth.probes.expiry import expiry_of
from mbi_reauth.probes.sql import probe_sql
from tests.checking import FakeConnections, an_integration
from tests.servers import MariaDB, PostgreSQL, mariadb_server, postgresql_cluster

PASSWORD = "fake-reader-password"
UNTIL = datetime(2031, 3, 1, 12, 0, tzinfo=timezone.utc)

ROLES = {
    "ends": f"VALID UNTIL '{UNTIL.isoformat()}'",
    "endless": "VALID UNTIL 'infinity'",
    "plain": "",
    "beyond": "VALID UNTIL '20000-01-01'",
    "somebody_else": "VALID UNTIL '2030-01-01'",
}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with postgresql_cluster() as cluster, cluster.running():
        cluster.run(
            *(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' {rest}" for name, rest in ROLES.items()),
            "GRANT somebody_else TO ends",
            "CREATE TABLE orders (id int)",
            "GRANT SELECT ON orders TO ends",
        )
        yield cluster


@pytest.fixture(params=["psycopg", "psycopg2"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = pytest.importorskip("airflow.providers.postgres.hooks.postgres")
    monkeypatch.setattr(hook, "USE_PSYCOPG3", request.param == "psycopg")


def role(server: PostgreSQL, name: str, **fields: Any) -> Credential:
    whole = Credential(
        conn_id="shop_conn",
        conn_type="postgres",
        host="127.0.0.1",
        port=server.port,
        schema="postgres",
        login=name,
        password=PASSWORD,
    )
    return replace(whole, **fields)


def asked(credential: Credential, engine: Driver) -> datetime | None:
    with open_database(credential) as connection, closing(connection.cursor()) as cursor:
        found = expiry_of(cursor, engine)
        cursor.execute("SELECT 1")
        assert tuple(cursor.fetchall()[0]) == (1,)
    return found


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("name", "until"), [("ends", UNTIL), ("endless", None), ("plain", None), ("beyond", None)]
)
def test_postgresql_tells_every_role_its_own_date(
    postgresql: PostgreSQL, name: str, until: datetime | None
) -> None:
    assert asked(role(postgresql, name), Driver.POSTGRESQL) == until


@pytest.mark.usefixtures("driver")
def test_a_role_that_acts_as_another_has_its_own_date(postgresql: PostgreSQL) -> None:
    postgresql.run("ALTER ROLE ends SET role = somebody_else")
    try:
        assert asked(role(postgresql, "ends"), Driver.POSTGRESQL) == UNTIL
    finally:
        postgresql.run("ALTER ROLE ends RESET role")


@pytest.mark.usefixtures("driver")
def test_a_postgresql_that_hides_its_roles_breaks_no_transaction(postgresql: PostgreSQL) -> None:
    postgresql.run("REVOKE SELECT ON pg_roles FROM PUBLIC")
    try:
        assert asked(role(postgresql, "ends"), Driver.POSTGRESQL) is None
        assert probe_sql(role(postgresql, "ends"), ()).body == {"readable": True}
    finally:
        postgresql.run("GRANT SELECT ON pg_roles TO PUBLIC")


USERS = {
    "ends": "PASSWORD EXPIRE INTERVAL 10 DAY",
    "endless": "PASSWORD EXPIRE NEVER",
    "plain": "",
    "unprivileged": "PASSWORD EXPIRE INTERVAL 10 DAY",
}


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDB]:
    pytest.importorskip(
        "airflow.providers.mysql.hooks.mysql",
        reason="apache-airflow-providers-mysql is not installed (requirements-mysql.txt)",
    )
    with mariadb_server() as started:
        started.run(
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id int)",
            *(f"CREATE USER {name} IDENTIFIED BY '{PASSWORD}' {rest}" for name, rest in USERS.items()),
            *(f"GRANT SELECT ON shop.* TO {name}" for name in USERS),
            *(f"GRANT SELECT ON mysql.* TO {name}" for name in USERS if name != "unprivileged"),
        )
        yield started


@pytest.fixture(params=["mysqlclient", "mysql-connector-python"])
def client(request: pytest.FixtureRequest) -> dict[str, Any]:
    pytest.importorskip({"mysqlclient": "MySQLdb"}.get(request.param, "mysql.connector"))
    return {"client": request.param}


def user(server: MariaDB, name: str, client: dict[str, Any]) -> Credential:
    return Credential(
        conn_id="shop_conn",
        conn_type="mysql",
        host="127.0.0.1",
        port=server.port,
        schema="shop",
        login=name,
        password=PASSWORD,
        extra=client,
    )


def days_from_now(found: datetime | None) -> float | None:
    return None if found is None else round((found - datetime.now(timezone.utc)) / timedelta(days=1), 1)


@pytest.mark.parametrize(
    ("name", "days"), [("ends", 10), ("endless", None), ("plain", None), ("unprivileged", None)]
)
def test_mariadb_tells_whom_may_read_its_users(
    mariadb: MariaDB, client: dict[str, Any], name: str, days: float | None
) -> None:
    assert days_from_now(asked(user(mariadb, name, client), Driver.MYSQL)) == days


@pytest.mark.parametrize(("name", "days"), [("ends", 10), ("endless", None), ("plain", 30)])
def test_the_servers_own_rule_holds_where_a_user_has_none(
    mariadb: MariaDB, client: dict[str, Any], name: str, days: float | None
) -> None:
    mariadb.run("SET GLOBAL default_password_lifetime = 30")
    try:
        assert days_from_now(asked(user(mariadb, name, client), Driver.MYSQL)) == days
    finally:
        mariadb.run("SET GLOBAL default_password_lifetime = 0")


@pytest.mark.parametrize(
    ("lifetime", "plugin", "days"),
    [
        ("90", "caching_sha2_password", 80),
        ("0", "caching_sha2_password", None),
        ("NULL", "mysql_native_password", None),
        ("90", "authentication_ldap_simple", None),
    ],
)
def test_mysqls_own_table_is_read_as_its_manual_says(
    mariadb: MariaDB, client: dict[str, Any], lifetime: str, plugin: str, days: float | None
) -> None:
    """There is no MySQL to start: its table is made up in MariaDB, with MySQL's columns."""
    mariadb.run(
        "CREATE OR REPLACE TABLE shop.mysql_user (user varchar(32), host varchar(255), plugin varchar(64),"
        " password_last_changed timestamp, password_lifetime smallint unsigned)",
        f"INSERT INTO shop.mysql_user SELECT 'plain', '%', '{plugin}', now() - INTERVAL 10 DAY, {lifetime}",
    )
    query = expiry._MYSQL_SOURCES["user"].replace("mysql.user", "shop.mysql_user")
    with open_database(user(mariadb, "plain", client)) as connection, closing(connection.cursor()) as cursor:
        found = expiry._time(expiry._first_value(cursor, query))
    assert days_from_now(found) == days


def test_a_check_finds_the_date_while_the_login_still_works(postgresql: PostgreSQL) -> None:
    connections = FakeConnections({"shop_conn": [role(postgresql, "ends")]})
    integration = an_integration(type="spree", tables=[{"name": "orders"}])
    finding = asyncio.run(Checker(api=None, connections=connections).check(integration)).finding
    assert (finding.verdict, finding.expires_at) == (Verdict.AUTHORIZED, UNTIL)


def test_a_check_of_mariadb_finds_the_date_too(mariadb: MariaDB, client: dict[str, Any]) -> None:
    connections = FakeConnections({"shop_conn": [user(mariadb, "ends", client)]})
    integration = an_integration(type="prestashop", tables=[{"name": "orders"}])
    finding = asyncio.run(Checker(api=None, connections=connections).check(integration)).finding
    assert (finding.verdict, days_from_now(finding.expires_at)) == (Verdict.AUTHORIZED, 10)


@pytest.mark.usefixtures("driver")
def test_a_postgresql_that_ends_the_session_meanwhile_has_proved_the_login(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mbi_reauth.probes.sql.expiry_of", ended_by("SELECT pg_terminate_backend(pg_backend_pid())")
    )
    assert probe_sql(role(postgresql, "ends"), ()).body == {"readable": True}


def test_a_mariadb_that_ends_the_session_meanwhile_has_proved_the_login(
    mariadb: MariaDB, client: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mbi_reauth.probes.sql.expiry_of", ended_by("KILL CONNECTION_ID()"))
    assert probe_sql(user(mariadb, "ends", client), ()).body == {"readable": True}


def ended_by(statement: str) -> Callable[[Any, Driver], datetime | None]:
    """Stand in for the question, and have the server hang up on it."""

    def ask(cursor: Any, _: Driver) -> None:
        with suppress(Exception):
            cursor.execute(statement)

    return ask


def test_the_date_travels_in_the_evidence_as_json(postgresql: PostgreSQL) -> None:
    body = probe_sql(role(postgresql, "ends"), ()).body
    assert json.loads(json.dumps(body)) == {"readable": True, "expires_at": UNTIL.isoformat()}
