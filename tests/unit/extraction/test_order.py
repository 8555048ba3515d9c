"""The order of watermarks that come as JSON."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.order import compare


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (1, 2),
        (9, 10.5),
        ("9", "10"),
        ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00.5Z"),
        ("2026-03-01T23:00:00+02:00", "2026-03-01T22:00:00Z"),
        ("2026-03-01T23:00:00+0000", "2026-03-02T00:00:00+0000"),
        ("2026-03-01", "2026-03-01T00:00:01"),
        ("2026-03-01 10:00:00", "2026-03-01 10:00:01"),
        ("a", "b"),
    ],
)
def test_a_watermark_is_compared_by_what_it_means(earlier: Any, later: Any) -> None:
    assert compare((earlier,), (later,)) < 0 < compare((later,), (earlier,))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2026-03-01T10:00:00Z", "2026-03-01T12:00:00+02:00"),
        ("1.50", 1.5),
        ("2026-03-01", "2026-03-01T00:00:00Z"),
    ],
)
def test_two_notations_of_one_watermark_are_equal(one: Any, other: Any) -> None:
    assert compare((one,), (other,)) == 0


@pytest.mark.parametrize(
    ("one", "other"), [("2026-03-01", "soon"), (5, "2026-03-01"), ("", "a"), (None, 1), (True, 1)]
)
def test_watermarks_without_a_common_order_are_refused(one: Any, other: Any) -> None:
    with pytest.raises(ExtractionError, match="watermark"):
        compare((one,), (other,))


moments = st.datetimes(timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=-8))]))


@given(moments, moments)
def test_times_are_in_the_order_of_time_whatever_their_zone(a: datetime, b: datetime) -> None:
    assert compare((a.isoformat(),), (b.isoformat(),)) == (a > b) - (a < b)
