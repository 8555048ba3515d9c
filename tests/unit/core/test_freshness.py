"""How old an answer's times are: by which clock, in which reading, and what nobody can read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.freshness import Limit, times_in, with_freshness
from mbi_reauth.core.verdict import Cause, Finding, Verdict

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
FINE = Finding(cause=Cause.AUTHORIZED, rule="mbi.ok", explanation="The key is accepted.")
NEW_YORK = Limit.of(zone="America/New_York", max_age_hours="26")


def judged(
    *times: str, now: datetime = NOON, limit: Limit = NEW_YORK, abbreviation: str = "", row: bool = False
) -> Finding:
    return with_freshness(
        FINE,
        [list(times)] if row else [[text] for text in times],
        limit,
        what="the end of the last update",
        type_id="mbi",
        now=now,
        abbreviation=abbreviation,
    )


@pytest.mark.parametrize(
    ("ended", "cause"),
    [
        ("2026-11-24 06:59:00", Cause.AUTHORIZED),  # a minute ago, by New York's clock
        ("2026-11-23 05:00:00", Cause.AUTHORIZED),  # 26 hours ago
        ("2026-11-23 04:59:59", Cause.MBI_STALE),
        ("2026-11-23 08:00:00", Cause.AUTHORIZED),  # 23 hours, which would be 28 if it were UTC
        ("2024-02-29 00:00:00", Cause.MBI_STALE),
    ],
)
def test_age_is_measured_by_the_configured_time_zone(ended: str, cause: Cause) -> None:
    assert judged(ended).cause is cause


def test_what_is_fresh_says_how_fresh_and_stays_what_it_was() -> None:
    finding = judged("2026-11-24 04:30:00")
    assert (finding.cause, finding.rule) == (Cause.AUTHORIZED, "mbi.ok")
    assert finding.explanation == (
        "The key is accepted. The end of the last update is 2026-11-24 04:30:00 America/New_York, 2.5 h ago."
    )


def test_what_is_stale_says_how_old_it_is_and_how_old_it_may_be() -> None:
    finding = judged("2026-11-20 03:00:00")
    assert finding.rule == "mbi.stale"
    assert finding.explanation == (
        "The end of the last update is 2026-11-20 03:00:00 America/New_York, 4.2 days ago; "
        "at most 26 h are allowed."
    )


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13-01 00:00:00", "24/11/2026", "2026-02-30 10:00:00", "1764000000"]
)
def test_what_is_no_time_is_neither_fresh_nor_stale(text: str) -> None:
    finding = judged(text)
    assert (finding.verdict, finding.rule) == (Verdict.INDETERMINATE, "mbi.time_unreadable")
    assert "The end of the last update" in finding.explanation


def test_a_missing_time_is_said_to_be_missing() -> None:
    finding = with_freshness(FINE, [], NEW_YORK, what="the end", type_id="mbi", now=NOON)
    assert finding.verdict is Verdict.INDETERMINATE
    assert "is missing from the answer" in finding.explanation


def test_a_time_of_the_future_is_indeterminate_and_asks_for_the_time_zone() -> None:
    finding = judged("2026-11-24 12:00:00")  # 17:00 UTC
    assert (finding.verdict, finding.rule) == (Verdict.INDETERMINATE, "mbi.time_ahead")
    assert "5 h from now" in finding.explanation
    assert "Is the time zone right?" in finding.explanation


def test_a_clock_that_is_a_little_ahead_is_no_future() -> None:
    assert judged("2026-11-24 07:04:00").cause is Cause.AUTHORIZED


# New York's clocks went from 02:00 to 03:00 on 8 March 2026, and from 02:00 back to 01:00 on 1 November.


def test_in_the_hour_that_comes_twice_the_later_reading_counts_against_staleness() -> None:
    second = datetime(
        2026, 11, 1, 6, 30, tzinfo=timezone.utc
    )  # 01:30 EST; the first 01:30 was an hour earlier
    at_limit = second + timedelta(hours=26)
    assert judged("2026-11-01 01:30:00", now=at_limit).cause is Cause.AUTHORIZED
    assert judged("2026-11-01 01:30:00", now=at_limit + timedelta(seconds=1)).cause is Cause.MBI_STALE


def test_in_the_hour_that_comes_twice_the_earlier_reading_counts_against_the_future() -> None:
    first = datetime(2026, 11, 1, 5, 31, tzinfo=timezone.utc)
    assert judged("2026-11-01 01:30:00", now=first).cause is Cause.AUTHORIZED


def test_an_hour_that_does_not_exist_is_read_in_favour() -> None:
    later = datetime(2026, 3, 8, 7, 30, tzinfo=timezone.utc)  # 02:30, had the clock not been put forward
    assert judged("2026-03-08 02:30:00", now=later + timedelta(hours=26)).cause is Cause.AUTHORIZED
    assert judged("2026-03-08 02:30:00", now=later - timedelta(minutes=50)).cause is Cause.AUTHORIZED


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T11:00:00Z",
        "2026-11-24 11:00:00.123456+00",
        "2026-11-24 12:00:00+01:00",
        "2026-11-24T06:00:00-0500",
        "2026-11-24 11:00 UTC",
    ],
)
def test_an_offset_of_its_own_outranks_the_configured_zone(text: str) -> None:
    finding = judged(text)
    assert finding.explanation.endswith(f"is {text}, 60 min ago.")


@pytest.mark.parametrize(
    ("text", "cause"),
    [("2026-11-24", Cause.AUTHORIZED), ("2026-11-22", Cause.MBI_STALE), ("2026-11-26", Cause.UNKNOWN)],
)
def test_a_date_may_mean_any_moment_of_its_day(text: str, cause: Cause) -> None:
    assert judged(text).cause is cause


def test_the_oldest_of_several_decides() -> None:
    assert judged("2026-11-24 06:00:00", "2026-11-20 06:00:00").cause is Cause.MBI_STALE


def test_of_times_in_one_row_the_latest_counts_and_what_is_no_time_is_passed_over() -> None:
    assert judged("orders", "2026-11-20 06:00:00", "2026-11-24 06:00:00", row=True).cause is Cause.AUTHORIZED


def test_one_row_without_a_time_leaves_the_whole_untold() -> None:
    finding = judged("2026-11-24 06:00:00", "no rows")
    assert (finding.verdict, finding.rule) == (Verdict.INDETERMINATE, "mbi.time_unreadable")
    assert "'no rows'" in finding.explanation


@pytest.mark.parametrize(
    ("abbreviation", "doubted"), [("EST", False), ("EDT", False), ("CET", True), ("-05", False), ("", False)]
)
def test_another_abbreviation_than_the_zones_casts_doubt_and_decides_nothing(
    abbreviation: str, *, doubted: bool
) -> None:
    for ended in ("2026-11-24 06:00:00", "2026-11-01 06:00:00", "2026-11-24 20:00:00"):
        finding = judged(ended, abbreviation=abbreviation)
        assert finding.cause is judged(ended).cause
        assert (f"calls its time zone {abbreviation}, which" in finding.explanation) is doubted


def test_a_format_of_its_own_is_read() -> None:
    limit = Limit.of(zone="UTC", max_age_hours="1", format="%d.%m.%Y %H:%M")
    assert judged("24.11.2026 11:30", limit=limit).cause is Cause.AUTHORIZED
    assert judged("2026-11-24 11:30:00", limit=limit).rule == "mbi.time_unreadable"


@pytest.mark.parametrize(
    "zone", ["EST", "est", "CET", "EST5EDT", "Mars/Olympus", "America", "", "../etc/passwd", "\x00"]
)
def test_what_is_no_zone_of_the_database_is_refused_with_an_example(zone: str) -> None:
    with pytest.raises(ValueError, match="America/New_York"):
        Limit.of(zone=zone, max_age_hours="26")


@pytest.mark.parametrize("hours", ["", "soon", "0", "-3", "nan", "inf", "1e300"])
def test_what_is_no_number_of_hours_is_refused(hours: str) -> None:
    with pytest.raises(ValueError, match="hours"):
        Limit.of(zone="UTC", max_age_hours=hours)


@pytest.mark.parametrize(
    ("body", "path", "found"),
    [
        ({"job": {"end": "x"}}, "job.end", [["x"]]),
        ({"job": None}, "job.end", []),
        ({"rows": [["orders", "x"], ["y"]]}, "rows.*", [["orders", "x"], ["y"]]),
        ({"rows": [[None, {}], []]}, "rows.*", [[], []]),
    ],
)
def test_times_are_found_each_by_itself_and_those_of_a_row_together(body: Any, path: str, found: Any) -> None:
    assert times_in(Evidence(endpoint=Endpoint.PROBE, status_code=200, body=body), path) == found


@given(
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2036, 1, 1)),  # noqa: DTZ001 - wall clocks
    st.sampled_from(["America/New_York", "Europe/Amsterdam", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]),
    st.timedeltas(min_value=timedelta(hours=-72), max_value=timedelta(hours=72)),
)
def test_stale_is_never_said_of_what_some_reading_finds_young(
    ended: datetime, zone: str, past: timedelta
) -> None:
    limit = Limit.of(zone=zone, max_age_hours="24")
    text = f"{ended:%Y-%m-%d %H:%M:%S}"
    span = limit.read(text)
    assert span is not None
    finding = judged(text, now=span.last + past, limit=limit)
    assert (finding.cause is Cause.MBI_STALE) == (past > timedelta(hours=24))
    assert (finding.rule == "mbi.time_ahead") == (span.first > span.last + past + timedelta(minutes=5))


@given(st.text(max_size=40))
def test_any_text_at_all_is_judged_without_an_error(text: str) -> None:
    assert judged(text).cause in (Cause.UNKNOWN, Cause.MBI_STALE, Cause.AUTHORIZED)
