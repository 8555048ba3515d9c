"""Answers of any length, read record by record: JSON lines and CSV, compressed or not, whole or cut."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from mbi_reauth.catalogue.resource import Resource
from mbi_reauth.extraction import stream
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.http import all_lines, first_request
from mbi_reauth.extraction.landing import land_full_copy
from mbi_reauth.extraction.transfer import Transfer
from tests.unit.extraction.mortal import names
from tests.unit.extraction.third_party import BrokenOffError, Plain, Reply, ThirdParty, resource

JSONL = b'{"id": 1}\n{"id": 2, "text": "a\\nb"}\r\n\n{"id": 3}'
CSV = '\ufeffid,text\r\n1,"a, ""b""\r\nc"\r\n2,\r\n'.encode()
ROWS = [{"id": "1", "text": 'a, "b"\r\nc'}, {"id": "2", "text": ""}]


def streamed(party: ThirdParty, body: str) -> Resource:
    return resource(party, {"style": "none"}, body=body, records="$")


def lines(transfer: Transfer, of: Resource) -> Iterator[str]:
    return all_lines(transfer, of, first_request(of, Plain()))


def read(party: ThirdParty, transfer: Transfer, body: str, reply: Reply) -> list[dict[str, Any]]:
    party.answer = lambda _: reply
    return [json.loads(line) for line in lines(transfer, streamed(party, body))]


def zipped(*files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export/", b"")
        for number, content in enumerate(files):
            archive.writestr(f"export/{number}.csv", content)
    return packed.getvalue()


def pieces(content: bytes, size: int = 3) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


GZIP = {"Content-Encoding": "gzip"}
WAYS = [
    pytest.param(lambda content: ({}, content), id="whole"),
    pytest.param(lambda content: ({}, pieces(content)), id="chunked"),
    pytest.param(lambda content: (GZIP, gzip.compress(content)), id="gzip"),
    pytest.param(lambda content: (GZIP, pieces(gzip.compress(content))), id="gzip_chunked"),
    pytest.param(lambda content: ({"Content-Encoding": "deflate"}, zlib.compress(content)), id="deflate"),
    pytest.param(lambda content: ({}, zipped(content)), id="zip"),
    pytest.param(lambda content: (GZIP, pieces(gzip.compress(zipped(content)))), id="zip_in_gzip"),
]


@pytest.mark.parametrize("way", WAYS)
def test_json_lines_are_read_however_they_come(party: ThirdParty, transfer: Transfer, way: Any) -> None:
    found = read(party, transfer, "jsonl", (200, *way(JSONL)))
    assert found == [{"id": 1}, {"id": 2, "text": "a\nb"}, {"id": 3}]


@pytest.mark.parametrize("way", WAYS)
def test_csv_is_read_however_it_comes(party: ThirdParty, transfer: Transfer, way: Any) -> None:
    assert read(party, transfer, "csv", (200, *way(CSV))) == ROWS


@pytest.mark.parametrize("body", ["jsonl", "csv"])
@pytest.mark.parametrize("way", WAYS)
def test_an_empty_answer_has_no_records(party: ThirdParty, transfer: Transfer, body: str, way: Any) -> None:
    assert read(party, transfer, body, (200, *way(b""))) == []


def test_a_csv_of_names_alone_has_no_records(party: ThirdParty, transfer: Transfer) -> None:
    assert read(party, transfer, "csv", (200, {}, b"id,text\n")) == []


def broken_off(*chunks: bytes) -> Iterator[bytes]:
    yield from chunks
    raise BrokenOffError


def flushed(content: bytes) -> bytes:
    """Compress as a server does that sends what it has so far, and then dies: the end of the data misses."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush(zlib.Z_SYNC_FLUSH)


WHOLE_LINES = b'{"id": 1}\n{"id": 2}\n'


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        pytest.param({}, broken_off(WHOLE_LINES), id="no_last_chunk"),
        pytest.param({"Content-Length": "999"}, WHOLE_LINES, id="short_of_its_length"),
        pytest.param(GZIP, pieces(flushed(WHOLE_LINES)), id="gzip_without_its_end"),
        pytest.param(GZIP, gzip.compress(WHOLE_LINES)[:-8] + b"\0" * 8, id="gzip_with_a_wrong_sum"),
    ],
)
def test_an_answer_that_breaks_off_after_a_whole_line_lands_nothing(
    party: ThirdParty,
    transfer: Transfer,
    folder: ObjectStoragePath,
    headers: dict[str, str],
    content: Any,
) -> None:
    party.answer = lambda _: (200, headers, content)
    with pytest.raises(ExtractionError, match="broke off"):
        land_full_copy(folder, lines(transfer, streamed(party, "jsonl")))
    assert names(folder) == []
    assert len(party.asked) == 1


@pytest.mark.parametrize(
    ("body", "content", "says"),
    [
        ("jsonl", b'{"id": 1}\n{"id"', "line 2 is no JSON object"),
        ("jsonl", b'{"id": 1}\nterminated early\n', "line 2 is no JSON object"),
        ("jsonl", b"<html>busy</html>", "line 1 is no JSON object"),
        ("jsonl", b"[1]\n", "line 1 is no JSON object"),
        ("csv", b"id,text\n1,a\n2", "line 3 has 1 values for 2 columns"),
        ("csv", b'id,text\n1,"a', "unexpected end of data"),
        ("csv", b"id,id\n1,2\n", "name is there twice"),
        ("csv", b"id\n\xff\n", "can't decode byte"),
        ("csv", zipped(b"id\n1\n", b"id\n2\n"), "holds 2 files instead of one"),
        ("csv", zipped(b"id\n1\n")[:-30], "not a zip file"),
    ],
)
def test_an_answer_of_another_shape_lands_nothing(
    party: ThirdParty, transfer: Transfer, folder: ObjectStoragePath, body: str, content: bytes, says: str
) -> None:
    party.answer = lambda _: (200, {}, content)
    with pytest.raises(ExtractionError, match=says):
        land_full_copy(folder, lines(transfer, streamed(party, body)))
    assert names(folder) == []


@pytest.mark.parametrize("body", ["jsonl", "csv"])
def test_a_line_that_never_ends_is_refused(
    party: ThirdParty, transfer: Transfer, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(stream, "MAX_LINE", 1 << 20)
    with pytest.raises(ExtractionError, match="longer than 1 MiB"):
        read(party, transfer, body, (200, {}, b"x" * (2 << 20)))


def test_a_field_longer_than_pythons_own_limit_is_read(party: ThirdParty, transfer: Transfer) -> None:
    csv.field_size_limit(128 << 10)
    long = b"x" * (256 << 10)
    assert read(party, transfer, "csv", (200, {}, b"id\n" + long + b"\n")) == [{"id": long.decode()}]


@pytest.mark.parametrize("refusal", [(429, {"Retry-After": "7"}, b""), (503, {"Retry-After": "7"}, b"")])
def test_a_stream_that_does_not_begin_is_asked_for_again(
    party: ThirdParty, transfer: Transfer, pauses: list[float], refusal: Reply
) -> None:
    replies = iter([refusal, (200, {}, JSONL)])
    party.answer = lambda _: next(replies)
    assert len(list(lines(transfer, streamed(party, "jsonl")))) == 3
    assert pauses == [7.0]


RECORD = b'{"id": %d, "text": "%b"}\n'
RECORDS = 20_000


def many(kind: str) -> Iterator[bytes]:
    """Make 20 MB of records, compressed or not, a chunk of 200 at a time."""
    packer = zlib.compressobj(wbits=31)
    for start in range(0, RECORDS, 200):
        chunk = b"".join(RECORD % (number, b"x" * 1000) for number in range(start, start + 200))
        packed = packer.compress(chunk) if kind == "gzip" else chunk
        if packed:
            yield packed
    if kind == "gzip":
        yield packer.flush()


@pytest.mark.parametrize("kind", ["plain", "gzip"])
def test_memory_holds_a_small_part_of_a_long_answer(party: ThirdParty, transfer: Transfer, kind: str) -> None:
    party.answer = lambda _: (200, GZIP if kind == "gzip" else {}, many(kind))
    tracemalloc.start()
    count = sum(1 for _ in lines(transfer, streamed(party, "jsonl")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == RECORDS
    assert peak < 4 << 20
