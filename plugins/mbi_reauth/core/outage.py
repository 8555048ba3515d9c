"""Many at once is an outage: what most integrations of one type lose within minutes, no owner can mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

AT_LEAST = 3
WITHIN = timedelta(minutes=10)
HELD_FOR = timedelta(hours=1)


class Flip(NamedTuple):
    """One loss of one integration."""

    integration_id: str
    at: datetime


class Outage(NamedTuple):
    """Losses of many integrations at once; owners hear after ``held_until`` of those that last."""

    began_at: datetime
    held_until: datetime
    integration_ids: tuple[str, ...]


def outage_around(flip: Flip, flips: Sequence[Flip], *, integrations: int) -> Outage | None:
    """Find the outage that a loss is part of: at least three of a type, and more than half, in ten minutes.

    Of several spans of ten minutes the one with most integrations counts, and of equals the earliest.

    :param flips: the type's losses of the last hours, in any order
    :param integrations: how many of the type are known
    """
    near = sorted({each for each in (flip, *flips) if abs(each.at - flip.at) <= WITHIN}, key=_moment)
    first, end = _fullest(near, begins_by=flip.at)
    lost = {each.integration_id for each in near[first:end]}
    if len(lost) < AT_LEAST or 2 * len(lost) <= integrations:
        return None
    began_at = near[first].at
    return Outage(began_at, began_at + HELD_FOR, tuple(sorted(lost)))


def outage_before(flip: Flip, flips: Sequence[Flip], *, integrations: int) -> Outage | None:
    """Find the outage that a further loss joins: one whose owners were still to hear when it happened.

    A sweep may see an outage only in part; the next one then finds the rest.
    """
    lately = {each for each in flips if timedelta() <= flip.at - each.at < HELD_FOR}
    if len({each.integration_id for each in lately}) < AT_LEAST:
        return None
    ordered = sorted(lately, key=_moment)
    first, _ = _fullest(ordered, begins_by=flip.at)
    outage = outage_around(ordered[first], flips, integrations=integrations)
    return outage if outage is not None and flip.at < outage.held_until else None


def _fullest(flips: Sequence[Flip], *, begins_by: datetime) -> tuple[int, int]:
    """Find the first of the spans with most integrations, as a slice; one window moves over sorted flips."""
    inside: Counter[str] = Counter()
    most, fullest, end = 0, (0, 0), 0
    for first, begin in enumerate(flips):
        if begin.at > begins_by:
            break
        while end < len(flips) and flips[end].at - begin.at <= WITHIN:
            inside[flips[end].integration_id] += 1
            end += 1
        if len(inside) > most:
            most, fullest = len(inside), (first, end)
        inside[begin.integration_id] -= 1
        if not inside[begin.integration_id]:
            del inside[begin.integration_id]
    return fullest


def _moment(flip: Flip) -> datetime:
    return flip.at
