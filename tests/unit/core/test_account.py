from __future__ import annotations

import pytest

from mbi_reauth.core.account import accounts_in, with_account
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.verdict import Cause, Finding

FINE = Finding(cause=Cause.AUTHORIZED, rule="r", explanation="Fine.")


@pytest.mark.parametrize(
    ("body", "path", "form", "found"),
    [
        ({"id": 42}, "id", "{account}", ["42"]),
        ({"id": "act_42"}, "id", "act_{account}", ["42"]),
        ({"names": ["c/1", "c/2"]}, "names.*", "c/{account}", ["1", "2"]),
        ({"id": None}, "id", "{account}", []),
        ({"id": ""}, "id", "{account}", []),
        ("<html>", "id", "{account}", []),
        ({"id": "9" * 5000}, "id", "{account}", ["9" * 100]),
    ],
)
def test_the_accounts_of_an_answer_are_found(body: object, path: str, form: str, found: list[str]) -> None:
    evidence = Evidence(endpoint=Endpoint.PROBE, status_code=200, body=body)
    assert accounts_in(evidence, path, form) == found


@pytest.mark.parametrize("expected", ["1234567890", "123-456-7890", "123 456 7890"])
def test_hyphens_and_blanks_make_no_other_account(expected: str) -> None:
    assert with_account(FINE, ["1234567890"], expected=expected, type_id="t").account == expected


def test_a_single_account_is_named_where_none_is_expected() -> None:
    assert with_account(FINE, ["Shop"], expected=None, type_id="t").account == "Shop"


def test_another_account_is_a_lost_one_and_both_are_named() -> None:
    finding = with_account(FINE, ["1", "2", "3", "4"], expected="9", type_id="t")
    assert (finding.cause, finding.rule) == (Cause.ACCOUNT_UNLINKED, "t.account")
    assert "1, 2, 3, …, not to 9" in finding.explanation
