"""Tables of a real PostgreSQL, landed as files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import psycopg2  # type: ignore[import-untyped]
import pytest
from airflow.sdk import ObjectStoragePath

from demo.source_database import DATABASE, READER, SourceDatabase
from mbi_reauth.core.integration import Integration, Table
from mbi_reauth.extraction import sql
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.extract import extract
from mbi_reauth.extraction.landing import Landed, land_batch, read_cursor
from mbi_reauth.probes.database import ENGINES
from tests.postgresql import PASSWORD

ADMIN: dict[str, Any] = {
    "user": "postgres",
    "password": PASSWORD,
    "host": "127.0.0.1",
    "dbname": DATABASE,
}
POSTGRES = ENGINES["postgres"]
KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
BY_TIME = Table(name="t.rows", watermark="at", key="id")


class Source:
    """The database with a fresh schema ``t``, filled by an administrator and read by a reader."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.run("DROP SCHEMA IF EXISTS t CASCADE; CREATE SCHEMA t; GRANT USAGE ON SCHEMA t TO reader")
        self.run("ALTER DEFAULT PRIVILEGES IN SCHEMA t GRANT SELECT ON TABLES TO reader")

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(**ADMIN, port=self.port, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def connect(self, driver: Any) -> Any:
        login = {**ADMIN, "user": READER, "password": "fake-reader"}
        return closing(driver.connect(**login, port=self.port))

    def make_rows(self) -> None:
        self.run("CREATE TABLE t.rows (id int PRIMARY KEY, at timestamptz NOT NULL)")

    def put(self, *rows: tuple[int, str]) -> None:
        for number, at in rows:
            self.run("INSERT INTO t.rows VALUES (%s, %s)", number, f"2026-03-01 {at}+01")


@pytest.fixture
def source(postgresql: SourceDatabase) -> Source:
    return Source(postgresql.port)


@pytest.fixture(params=[psycopg2, psycopg], ids=["psycopg2", "psycopg"])
def connection(source: Source, request: pytest.FixtureRequest) -> Iterator[Any]:
    with source.connect(request.param) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStoragePath:
    return ObjectStoragePath(tmp_path.as_uri()) / "rows"


def run(connection: Any, folder: ObjectStoragePath, table: Table) -> Landed:
    frontier = sql.frontier_of(table, read_cursor(folder, by=sql.columns_of(table)))
    return land_batch(folder, frontier, sql.new_lines(connection, table, POSTGRES, frontier))


def landed(folder: ObjectStoragePath) -> list[dict[str, Any]]:
    files = sorted(
        (path for path in folder.iterdir() if path.name.endswith(".jsonl.gz")), key=lambda path: path.name
    )
    return [json.loads(line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_each_run_lands_what_is_new_over_ties_and_fetches(
    source: Source, connection: Any, folder: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "FETCH_ROWS", 2)
    source.make_rows()
    source.put((3, "10:00"), (1, "10:00"), (2, "10:00"), (4, "09:00"), (5, "11:00:00.123456"))
    assert run(connection, folder, BY_TIME).rows == 5
    assert [row["id"] for row in landed(folder)] == [4, 1, 2, 3, 5]
    assert run(connection, folder, BY_TIME).rows == 0
    source.put((6, "11:00:00.123456"), (7, "11:00:00.123457"))
    assert run(connection, folder, BY_TIME).rows == 2
    assert [row["id"] for row in landed(folder)] == [4, 1, 2, 3, 5, 6, 7]


def test_without_a_key_the_last_watermark_is_read_again_and_landed_once(
    source: Source, connection: Any, folder: ObjectStoragePath
) -> None:
    table = Table(name="t.rows", watermark="at")
    source.make_rows()
    source.put((5, "10:00"), (6, "10:00"))
    assert run(connection, folder, table).rows == 2
    source.put((1, "10:00"), (2, "10:01"))
    assert run(connection, folder, table).rows == 2
    assert sorted(row["id"] for row in landed(folder)) == [1, 2, 5, 6]


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("bigint", "9007199254740993", "9007199254740994"),
        ("numeric", "0.10000000000000000001", "0.10000000000000000002"),
        ("date", "2026-03-01", "2026-03-02"),
        ("timestamp", "2026-03-01 10:00:00.000001", "2026-03-01 10:00:00.000002"),
        ("uuid", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"),
        ("text", "a", "b"),
    ],
)
def test_a_watermark_of_any_type_is_remembered_exactly(
    source: Source, connection: Any, folder: ObjectStoragePath, kind: str, first: str, second: str
) -> None:
    source.run(f"CREATE TABLE t.rows (at {kind} NOT NULL)")
    table = Table(name="t.rows", watermark="at")
    source.run("INSERT INTO t.rows VALUES (%s)", first)
    assert run(connection, folder, table).rows == 1
    source.run("INSERT INTO t.rows VALUES (%s)", second)
    assert run(connection, folder, table).rows == 1
    assert run(connection, folder, table).rows == 0


def test_every_type_becomes_json(source: Source, connection: Any) -> None:
    source.run("""CREATE TABLE t.rows AS SELECT
        1.50::numeric AS numeric, 'NaN'::numeric AS numeric_nan, 'NaN'::float8 AS nan,
        'Infinity'::float8 AS inf,
        '2026-03-01 12:00+02'::timestamptz AS timestamptz, '2026-03-01 12:00'::timestamp AS timestamp,
        '2026-03-01'::date AS date, '12:00'::time AS time, '1 day 00:00:01'::interval AS interval,
        '\\x00ff'::bytea AS bytea, '{"a": [1, null]}'::jsonb AS jsonb, ARRAY[1, 2] AS array,
        NULL::int AS nothing,
        '00000000-0000-0000-0000-000000000001'::uuid AS uuid, true AS bool, 'naïve' AS text""")
    line = next(sql.all_lines(connection, Table(name="t.rows"), POSTGRES))
    assert json.loads(line) == {
        "numeric": "1.50",
        "numeric_nan": None,
        "nan": None,
        "inf": None,
        "timestamptz": "2026-03-01T10:00:00Z",
        "timestamp": "2026-03-01T12:00:00",
        "date": "2026-03-01",
        "time": "12:00:00",
        "interval": 86401.0,
        "bytea": "AP8=",
        "jsonb": {"a": [1, None]},
        "array": [1, 2],
        "nothing": None,
        "uuid": "00000000-0000-0000-0000-000000000001",
        "bool": True,
        "text": "naïve",
    }


def test_names_are_quoted(source: Source, connection: Any, folder: ObjectStoragePath) -> None:
    source.run('CREATE TABLE t."Order" ("Desc" int NOT NULL, "user" int NOT NULL)')
    source.run('INSERT INTO t."Order" VALUES (1, 1), (1, 2)')
    assert run(connection, folder, Table(name="t.Order", watermark="Desc", key="user")).rows == 2


def test_rows_stay_on_the_server_until_they_are_asked_for(source: Source, connection: Any) -> None:
    source.run("CREATE TABLE t.rows AS SELECT n AS id FROM generate_series(1, 10000) n")
    lines = sql.all_lines(connection, Table(name="t.rows"), POSTGRES)
    next(lines)
    running = source.run("SELECT query FROM pg_stat_activity WHERE usename = %s", READER)
    assert running[0][0].upper().startswith(f"FETCH FORWARD {sql.FETCH_ROWS}")


def test_an_extraction_cannot_write(source: Source, connection: Any) -> None:
    source.run("""
        CREATE TABLE t.trace (at timestamptz); GRANT INSERT ON t.trace TO reader;
        CREATE FUNCTION t.traced() RETURNS int LANGUAGE sql
            AS 'INSERT INTO t.trace VALUES (now()) RETURNING 1';
        CREATE VIEW t.rows AS SELECT t.traced() AS id""")
    with pytest.raises((psycopg.Error, psycopg2.Error), match="read-only transaction"):
        list(sql.all_lines(connection, Table(name="t.rows"), POSTGRES))


@pytest.mark.parametrize("empty", ["at", "id"])
def test_a_row_that_no_cursor_would_ever_reach_stops_the_run(
    source: Source, connection: Any, folder: ObjectStoragePath, empty: str
) -> None:
    source.run("CREATE TABLE t.rows (id int, at int)")
    source.run(
        "INSERT INTO t.rows VALUES (%s, %s)", None if empty == "id" else 1, None if empty == "at" else 1
    )
    with pytest.raises(ExtractionError, match="at or id is NULL in some rows"):
        run(connection, folder, BY_TIME)


def test_a_connection_that_dies_half_way_leaves_nothing(
    source: Source, connection: Any, folder: ObjectStoragePath
) -> None:
    source.run("CREATE TABLE t.rows AS SELECT n AS id, n AS at FROM generate_series(1, 10000) n")
    frontier = sql.frontier_of(BY_TIME, read_cursor(folder, by=("at", "id")))

    def lines() -> Iterator[str]:
        for number, line in enumerate(sql.new_lines(connection, BY_TIME, POSTGRES, frontier)):
            if number == 10:
                source.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", READER
                )
            yield line

    with pytest.raises((psycopg.Error, psycopg2.Error)):
        land_batch(folder, frontier, lines())
    assert list(folder.iterdir()) == []


def test_a_task_extracts_through_the_airflow_connection(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = {
        "host": "127.0.0.1",
        "port": source.port,
        "login": READER,
        "password": "fake-reader",
        "schema": DATABASE,
    }
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DATABASE", json.dumps({"conn_type": "postgres", **login}))
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__DATA_FOLDER", tmp_path.as_uri())
    tables = [BY_TIME, Table(name="t.statuses")]
    integration = Integration.model_validate(
        {
            "id": "shop",
            "type": "postgresql_ssh",
            "conn_id": "shop_database",
            "owner": {"name": "Dana Example", "email": "dana@example.com"},
            "tables": tables,
        }
    )
    source.make_rows()
    source.put((1, "10:00"), (2, "11:00"))
    source.run("CREATE TABLE t.statuses AS SELECT 'paid' AS status")
    first = extract(integration, "t.rows")
    assert (first["integration"], first["dataset"], first["rows"]) == ("shop", "t.rows", 2)
    assert first["file"] is not None
    assert Path(first["file"].removeprefix("file://")).is_relative_to(tmp_path / "shop" / "t.rows")
    assert extract(integration, "t.rows")["rows"] == 0
    assert [extract(integration, "t.statuses")["rows"] for _ in range(2)] == [1, 1]
    assert landed(ObjectStoragePath(tmp_path.as_uri()) / "shop" / "t.statuses") == [{"status": "paid"}]
    with pytest.raises(ExtractionError, match=r"no table or resource 'none'; it has t\.rows, t\.statuses"):
        extract(integration, "none")
