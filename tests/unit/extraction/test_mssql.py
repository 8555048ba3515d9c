"""The statements that SQL Server's tables are read with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from mbi_reauth.core.integration import Table
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.mssql import parameters, select
from mbi_reauth.probes.database import ENGINES

MSSQL = ENGINES["mssql"]
COLUMNS = {
    "id": "bigint",
    "at": "datetime2(7)",
    "told": "datetimeoffset(3)",
    "version": "timestamp",
    "place": "",
}
AFTER = (
    " WHERE t.[at] >= CONVERT(datetime2(7), %(watermark)s) AND (t.[at] > CONVERT(datetime2(7), %(watermark)s)"
    " OR t.[id] > CONVERT(bigint, %(key)s)) ORDER BY t.[at], t.[id]"
)
READ = (
    "SELECT t.[id], CONVERT(varchar(33), t.[at], 126) AS [at], "
    "CONVERT(varchar(33), CONVERT(datetime2(7), SWITCHOFFSET(t.[told], '+00:00')), 126) + 'Z' AS [told], "
    "t.[version], t.[place] FROM [dbo].[orders] AS t"
)


@pytest.mark.parametrize(
    ("table", "last", "rest"),
    [
        (Table(name="dbo.orders"), (), ""),
        (Table(name="dbo.orders", watermark="id"), (), " ORDER BY t.[id]"),
        (
            Table(name="dbo.orders", watermark="id"),
            (7,),
            " WHERE t.[id] >= CONVERT(bigint, %(watermark)s) ORDER BY t.[id]",
        ),
        (
            Table(name="dbo.orders", watermark="version"),
            (b"7",),
            " WHERE t.[version] >= %(watermark)s ORDER BY t.[version]",
        ),
        (
            Table(name="dbo.orders", watermark="at", key="id"),
            ("t", 7),
            AFTER,
        ),
    ],
)
def test_a_statement_asks_for_the_rows_after_the_cursor_in_the_tables_own_order(
    table: Table, last: tuple[Any, ...], rest: str
) -> None:
    assert select(table, MSSQL, COLUMNS, last) == READ + rest


def test_a_cursors_column_is_found_by_its_exact_name() -> None:
    with pytest.raises(ExtractionError, match="no column written exactly ID"):
        select(Table(name="dbo.orders", watermark="ID"), MSSQL, COLUMNS, ())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1E-20"), "0.00000000000000000001"),
        (2**62, "4611686018427387904"),
        (0.1, "0.1"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("it's", "it's"),
        ("2026-03-01T10:00:00.1234567", "2026-03-01T10:00:00.1234567"),
    ],
)
def test_values_go_back_as_text_without_losing_a_digit(value: Any, text: str) -> None:
    assert parameters((value, value)) == {"watermark": text, "key": text}


def test_bytes_go_back_as_bytes_even_where_they_could_be_text() -> None:
    assert isinstance(parameters((b"ABCD",))["watermark"], bytearray)
