"""Collections landed as files through Airflow's MongoDB hook and PyMongo, over a real socket.

The server is a fake: MongoDB's protocol (tests/mongodb.py) in front of mongomock, which sorts and compares.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import bson
import pytest
from airflow.sdk import ObjectStoragePath
from bson import Decimal128, Int64, ObjectId
from pymongo.database import Database
from pymongo.errors import PyMongoError

from mbi_reauth.core.integration import Table
from mbi_reauth.extraction import mongodb, sql
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.extract import extract
from mbi_reauth.extraction.landing import Landed, land_batch, read_cursor
from mbi_reauth.hooks.database import database
from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from tests.checking import an_integration
from tests.mongodb import FakeMongo, mongo_server

BY_TIME = Table(name="orders", watermark="at", key="_id")
NINE = datetime(2026, 3, 1, 9, tzinfo=timezone.utc)
MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture
def server() -> Iterator[FakeMongo]:
    with mongo_server() as started:
        yield started


@pytest.fixture
def opened(server: FakeMongo) -> Iterator[Database[Any]]:
    credential = Credential(
        conn_id="shop_conn",
        conn_type="mongo",
        host="127.0.0.1",
        port=server.port,
        schema="shop",
        login="reader",
        password="fake-reader-password",
    )
    with database(an_integration(), as_connection(credential)) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStoragePath:
    return ObjectStoragePath(tmp_path.as_uri()) / "orders"


def put(server: FakeMongo, *orders: tuple[Any, Any]) -> None:
    server.shop["orders"].insert_many([{"_id": number, "at": at} for number, at in orders])


def run(opened: Database[Any], folder: ObjectStoragePath, table: Table) -> Landed:
    frontier = sql.frontier_of(table, read_cursor(folder, by=sql.columns_of(table)))
    return land_batch(folder, frontier, mongodb.new_lines(opened, table, frontier))


def landed(folder: ObjectStoragePath) -> list[Any]:
    names = sorted(str(path.name) for path in folder.iterdir() if path.name.endswith(".jsonl.gz"))
    texts = [gzip.decompress((folder / name).read_bytes()) for name in names]
    return [json.loads(line)["_id"] for text in texts for line in text.splitlines()]


def test_each_run_lands_what_is_new_over_ties_and_batches(
    server: FakeMongo, opened: Database[Any], folder: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongodb, "FETCH_ROWS", 2)
    put(server, (3, NINE), (1, NINE), (2, NINE + MILLISECOND), (0, NINE - MILLISECOND))
    assert run(opened, folder, BY_TIME).rows == 4
    assert run(opened, folder, BY_TIME).rows == 0
    put(server, (4, NINE + MILLISECOND), (5, NINE + 2 * MILLISECOND))
    assert run(opened, folder, BY_TIME).rows == 2
    assert landed(folder) == [0, 1, 3, 2, 4, 5]


def test_without_a_key_the_last_watermark_is_read_again_and_landed_once(
    server: FakeMongo, opened: Database[Any], folder: ObjectStoragePath
) -> None:
    table = Table(name="orders", watermark="at")
    put(server, (5, NINE), (6, NINE))
    assert run(opened, folder, table).rows == 2
    put(server, (1, NINE), (2, NINE + MILLISECOND))
    assert run(opened, folder, table).rows == 2
    assert sorted(landed(folder)) == [1, 2, 5, 6]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (NINE, NINE + MILLISECOND),
        (ObjectId("65e1a0000000000000000001"), ObjectId("65e1a0000000000000000002")),
        (Int64(2**53 + 1), Int64(2**53 + 2)),
        (0.1, 0.30000000000000004),
        ("a", "b"),
    ],
    ids=["date", "ObjectId", "long", "double", "text"],
)
def test_a_watermark_of_any_type_is_remembered_exactly(
    server: FakeMongo, opened: Database[Any], folder: ObjectStoragePath, first: Any, second: Any
) -> None:
    table = Table(name="orders", watermark="at")
    put(server, (1, first))
    assert run(opened, folder, table).rows == 1
    put(server, (2, second), (3, first))
    assert run(opened, folder, table).rows == 2
    assert run(opened, folder, table).rows == 0


def test_equal_numbers_of_different_types_are_one_watermark(
    server: FakeMongo, opened: Database[Any], folder: ObjectStoragePath
) -> None:
    table = Table(name="orders", watermark="at")
    put(server, (1, 7), (2, 7.0), (3, Int64(7)))
    assert run(opened, folder, table).rows == 3
    assert run(opened, folder, table).rows == 0


def test_the_cursor_of_a_path_into_documents(
    server: FakeMongo, opened: Database[Any], folder: ObjectStoragePath
) -> None:
    table = Table(name="web-shop.2024.orders", watermark="meta.changed", key="_id")
    collection = server.shop[table.name]
    collection.insert_one({"_id": 1, "meta": {"changed": NINE}})
    assert run(opened, folder, table).rows == 1
    collection.insert_one({"_id": 2, "meta": {"changed": NINE}})
    assert run(opened, folder, table).rows == 1
    assert landed(folder) == [1, 2]


@pytest.mark.parametrize(
    ("orders", "words"),
    [
        ([(1, NINE), (2, None)], "at is missing or null in some documents"),
        ([(1, NINE), (2, "2026-03-01")], "at is a text in some documents and a date in others"),
        ([(1, 1.0), (2, float("nan"))], "at is not a number in some documents"),
        ([(1, True)], "at is of type bool"),
        ([(1, [NINE])], "at is of type list"),
        ([(1, NINE), ("two", NINE)], "_id is a number in some documents and a text in others"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_document_that_no_cursor_would_ever_reach_stops_the_run(
    server: FakeMongo,
    opened: Database[Any],
    folder: ObjectStoragePath,
    orders: list[tuple[Any, Any]],
    words: str,
) -> None:
    put(server, *orders)
    with pytest.raises(ExtractionError) as raised:
        run(opened, folder, BY_TIME)
    assert words in str(raised.value)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_whole_collection_is_copied_and_documents_stay_on_the_server(
    server: FakeMongo, opened: Database[Any]
) -> None:
    server.shop["orders"].insert_many([{"_id": number} for number in range(sql.FETCH_ROWS + 1)])
    lines = mongodb.all_lines(opened, Table(name="orders"))
    next(lines)
    assert server.asked("getMore") == []
    assert sum(1 for _ in lines) == sql.FETCH_ROWS
    assert len(server.asked("getMore")) == 1


def test_a_missing_collection_does_not_empty_the_last_copy(opened: Database[Any]) -> None:
    with pytest.raises(MisconfiguredError, match="no collection 'gone'"):
        list(mongodb.all_lines(opened, Table(name="gone")))


def test_a_connection_that_dies_half_way_leaves_nothing(
    server: FakeMongo, opened: Database[Any], folder: ObjectStoragePath
) -> None:
    put(server, *((number, number) for number in range(3 * sql.FETCH_ROWS)))
    server.hangs_up_on = "getMore"
    with pytest.raises(PyMongoError, match="connection closed"):
        run(opened, folder, BY_TIME)
    assert list(folder.iterdir()) == []


def test_every_type_of_bson_becomes_json(server: FakeMongo, opened: Database[Any]) -> None:
    document = {
        "_id": ObjectId("65e1a0000000000000000001"),
        "amount": Decimal128("1.50"),
        "no_amount": Decimal128("NaN"),
        "ratio": 0.1,
        "no_ratio": float("nan"),
        "big": Int64(2**53 + 1),
        "at": NINE,
        "raw": b"\0\xff",
        "nested": {"list": [1, {"at": NINE}]},
        "nothing": None,
        "paid": True,
        "oplog": bson.Timestamp(1, 2),
        "pattern": bson.Regex("^a", "i"),
        "script": bson.Code("return 1"),
        "reference": bson.DBRef("customers", ObjectId("65e1a0000000000000000002")),
        "least": bson.MinKey(),
        "late": bson.DatetimeMS(253402300800000),
    }
    raw = bson.encode(document)
    read = bson.decode(raw, codec_options=mongodb.READING)
    assert json.loads(mongodb.to_line(read)) == {
        "_id": "65e1a0000000000000000001",
        "amount": "1.50",
        "no_amount": None,
        "ratio": 0.1,
        "no_ratio": None,
        "big": 2**53 + 1,
        "at": "2026-03-01T09:00:00Z",
        "raw": "AP8=",
        "nested": {"list": [1, {"at": "2026-03-01T09:00:00Z"}]},
        "nothing": None,
        "paid": True,
        "oplog": {"$timestamp": {"t": 1, "i": 2}},
        "pattern": {"$regularExpression": {"pattern": "^a", "options": "i"}},
        "script": "return 1",
        "reference": {"$ref": "customers", "$id": {"$oid": "65e1a0000000000000000002"}},
        "least": {"$minKey": 1},
        "late": {"$date": {"$numberLong": "253402300800000"}},
    }


def test_a_task_extracts_through_the_airflow_connection(
    server: FakeMongo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = {"host": "127.0.0.1", "port": server.port, "login": "reader", "password": "fake-reader-password"}
    connection = {"conn_type": "mongo", "schema": "shop", **login}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_CONN", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__DATA_FOLDER", tmp_path.as_uri())
    put(server, (1, NINE), (2, NINE))
    server.shop["statuses"].insert_one({"_id": 7})
    integration = an_integration(type="mongodb_ssh", tables=[BY_TIME, Table(name="statuses")])
    assert extract(integration, "orders")["rows"] == 2
    assert extract(integration, "orders")["rows"] == 0
    assert [extract(integration, "statuses")["rows"] for _ in range(2)] == [1, 1]
