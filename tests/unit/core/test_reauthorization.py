from __future__ import annotations

import pytest

from mbi_reauth.core.reauthorization import Outcome, missing_scopes, verified
from mbi_reauth.core.verdict import Cause, Finding


def outcome_of(cause: Cause, rule: str = "vendor.rule") -> Outcome:
    return verified(Finding(cause=cause, rule=rule, explanation="-"), expected_account=None).outcome


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [
        (Cause.AUTHORIZED, Outcome.SAVED),
        (Cause.GRANT_REVOKED, Outcome.REFUSED),
        (Cause.ACCESS_TOKEN_EXPIRED, Outcome.REFUSED),
        (Cause.PROVIDER_OUTAGE, Outcome.UNAVAILABLE),
        (Cause.PROBE_MISCONFIGURED, Outcome.MISCONFIGURED),
        (Cause.UNKNOWN, Outcome.UNVERIFIED),
    ],
)
def test_only_an_accepted_credential_is_saved(cause: Cause, outcome: Outcome) -> None:
    assert outcome_of(cause) is outcome


def test_another_account_is_no_refusal() -> None:
    assert outcome_of(Cause.ACCOUNT_UNLINKED, "vendor.account") is Outcome.WRONG_ACCOUNT
    assert outcome_of(Cause.ACCOUNT_UNLINKED, "vendor.account_missing") is Outcome.REFUSED


@pytest.mark.parametrize("rule", ["check.fault", "check.not_verified", "check.unfit"])
def test_what_we_could_not_do_is_not_laid_at_the_third_partys_door(rule: str) -> None:
    assert outcome_of(Cause.UNKNOWN, rule) is Outcome.INTERRUPTED


def test_a_server_that_names_no_scopes_has_granted_them_all() -> None:
    assert missing_scopes(["read", "write"], None) == ()
    assert missing_scopes(["read", "write"], ["write", "more"]) == ("read",)


def test_a_refresh_token_proves_the_scope_that_asks_for_it() -> None:
    wanted = ["read", "offline_access"]
    assert missing_scopes(wanted, ["read"], lasting=True) == ()
    assert missing_scopes(wanted, ["read"]) == ("offline_access",)
