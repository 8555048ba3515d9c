from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mbi_reauth.core.quiet import QuietHours, quiet_hours, quiet_until

NIGHT = QuietHours(time(20), time(8))
MINUTE = timedelta(minutes=1)
ZONES = [
    "Europe/Amsterdam",
    "America/New_York",
    "America/Havana",  # changes at midnight and at 01:00
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kolkata",
    "Pacific/Apia",  # left a whole day out in 2011
    "UTC",
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def is_quiet(moment: datetime, zone: str, quiet: QuietHours) -> bool:
    """The meaning of quiet hours, minute by minute of a day."""
    shown = moment.astimezone(ZoneInfo(zone))
    at, start, end = ((each.hour * 60 + each.minute) for each in (shown, quiet.start, quiet.end))
    return (at - start) % 1440 < (end - start) % 1440


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("20:00-08:00", NIGHT),
        (" 20:00 - 8:00 ", NIGHT),
        ("12:30-13:15", QuietHours(time(12, 30), time(13, 15))),
        ("00:00-23:59", QuietHours(time(0), time(23, 59))),
        ("", None),
        ("  ", None),
    ],
)
def test_quiet_hours_are_two_times_of_a_day(text: str, read: QuietHours | None) -> None:
    assert quiet_hours(text) == read


@pytest.mark.parametrize(
    "text", ["20-8", "20:00", "20:00-24:00", "20:60-08:00", "8pm-8am", "never", "20:00-08:00-", "٢٠:00-08:00"]
)
def test_what_is_no_span_of_a_day_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"\[mbi_reauth\] quiet_hours: .*such as 20:00-08:00"):
        quiet_hours(text)


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("2026-07-01 17:59:59", None),  # 19:59:59 in Amsterdam
        ("2026-07-01 18:00:00", "2026-07-02 06:00:00"),
        ("2026-07-01 22:30:00", "2026-07-02 06:00:00"),  # after midnight there
        ("2026-07-02 05:59:59", "2026-07-02 06:00:00"),
        ("2026-07-02 06:00:00", None),
        ("2026-01-01 19:00:00", "2026-01-02 07:00:00"),  # in winter
    ],
)
def test_it_is_quiet_by_the_clock_of_the_owner(moment: str, until: str | None) -> None:
    found = quiet_until(utc(moment), "Europe/Amsterdam", NIGHT)
    assert found == (utc(until) if until is not None else None)


def test_the_same_moment_is_quiet_for_one_owner_and_not_for_another() -> None:
    moment = utc("2026-07-01 21:00:00")
    assert quiet_until(moment, "Europe/Amsterdam", NIGHT) is not None
    assert quiet_until(moment, "America/New_York", NIGHT) is None


def test_the_end_is_told_in_utc_whatever_zone_the_moment_is_in() -> None:
    moment = datetime(2026, 7, 1, 23, 0, 0, 250, tzinfo=ZoneInfo("Asia/Kolkata"))
    found = quiet_until(moment, "Asia/Kolkata", NIGHT)
    assert found == utc("2026-07-02 02:30:00")
    assert found.tzinfo is timezone.utc


@pytest.mark.parametrize(
    ("clock", "until"),
    [("11:59:59", None), ("12:00:00", "13:00:00"), ("12:59:59", "13:00:00"), ("13:00:00", None)],
)
def test_hours_within_one_day_are_quiet_from_their_first_moment(clock: str, until: str | None) -> None:
    found = quiet_until(utc(f"2026-07-01 {clock}"), "UTC", QuietHours(time(12), time(13)))
    assert found == (utc(f"2026-07-01 {until}") if until else None)


@pytest.mark.parametrize("quiet", [None, QuietHours(time(8), time(8))])
def test_without_quiet_hours_no_moment_is_quiet(quiet: QuietHours | None) -> None:
    assert all(quiet_until(utc(f"2026-07-01 {hour:02}:00:00"), "UTC", quiet) is None for hour in range(24))


# Amsterdam's clocks went from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on 25 October.


@pytest.mark.parametrize(
    ("moment", "until"),
    [("2026-03-28 19:00:00", "2026-03-29 06:00:00"), ("2026-10-24 18:00:00", "2026-10-25 07:00:00")],
)
def test_a_night_in_which_the_clock_is_changed_ends_when_the_clock_says_so(moment: str, until: str) -> None:
    assert quiet_until(utc(moment), "Europe/Amsterdam", NIGHT) == utc(until)


def test_an_end_that_the_clock_leaves_out_is_when_it_is_put_forward() -> None:
    quiet = QuietHours(time(22), time(2, 30))
    put_forward = utc("2026-03-29 01:00:00")
    for moment in ("2026-03-29 00:10:00", "2026-03-29 00:59:59.250000"):
        assert quiet_until(utc(moment), "Europe/Amsterdam", quiet) == put_forward


def test_an_hour_that_comes_twice_is_quiet_twice() -> None:
    quiet = QuietHours(time(22), time(2, 30))
    first_half_hour, pause, second_half_hour = (
        quiet_until(utc(f"2026-10-25 {clock}:00"), "Europe/Amsterdam", quiet)
        for clock in ("00:10", "00:40", "01:10")
    )
    assert first_half_hour == utc("2026-10-25 00:30:00")
    assert pause is None
    assert second_half_hour == utc("2026-10-25 01:30:00")


def test_a_clock_that_is_put_back_to_before_the_start_ends_the_quiet() -> None:
    quiet = QuietHours(time(2, 30), time(8))
    assert quiet_until(utc("2026-10-25 00:45:00"), "Europe/Amsterdam", quiet) == utc("2026-10-25 01:00:00")


def test_a_zone_that_is_none_is_an_error() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        quiet_until(utc("2026-07-01 12:00:00"), "Mars/Olympus", NIGHT)


clocks = st.times().map(lambda each: each.replace(second=0, microsecond=0))
moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2036, 1, 1))  # noqa: DTZ001 - in UTC
# days on which a clock is changed are too rare to be met by chance
changes = st.sampled_from([
    utc("2026-03-29 01:00:00"), utc("2026-10-25 01:00:00"),
    utc("2026-03-08 05:00:00"), utc("2026-11-01 05:00:00"),
    utc("2026-04-04 15:00:00"), utc("2026-10-03 15:30:00"),
    utc("2011-12-30 10:00:00"),
])  # fmt: skip
near_changes = st.builds(lambda change, minutes: change + minutes * MINUTE, changes, st.integers(-1500, 200))


@given(
    moments.map(lambda each: each.replace(tzinfo=timezone.utc, second=0, microsecond=0)) | near_changes,
    st.sampled_from(ZONES),
    st.builds(QuietHours, clocks, clocks),
)
@example(utc("2026-03-08 04:30:00"), "America/Havana", QuietHours(time(22), time(0, 30)))
def test_quiet_ends_at_the_first_minute_that_is_not_quiet(
    moment: datetime, zone: str, quiet: QuietHours
) -> None:
    found = quiet_until(moment, zone, quiet)
    if found is None:
        assert not is_quiet(moment, zone, quiet)
        return
    assert not is_quiet(found, zone, quiet)
    minutes = (found - moment) // MINUTE
    assert 0 < minutes <= 2 * 1440
    assert moment + minutes * MINUTE == found
    assert all(is_quiet(moment + minute * MINUTE, zone, quiet) for minute in range(minutes))


@given(
    moments.map(lambda each: each.replace(tzinfo=timezone.utc)),
    st.sampled_from(ZONES),
    st.builds(QuietHours, st.times(), st.times()),
)
def test_a_moment_between_two_minutes_is_no_exception(moment: datetime, zone: str, quiet: QuietHours) -> None:
    found = quiet_until(moment, zone, quiet)
    if found is not None:
        assert found > moment
        assert quiet_until(found, zone, quiet) is None
        assert quiet_until(found - timedelta(microseconds=1), zone, quiet) == found
