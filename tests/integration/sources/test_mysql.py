"""What a real MariaDB says when a login is lost, through both clients of Airflow's provider."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from mbi_reauth.check import Checker
from mbi_reauth.core.evidence import Driver, Evidence, TransportFailure
from mbi_reauth.core.integration import Table
from mbi_reauth.core.verdict import Cause, Verdict
from mbi_reauth.hooks.database import database
from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.database import open_database
from mbi_reauth.probes.sql import probe_sql
from tests.checking import FakeConnections, an_integration
from tests.judging import cause_on
from tests.servers import MariaDB, Sshd, mariadb_server, ssh_server

pytest.importorskip(
    "airflow.providers.mysql.hooks.mysql",
    reason="apache-airflow-providers-mysql is not installed (requirements-mysql.txt)",
)

ORDERS = (Table(name="orders"), Table(name="shop.customers"))
PASSWORD = "fake-reader-password"
_USERS = {
    "reader": "",
    "nothing": "",
    "one_column": "",
    "expired": "PASSWORD EXPIRE",
    "locked": "ACCOUNT LOCK",
    "everything": "",
    "crowded": "WITH MAX_USER_CONNECTIONS 1",
}


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with mariadb_server() as started:
        started.run(
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id int PRIMARY KEY, total int)",
            "CREATE TABLE shop.customers (id int PRIMARY KEY)",
            "INSERT INTO shop.orders VALUES (1, 10), (2, 20), (3, 30)",
            *(f"CREATE USER {name} IDENTIFIED BY '{PASSWORD}' {rest}" for name, rest in _USERS.items()),
            *(f"GRANT SELECT ON shop.* TO {name}" for name in ("reader", "expired")),
            "GRANT SELECT ON *.* TO everything",
            "GRANT SELECT (id) ON shop.orders TO one_column",
            "GRANT SELECT ON shop.customers TO one_column",
            "GRANT INSERT ON shop.* TO nothing",
            "CREATE USER elsewhere@'192.0.2.7' IDENTIFIED BY 'fake'",
        )
        yield started


@pytest.fixture(params=["mysqlclient", "mysql-connector-python"])
def client(request: pytest.FixtureRequest) -> dict[str, Any]:
    pytest.importorskip({"mysqlclient": "MySQLdb"}.get(request.param, "mysql.connector"))
    return {"client": request.param}


def login(server: MariaDB, client: dict[str, Any], **fields: Any) -> Credential:
    defaults: dict[str, Any] = {
        "conn_id": "shop_conn",
        "conn_type": "mysql",
        "host": "127.0.0.1",
        "port": server.port,
        "schema": "shop",
        "login": "reader",
        "password": PASSWORD,
        "extra": client,
    }
    return Credential(**(defaults | fields))


def cause_of(evidence: Evidence) -> Cause:
    return cause_on(Driver.MYSQL, evidence)


@pytest.mark.parametrize("tables", [(), ORDERS], ids=["SELECT 1", "two tables"])
def test_a_good_login_is_authorized(
    server: MariaDB, client: dict[str, Any], tables: tuple[Table, ...]
) -> None:
    evidence = probe_sql(login(server, client), tables)
    assert evidence.body == {"readable": True}, evidence
    assert cause_of(evidence) is Cause.AUTHORIZED


@pytest.mark.parametrize(
    ("fields", "code", "cause"),
    [
        ({"password": "fake-wrong"}, 1045, Cause.CREDENTIALS_REJECTED),
        ({"login": "never_was"}, 1045, Cause.CREDENTIALS_REJECTED),
        ({"login": "elsewhere"}, 1045, Cause.CREDENTIALS_REJECTED),
        ({"login": "locked"}, 4151, Cause.USER_DEACTIVATED),
        ({"login": "expired"}, 1820, Cause.PASSWORD_EXPIRED),
        ({"login": "nothing"}, 1142, Cause.INSUFFICIENT_SCOPE),
        ({"login": "one_column"}, 1142, Cause.INSUFFICIENT_SCOPE),
        ({"schema": "gone"}, 1044, Cause.INSUFFICIENT_SCOPE),
        ({"login": "everything", "schema": "gone"}, 1049, Cause.ACCOUNT_UNLINKED),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)  # fmt: skip
def test_every_lost_login_has_its_cause(
    server: MariaDB, client: dict[str, Any], fields: dict[str, Any], code: int, cause: Cause
) -> None:
    evidence = probe_sql(login(server, client, **fields), ORDERS)
    assert (evidence.error_code, cause_of(evidence), evidence.failure) == (code, cause, None)


REFUSED = [
    pytest.param({"password": "fake-wrong"}, id="wrong password"),
    pytest.param({"login": "never_was"}, id="unknown user"),
    pytest.param({"login": "elsewhere"}, id="admitted from elsewhere only"),
]


@pytest.mark.parametrize("fields", REFUSED)
def test_a_refused_login_is_one_login(
    server: MariaDB, client: dict[str, Any], fields: dict[str, Any]
) -> None:
    before = server.log.count("Access denied")
    probe_sql(login(server, client, **fields), ORDERS)
    assert server.log.count("Access denied") - before == 1


@pytest.mark.parametrize("type_id", ["mysql_direct", "woocommerce", "amazon_rds"])
def test_a_whole_check_of_a_refused_login_is_one_login(
    server: MariaDB, client: dict[str, Any], type_id: str
) -> None:
    connections = FakeConnections({"shop_conn": [login(server, client, password="fake-wrong")]})
    before = server.log.count("Access denied")
    checked = asyncio.run(Checker(api=None, connections=connections).check(an_integration(type=type_id)))
    assert checked.finding.verdict is Verdict.NEEDS_REAUTH
    assert server.log.count("Access denied") - before == 1


def test_an_expired_password_may_be_refused_at_the_login(server: MariaDB, client: dict[str, Any]) -> None:
    server.run("SET GLOBAL disconnect_on_expired_password = ON")
    try:
        evidence = probe_sql(login(server, client, login="expired"), ())
    finally:
        server.run("SET GLOBAL disconnect_on_expired_password = OFF")
    assert (evidence.error_code, cause_of(evidence)) == (1862, Cause.PASSWORD_EXPIRED)


def test_a_login_that_wrong_passwords_have_locked_is_not_called_a_wrong_password(
    server: MariaDB, client: dict[str, Any]
) -> None:
    server.run(
        f"CREATE OR REPLACE USER guessed IDENTIFIED BY '{PASSWORD}'", "SET GLOBAL max_password_errors = 2"
    )
    try:
        for _ in range(2):
            probe_sql(login(server, client, login="guessed", schema="", password="fake-wrong"), ())
        evidence = probe_sql(login(server, client, login="guessed", schema=""), ())
    finally:
        server.run("SET GLOBAL max_password_errors = 4294967295", "DROP USER guessed")
    assert (evidence.error_code, cause_of(evidence)) == (4150, Cause.USER_DEACTIVATED)


def test_a_server_that_admits_no_such_address_is_for_the_engineer(client: dict[str, Any]) -> None:
    with mariadb_server() as closed:
        closed.run("DROP USER root@127.0.0.1", "CREATE USER reader@'192.0.2.7' IDENTIFIED BY 'fake'")
        evidence = probe_sql(login(closed, client, schema=""), ())
    assert (evidence.error_code, cause_of(evidence)) == (1130, Cause.NETWORK_DENIED)


def test_a_server_without_a_free_connection_is_throttling(server: MariaDB, client: dict[str, Any]) -> None:
    server.run("SET GLOBAL max_connections = 10")
    try:
        with contextlib.ExitStack() as crowd:
            with contextlib.suppress(Exception):
                for _ in range(20):
                    crowd.enter_context(open_database(login(server, client)))
            evidence = probe_sql(login(server, client), ())
    finally:
        server.run("SET GLOBAL max_connections = 151")
    assert (evidence.error_code, cause_of(evidence)) == (1040, Cause.RATE_LIMITED)


def test_a_login_without_a_free_connection_is_throttled(server: MariaDB, client: dict[str, Any]) -> None:
    crowded = login(server, client, login="crowded", schema="")
    with database(an_integration(), as_connection(crowded)):
        evidence = probe_sql(crowded, ())
    assert (evidence.error_code, cause_of(evidence)) == (1226, Cause.RATE_LIMITED)


def test_a_table_that_is_not_there_is_for_the_engineer(server: MariaDB, client: dict[str, Any]) -> None:
    evidence = probe_sql(login(server, client), [Table(name="gone")])
    assert evidence.error_code == 1146
    assert cause_of(evidence) is Cause.PROBE_MISCONFIGURED


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({"port": 1}, TransportFailure.CONNECTION_REFUSED),
        ({"host": "nowhere.invalid"}, TransportFailure.DNS),
    ],
)
def test_a_server_that_is_not_there_blames_nobody(
    server: MariaDB, client: dict[str, Any], fields: dict[str, Any], failure: TransportFailure
) -> None:
    evidence = probe_sql(login(server, client, **fields), ())
    assert evidence.failure in (failure, TransportFailure.CONNECTION_REFUSED), evidence
    assert cause_of(evidence) is Cause.PROVIDER_OUTAGE


def test_a_server_that_accepts_and_says_nothing_is_given_up(client: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        credential = Credential("c", "mysql", host="127.0.0.1", port=port, login="reader", extra=client)
        began = time.monotonic()
        evidence = probe_sql(credential, (), timeout=1)
    assert time.monotonic() - began < 3
    assert evidence.failure is not None, evidence
    assert cause_of(evidence) is Cause.PROVIDER_OUTAGE


def test_a_locked_table_is_given_up_within_the_timeout(server: MariaDB, client: dict[str, Any]) -> None:
    holder = pytest.importorskip("MySQLdb").connect(
        host="127.0.0.1", port=server.port, user="keeper", passwd=PASSWORD, db="shop"
    )
    with closing(holder):
        holder.cursor().execute("LOCK TABLES orders WRITE")
        began = time.monotonic()
        evidence = probe_sql(login(server, client), ORDERS, timeout=1)
    assert time.monotonic() - began < 4
    assert evidence.failure is not None, evidence


@pytest.fixture(autouse=True, scope="module")
def keeper(server: MariaDB) -> None:
    server.run(f"CREATE USER keeper IDENTIFIED BY '{PASSWORD}'", "GRANT ALL ON shop.* TO keeper")


def test_no_password_is_in_evidence_or_log(
    server: MariaDB, client: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for fields in ({}, {"login": "never_was"}, {"port": 1}):
        evidence = probe_sql(login(server, client, **fields), ORDERS)
        assert PASSWORD not in evidence.model_dump_json()
    assert PASSWORD not in caplog.text


def test_extraction_reads_rows(server: MariaDB, client: dict[str, Any]) -> None:
    connection = as_connection(login(server, client))
    with database(an_integration(), connection) as opened, closing(opened.cursor()) as cursor:
        cursor.execute("SELECT id FROM orders ORDER BY id")
        assert [tuple(row) for row in cursor.fetchall()] == [(1,), (2,), (3,)]


@pytest.fixture(scope="module")
def bastion() -> Iterator[Sshd]:
    pytest.importorskip("airflow.providers.ssh.hooks.ssh")
    with ssh_server() as started:
        yield started


@pytest.mark.parametrize("type_id", ["mysql_ssh", "adobe_commerce", "prestashop"])
@pytest.mark.parametrize(
    ("password", "verdict"),
    [(PASSWORD, Verdict.AUTHORIZED), ("fake-wrong", Verdict.NEEDS_REAUTH)],
    ids=["right password", "wrong password"],
)
def test_a_whole_check_goes_through_the_tunnel(
    server: MariaDB,
    bastion: Sshd,
    client: dict[str, Any],
    type_id: str,
    password: str,
    verdict: Verdict,
) -> None:
    extra = {"private_key": bastion.private_key, "host_key": bastion.host_key}
    ssh = Credential("bastion", "ssh", host="127.0.0.1", port=bastion.port, login=bastion.user, extra=extra)
    # MBI's own host name means something only behind the tunnel; localhost does as well.
    credential = login(server, {**client, "ssh_conn_id": "bastion"}, host="localhost", password=password)
    connections = FakeConnections({"shop_conn": [credential], "bastion": [ssh]})
    integration = an_integration(type=type_id, tables=[{"name": "orders"}])
    before = server.log.count("Access denied")
    checked = asyncio.run(Checker(api=None, connections=connections).check(integration))
    assert checked.finding.verdict is verdict, checked
    assert server.log.count("Access denied") - before == int(verdict is Verdict.NEEDS_REAUTH)
