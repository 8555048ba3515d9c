"""The hours in which nobody is reminded or warned, by the owner's own clock.

What counts is what a clock on the owner's wall shows. An hour that it shows twice is quiet twice; one that it
leaves out takes an end that falls into it along.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from datetime import datetime, time, timedelta, timezone
from typing import NamedTuple
from zoneinfo import ZoneInfo

_CLOCK = r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9]"
_SPAN = re.compile(rf"(?P<start>{_CLOCK})\s*-\s*(?P<end>{_CLOCK})")
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class QuietHours(NamedTuple):
    """From ``start`` until before ``end``, over midnight if the end is earlier; never if it is the same."""

    start: time
    end: time

    def cover(self, clock: time) -> bool:
        """Tell whether it is quiet when a clock shows this."""
        if self.start <= self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end


def quiet_hours(text: str) -> QuietHours | None:
    """Read ``[mbi_reauth] quiet_hours``, such as ``20:00-08:00``; None for an empty text.

    :raises ValueError: it is something else; the message says what to write
    """
    written = text.strip()
    if not written:
        return None
    span = _SPAN.fullmatch(written)
    if span is None:
        raise ValueError(
            f"[mbi_reauth] quiet_hours: {written[:60]!r} is no span of a day; write two times from 00:00 to "
            "23:59, such as 20:00-08:00, or nothing at all for no quiet hours"
        )
    return QuietHours(_time(span["start"]), _time(span["end"]))


def quiet_until(moment: datetime, zone: str, quiet: QuietHours | None) -> datetime | None:
    """Find the first moment after a quiet one that is quiet no more, in UTC; None if the moment is not quiet.

    :param moment: an aware one
    :param zone: an IANA name
    :raises zoneinfo.ZoneInfoNotFoundError: there is no such time zone
    """
    clock = ZoneInfo(zone)
    found = moment.astimezone(timezone.utc)
    while quiet is not None and quiet.cover(found.astimezone(clock).time()):
        found = _next(found, clock, quiet.end)
    return found if found > moment else None


def _next(moment: datetime, zone: ZoneInfo, end: time) -> datetime:
    """Go to where the clock shows the end, or to where it is changed, if that comes first."""
    shown = moment.astimezone(zone).replace(tzinfo=None)
    ends = datetime.combine(shown, end)
    if ends <= shown:
        ends += _DAY
    unchanged = moment + (ends - shown)
    return _change(moment, unchanged, zone) or unchanged


def _change(after: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
    """Find the second in which the clock is changed between two moments; None if it is not.

    They are at most a day apart, and the clock is changed once at most: since 1970, two changes of a zone are
    six days apart or more (read from the IANA time zone database).
    """
    offset = after.astimezone(zone).utcoffset()
    if until.astimezone(zone).utcoffset() == offset:
        return None
    whole = after.replace(microsecond=0)
    seconds = range(-(-(until - whole) // _SECOND) + 1)
    changed = bisect_left(
        seconds, True, key=lambda each: (whole + each * _SECOND).astimezone(zone).utcoffset() != offset
    )
    return whole + changed * _SECOND


def _time(clock: str) -> time:
    hour, minute = clock.split(":")
    return time(int(hour), int(minute))
