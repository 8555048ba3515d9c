from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from mbi_reauth.core.evidence import Driver, Endpoint, Evidence
from mbi_reauth.core.expiry import with_expiry
from mbi_reauth.core.verdict import Cause, Finding

DAY = "2026-12-01T00:00:00+00:00"


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
