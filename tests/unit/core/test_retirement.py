from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.core.retirement import REMEMBERED, STAGES, stage

ON = date(2027, 3, 1)


@pytest.mark.parametrize(
    ("left", "reached"),
    [
        (400, None), (91, None), (90, 90), (31, 90), (30, 30), (8, 30), (7, 7), (1, 7),
        (0, 0), (-1, 0), (-30, 0), (-31, None), (-3000, None),
    ],
)  # fmt: skip
def test_the_last_stage_that_was_reached_counts(left: int, reached: int | None) -> None:
    assert stage(ON, ON - timedelta(days=left)) == reached


@given(st.dates(), st.integers(0, 400))
def test_day_after_day_each_stage_is_reached_in_turn(on: date, earliest: int) -> None:
    days = range(-min(earliest, (on - date.min).days), min(REMEMBERED.days, (date.max - on).days) + 1)
    told = [stage(on, on + timedelta(days=day)) for day in days]
    reached = list(dict.fromkeys(each for each in told if each is not None))
    assert reached == [each for each in STAGES if each in reached]
    assert reached[-1] == 0
    assert told == sorted(told, key=lambda each: -(each if each is not None else 1000))
