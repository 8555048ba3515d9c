"""The little of Transact-SQL that an extraction speaks, on SQLite: a fake, to stand behind tests/mssql.py.

SQLite parses, compares and sorts. Values are kept in a form that sorts as SQL Server sorts them: times as ISO
8601 with seven digits, decimals and money as whole numbers of their smallest unit.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.tds import Message, Rows

_TIMES = ("date", "time", "datetime", "smalldatetime", "datetime2", "datetimeoffset")
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)$")


class TransactSql:
    """Tables of the schema ``dbo``, their columns' types, and what was asked about them."""

    def __init__(self) -> None:
        self._types: dict[str, dict[str, str]] = {}
        self._sqlite = sqlite3.connect(":memory:", check_same_thread=False)
        self._sqlite.execute("ATTACH ':memory:' AS dbo")
        self._sqlite.create_function("CONVERT", -1, _convert)
        self._sqlite.create_function("SWITCHOFFSET", 2, lambda value, _: value)

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Make a table with columns of these types."""
        self._types[table] = dict(columns)
        names = ", ".join(f"[{name}]" for name in columns)
        self._sqlite.execute(f"DROP TABLE IF EXISTS dbo.[{table}]")
        self._sqlite.execute(f"CREATE TABLE dbo.[{table}] ({names})")

    def put(self, table: str, *rows: Sequence[Any]) -> None:
        """Add rows, each value as SQL Server takes it in quotes."""
        kinds = self._types[table].values()
        kept = [
            [None if value is None else kept_as(kind, value) for kind, value in zip(kinds, row, strict=True)]
            for row in rows
        ]
        marks = ", ".join("?" for _ in kinds)
        self._sqlite.executemany(f"INSERT INTO dbo.[{table}] VALUES ({marks})", kept)  # noqa: S608 - the test's

    def answer(self, statement: str) -> Rows | Message | None:
        """Execute a statement."""
        if statement.startswith("EXEC sp_describe_first_result_set"):
            return self._describe(statement)
        if not statement.startswith("SELECT"):
            return None
        try:
            return self._select(statement)
        except sqlite3.OperationalError as error:
            return Message(208 if "no such table" in str(error) else 207, str(error), severity=16)

    def _describe(self, statement: str) -> Rows | Message:
        table = re.findall(r"\[(\w+)\]", statement)[-1]
        if table not in self._types:
            return Message(208, f"Invalid object name '{table}'.", severity=16)
        columns = [("is_hidden", "bit"), ("name", "nvarchar"), ("system_type_name", "nvarchar")]
        return Rows(columns, [(0, name, kind) for name, kind in self._types[table].items()])

    def _select(self, statement: str) -> Rows:
        cursor = self._sqlite.execute(_for_sqlite(statement))
        table = re.search(r"FROM (?:\[dbo\]\.)?\[(\w+)\]", statement)
        declared = self._types.get(table[1], {}) if table else {}
        columns = []
        for name, *_ in cursor.description:
            as_text = f"AS [{name}]" in statement
            columns.append((name, "varchar(33)" if as_text else declared.get(name, "int")))
        return Rows(columns, [_given(row, columns) for row in cursor])


def kept_as(kind: str, value: Any) -> Any:
    """Keep a value in a form that sorts as SQL Server sorts it."""
    base = kind.partition("(")[0]
    if base in _TIMES:
        return _sortable_time(base, str(value))
    if base in ("decimal", "money"):
        return int(Decimal(str(value)).scaleb(_scale(kind)))
    if base in ("int", "bigint", "bit"):
        return int(value)
    return float(value) if base == "float" else value


def _scale(kind: str) -> int:
    return 4 if kind == "money" else int(kind.rstrip(")").split(",")[1])


def _sortable_time(base: str, text: str) -> str:
    text = text.replace(" ", "T", 1).removesuffix("Z")
    if base in ("date", "time"):
        return text
    text, fraction = (*text.split("."), "")[:2]
    if found := _OFFSET.search(fraction or text):
        text, fraction = text.removesuffix(found[0]), fraction.removesuffix(found[0])
        distance = timedelta(hours=int(found[2]), minutes=int(found[3])) * (-1 if found[1] == "+" else 1)
        text = (datetime.fromisoformat(text) + distance).isoformat()
    return f"{text}.{fraction:0<7}"


def _convert(kind: str, value: Any, _: int = 0) -> Any:
    if value is None or kind.startswith("varchar(33)"):
        return value
    return value if isinstance(value, int) else kept_as(kind, value)


def _given(row: Sequence[Any], columns: Sequence[tuple[str, str]]) -> list[Any]:
    given = []
    for value, (_, kind) in zip(row, columns, strict=True):
        scaled = value is not None and kind.startswith(("decimal", "money"))
        given.append(Decimal(value).scaleb(-_scale(kind)) if scaled else value)
    return given


def _for_sqlite(statement: str) -> str:
    statement = re.sub(r"CONVERT\((\w+(?:\([\d, ]+\))?), ", r"CONVERT('\1', ", statement)
    statement = re.sub(r"\bN'", "'", statement)
    statement = re.sub(r"\b0x([0-9a-fA-F]*)", r"x'\1'", statement)
    statement = statement.replace("+ 'Z'", "|| 'Z'")
    if found := re.match(r"SELECT TOP \((\d+)\) ", statement):
        return f"SELECT {statement[found.end() :]} LIMIT {found[1]}"
    return statement
