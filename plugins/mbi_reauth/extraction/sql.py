"""Copy a database integration's declared tables, from where the last run ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib import import_module
from typing import Any

from mbi_reauth.core.evidence import Driver
from mbi_reauth.core.integration import Table
from mbi_reauth.extraction import mssql
from mbi_reauth.extraction.cursor import Cursor, Frontier, Values
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.rows import to_line
from mbi_reauth.probes.database import Engine

FETCH_ROWS = 2_000
"""Rows that a fetch asks for; memory holds no more."""

# pymssql reads rows from the server as they are asked for, with any cursor.
_POSTGRESQL = frozenset({"psycopg2", "psycopg"})
_MYSQL = frozenset({"MySQLdb", "pymysql"})


_BEGIN = {
    Driver.POSTGRESQL: "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    Driver.MYSQL: "START TRANSACTION READ ONLY",
    # Its default: a row is locked while it is read, and no longer. What is above it would hold writers up, or
    # must be allowed to the database. No SELECT of it can write.
    Driver.MSSQL: "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
}


def columns_of(table: Table) -> tuple[str, ...]:
    """Name the columns that a table's cursor is made of: the watermark, and the key if it has one."""
    return tuple(column for column in (table.watermark, table.key) if column)


def select(table: Table, engine: Engine, last: Values) -> str:
    """Write the statement for the rows after ``last``, in the watermark's order; all rows without one."""
    statement = f"SELECT * FROM {engine.quoted(table.name)}"  # noqa: S608 - names are checked by the registry and quoted
    if table.watermark is None:
        return statement
    watermark, *key = (engine.quoted_part(column) for column in columns_of(table))
    order = f" ORDER BY {', '.join((watermark, *key))}"
    if not last:
        return statement + order
    # Not a row comparison, for which MySQL uses no index. Without a key, the last watermark is read again.
    condition = f"{watermark} >= %s"
    if key:
        condition += f" AND ({watermark} > %s OR {key[0]} > %s)"
    return f"{statement} WHERE {condition}{order}"


def parameters(table: Table, last: Values) -> Values:
    """Give the values for the placeholders of :func:`select`."""
    return (last[0], last[0], last[1]) if last and table.key else last


def new_lines(connection: Any, table: Table, engine: Engine, frontier: Frontier) -> Iterator[str]:
    """Read the table's rows after the frontier's start as JSON lines, a few thousand at a time."""
    by = columns_of(table)
    for row in rows(connection, table, engine, frontier.start.last):
        line = to_line(row)
        if frontier.admit(_values(row, by, table), line):
            yield line


def all_lines(connection: Any, table: Table, engine: Engine) -> Iterator[str]:
    """Read the whole table as JSON lines, a few thousand rows at a time."""
    return map(to_line, rows(connection, table, engine, ()))


def frontier_of(table: Table, start: Cursor) -> Frontier:
    """Follow a table from ``start``; the database has put its rows in order, so that a change is progress."""
    return Frontier(start, lambda a, b: int(a != b), unique=table.key is not None)


def rows(connection: Any, table: Table, engine: Engine, last: Values) -> Iterator[Mapping[str, Any]]:
    """Read the rows after ``last`` in one read-only transaction, streamed from the server.

    :raises ExtractionError: when the cursor's columns are missing, or empty in a row
    """
    with closing(connection.cursor()) as cursor:
        cursor.execute(_BEGIN[engine.driver])
        _refuse_null(cursor, table, engine)
        statement, values = _question(cursor, table, engine, last)
    with closing(_streaming_cursor(connection)) as cursor:
        cursor.execute(statement, values)
        columns: list[str] = []
        while fetched := cursor.fetchmany(FETCH_ROWS):
            if not columns:
                # psycopg2 knows a named cursor's columns only after its first fetch.
                columns = [column[0] for column in cursor.description]
            for fields in fetched:
                yield dict(zip(columns, fields, strict=True))
    connection.rollback()


def _question(cursor: Any, table: Table, engine: Engine, last: Values) -> tuple[str, Any]:
    if engine.driver is Driver.MSSQL:
        columns = mssql.columns_of(cursor, engine.quoted(table.name))
        return mssql.select(table, engine, columns, last), mssql.parameters(last)
    return select(table, engine, last), parameters(table, last)


def _values(row: Mapping[str, Any], by: tuple[str, ...], table: Table) -> Values:
    try:
        return tuple(row[column] for column in by)
    except KeyError as error:
        # MySQL finds a column whatever the case of its name.
        raise ExtractionError(
            f"table {table.name} has no column written exactly {error.args[0]}; it has {', '.join(row)}"
        ) from error


def _refuse_null(cursor: Any, table: Table, engine: Engine) -> None:
    """Stop rather than lose rows: no comparison ever finds a row whose watermark or key is NULL."""
    if not (by := columns_of(table)):
        return
    condition = " OR ".join(f"{engine.quoted_part(column)} IS NULL" for column in by)
    source = f"FROM {engine.quoted(table.name)} WHERE {condition}"
    if engine.driver is Driver.MSSQL:
        cursor.execute(f"SELECT TOP (1) 1 AS one {source}")
    else:
        cursor.execute(f"SELECT 1 {source} LIMIT 1")
    if cursor.fetchone():
        raise ExtractionError(
            f"table {table.name}: {' or '.join(by)} is NULL in some rows, which would never be extracted. "
            "Name a watermark and a key that are NOT NULL, or no watermark to copy the whole table."
        )


def _streaming_cursor(connection: Any) -> Any:
    """Open a cursor that leaves the rows on the server; drivers differ in how to ask."""
    driver = type(connection).__module__.split(".")[0]
    if driver in _POSTGRESQL:
        return connection.cursor(name="mbi_reauth_extraction")
    if driver in _MYSQL:
        return connection.cursor(import_module(f"{driver}.cursors").SSCursor)
    return connection.cursor()
