"""Copy a MongoDB integration's declared collections, from where the last run ended.

A document becomes a line of JSON as a row does: dates as ISO 8601 in UTC, ``ObjectId`` and UUID as their
text, ``Decimal128`` as text, binary data as Base64, code as its text. What has no such form (timestamps of
the oplog, regular expressions, references, ``MinKey`` and ``MaxKey``, dates beyond the year 9999) is an
object of MongoDB's Extended JSON, version 2, relaxed:
https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from bson import json_util
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from pymongo.collection import Collection
from pymongo.database import Database

from mbi_reauth.core.integration import Table
from mbi_reauth.extraction import rows
from mbi_reauth.extraction.cursor import Frontier, Values
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.sql import FETCH_ROWS, columns_of
from mbi_reauth.probes.mongodb import refuse_missing

Document = Mapping[str, Any]

READING: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO, uuid_representation=4
)
_EXTENDED = (Timestamp, Regex, MinKey, MaxKey, DBRef, DatetimeMS)
# Values of one of these compare with each other and with nothing else; a query finds no others.
_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("a number", (int, float, Decimal128)),
    ("a text", (str,)),
    ("a date", (datetime, DatetimeMS)),
    ("an ObjectId", (ObjectId,)),
    ("a timestamp", (Timestamp,)),
    ("a UUID", (UUID,)),
)
_NO_CURSOR = (bool, Code)
_LONGEST = 2**63


def new_lines(database: Database[Any], table: Table, frontier: Frontier) -> Iterator[str]:
    """Read the collection's documents after the frontier's start as JSON lines, in the watermark's order.

    :raises ExtractionError: when a watermark or key is missing somewhere, or not of one kind everywhere
    :raises MisconfiguredError: when there is no such collection
    """
    by = columns_of(table)
    collection = _collection(database, table)
    for path in by:
        _refuse_unordered(collection, path)
    found = collection.find(question(table, frontier.start.last), sort=[(path, 1) for path in by])
    for document in found.batch_size(FETCH_ROWS):
        line = to_line(document)
        if frontier.admit(tuple(remembered(_at(document, path), path) for path in by), line):
            yield line


def all_lines(database: Database[Any], table: Table) -> Iterator[str]:
    """Read the whole collection as JSON lines.

    :raises MisconfiguredError: when there is no such collection
    """
    for document in _collection(database, table).find(batch_size=FETCH_ROWS):
        yield to_line(document)


def question(table: Table, last: Values) -> Document:
    """Write the query for the documents after ``last``; without a key, the last watermark is read again."""
    if not last:
        return {}
    watermark, *key = (json_util.loads(value) for value in last)
    by = columns_of(table)
    query: dict[str, Any] = {by[0]: {"$gte": watermark}}
    if key:
        query["$or"] = [{by[0]: {"$gt": watermark}}, {by[1]: {"$gt": key[0]}}]
    return query


def to_line(document: Document) -> str:
    """Write a document as one line of JSON, without its newline."""
    return rows.to_line(document, _ENCODER)


def remembered(value: Any, path: str) -> str:
    """Write a watermark or a key as exact text; equal numbers of different types have the same.

    :raises ExtractionError: when MongoDB has no order for such values that a query would follow
    """
    _kind_of(value, path)
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        value = int(number) if number == number.to_integral_value() and abs(number) < _LONGEST else value
    elif isinstance(value, float) and value.is_integer() and abs(value) < _LONGEST:
        value = int(value)
    if isinstance(value, int):
        value = Int64(value)
    return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS)


def _collection(database: Database[Any], table: Table) -> Collection[dict[str, Any]]:
    collection = database.get_collection(table.name, codec_options=READING)
    if collection.find_one(projection=("_id",)) is None:
        refuse_missing(database, table)
    return collection


def _refuse_unordered(collection: Collection[Any], path: str) -> None:
    """Stop rather than lose documents: MongoDB sorts by type first, and a query finds those of one type only.

    So the first and the last of all tell whether there are several types, or documents without the field.
    """
    ends = [collection.find_one(projection=(path,), sort=[(path, direction)]) for direction in (1, -1)]
    kinds = [_kind_of(_at(document, path), path) for document in ends if document is not None]
    if len(set(kinds)) > 1:
        raise ExtractionError(
            f"collection {collection.name}: {path} is {kinds[0]} in some documents and {kinds[1]} in others, "
            "and MongoDB compares only like with like, so some would never be extracted. Name a field that "
            "is of one type everywhere, or no watermark to copy the whole collection."
        )


def _kind_of(value: Any, path: str) -> str:
    kind = next((name for name, types in _KINDS if isinstance(value, types)), None)
    if kind is None or isinstance(value, _NO_CURSOR) or _is_nan(value):
        raise ExtractionError(
            f"{path} is {_name_of(value)} in some documents, which has no place in any order: they would "
            "never be extracted. Name a watermark and a key that every document has, or no watermark to copy "
            "the whole collection."
        )
    return kind


def _is_nan(value: Any) -> bool:
    if isinstance(value, Decimal128):
        return value.to_decimal().is_nan()
    return isinstance(value, float) and math.isnan(value)


def _name_of(value: Any) -> str:
    if value is None:
        return "missing or null"
    return "not a number" if _is_nan(value) else f"of type {type(value).__name__}"


def _at(document: Document, path: str) -> Any:
    """Follow a dotted path; a list on the way has no single value."""
    value: Any = document
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return value
        value = value.get(name)
    return value


def _portable(value: Any) -> Any:
    if isinstance(value, _EXTENDED):
        return json_util.default(value, json_util.RELAXED_JSON_OPTIONS)
    return rows.portable(value.to_decimal() if isinstance(value, Decimal128) else value)


_ENCODER = rows.encoder(_portable)
