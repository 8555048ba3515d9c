"""The statements that tables are read with."""

from __future__ import annotations

import pytest

from mbi_reauth.core.integration import Table
from mbi_reauth.extraction.sql import columns_of, parameters, select
from mbi_reauth.probes.database import ENGINES

WHOLE = Table(name="shop.order")
BY_SEQUENCE = Table(name="order", watermark="id")
BY_TIME = Table(name="order", watermark="at", key="id")


@pytest.mark.parametrize(
    ("engine", "table", "last", "statement", "values"),
    [
        ("mysql", WHOLE, (), "SELECT * FROM `shop`.`order`", ()),
        ("postgres", WHOLE, (), 'SELECT * FROM "shop"."order"', ()),
        ("postgres", BY_SEQUENCE, (), 'SELECT * FROM "order" ORDER BY "id"', ()),
        ("postgres", BY_SEQUENCE, (7,), 'SELECT * FROM "order" WHERE "id" >= %s ORDER BY "id"', (7,)),
        ("mysql", BY_TIME, (), "SELECT * FROM `order` ORDER BY `at`, `id`", ()),
        (
            "mysql",
            BY_TIME,
            ("t", 7),
            "SELECT * FROM `order` WHERE `at` >= %s AND (`at` > %s OR `id` > %s) ORDER BY `at`, `id`",
            ("t", "t", 7),
        ),
    ],
)
def test_a_statement_asks_for_the_rows_after_the_cursor_in_order(
    engine: str, table: Table, last: tuple[object, ...], statement: str, values: tuple[object, ...]
) -> None:
    assert select(table, ENGINES[engine], last) == statement
    assert parameters(table, last) == values
    assert statement.count("%s") == len(values)


def test_the_cursor_is_made_of_the_watermark_and_the_key() -> None:
    assert [columns_of(table) for table in (WHOLE, BY_SEQUENCE, BY_TIME)] == [(), ("id",), ("at", "id")]
