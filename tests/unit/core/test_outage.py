from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.core.outage import AT_LEAST, HELD_FOR, WITHIN, Flip, Outage, outage_around, outage_before

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def lost(integration_id: str, minute: float) -> Flip:
    return Flip(integration_id, START + timedelta(minutes=minute))


def losses(*minutes: float) -> list[Flip]:
    """Losses of as many integrations, a, b, c and so on."""
    return [lost(chr(ord("a") + number), minute) for number, minute in enumerate(minutes)]


def ids(outage: Outage | None) -> str:
    return "".join(outage.integration_ids) if outage is not None else ""


@pytest.mark.parametrize(
    ("minutes", "integrations", "found"),
    [
        ((0, 5, 10), 5, "abc"),
        ((0, 5, 10.01), 5, ""),  # not within ten minutes
        ((0, 5), 2, ""),  # all, and fewer than three
        ((0, 5, 10), 6, ""),  # half, and not more
        ((0, 1, 2, 3), 7, "abcd"),
        ((0, 0, 0), 3, "abc"),
    ],
)
def test_an_outage_is_three_and_more_than_half_within_ten_minutes(
    minutes: tuple[float, ...], integrations: int, found: str
) -> None:
    flips = losses(*minutes)
    assert all(ids(outage_around(flip, flips, integrations=integrations)) == found for flip in flips)


def test_an_outage_begins_with_its_first_loss_and_is_held_for_an_hour() -> None:
    flips = [lost("c", 7), lost("a", 2), lost("b", 3)]
    outage = outage_around(flips[0], flips, integrations=3)
    began_at = START + timedelta(minutes=2)
    assert outage == Outage(began_at, began_at + timedelta(hours=1), ("a", "b", "c"))


def test_one_integration_that_is_lost_again_and_again_is_one() -> None:
    flips = [lost("a", minute) for minute in range(8)] + [lost("b", 8)]
    assert outage_around(flips[0], flips, integrations=3) is None


def test_a_loss_before_or_after_an_outage_is_no_part_of_it() -> None:
    flips = [*losses(0, 1, 2), lost("early", -20), lost("late", 20)]
    assert outage_around(flips[3], flips, integrations=5) is None
    assert outage_around(flips[4], flips, integrations=5) is None
    assert ids(outage_around(flips[0], flips, integrations=5)) == "abc"


def test_of_two_spans_the_one_with_most_integrations_counts() -> None:
    flips = losses(0, 8, 9, 16, 17)
    assert ids(outage_around(flips[2], flips, integrations=5)) == "bcde"


def test_of_two_spans_with_as_many_integrations_the_earlier_counts() -> None:
    flips = losses(0, 1, 9, 17, 18)
    assert ids(outage_around(flips[2], flips, integrations=5)) == "abc"


def test_two_outages_on_one_day_are_two() -> None:
    flips = [*losses(0, 1, 2), lost("a", 120), lost("b", 121), lost("c", 122)]
    first = outage_around(flips[0], flips, integrations=3)
    second = outage_around(flips[5], flips, integrations=3)
    assert first is not None
    assert second is not None
    assert second.began_at - first.began_at == timedelta(hours=2)


def test_ten_thousand_losses_within_a_minute_are_one_outage() -> None:
    flips = [lost(f"i{number:05}", number % 600 / 60) for number in range(10_000)]
    outage = outage_around(flips[5_000], flips, integrations=10_000)
    assert outage is not None
    assert len(outage.integration_ids) == 10_000


@pytest.mark.parametrize(("minute", "found"), [(11, "abc"), (59, "abc"), (60, ""), (-1, "")])
def test_a_further_loss_joins_an_outage_while_owners_are_still_to_hear_of_it(
    minute: float, found: str
) -> None:
    late = lost("late", minute)
    assert ids(outage_before(late, [*losses(0, 1, 2), late], integrations=5)) == found


def test_a_loss_joins_no_two_others() -> None:
    late = lost("late", 30)
    assert outage_before(late, [*losses(0, 1), late], integrations=3) is None


def by_trying_every_span(flip: Flip, flips: list[Flip], integrations: int) -> Outage | None:
    """The rule, word by word."""
    best: Outage | None = None
    for first in sorted(flips, key=lambda each: each.at):
        for last in flips:
            if not first.at <= flip.at <= last.at or last.at - first.at > WITHIN:
                continue
            inside = {each.integration_id for each in flips if first.at <= each.at <= last.at}
            if len(inside) < AT_LEAST or len(inside) <= integrations / 2:
                continue
            if best is None or len(inside) > len(best.integration_ids):
                best = Outage(first.at, first.at + HELD_FOR, tuple(sorted(inside)))
    return best


some_losses = st.lists(
    st.builds(lost, st.sampled_from("abcdefgh"), st.integers(0, 40) | st.integers(0, 12)),
    min_size=1,
    max_size=25,
)


@given(some_losses, st.integers(0, 24), st.integers(1, 12))
def test_the_outage_is_the_one_that_trying_every_span_finds(
    flips: list[Flip], which: int, integrations: int
) -> None:
    flip = flips[which % len(flips)]
    expected = by_trying_every_span(flip, flips, integrations)
    assert outage_around(flip, flips, integrations=integrations) == expected
