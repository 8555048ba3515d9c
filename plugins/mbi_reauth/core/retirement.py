"""How long before an announced retirement engineers are told of it."""

from __future__ import annotations

from datetime import date, timedelta

STAGES = (90, 30, 7, 0)
"""Days before the date; 0 is the day itself."""

REMEMBERED = timedelta(days=30)
"""Later than this after the date nobody is told: whoever installs the plugin then has nothing to prepare."""


def stage(on: date, today: date) -> int | None:
    """Tell which stage has been reached, in days before the date; None before the first and long after it."""
    if today - on > REMEMBERED:
        return None
    return min((days for days in STAGES if on - today <= timedelta(days=days)), default=None)
