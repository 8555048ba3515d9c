"""Orders that keep coming: a pure function of the account and the clock, so that every run agrees."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

PERIOD = 20
"""Seconds between two orders of a shop."""
STAGES = (("placed", 0), ("paid", 90), ("shipped", 600))
"""What becomes of an order, and how many seconds after it was placed."""

_CUSTOMERS = ("Alex", "Bo", "Charlie", "Dana", "Eli", "Finley", "Gray", "Harper", "Indy", "Jules")
_ITEMS = (("Teapot", 2495), ("Lamp", 4900), ("Notebook", 650), ("Blanket", 3900), ("Vase", 1850))


@dataclass(frozen=True)
class Order:
    """One order as it stands; ``updated_at`` is when it reached its present stage (Unix seconds)."""

    number: int
    status: str
    placed_at: int
    updated_at: int

    @property
    def position(self) -> tuple[int, int]:
        """Where it stands in the listing: an order only ever moves towards the end."""
        return self.updated_at, self.number

    def as_json(self) -> dict[str, object]:
        """Tell the order as the API does."""
        seed = hashlib.sha256(str(self.number).encode()).digest()
        item, cents = _ITEMS[seed[0] % len(_ITEMS)]
        quantity = 1 + seed[1] % 3
        return {
            "id": self.number,
            "status": self.status,
            "customer": _CUSTOMERS[seed[2] % len(_CUSTOMERS)],
            "item": item,
            "quantity": quantity,
            "total": f"{quantity * cents / 100:.2f}",
            "currency": "EUR",
            "placed_at": utc(self.placed_at),
            "updated_at": utc(self.updated_at),
        }


def utc(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")


def orders_between(start: float, now: float) -> list[Order]:
    """List the orders placed from ``start`` to ``now`` (Unix seconds), by last change."""
    return sorted(_placed(start, now), key=lambda order: order.position)


def _placed(start: float, now: float) -> Iterator[Order]:
    for number in range(int(start) // PERIOD, int(now) // PERIOD + 1):
        placed_at = number * PERIOD
        status, delay = [stage for stage in STAGES if placed_at + stage[1] <= now][-1]
        yield Order(number, status, placed_at, placed_at + delay)


def encode_cursor(order: Order) -> str:
    """Make an opaque cursor that continues after this order."""
    return base64.urlsafe_b64encode("{}.{}".format(*order.position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[int, int]:
    """Read the position that a cursor stands for; ValueError when nobody here made it."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("not a cursor") from error
    updated_at, number = text.split(".")
    return int(updated_at), int(number)
