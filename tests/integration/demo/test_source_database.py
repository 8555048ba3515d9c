"""The embedded PostgreSQL really refuses what its switches say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.source_database import DATABASE, READER, TABLES, SourceDatabase

PASSWORD = "a reader's password"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SourceDatabase]:
    folder = tmp_path_factory.mktemp("database") / "postgresql"
    with SourceDatabase(folder, admin_password="obviously-fake", reader_password=PASSWORD) as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(database: SourceDatabase) -> Iterator[None]:
    yield
    database.restore()


def connect(database: SourceDatabase, password: str = PASSWORD) -> psycopg.Connection[tuple[Any, ...]]:
    where = {"host": "127.0.0.1", "port": database.port, "dbname": DATABASE}
    return psycopg.connect(user=READER, password=password, **where)  # type: ignore[arg-type]


def read(database: SourceDatabase, query: str = "SELECT count(*) FROM shop.orders") -> tuple[Any, ...]:
    with connect(database) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row
    return row


@pytest.mark.parametrize("table", TABLES)
def test_the_reader_reads_every_table(database: SourceDatabase, table: str) -> None:
    assert read(database, f"TABLE {table}")
    assert database.count(table) > 50


def test_the_tables_grow_and_change_behind_the_watermark(database: SourceDatabase) -> None:
    query = "SELECT count(*), max(updated_at) FROM shop.orders"
    before = read(database, query)
    database.grow()
    after = read(database, query)
    assert (after[0], after[1] > before[1]) == (before[0] + 1, True)


def test_a_wrong_password_is_refused(database: SourceDatabase) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(database, "wrong")


@pytest.mark.parametrize(
    ("switch", "words", "fault"),
    [
        (SourceDatabase.change_password, "password authentication failed", "password changed"),
        (SourceDatabase.revoke_select, "permission denied for table orders", "no SELECT"),
        (SourceDatabase.disable_login, "not permitted to log in", "login disabled"),
        (SourceDatabase.exhaust, "too many connections", "no free connection"),
    ],
)
def test_each_switch_is_refused_until_it_is_put_right(
    database: SourceDatabase, switch: Callable[[SourceDatabase], None], words: str, fault: str
) -> None:
    switch(database)
    assert database.faults() == [fault]
    with pytest.raises(psycopg.Error, match=words):
        read(database)
    database.restore()
    assert (read(database)[0] > 0, database.faults()) == (True, [])


def test_the_reader_may_not_write(database: SourceDatabase) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        read(database, "DELETE FROM shop.orders RETURNING id")


def test_a_second_start_finds_the_data_of_the_first(tmp_path: Path) -> None:
    def database() -> SourceDatabase:
        return SourceDatabase(tmp_path / "pg", admin_password="fake", reader_password=PASSWORD)

    with database() as first:
        first.grow()
        rows = first.count("shop.orders")
    with database() as second:
        assert second.count("shop.orders") == rows


def test_a_start_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "pg" / "base").mkdir(parents=True)
    with SourceDatabase(tmp_path / "pg", admin_password="fake", reader_password=PASSWORD) as database:
        assert database.count("shop.customers") > 0


def test_a_new_password_is_told_and_counts_as_known_once_somebody_logs_in_with_it(
    database: SourceDatabase,
) -> None:
    read(database)
    database.change_password()
    assert (database.faults(), database.new_password is None) == (["password changed"], False)
    with connect(database, str(database.new_password)):
        assert database.faults() == []
    database.restore()
    assert (database.faults(), database.new_password) == ([], None)
