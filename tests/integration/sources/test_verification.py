"""A candidate login is verified against a real database, through a real SSH server too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from demo.source_database import DATABASE, SourceDatabase
from mbi_reauth.api.services.verification import Candidate, verify
from mbi_reauth.core.verdict import Cause, Finding, Verdict
from mbi_reauth.models.connection_tests import AirflowConnectionTests
from mbi_reauth.probes.credential import Credential
from tests.checking import an_integration
from tests.servers import MariaDB, Sshd, mariadb_server, new_key, ssh_server

PASSWORD = "fake-reader-password"
ORDERS = [{"name": "shop.orders"}]


class InProcess(AirflowConnectionTests):
    """An executor whose workers test no connections."""

    def supported(self) -> bool:
        return False

    def put(self, extra: Any) -> UUID:
        pytest.fail("asked a worker")


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SourceDatabase]:
    folder = tmp_path_factory.mktemp("source") / "cluster"
    with SourceDatabase(folder, admin_password="fake-admin", reader_password=PASSWORD) as started:
        yield started


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDB]:
    with mariadb_server() as started:
        started.run(
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id int PRIMARY KEY)",
            "CREATE TABLE shop.secrets (id int PRIMARY KEY)",
            f"CREATE USER reader IDENTIFIED BY '{PASSWORD}'",
            "GRANT SELECT ON shop.orders TO reader",
        )
        yield started


@pytest.fixture(scope="module")
def bastion() -> Iterator[Sshd]:
    pytest.importorskip("airflow.providers.ssh.hooks.ssh", reason="the SSH provider is not installed")
    with ssh_server() as started:
        yield started


def of_postgresql(server: SourceDatabase, password: str = PASSWORD, **extra: str) -> Credential:
    return Credential(
        "shop_conn",
        "postgres",
        host="127.0.0.1",
        port=server.port,
        schema=DATABASE,
        login="reader",
        password=password,
        extra=extra,
    )


def of_mariadb(server: MariaDB, password: str = PASSWORD) -> Credential:
    return Credential(
        "shop_conn",
        "mysql",
        host="127.0.0.1",
        port=server.port,
        schema="shop",
        login="reader",
        password=password,
        extra={"client": "mysql-connector-python"},
    )


def of_ssh(server: Sshd, private_key: str | None = None) -> Credential:
    extra = {"private_key": private_key or server.private_key, "host_key": server.host_key}
    return Credential("bastion", "ssh", host="127.0.0.1", port=server.port, login=server.user, extra=extra)


def verified(
    credential: Credential, type_id: str, *, tables: Any = ORDERS, ssh: Credential | None = None
) -> Finding:
    integration = an_integration(type=type_id, tables=tables)
    candidate = Candidate(integration=integration, credential=credential, ssh=ssh)
    return verify(candidate, tests=InProcess())


@pytest.mark.parametrize(
    ("password", "cause"), [(PASSWORD, Cause.AUTHORIZED), ("fake-wrong", Cause.CREDENTIALS_REJECTED)]
)
def test_a_login_to_postgresql_proves_itself(
    password: str, cause: Cause, postgresql: SourceDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    finding = verified(of_postgresql(postgresql, password), "postgresql_ssh")
    assert finding.cause is cause, finding
    assert (finding.proved_at == finding.checked_at) is (cause is Cause.AUTHORIZED)
    assert password not in caplog.text + finding.model_dump_json()


@pytest.mark.parametrize(
    ("password", "tables", "cause"),
    [
        (PASSWORD, ["orders"], Cause.AUTHORIZED),
        ("fake-wrong", ["orders"], Cause.CREDENTIALS_REJECTED),
        (PASSWORD, ["orders", "secrets"], Cause.INSUFFICIENT_SCOPE),
    ],
    ids=["right", "wrong password", "a declared table is not for it"],
)
def test_a_login_to_mariadb_proves_that_it_reads_every_declared_table(
    password: str, tables: list[str], cause: Cause, mariadb: MariaDB
) -> None:
    pytest.importorskip("mysql.connector")
    names = [{"name": name} for name in tables]
    finding = verified(of_mariadb(mariadb, password), "mysql_direct", tables=names)
    assert finding.cause is cause, finding


@pytest.mark.parametrize("known", [True, False], ids=["its key is known", "its key is not known"])
def test_an_ssh_login_is_a_candidate_itself(
    known: bool, bastion: Sshd, postgresql: SourceDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    key = bastion.private_key if known else new_key()[0]
    credential = of_postgresql(postgresql, ssh_conn_id="bastion")
    finding = verified(credential, "postgresql_ssh", ssh=of_ssh(bastion, key))
    assert finding.verdict is (Verdict.AUTHORIZED if known else Verdict.NEEDS_REAUTH), finding
    assert finding.at_tunnel is not known
    assert key not in caplog.text + finding.model_dump_json()


def test_an_unreachable_database_is_no_word_about_its_login(postgresql: SourceDatabase) -> None:
    finding = verified(replace(of_postgresql(postgresql), port=9), "postgresql_ssh")
    assert finding.verdict is Verdict.UNAVAILABLE, finding
