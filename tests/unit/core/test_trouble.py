from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest

from mbi_reauth.core.notice import Reason
from mbi_reauth.core.trouble import LASTS_CHECKS, Trouble, follow
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Finding, Verdict

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
SILENCE = [
    cause for cause, verdict in VERDICT_OF.items() if verdict in (Verdict.UNAVAILABLE, Verdict.INDETERMINATE)
]
WRONG = [cause for cause, verdict in VERDICT_OF.items() if verdict is Verdict.MISCONFIGURED]
LOST = [cause for cause, verdict in VERDICT_OF.items() if verdict is Verdict.NEEDS_REAUTH]
OUTAGE, OTHER_SILENCE = Cause.PROVIDER_OUTAGE, Cause.UNKNOWN
DENIED, SUNSET = Cause.NETWORK_DENIED, Cause.PROVIDER_SUNSET
HOUR = 60.0


@dataclass
class Watch:
    """One integration's checks, at minutes from the start, and what engineers were told of them."""

    trouble: Trouble | None = None
    told: list[tuple[float, Reason]] = field(default_factory=list)

    def sees(self, minute: float, cause: Cause, *, checked: float | None = None) -> Reason | None:
        now = START + timedelta(minutes=minute)
        checked_at = now if checked is None else START + timedelta(minutes=checked)
        finding = Finding(cause=cause, rule="test.rule", explanation="-")
        self.trouble, tell = follow(self.trouble, finding, checked_at, now=now)
        if tell is not None:
            self.told.append((minute, tell))
        return tell


def silent(*minutes: float) -> Watch:
    watch = Watch()
    for minute in minutes:
        watch.sees(minute, OUTAGE)
    return watch


@pytest.mark.parametrize("cause", WRONG)
def test_a_wrong_set_up_is_told_at_once_and_once(cause: Cause) -> None:
    watch = Watch()
    for minute in (0, 15, 3 * HOUR, 50 * HOUR):
        watch.sees(minute, cause)
    assert watch.told == [(0, Reason.MISCONFIGURED)]


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        ((0, 15, 30), [30]),
        ((0, 15, 29.9), []),  # three checks, and less than half an hour
        ((0, 30), []),  # half an hour, and two checks
        ((0, 90), []),
        ((0, 1, 2, 29, 31, 45, 60), [31]),
    ],
)
def test_silence_is_told_after_three_checks_and_half_an_hour(
    minutes: tuple[float, ...], told: list[float]
) -> None:
    assert silent(*minutes).told == [(minute, Reason.LASTING) for minute in told]


@pytest.mark.parametrize("cause", SILENCE)
def test_how_an_answer_fails_to_come_may_vary(cause: Cause) -> None:
    watch = silent(0, 15)
    assert watch.sees(30, cause) is Reason.LASTING


def test_a_finding_that_is_reported_again_is_no_further_check() -> None:
    watch = silent(0)
    for minute in (10, 31, 40):
        assert watch.sees(minute, OUTAGE, checked=0) is None
    assert watch.trouble is not None
    assert watch.trouble.checks == 1


def test_checks_that_are_reported_late_do_not_last_longer_for_that() -> None:
    watch = Watch()
    for checked in (0, 1, 2):
        assert watch.sees(45, OUTAGE, checked=checked) is None


def test_silence_of_long_ago_that_ended_does_not_count() -> None:
    watch = silent(0, 15)
    watch.sees(20, Cause.AUTHORIZED)
    assert [watch.sees(minute, OUTAGE) for minute in (30, 45, 60)] == [None, None, Reason.LASTING]


def test_an_access_token_that_ran_out_says_nothing_either_way() -> None:
    watch = silent(0, 15)
    before = watch.trouble
    assert watch.sees(20, Cause.ACCESS_TOKEN_EXPIRED) is None
    assert watch.trouble == before


@pytest.mark.parametrize("cause", LOST)
def test_a_loss_ends_silence_and_is_no_good_news(cause: Cause) -> None:
    watch = silent(0, 15, 30)
    assert watch.sees(45, cause) is None
    assert watch.sees(60, Cause.AUTHORIZED) is None
    assert watch.trouble is not None
    assert watch.trouble.over_at == START + timedelta(minutes=45)


def test_engineers_hear_that_it_works_again_once_and_only_if_they_heard_of_the_trouble() -> None:
    watch = silent(0, 15, 30)
    assert [watch.sees(minute, Cause.AUTHORIZED) for minute in (45, 60)] == [Reason.WORKS_AGAIN, None]
    watch = silent(0, 15)
    assert watch.sees(20, Cause.AUTHORIZED) is None


def test_what_works_is_no_trouble() -> None:
    watch = Watch()
    assert watch.sees(0, Cause.AUTHORIZED) is None
    assert watch.trouble is None


@pytest.mark.parametrize("cause", [DENIED, OUTAGE])
def test_trouble_that_comes_and_goes_is_told_once_a_day(cause: Cause) -> None:
    watch = Watch()
    for hour in range(0, 72, 2):
        for quarter in range(5):
            watch.sees(hour * HOUR + 15 * quarter, cause)
        watch.sees((hour + 1.5) * HOUR, Cause.AUTHORIZED)
    reasons = [reason for _, reason in watch.told]
    assert reasons == [Reason.MISCONFIGURED if cause is DENIED else Reason.LASTING, Reason.WORKS_AGAIN] * 3


def test_trouble_that_comes_back_and_stays_is_told_when_the_day_is_over() -> None:
    watch = Watch()
    watch.sees(0, DENIED)
    watch.sees(60, Cause.AUTHORIZED)
    told = [watch.sees(hour * HOUR, DENIED) for hour in range(2, 100)]
    assert [hour for hour, tell in enumerate(told, start=2) if tell is Reason.MISCONFIGURED] == [24]
    assert watch.sees(101 * HOUR, Cause.AUTHORIZED) is Reason.WORKS_AGAIN


def test_a_day_is_counted_from_when_engineers_were_told() -> None:
    watch = Watch()
    watch.sees(0, DENIED)
    watch.sees(30 * HOUR, Cause.AUTHORIZED)
    assert watch.sees(31 * HOUR, DENIED) is Reason.MISCONFIGURED


def test_another_fault_is_told_at_once() -> None:
    watch = Watch()
    watch.sees(0, DENIED)
    assert watch.sees(15, SUNSET) is Reason.MISCONFIGURED


def test_faults_that_alternate_are_each_told_once() -> None:
    watch = Watch()
    for quarter in range(0, 400, 2):
        watch.sees(15 * quarter, DENIED)
        watch.sees(15 * (quarter + 1), OUTAGE)
    assert watch.told == [(0, Reason.MISCONFIGURED)]


def test_it_works_again_whatever_engineers_were_told_first() -> None:
    watch = Watch()
    watch.sees(0, DENIED)
    watch.sees(15, OUTAGE)
    assert watch.sees(30, Cause.AUTHORIZED) is Reason.WORKS_AGAIN


def test_nothing_works_again_of_which_engineers_heard_only_before_it_last_worked() -> None:
    watch = Watch()
    watch.sees(0, DENIED)
    watch.sees(10, Cause.AUTHORIZED)
    watch.sees(20, OUTAGE)
    watch.sees(30, DENIED)
    assert watch.sees(40, Cause.AUTHORIZED) is None


def test_a_fault_that_comes_back_between_others_is_not_told_again() -> None:
    watch = Watch()
    for hour, cause in ((0, DENIED), (30, SUNSET), (60, DENIED)):
        watch.sees(hour * HOUR, cause)
    assert [round(minute / HOUR) for minute, _ in watch.told] == [0, 30]


def test_each_silence_between_faults_begins_anew() -> None:
    watch = silent(0, 15)
    watch.sees(20, DENIED)
    assert watch.sees(30, OTHER_SILENCE) is None
    assert watch.trouble is not None
    assert (watch.trouble.checks, watch.trouble.since) == (1, START + timedelta(minutes=30))


def test_what_engineers_were_not_told_after_all_is_told_the_next_time() -> None:
    watch = Watch()
    watch.sees(0, DENIED)
    watch.sees(10, Cause.AUTHORIZED)
    assert watch.trouble is not None
    watch.trouble = watch.trouble.forget([DENIED])
    assert not watch.trouble.was_told
    assert watch.sees(20, DENIED) is Reason.MISCONFIGURED


def test_what_engineers_were_told_beside_it_is_not_forgotten_along() -> None:
    watch = silent(0, 15, 30)
    watch.sees(45, DENIED)
    assert watch.trouble is not None
    assert watch.trouble.forget([DENIED]).was_told
    assert not watch.trouble.forget([DENIED, OTHER_SILENCE]).was_told


def test_the_number_of_checks_is_told() -> None:
    watch = silent(*range(0, 15 * LASTS_CHECKS, 15))
    assert watch.trouble is not None
    assert watch.trouble.checks == LASTS_CHECKS
