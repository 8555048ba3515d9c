"""The queries that MongoDB's collections are read with."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId

from mbi_reauth.core.integration import Table
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.mongodb import question, remembered

NINE = datetime(2026, 3, 1, 9, tzinfo=timezone.utc)
BY_TIME = Table(name="orders", watermark="at")
KEYED = Table(name="orders", watermark="at", key="_id")


def test_without_a_cursor_everything_is_asked_for() -> None:
    assert question(KEYED, ()) == {}


def test_without_a_key_the_last_watermark_is_asked_for_again() -> None:
    assert question(BY_TIME, (remembered(7, "at"),)) == {"at": {"$gte": 7}}


def test_with_a_key_only_what_comes_after_is_asked_for() -> None:
    last = (remembered("a", "at"), remembered(ObjectId("65e1a0000000000000000001"), "_id"))
    assert question(KEYED, last) == {
        "at": {"$gte": "a"},
        "$or": [{"at": {"$gt": "a"}}, {"_id": {"$gt": ObjectId("65e1a0000000000000000001")}}],
    }


@pytest.mark.parametrize("value", [NINE, 0.1, "ü", Int64(2**60), ObjectId(), Decimal128("0.1")])
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    found = question(BY_TIME, (remembered(value, "at"),))["at"]["$gte"]
    assert (found.replace(tzinfo=timezone.utc) if isinstance(found, datetime) else found) == value


def test_equal_numbers_are_remembered_alike() -> None:
    assert {remembered(value, "at") for value in (7, 7.0, Int64(7), Decimal128("7.00"))} == {
        '{"$numberLong": "7"}'
    }


@pytest.mark.parametrize("value", [None, True, float("nan"), Decimal128("NaN"), [1], {"a": 1}, b"raw"])
def test_a_value_without_an_order_is_refused(value: Any) -> None:
    with pytest.raises(ExtractionError, match="at is "):
        remembered(value, "at")
