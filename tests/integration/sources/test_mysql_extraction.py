"""Tables of a real MariaDB, landed as files, through both clients of Airflow's provider."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from mbi_reauth.core.integration import Table
from mbi_reauth.extraction import sql
from mbi_reauth.extraction.landing import Landed, land_batch, read_cursor
from mbi_reauth.hooks.database import database
from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.database import ENGINES
from tests.checking import an_integration
from tests.servers import MariaDB, mariadb_server

pytest.importorskip(
    "airflow.providers.mysql.hooks.mysql",
    reason="apache-airflow-providers-mysql is not installed (requirements-mysql.txt)",
)

MYSQL = ENGINES["mysql"]
PASSWORD = "fake-reader-password"
BY_TIME = Table(name="shop.order", watermark="at", key="id")
TYPES = """CREATE TABLE shop.types AS SELECT
    CAST(1.50 AS DECIMAL(10, 2)) AS amount, TIMESTAMP '2026-03-01 12:00:00.5' AS at, DATE '2026-03-01' AS day,
    TIME '12:00:00' AS lapse, CAST(x'00ff' AS BINARY(2)) AS raw, NULL AS nothing, 'naïve' AS text"""


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with mariadb_server() as started:
        started.run(
            "CREATE DATABASE shop CHARACTER SET utf8mb4",
            f"CREATE USER reader IDENTIFIED BY '{PASSWORD}'",
            "GRANT SELECT, INSERT ON shop.* TO reader",
        )
        yield started


@pytest.fixture(params=["mysqlclient", "mysql-connector-python"])
def connection(server: MariaDB, request: pytest.FixtureRequest) -> Iterator[Any]:
    pytest.importorskip({"mysqlclient": "MySQLdb"}.get(request.param, "mysql.connector"))
    credential = Credential(
        conn_id="shop_conn",
        conn_type="mysql",
        host="127.0.0.1",
        port=server.port,
        schema="shop",
        login="reader",
        password=PASSWORD,
        extra={"client": request.param},
    )
    with database(an_integration(), as_connection(credential)) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStoragePath:
    return ObjectStoragePath(tmp_path.as_uri()) / "order"


def make_orders(server: MariaDB, *, at: str) -> None:
    server.run(
        "DROP TABLE IF EXISTS shop.`order`",
        f"CREATE TABLE shop.`order` (id int PRIMARY KEY, at {at} NOT NULL, INDEX (at, id))",
    )


def put(server: MariaDB, *rows: tuple[int, str]) -> None:
    values = ", ".join(f"({number}, '{at}')" for number, at in rows)
    server.run(f"INSERT INTO shop.`order` VALUES {values}")  # noqa: S608 - the values are the test's


def run(connection: Any, folder: ObjectStoragePath, table: Table) -> Landed:
    frontier = sql.frontier_of(table, read_cursor(folder, by=sql.columns_of(table)))
    return land_batch(folder, frontier, sql.new_lines(connection, table, MYSQL, frontier))


def landed(folder: ObjectStoragePath) -> list[int]:
    names = sorted(str(path.name) for path in folder.iterdir() if path.name.endswith(".jsonl.gz"))
    texts = [gzip.decompress((folder / name).read_bytes()) for name in names]
    return [json.loads(line)["id"] for text in texts for line in text.splitlines()]


def test_each_run_lands_what_is_new_over_ties_and_fetches(
    server: MariaDB, connection: Any, folder: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "FETCH_ROWS", 2)
    make_orders(server, at="datetime(6)")
    put(server, (3, "2026-03-01 10:00"), (1, "2026-03-01 10:00"), (2, "2026-03-01 11:00:00.000001"))
    assert run(connection, folder, BY_TIME).rows == 3
    assert run(connection, folder, BY_TIME).rows == 0
    put(server, (4, "2026-03-01 11:00:00.000001"), (5, "2026-03-01 11:00:00.000002"))
    assert run(connection, folder, BY_TIME).rows == 2
    assert landed(folder) == [1, 3, 2, 4, 5]


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("bigint", "9007199254740993", "9007199254740994"),
        ("decimal(30, 20)", "0.10000000000000000001", "0.10000000000000000002"),
        ("timestamp(6)", "2026-03-01 10:00:00.000001", "2026-03-01 10:00:00.000002"),
        ("varchar(9)", "a", "b"),
    ],
)
def test_a_watermark_of_any_type_is_remembered_exactly(
    server: MariaDB, connection: Any, folder: ObjectStoragePath, kind: str, first: str, second: str
) -> None:
    table = Table(name="shop.order", watermark="at")
    make_orders(server, at=kind)
    put(server, (1, first))
    assert run(connection, folder, table).rows == 1
    put(server, (2, second), (3, first))
    assert run(connection, folder, table).rows == 2
    assert run(connection, folder, table).rows == 0


def test_every_type_becomes_json(server: MariaDB, connection: Any) -> None:
    server.run("DROP TABLE IF EXISTS shop.types", f"SET NAMES utf8mb4; {TYPES}")
    (line,) = sql.all_lines(connection, Table(name="shop.types"), MYSQL)
    assert json.loads(line) == {
        "amount": "1.50",
        "at": "2026-03-01T12:00:00.500000",
        "day": "2026-03-01",
        "lapse": 43200.0,
        "raw": "AP8=",
        "nothing": None,
        "text": "naïve",
    }


def test_an_extraction_cannot_write(server: MariaDB, connection: Any) -> None:
    server.run(
        "CREATE OR REPLACE SEQUENCE shop.counted",
        "CREATE OR REPLACE VIEW shop.counting AS SELECT NEXT VALUE FOR shop.counted AS id",
    )
    with pytest.raises(Exception, match="READ ONLY transaction"):
        list(sql.all_lines(connection, Table(name="shop.counting"), MYSQL))
