"""Rows as JSON lines: whatever a driver gives, without loss where JSON allows it."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]


def _datetime(value: datetime) -> str:
    """ISO 8601; in UTC where the zone is known, and without a zone where it is not."""
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def portable(value: Any) -> Any:
    """Turn one value that the JSON encoder does not know into one that it does."""
    if isinstance(value, datetime):
        return _datetime(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        # As text: readers of JSON numbers round them to a double.
        return str(value) if value.is_finite() else None
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    return value.total_seconds() if isinstance(value, timedelta) else str(value)


def encoder(default: Callable[[Any], Any]) -> json.JSONEncoder:
    """Make an encoder of lines, with ``default`` for the values that JSON does not know."""
    return json.JSONEncoder(default=default, allow_nan=False, separators=(",", ":"), check_circular=False)


_ENCODER = encoder(portable)


def _finite(value: Any) -> Any:
    """Replace NaN and the infinities, which JSON does not have, by null; at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def to_line(row: Row, encoder: json.JSONEncoder = _ENCODER) -> str:
    """Write a row as one line of JSON, without its newline."""
    try:
        return encoder.encode(row)
    except ValueError:
        return encoder.encode(_finite(row))
