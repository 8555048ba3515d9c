"""How far a table or a resource has been landed, as a value that lives beside the data."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from mbi_reauth.extraction.errors import ExtractionError

SUFFIX = ".jsonl.gz"

Values = tuple[Any, ...]
"""The watermark of a row, followed by its key where the table has one."""

# Kind and text: a driver must get back the type it gave, or MySQL compares a decimal as a float.
_CODECS: dict[str, tuple[type | tuple[type, ...], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "plain": ((int, str), lambda value: value, lambda value: value),
    "float": (float, float.hex, float.fromhex),
}


def _encode(value: Any) -> list[Any]:
    value = bytes(value) if isinstance(value, memoryview | bytearray) else value
    for kind, (of, encode, _) in _CODECS.items():
        if isinstance(value, of):
            return [kind, encode(value)]
    raise ExtractionError(
        f"a watermark or key of type {type(value).__name__} cannot be remembered between runs; choose "
        "a column of a date, a time stamp, a number, a text or a UUID"
    )


def _decode(encoded: list[Any]) -> Any:
    kind, text = encoded
    return _CODECS[kind][2](text)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The end of what has been landed.

    ``by`` names the watermark and the key, ``last`` has their values in the last landed row (empty: nothing
    yet), ``seen`` counts the landed rows at that watermark by digest where no key tells them apart, and
    ``batches`` counts the files before this point.
    """

    by: tuple[str, ...]
    last: Values = ()
    seen: Mapping[str, int] = field(default_factory=dict)
    batches: int = 0

    @property
    def next_name(self) -> str:
        """Name of the file of the rows after this cursor; the same cursor always gives the same name."""
        lower = json.dumps([self.by, [_encode(value) for value in self.last]])
        return f"{self.batches + 1:06d}-{hashlib.sha256(lower.encode()).hexdigest()[:16]}{SUFFIX}"

    def to_json(self) -> str:
        """Write it as the text of a pointer file."""
        last = [_encode(value) for value in self.last]
        return json.dumps(
            {"by": self.by, "last": last, "seen": self.seen, "batches": self.batches}, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str, *, where: object) -> Cursor:
        """Read a pointer file; ``where`` is named in the :class:`ExtractionError` of an unreadable one."""
        try:
            fields = json.loads(text)
            last = tuple(_decode(encoded) for encoded in fields["last"])
            return cls(tuple(fields["by"]), last, fields["seen"], fields["batches"])
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise ExtractionError(
                f"{where} is not a cursor that this version wrote ({type(error).__name__}). Restore it from "
                "a backup, or empty its folder to extract everything anew."
            ) from error


class Frontier:
    """Follows the rows of one batch: which of them are new, and where the next batch begins.

    ``compare(a, b)`` is negative, zero or positive as values ``a`` come before, with or after ``b``. Rows
    that share a watermark are told apart by digest unless ``unique`` says that values never repeat. Memory
    holds the digests of a single watermark.
    """

    def __init__(self, cursor: Cursor, compare: Callable[[Values, Values], int], *, unique: bool) -> None:
        self.start = cursor
        self._compare = compare
        self._unique = unique
        self._last = cursor.last
        self._seen: Counter[str] = Counter(cursor.seen)
        self._already: Counter[str] = Counter(cursor.seen)

    def admit(self, values: Values, line: str) -> bool:
        """Take note of a row, written as ``line``; false when an earlier batch has it."""
        if self._unique:
            self._last = values
            return True
        digest = hashlib.sha256(line.encode()).hexdigest()[:32]
        if self.start.last and self._is_landed(values, digest):
            return False
        ahead = self._compare(values, self._last) if self._last else 1
        if ahead > 0:
            self._last, self._seen = values, Counter()
        if ahead >= 0:
            self._seen[digest] += 1
        return True

    def _is_landed(self, values: Values, digest: str) -> bool:
        order = self._compare(values, self.start.last)
        if order == 0 and self._already[digest]:
            self._already[digest] -= 1
            return True
        return order < 0

    def cursor(self) -> Cursor:
        """The cursor after every row so far."""
        return Cursor(self.start.by, self._last, dict(self._seen), self.start.batches + 1)
