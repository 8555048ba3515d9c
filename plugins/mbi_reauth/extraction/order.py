"""The order of watermarks that come as JSON: numbers, times in any ISO 8601 notation, or plain text."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pendulum

from mbi_reauth.extraction.cursor import Values
from mbi_reauth.extraction.errors import ExtractionError

_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]|$)")


def _rank(value: Any) -> Decimal | datetime | str:
    """Read a watermark as what it means: one instant has many notations, which text order would get wrong."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(str(value))
    if not isinstance(value, str) or not value:
        raise ExtractionError(
            f"a watermark is a number, a time or a text, not {type(value).__name__} or empty"
        )
    return _rank_of_text(value)


@lru_cache(maxsize=1024)
def _rank_of_text(value: str) -> Decimal | datetime | str:
    if _NUMBER.fullmatch(value):
        return Decimal(value)
    if not _TIME.match(value):
        return value
    try:
        moment = pendulum.parse(value, exact=False)
    except ValueError:
        return value
    return moment if isinstance(moment, datetime) else value


def in_utc(value: Any) -> str:
    """Write a watermark as a time in UTC, in whole seconds, ``2026-03-01T10:00:00Z``: itself or just before.

    :raises ExtractionError: when it is no time
    """
    moment = _rank(value)
    if not isinstance(moment, datetime):
        raise ExtractionError(f"the watermark {value!r} is no time, as {{watermark.utc}} needs")
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def compare(a: Values, b: Values) -> int:
    """Tell whether ``a`` comes before (negative), with (zero) or after (positive) ``b``.

    A time without a zone is read as UTC.

    :raises ExtractionError: when the two are of different kinds, so that neither comes first
    """
    left, right = _rank(a[0]), _rank(b[0])
    if type(left) is not type(right):
        raise ExtractionError(
            f"watermarks {a[0]!r} and {b[0]!r} have no common order; a watermark must be of one kind"
        )
    return (left > right) - (left < right)  # type: ignore[operator]  # of one type: checked above
