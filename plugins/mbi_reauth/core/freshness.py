"""Whether the times that an accepted answer tells are recent enough.

A time without a zone is a clock on a wall, and may mean more than one instant: in the hour that a clock
repeats in autumn, in the one that it leaves out in spring, on any moment of a mere date. The doubt counts in
favour: data are stale only if they are too old in the latest reading, and of the future only in every one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from mbi_reauth.core.answer import Answer, text_of
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.redact import redact
from mbi_reauth.core.verdict import Cause, Finding

CLOCKS_DIFFER_BY = timedelta(minutes=5)
"""How far a time may be ahead of our clock before it is called one of the future."""

_SQL_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)(?:[ T](?P<time>\d\d:\d\d(?::\d\d)?)(?:[.,]\d{1,9})?"
    r"\s?(?P<offset>Z|UTC|[+-]\d\d(?::?\d\d)?)?)?",
    re.IGNORECASE,
)
_ABBREVIATION = re.compile(r"[A-Z]{3,4}(?:\d[A-Z]{3})?")
_UNIVERSAL = ("UTC", "GMT")
_SHOWN = 60


class Span(NamedTuple):
    """The instants that a time may mean, first and last, in UTC; ``text`` is it as people read it."""

    first: datetime
    last: datetime
    text: str


@dataclass(frozen=True)
class Limit:
    """What is recent enough: times of ``zone`` that are not older than ``max_age``.

    ``format`` is that of :meth:`datetime.strptime`; without one, times are written as databases and ISO 8601
    write them, and one with an offset of its own needs no ``zone``.
    """

    zone: ZoneInfo
    max_age: timedelta
    format: str | None = None

    @classmethod
    def of(cls, *, zone: str, max_age_hours: str, format: str | None = None) -> Limit:  # noqa: A002
        """Read what a connection says.

        :param zone: a name of the IANA time zone database; ``EST`` and its like are refused, although some
            are such names, because they leave summer time out
        :raises ValueError: it says what cannot be; the message has the value and what would be right
        """
        return cls(_zone(zone), _age(max_age_hours), format)

    def read(self, text: str) -> Span | None:
        """Read one time; None if it is none."""
        written = text.strip()
        try:
            if self.format is None:
                return self._read_sql(written)
            return _span(datetime.strptime(written, self.format), self.zone, written)  # noqa: DTZ007
        except (ValueError, OverflowError):
            return None

    def _read_sql(self, written: str) -> Span | None:
        match = _SQL_TIME.fullmatch(written)
        if match is None:
            return None
        if match["time"] is None:
            day = date.fromisoformat(match["date"])
            start = _span(datetime(day.year, day.month, day.day), self.zone, written)  # noqa: DTZ001
            return start._replace(last=start.last + timedelta(days=1, seconds=-1))
        moment = datetime.fromisoformat(f"{match['date']} {match['time']}")
        return _span(moment.replace(tzinfo=_offset(match["offset"])), self.zone, written)

    def doubts(self, abbreviation: str, at: datetime) -> bool:
        """Tell whether the zone is never called so, which means that another one is meant."""
        year = (at.replace(month=month, day=1).astimezone(self.zone) for month in (1, 7))
        names = {moment.tzname() or "" for moment in year}
        return all(name.isalpha() for name in (abbreviation, *names)) and abbreviation not in names


def times_in(evidence: Evidence, path: str) -> list[list[str]]:
    """Find the texts at a path, each by itself; those of a list, as a table's row is, together."""
    return [
        [text for each in (value if isinstance(value, list) else [value]) if (text := text_of(each))]
        for value in Answer.of(evidence).values(path)
    ]


def with_freshness(  # noqa: PLR0913 - all by name
    finding: Finding,
    times: Sequence[Iterable[str]],
    limit: Limit,
    *,
    what: str,
    type_id: str,
    now: datetime,
    abbreviation: str = "",
) -> Finding:
    """Judge an accepted answer by its oldest time; a time that nobody can read judges nothing.

    :param times: as the answer tells them; of several told together, the latest counts
    :param what: what the time is of, such as "the end of the last update"
    :param abbreviation: what the third party calls its time zone; serves only to doubt the configured one
    """
    what = what[:1].upper() + what[1:]
    rows = [_latest(row, limit) for row in times]
    spans = [row for row in rows if row is not None]
    if not spans or len(spans) < len(rows):
        return _changed(finding, Cause.UNKNOWN, f"{type_id}.time_unreadable", _unreadable(what, times, limit))
    doubt = _doubt(abbreviation, limit, now)
    newest = max(spans, key=lambda span: span.first)
    if newest.first > now + CLOCKS_DIFFER_BY:
        ahead = _duration(newest.first - now)
        because = f"{what} is {newest.text}, {ahead} from now, so its age cannot be told."
        because += doubt or " Is the time zone right?"
        return _changed(finding, Cause.UNKNOWN, f"{type_id}.time_ahead", because)
    oldest = min(spans, key=lambda span: span.last)
    age = max(now - oldest.last, timedelta())
    told = f"{what} is {oldest.text}, {_duration(age)} ago"
    if age > limit.max_age:
        because = f"{told}; at most {_duration(limit.max_age)} are allowed.{doubt}"
        return _changed(finding, Cause.MBI_STALE, f"{type_id}.stale", because)
    return finding.model_copy(update={"explanation": f"{finding.explanation} {told}.{doubt}"})


def _doubt(abbreviation: str, limit: Limit, now: datetime) -> str:
    if not abbreviation or not limit.doubts(abbreviation, now):
        return ""
    called = redact(abbreviation, limit=_SHOWN)
    return f" It calls its time zone {called}, which {limit.zone.key} is not."


def _latest(row: Iterable[str], limit: Limit) -> Span | None:
    spans = [span for text in row if (span := limit.read(text)) is not None]
    return max(spans, key=lambda span: span.last) if spans else None


def _span(moment: datetime, zone: ZoneInfo, written: str) -> Span:
    placed = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    readings = [placed.replace(fold=fold).astimezone(timezone.utc) for fold in (0, 1)]
    text = written if moment.tzinfo is not None else f"{written} {zone.key}"
    return Span(min(readings), max(readings), text)


def _offset(text: str | None) -> tzinfo | None:
    if not text:
        return None
    if text.upper() in ("Z", "UTC"):
        return timezone.utc
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _zone(name: str) -> ZoneInfo:
    hint = "write a name of the IANA database, such as America/New_York"
    if _ABBREVIATION.fullmatch(name.upper()) and name.upper() not in _UNIVERSAL:
        raise ValueError(f"{name!r} is an abbreviation, which leaves summer time out; {hint}")
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        # A folder of the database or an unusable key are an OSError and a ValueError.
        raise ValueError(f"{name[:_SHOWN]!r} is no time zone; {hint}") from None


def _age(text: str) -> timedelta:
    try:
        age = timedelta(hours=float(text))
    except (ValueError, OverflowError):
        age = timedelta()
    if age <= timedelta():
        raise ValueError(f"{text[:_SHOWN]!r} is no number of hours; write one such as 26")
    return age


def _unreadable(what: str, times: Sequence[Iterable[str]], limit: Limit) -> str:
    written = [text for row in times if _latest(row, limit) is None for text in row]
    if not written:
        return f"{what} is missing from the answer, so nobody can say how old the data are."
    return f"{what} reads {redact(written[0], limit=_SHOWN)!r}, which is no time, so its age cannot be told."


def _changed(finding: Finding, cause: Cause, rule: str, because: str) -> Finding:
    return finding.model_copy(update={"cause": cause, "rule": rule, "explanation": because})


def _duration(span: timedelta) -> str:
    """Write a duration as people do: to the minute below two hours, in hours below two days."""
    minutes = round(span.total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours = span.total_seconds() / 3600
    return f"{hours:.1f} h".replace(".0 h", " h") if hours < 48 else f"{hours / 24:.1f} days"
