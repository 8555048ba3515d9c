"""Dates and texts as a reader's language has them."""

from __future__ import annotations

from datetime import date, datetime, timezone

import pytest

from mbi_reauth import catalogue
from mbi_reauth.notifications.language import language

AT = datetime(2026, 11, 24, 2, 15, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("locale", "zone", "told"),
    [
        ("en", "UTC", "24 November 2026, 02:15 UTC"),
        ("en", "Europe/Amsterdam", "24 November 2026, 03:15 (Amsterdam time)"),
        ("en", "America/New_York", "23 November 2026, 21:15 (New York time)"),
        ("en", "America/Argentina/Buenos_Aires", "23 November 2026, 23:15 (Buenos Aires time)"),
        ("en", "CET", "24 November 2026, 03:15 CET"),
        ("en", "Etc/GMT+3", "23 November 2026, 23:15 -0300"),
        ("nl", "UTC", "24 november 2026, 02:15 UTC"),
        ("nl", "Europe/London", "24 november 2026, 02:15 (tijd in Londen)"),
    ],
)
def test_a_moment_says_whose_clock_it_goes_by(locale: str, zone: str, told: str) -> None:
    assert language(locale).moment(AT, zone) == told


def test_a_summer_moment_goes_by_summer_time() -> None:
    july = datetime(2026, 7, 1, 22, 30, tzinfo=timezone.utc)
    assert language("nl").moment(july, "Europe/Amsterdam") == "2 juli 2026, 00:30 (tijd in Amsterdam)"


@pytest.mark.parametrize(("locale", "told"), [("en", "1 March 2027"), ("nl", "1 maart 2027")])
def test_a_day_is_written_out(locale: str, told: str) -> None:
    assert language(locale).day(date(2027, 3, 1)) == told


@pytest.mark.parametrize(
    ("locale", "number", "told"),
    [("en", 1, "1 day"), ("en", 7, "7 days"), ("nl", 1, "1 dag"), ("nl", 7, "7 dagen")],
)
def test_days_are_counted_as_the_language_does(locale: str, number: int, told: str) -> None:
    assert language(locale).days(number) == told


@pytest.mark.parametrize(
    ("locale", "code"),
    [
        ("nl", "nl"),
        ("nl_NL", "nl"),
        ("nl-BE", "nl"),
        ("en", "en"),
        ("en_US", "en"),
        ("xx", "en"),
        ("../nl", "en"),
    ],
)
def test_a_locale_reads_the_nearest_language_there_is(locale: str, code: str) -> None:
    assert language(locale).code == code


def test_both_domains_are_one_language() -> None:
    dutch = language("nl")
    assert dutch.gettext("What to do") == "Wat u kunt doen"
    step = catalogue.load("quickbooks").model.owner_steps.airflow[0]
    assert dutch.gettext(step) != step


def test_no_text_stays_no_text() -> None:
    assert language("nl").gettext("") == ""


def test_a_sites_own_step_stays_as_it_was_written() -> None:
    assert language("nl").gettext("Ask Robin.") == "Ask Robin."
