"""Read records one by one out of an answer that is too large for memory: JSON lines, or CSV."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, AnyStr

from mbi_reauth.catalogue.resource import Resource
from mbi_reauth.extraction.errors import ExtractionError

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one JSON line, and characters of one line or field of CSV."""
_ZIP = b"PK\x03\x04"


def records_in(answer: IO[bytes], resource: Resource) -> Iterator[dict[str, Any]]:
    """Read the records of ``answer`` as they come; of CSV, each is its row by the names in the first line.

    A zip archive has its list of files at its end, so it is put on the worker's disk first.

    :raises ExtractionError: where a line is not a record, as when the answer is cut
    """
    read = _objects if resource.body == "jsonl" else _rows
    try:
        with _unzipped(answer) as plain:
            yield from read(plain)
    except (ValueError, csv.Error, zipfile.BadZipFile) as error:
        raise ExtractionError(
            f"resource {resource.name}: the answer is not the {resource.body} that was expected, or was cut: "
            f"{error}. Nothing was landed."
        ) from None


@contextmanager
def _unzipped(answer: Any) -> Iterator[IO[bytes]]:
    if answer.peek(len(_ZIP))[: len(_ZIP)] != _ZIP:
        yield answer
        return
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(answer, spool)
        with zipfile.ZipFile(spool) as archive:
            files = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(files) != 1:
                raise ValueError(f"its zip archive holds {len(files)} files instead of one")
            with archive.open(files[0]) as plain:
                yield plain


def _lines(text: IO[AnyStr]) -> Iterator[AnyStr]:
    while line := text.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise ValueError(f"a line is longer than {MAX_LINE >> 20} MiB")
        yield line


def _objects(answer: IO[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_lines(answer), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is no JSON object")  # noqa: TRY004 - of data, not of an argument
        yield record


def _rows(answer: IO[bytes]) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(MAX_LINE)  # of the whole process, whose own limit is 128 KiB
    text = io.TextIOWrapper(answer, encoding="utf-8-sig", newline="")
    rows = csv.reader(_lines(text), strict=True)
    names = next(rows, [])
    if len(set(names)) != len(names):
        raise ValueError("a column's name is there twice")
    for row in rows:
        if len(row) != len(names) and row:
            raise ValueError(f"line {rows.line_num} has {len(row)} values for {len(names)} columns")
        if row:
            yield dict(zip(names, row, strict=True))
