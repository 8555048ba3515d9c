"""Templates over a connection: dates."""

from __future__ import annotations

from datetime import date

import pytest

from mbi_reauth.probes.credential import MisconfiguredError
from mbi_reauth.probes.template import Templates
from tests.checking import a_credential, a_type

NEW_YEAR = Templates(a_type(), a_credential(), today=date(2026, 1, 1))


def test_a_date_is_counted_back_from_today() -> None:
    assert NEW_YEAR.url("/export/{days_ago.0}") == "/export/2026-01-01"
    assert NEW_YEAR.text('{"since":"{days_ago.30}"}') == '{"since":"2025-12-02"}'
    assert NEW_YEAR.data({"ranges": ["{days_ago.1}/{days_ago.0}"]}) == {"ranges": ["2025-12-31/2026-01-01"]}


@pytest.mark.parametrize("template", ["{days_ago.x}", "{days_ago.99999}"])
def test_what_is_no_number_of_days_has_no_value(template: str) -> None:
    with pytest.raises(MisconfiguredError):
        NEW_YEAR.text(template)
