"""Tables landed as files through Airflow's SQL Server hook and its driver, over a real socket.

The server is a fake: SQL Server's protocol (tests/mssql.py) in front of SQLite (tests/tsql.py).
"""

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
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.extract import extract
from mbi_reauth.extraction.landing import Landed, land_batch, read_cursor
from mbi_reauth.hooks.database import database
from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.database import ENGINES
from tests.checking import an_integration
from tests.mssql import FakeSqlServer, sql_server
from tests.tds import Message, Rows
from tests.tsql import TransactSql

MSSQL = ENGINES["mssql"]
BY_TIME = Table(name="dbo.orders", watermark="at", key="id")


@pytest.fixture
def source() -> TransactSql:
    return TransactSql()


@pytest.fixture
def server(source: TransactSql) -> Iterator[FakeSqlServer]:
    with sql_server(answer=source.answer) as started:
        yield started


@pytest.fixture
def connection(server: FakeSqlServer) -> Iterator[Any]:
    credential = Credential(
        conn_id="shop_conn",
        conn_type="mssql",
        host="127.0.0.1",
        port=server.port,
        schema="shop",
        login="reader",
        password="fake-reader-password",
    )
    with database(an_integration(), as_connection(credential)) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStoragePath:
    return ObjectStoragePath(tmp_path.as_uri()) / "orders"


def run(connection: Any, folder: ObjectStoragePath, table: Table) -> Landed:
    frontier = sql.frontier_of(table, read_cursor(folder, by=sql.columns_of(table)))
    return land_batch(folder, frontier, sql.new_lines(connection, table, MSSQL, frontier))


def landed(folder: ObjectStoragePath) -> list[int]:
    names = sorted(str(path.name) for path in folder.iterdir() if path.name.endswith(".jsonl.gz"))
    texts = [gzip.decompress((folder / name).read_bytes()) for name in names]
    return [json.loads(line)["id"] for text in texts for line in text.splitlines()]


def test_each_run_lands_what_is_new_over_ties_and_fetches(
    source: TransactSql, connection: Any, folder: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "FETCH_ROWS", 2)
    source.create("orders", {"id": "int", "at": "datetime2(7)"})
    first, second, third = (f"2026-03-01 10:00:00.123456{digit}" for digit in "789")
    source.put("orders", (3, first), (1, first), (2, second))
    assert run(connection, folder, BY_TIME).rows == 3
    assert run(connection, folder, BY_TIME).rows == 0
    source.put("orders", (4, second), (5, third))
    assert run(connection, folder, BY_TIME).rows == 2
    assert landed(folder) == [1, 3, 2, 4, 5]


def test_a_percent_sign_in_a_columns_name_is_no_parameter(
    source: TransactSql, connection: Any, folder: ObjectStoragePath
) -> None:
    source.create("orders", {"%discount": "int", "%s": "int", "id": "int", "at": "int"})
    source.put("orders", (5, 6, 1, 10))
    assert run(connection, folder, BY_TIME).rows == 1
    source.put("orders", (7, 8, 2, 11))
    assert run(connection, folder, BY_TIME).rows == 1


def test_without_a_key_the_last_watermark_is_read_again_and_landed_once(
    source: TransactSql, connection: Any, folder: ObjectStoragePath
) -> None:
    table = Table(name="dbo.orders", watermark="at")
    source.create("orders", {"id": "int", "at": "datetime"})
    source.put("orders", (5, "2026-03-01 10:00"), (6, "2026-03-01 10:00"))
    assert run(connection, folder, table).rows == 2
    source.put("orders", (1, "2026-03-01 10:00"), (2, "2026-03-01 10:01"))
    assert run(connection, folder, table).rows == 2
    assert sorted(landed(folder)) == [1, 2, 5, 6]


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("bigint", 9007199254740993, 9007199254740994),
        ("decimal(28,18)", "0.100000000000000001", "0.100000000000000002"),
        ("money", "1.2345", "1.2346"),
        ("float", 0.1, 0.30000000000000004),
        ("date", "2026-03-01", "2026-03-02"),
        ("datetime", "2026-03-01 10:00:00.003", "2026-03-01 10:00:00.007"),
        ("datetime2(7)", "2026-03-01 10:00:00.0000001", "2026-03-01 10:00:00.0000002"),
        ("datetimeoffset(7)", "2026-03-01 10:00:00.0000001+01:00", "2026-03-01 09:00:00.0000002+00:00"),
        ("timestamp", b"\0\0\0\0\0\0\7\xd0", b"\0\0\0\0ABCD"),
        ("uniqueidentifier", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"),
        ("varchar(20)", "it's", "zoë"),
        ("nvarchar(20)", "a", "Ω"),
    ],
)
def test_a_watermark_of_any_type_is_remembered_exactly(
    source: TransactSql, connection: Any, folder: ObjectStoragePath, kind: str, first: Any, second: Any
) -> None:
    table = Table(name="dbo.orders", watermark="at")
    source.create("orders", {"id": "int", "at": kind})
    source.put("orders", (1, first))
    assert run(connection, folder, table).rows == 1
    source.put("orders", (2, second), (3, first))
    assert run(connection, folder, table).rows == 2
    assert run(connection, folder, table).rows == 0


def test_every_type_becomes_json(source: TransactSql, connection: Any) -> None:
    row = {
        "amount": ("decimal(10,2)", "1.50"),
        "price": ("money", "1.2345"),
        "ratio": ("float", 0.1),
        "paid": ("bit", 1),
        "big": ("bigint", 2**53 + 1),
        "at": ("datetime2(7)", "2026-03-01 12:00:00.1234567"),
        "told": ("datetimeoffset(7)", "2026-03-01 12:00:00.1234567+02:00"),
        "day": ("date", "2026-03-01"),
        "hour": ("time(7)", "12:00:00.0000001"),
        "id": ("uniqueidentifier", "00000000-0000-0000-0000-000000000001"),
        "raw": ("varbinary(8)", b"\0\xff"),
        "text": ("varchar(20)", "naïve"),
        "wide": ("nvarchar(20)", "Ωmega"),
        "nothing": ("int", None),
    }
    source.create("types", {name: kind for name, (kind, _) in row.items()})
    source.put("types", [value for _, value in row.values()])
    (line,) = sql.all_lines(connection, Table(name="dbo.types"), MSSQL)
    assert json.loads(line) == {
        "amount": "1.50",
        "price": "1.2345",
        "ratio": 0.1,
        "paid": True,
        "big": 2**53 + 1,
        "at": "2026-03-01T12:00:00.1234567",
        "told": "2026-03-01T10:00:00.1234567Z",
        "day": "2026-03-01",
        "hour": "12:00:00.0000001",
        "id": "00000000-0000-0000-0000-000000000001",
        "raw": "AP8=",
        "text": "naïve",
        "wide": "Ωmega",
        "nothing": None,
    }


def test_rows_stay_on_the_server_until_they_are_asked_for(connection: Any, server: FakeSqlServer) -> None:
    taken = [0]

    def rest() -> Iterator[tuple[int, str]]:
        for number in range(50_000):
            taken[0] += 1
            yield number, "x" * 1000

    def answer(statement: str) -> Rows | None:
        if statement.startswith("EXEC"):
            names = [("name", "nvarchar"), ("system_type_name", "nvarchar"), ("is_hidden", "bit")]
            return Rows(names, [("id", "int", 0), ("text", "varchar(1000)", 0)])
        if statement.startswith("SELECT t."):
            return Rows([("id", "int"), ("text", "varchar")], rest())
        return None

    server.answer = answer
    lines = sql.all_lines(connection, Table(name="dbo.orders"), MSSQL)
    next(lines)
    assert sql.FETCH_ROWS <= taken[0] < 50_000
    assert sum(1 for _ in lines) == 49_999


@pytest.mark.parametrize("empty", ["at", "id"])
def test_a_row_that_no_cursor_would_ever_reach_stops_the_run(
    source: TransactSql, connection: Any, folder: ObjectStoragePath, empty: str
) -> None:
    source.create("orders", {"id": "int", "at": "int"})
    source.put("orders", (None if empty == "id" else 1, None if empty == "at" else 1))
    with pytest.raises(ExtractionError, match="at or id is NULL in some rows"):
        run(connection, folder, BY_TIME)


def test_a_column_that_is_not_there_is_named_with_those_that_are(
    source: TransactSql, connection: Any, folder: ObjectStoragePath
) -> None:
    source.create("orders", {"id": "int", "At": "int"})
    with pytest.raises(ExtractionError, match=r"no column written exactly at; it has id, At"):
        run(connection, folder, BY_TIME)


def test_a_connection_that_dies_half_way_leaves_nothing(
    source: TransactSql, connection: Any, server: FakeSqlServer, folder: ObjectStoragePath
) -> None:
    source.create("orders", {"id": "int", "at": "int", "text": "varchar(1000)"})
    source.put("orders", *((number, number, "x" * 1000) for number in range(50_000)))
    frontier = sql.frontier_of(BY_TIME, read_cursor(folder, by=("at", "id")))

    def lines() -> Iterator[str]:
        for number, line in enumerate(sql.new_lines(connection, BY_TIME, MSSQL, frontier)):
            if number == 10:
                server.cut()
            yield line

    with pytest.raises(Exception, match="DB-Lib error message 200"):
        land_batch(folder, frontier, lines())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("before", [0, 1, 3, 5000])
def test_an_error_among_the_rows_leaves_nothing(
    connection: Any, server: FakeSqlServer, folder: ObjectStoragePath, before: int
) -> None:
    rows: list[Any] = [(number, number) for number in range(before)]
    victim = Message(1205, "Transaction was chosen as the deadlock victim.", severity=13)
    described = Rows(
        [("name", "nvarchar"), ("system_type_name", "nvarchar"), ("is_hidden", "bit")],
        [("id", "int", 0), ("at", "int", 0)],
    )

    def answer(statement: str) -> Rows:
        if statement.startswith("EXEC"):
            return described
        if statement.startswith("SELECT t."):
            return Rows([("id", "int"), ("at", "int")], [*rows, victim])
        return Rows([("one", "int")])

    server.answer = answer
    with pytest.raises(Exception, match="deadlock victim"):
        run(connection, folder, BY_TIME)
    assert list(folder.iterdir()) == []


def test_a_task_extracts_through_the_airflow_connection(
    source: TransactSql, server: FakeSqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = {"host": "127.0.0.1", "port": server.port, "login": "reader", "password": "fake-password"}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_CONN", json.dumps({"conn_type": "mssql", **login}))
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__DATA_FOLDER", tmp_path.as_uri())
    source.create("orders", {"id": "int", "at": "datetime2(7)"})
    source.put("orders", (1, "2026-03-01 10:00"), (2, "2026-03-01 11:00"))
    source.create("statuses", {"id": "int"})
    source.put("statuses", (7,))
    integration = an_integration(type="microsoft_sql_server", tables=[BY_TIME, Table(name="dbo.statuses")])
    assert extract(integration, "dbo.orders")["rows"] == 2
    assert extract(integration, "dbo.orders")["rows"] == 0
    assert [extract(integration, "dbo.statuses")["rows"] for _ in range(2)] == [1, 1]


def test_a_refusal_of_a_column_is_raised_with_the_servers_number(
    connection: Any, server: FakeSqlServer
) -> None:
    refusal = Message(230, "The SELECT permission was denied on the column 'total'.")
    server.answer = lambda statement: refusal if "EXEC" in statement else None
    with pytest.raises(Exception, match="denied on the column") as raised:
        list(sql.all_lines(connection, Table(name="dbo.orders"), MSSQL))
    assert raised.value.args[0] == 230
