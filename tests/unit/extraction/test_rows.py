"""Rows as JSON lines."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.extraction.rows import to_line

AMSTERDAM = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (2**63, 2**63),
        (1.5, 1.5),
        ("naïve \n \u2028 \U0001f600", "naïve \n \u2028 \U0001f600"),
        (Decimal("0.10"), "0.10"),
        (Decimal("NaN"), None),
        (Decimal("Infinity"), None),
        (float("nan"), None),
        (float("-inf"), None),
        ([1.0, [float("nan")]], [1.0, [None]]),
        ({"a": float("inf"), "b": Decimal(1)}, {"a": None, "b": "1"}),
        (datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=AMSTERDAM), "2026-03-01T10:00:00.123456Z"),
        (datetime.fromisoformat("2026-03-01T12:00:00"), "2026-03-01T12:00:00"),
        (date(2026, 3, 1), "2026-03-01"),
        (time(12, 30), "12:30:00"),
        (timedelta(days=1, seconds=0.5), 86400.5),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "AP8="),
        (memoryview(b"\x00\xff"), "AP8="),
    ],
)
def test_every_kind_of_value_becomes_json(value: Any, written: Any) -> None:
    assert json.loads(to_line({"v": value})) == {"v": written}


text = st.text(st.characters())  # with lone surrogates, which JSON can carry and UTF-8 cannot
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text | st.decimals() | st.binary()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=8)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_a_row_is_always_one_line_that_any_reader_of_json_takes(row: dict[str, Any]) -> None:
    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    line = to_line(row)
    assert len(line.encode().splitlines()) == 1
    assert json.loads(line, parse_constant=refuse).keys() == row.keys()
