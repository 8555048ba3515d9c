from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.core.evidence import Driver, Endpoint, Evidence
from mbi_reauth.core.expiry import ExpiryWatch, thresholds, warning_due, watched, with_expiry
from mbi_reauth.core.verdict import Cause, Finding

DAY = "2026-12-01T00:00:00+00:00"
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
QUARTER = timedelta(minutes=15)


def expiry(body: Any, cause: Cause = Cause.AUTHORIZED) -> datetime | None:
    finding = Finding(cause=cause, rule="made_up.rule", explanation="As told.")
    evidence = Evidence(endpoint=Endpoint.PROBE, driver=Driver.POSTGRESQL, body=body)
    return with_expiry(finding, evidence).expires_at


@pytest.mark.parametrize("told", [DAY, "2026-12-01T02:00:00+02:00"])
def test_the_end_that_a_database_tells_is_kept_in_utc(told: str) -> None:
    found = expiry({"readable": True, "expires_at": told})
    assert found == datetime(2026, 12, 1, tzinfo=timezone.utc)
    assert found.tzinfo is timezone.utc


@pytest.mark.parametrize(
    "body",
    [
        {"readable": True},
        {"readable": True, "expires_at": None},
        {"readable": True, "expires_at": "soon"},
        {"readable": True, "expires_at": "2026-12-01T00:00:00"},
        {"readable": True, "expires_at": 1795518668},
        [{"expires_at": DAY}],
        "no body at all",
        None,
    ],
    ids=str,
)
def test_what_is_no_moment_is_no_end(body: Any) -> None:
    assert expiry(body) is None


def test_a_login_that_is_lost_has_no_end_any_more() -> None:
    assert expiry({"readable": True, "expires_at": DAY}, Cause.CREDENTIALS_REJECTED) is None


@pytest.mark.parametrize(
    ("days", "warned"),
    [
        (1, ()), (1.99, ()),
        (2, (1,)), (6.99, (1,)),
        (7, (3, 1)), (14, (3, 1)), (29.99, (3, 1)),
        (30, (7, 2)), (60, (7, 2)), (89.99, (7, 2)),
        (90, (14, 7, 2)), (179.99, (14, 7, 2)),
        (180, (30, 14, 7, 2)), (365, (30, 14, 7, 2)), (3650, (30, 14, 7, 2)),
        (0, ()), (-5, ()),
    ],
)  # fmt: skip
def test_the_longer_a_credential_lives_the_earlier_its_owner_is_warned(
    days: float, warned: tuple[int, ...]
) -> None:
    assert thresholds(timedelta(days=days)) == warned


@given(st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=4000)))
def test_warnings_come_one_after_the_other_and_none_before_half_of_the_life_is_over(
    lifetime: timedelta,
) -> None:
    warned = thresholds(lifetime)
    assert list(warned) == sorted(set(warned), reverse=True)
    assert all(timedelta() < timedelta(days=days) <= lifetime / 2 for days in warned)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def watch(ends: float, *, known: bool = True, warned: int | None = None, version: int = 1) -> ExpiryWatch:
    return ExpiryWatch(
        credential_version=version,
        expires_at=day(ends),
        seen_at=START,
        lifetime_known=known,
        warned_days=warned,
    )


def test_what_has_no_end_is_not_watched() -> None:
    assert watched(None, credential_version=1, expires_at=None, replaced=True, now=START) is None
    assert watched(watch(14), credential_version=1, expires_at=None, replaced=True, now=START) is None


@pytest.mark.parametrize("replaced", [True, False])
def test_only_a_credential_that_was_put_in_under_our_eyes_has_its_whole_life_before_it(
    *, replaced: bool
) -> None:
    seen = watched(None, credential_version=4, expires_at=day(14), replaced=replaced, now=START)
    assert seen == watch(14, known=replaced, version=4)


def test_a_new_credential_is_watched_anew_even_with_the_same_end() -> None:
    before = watch(14, known=False, warned=1)
    after = watched(before, credential_version=2, expires_at=day(14), replaced=True, now=day(13))
    assert after == watch(14, version=2).model_copy(update={"seen_at": day(13)})


@pytest.mark.parametrize("hours", [0, 1, -1, 23.9, -23.9])
def test_an_end_that_moves_by_less_than_a_day_is_the_same_end(hours: float) -> None:
    before = watch(14, warned=3)
    end = day(14) + timedelta(hours=hours)
    after = watched(before, credential_version=1, expires_at=end, replaced=False, now=day(12))
    assert after is not None
    assert (after.expires_at, after.warned_days, after.lifetime_known) == (end, 3, True)
    assert after.expires_at - after.seen_at == timedelta(days=14)


@pytest.mark.parametrize("known", [True, False])
def test_an_end_that_moves_on_by_a_day_begins_a_life_that_is_known(*, known: bool) -> None:
    before = watch(14, known=known, warned=1)
    after = watched(before, credential_version=1, expires_at=day(27), replaced=False, now=day(13))
    assert after == watch(27).model_copy(update={"seen_at": day(13)})


def test_an_end_that_was_brought_forward_is_warned_of_again() -> None:
    before = watch(300, known=False, warned=30)
    after = watched(before, credential_version=1, expires_at=day(299), replaced=False, now=day(271))
    assert after is not None
    assert not after.lifetime_known
    assert warning_due(after, now=day(271)) == 30


@pytest.mark.parametrize(
    ("now", "warned", "due"),
    [
        (10.99, None, None),
        (11, None, 3),
        (12.99, 3, None),
        (13, 3, 1),
        (13, None, 1),  # that of three days was missed; two emails would say the same
        (13.99, 1, None),
        (13.5, 2, 1),  # after a warning that a longer life once asked for
        (14, 3, None),  # it has ended; that is another email
        (20, None, None),
    ],
)
def test_of_a_token_of_fourteen_days_the_owner_is_warned_at_three_and_at_one(
    now: float, warned: int | None, due: int | None
) -> None:
    assert warning_due(watch(14, warned=warned), now=day(now)) == due


def test_a_lifetime_that_is_not_known_is_taken_for_a_year() -> None:
    assert warning_due(watch(31, known=False), now=START) is None
    assert warning_due(watch(20, known=False), now=START) == 30
    assert warning_due(watch(20, known=False, warned=30), now=day(6)) == 14


def test_a_token_of_a_day_is_not_warned_of() -> None:
    assert all(warning_due(watch(1), now=START + hour * timedelta(hours=1)) is None for hour in range(24))


class Owned:
    """One integration, checked again and again; its warnings as (version, days before the end)."""

    def __init__(self) -> None:
        self.watch: ExpiryWatch | None = None
        self.warnings: list[tuple[int, int]] = []

    def check(self, version: int, expires_at: datetime, now: datetime) -> None:
        replaced = version > 1
        self.watch = watched(
            self.watch, credential_version=version, expires_at=expires_at, replaced=replaced, now=now
        )
        assert self.watch is not None
        days = warning_due(self.watch, now=now)
        if days is not None:
            self.watch = self.watch.model_copy(update={"warned_days": days})
            self.warnings.append((version, days))


def test_in_five_years_a_token_of_fourteen_days_is_warned_of_twice_each_time() -> None:
    owned = Owned()
    now, version = START, 1
    while now < START + timedelta(days=5 * 365):
        end = now + timedelta(days=14)
        version += 1
        while now + QUARTER < end:
            owned.check(version, end, now)
            now += QUARTER
    assert version > 130
    assert owned.warnings == [(each, days) for each in range(2, version + 1) for days in (3, 1)]


@given(st.integers(2, 400), st.integers(3, 12), st.integers(-11, 11))
def test_each_threshold_is_warned_of_once_however_the_end_wavers(
    lifetime: int, every: int, wavers: int
) -> None:
    owned = Owned()
    for hour in range(0, lifetime * 24 - 11, every):
        owned.check(2, day(lifetime), START + timedelta(hours=hour))
        owned.check(2, day(lifetime) + timedelta(hours=wavers), START + timedelta(hours=hour))
    assert owned.warnings == [(2, days) for days in thresholds(timedelta(days=lifetime))]


@pytest.mark.parametrize("lifetime", [3, 14, 100])
@pytest.mark.parametrize("every", [QUARTER, timedelta(hours=6), timedelta(days=1), timedelta(days=1.5)])
def test_a_life_that_each_use_begins_anew_is_never_warned_of(lifetime: int, every: timedelta) -> None:
    owned = Owned()
    for number in range(2 * 365 * timedelta(days=1) // every):
        now = START + number * every
        owned.check(2, now + timedelta(days=lifetime), now)
    assert owned.warnings == []
