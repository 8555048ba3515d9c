"""What SQL Server's tables are read with, so that no value is rounded on its way out or back.

Python knows no tenth of a microsecond, which SQL Server does; and pymssql rounds a time to milliseconds when
it is given back as a parameter. So times come as text, and the cursor's values go back as text, converted to
the column's own type by the server.

Dates and times are ISO 8601, as the server has them; a ``datetimeoffset`` is in UTC, as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from mbi_reauth.core.integration import Table
from mbi_reauth.extraction.cursor import Values
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.probes.database import Engine

Columns = Mapping[str, str]
"""Types by name, as SQL Server writes them (``datetime2(7)``); empty for types that have no such name."""

# Style 126 is ISO 8601. https://learn.microsoft.com/sql/t-sql/functions/cast-and-convert-transact-sql
_AS_TEXT = "CONVERT(varchar(33), {0}, 126)"
_AS_READ = {
    "date": _AS_TEXT,
    "time": _AS_TEXT,
    "smalldatetime": _AS_TEXT,
    "datetime": _AS_TEXT,
    "datetime2": _AS_TEXT,
    "datetimeoffset": "CONVERT(varchar(33), CONVERT(datetime2(7), SWITCHOFFSET({0}, '+00:00')), 126) + 'Z'",
}
# pymssql would take "%d" in the name of a column for a parameter, if those had no names.
_NAMES = ("watermark", "key")
_BINARY = frozenset({"binary", "varbinary", "timestamp"})


def columns_of(cursor: Any, quoted: str) -> Columns:
    """Ask for a table's columns and their types, in order; rights on single columns are refused here too."""
    cursor.execute("EXEC sp_describe_first_result_set @tsql = %s", (f"SELECT * FROM {quoted}",))  # noqa: S608 - quoted
    names = [column[0] for column in cursor.description]
    described = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {each["name"]: each["system_type_name"] or "" for each in described if not each["is_hidden"]}


def select(table: Table, engine: Engine, columns: Columns, last: Values) -> str:
    """Write the statement for the rows after ``last``, in the watermark's order; all rows without one.

    :raises ExtractionError: when the cursor's columns are missing
    """
    read = ", ".join(_as_read(engine.quoted_part(name), kind) for name, kind in columns.items())
    statement = f"SELECT {read} FROM {engine.quoted(table.name)} AS t"  # noqa: S608 - quoted
    if table.watermark is None:
        return statement
    by = [column for column in (table.watermark, table.key) if column]
    for column in by:
        if column not in columns:
            raise ExtractionError(
                f"table {table.name} has no column written exactly {column}; it has {', '.join(columns)}"
            )
    # Of the table: without it, the order would be that of the text which the column is read as.
    watermark, *key = (f"t.{engine.quoted_part(column)}" for column in by)
    order = f" ORDER BY {', '.join((watermark, *key))}"
    if not last:
        return statement + order
    given = [_as_given(name, columns[column]) for name, column in zip(_NAMES, by, strict=False)]
    condition = f"{watermark} >= {given[0]}"
    if key:
        condition += f" AND ({watermark} > {given[0]} OR {key[0]} > {given[1]})"
    return f"{statement} WHERE {condition}{order}"


def parameters(last: Values) -> Mapping[str, bytearray | str]:
    """Write the cursor's values as text, and bytes as what pymssql takes for bytes always."""
    given = (bytearray(value) if isinstance(value, bytes) else _text(value) for value in last)
    return dict(zip(_NAMES, given, strict=False))


def _text(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _as_read(quoted: str, kind: str) -> str:
    conversion = _AS_READ.get(_base(kind))
    return f"{conversion.format(f't.{quoted}')} AS {quoted}" if conversion else f"t.{quoted}"


def _as_given(name: str, kind: str) -> str:
    return f"%({name})s" if _base(kind) in _BINARY or not kind else f"CONVERT({kind}, %({name})s)"


def _base(kind: str) -> str:
    return kind.partition("(")[0]
