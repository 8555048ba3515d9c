"""What a gate does about its findings."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from mbi_reauth.core.gate import GateFinding, GatePolicy, Outcome, confirmed_by, decide, unheeded
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
INTEGRATION = Integration.model_validate(
    {
        "id": "books",
        "type": "quickbooks",
        "conn_id": "books",
        "owner": {"name": "Dana Example", "email": "dana@example.com"},
    }
)


def found(cause: Cause, *, confirmed: bool = True) -> GateFinding:
    finding = Finding(cause=cause, rule="test", explanation=cause.value, checked_at=NOON)
    return GateFinding(integration=INTEGRATION, finding=finding, confirmed=confirmed)


@pytest.mark.parametrize(
    ("cause", "policy", "outcome"),
    [
        (Cause.AUTHORIZED, {}, Outcome.PROCEED),
        (Cause.GRANT_REVOKED, {}, Outcome.SKIP),
        (Cause.GRANT_REVOKED, {"on_blocked": "wait"}, Outcome.WAIT),
        (Cause.GRANT_REVOKED, {"on_blocked": "fail"}, Outcome.FAIL),
        (Cause.PROVIDER_OUTAGE, {}, Outcome.PROCEED),
        (Cause.RATE_LIMITED, {"on_unavailable": "wait"}, Outcome.WAIT),
        (Cause.UNKNOWN, {}, Outcome.PROCEED),
        (Cause.UNKNOWN, {"on_indeterminate": "fail"}, Outcome.FAIL),
        (Cause.ACCESS_TOKEN_EXPIRED, {}, Outcome.PROCEED),
        (Cause.PROBE_MISCONFIGURED, {}, Outcome.FAIL),
        (Cause.PROBE_MISCONFIGURED, {"on_misconfigured": "proceed"}, Outcome.PROCEED),
    ],
)
def test_a_finding_has_the_outcome_that_the_policy_gives_it(
    cause: Cause, policy: dict[str, Any], outcome: Outcome
) -> None:
    assert decide({"books": found(cause)}, GatePolicy.model_validate(policy)).outcome is outcome


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("on_blocked", ["skip", "wait", "fail"])
def test_a_shadow_gate_never_stops_anything(cause: Cause, on_blocked: Any) -> None:
    policy = GatePolicy(shadow=True, on_blocked=on_blocked, on_indeterminate="fail", on_unavailable="wait")
    assert decide({"books": found(cause)}, policy).outcome is Outcome.PROCEED


@pytest.mark.parametrize(
    ("cause", "policy", "otherwise"),
    [
        (Cause.AUTHORIZED, {}, Outcome.PROCEED),
        (Cause.GRANT_REVOKED, {}, Outcome.SKIP),
        (Cause.GRANT_REVOKED, {"on_blocked": "wait"}, Outcome.WAIT),
        (Cause.PROBE_MISCONFIGURED, {}, Outcome.FAIL),
    ],
)
def test_a_shadow_gate_says_in_one_line_what_it_would_have_done_and_why(
    cause: Cause, policy: dict[str, Any], otherwise: Outcome
) -> None:
    decision = decide({"books": found(cause)}, GatePolicy(shadow=True, **policy))
    assert decision.otherwise is otherwise
    assert "\n" not in decision.line
    assert "hadow mode" in decision.meaning
    assert (cause.value in decision.line) is (otherwise is not Outcome.PROCEED)
    assert decision.line.startswith(decision.meaning)


def test_a_shadow_gate_takes_no_second_look_but_says_that_it_would() -> None:
    refusal = found(Cause.CREDENTIALS_REJECTED, confirmed=False)
    decision = decide({"books": refusal}, GatePolicy(shadow=True))
    assert (decision.outcome, decision.otherwise) == (Outcome.PROCEED, Outcome.CONFIRM)


def test_a_gate_without_shadow_mode_says_nothing_of_it() -> None:
    decision = decide({"books": found(Cause.GRANT_REVOKED)}, GatePolicy())
    assert decision.otherwise is None
    assert "hadow" not in decision.line


def test_a_single_ambiguous_refusal_asks_for_a_second_look_and_blocks_nobody() -> None:
    refusal = found(Cause.CREDENTIALS_REJECTED, confirmed=False)
    assert decide({"books": refusal}, GatePolicy()).outcome is Outcome.CONFIRM
    assert not refusal.blocks


@pytest.mark.parametrize("other", [cause for cause in Cause if cause is not Cause.GRANT_REVOKED])
def test_a_lost_authorization_outweighs_every_other_finding(other: Cause) -> None:
    decision = decide({"a": found(other), "b": found(Cause.GRANT_REVOKED)}, GatePolicy())
    assert decision.outcome is Outcome.SKIP


def test_the_reason_names_the_integration_and_the_cause_but_not_those_that_are_fine() -> None:
    decision = decide({"a": found(Cause.AUTHORIZED), "b": found(Cause.GRANT_REVOKED)}, GatePolicy())
    assert decision.sentence == "books is needs_reauth: grant_revoked"


@pytest.mark.parametrize(
    ("seconds", "counts"), [(0, False), (59.9, False), (60, True), (3600, True), (-90, False)]
)
def test_two_ambiguous_refusals_count_from_sixty_seconds_apart(seconds: float, *, counts: bool) -> None:
    first = found(Cause.CREDENTIALS_REJECTED).finding
    second = first.model_copy(update={"checked_at": NOON + timedelta(seconds=seconds)})
    assert confirmed_by(first, second) is counts


def test_a_finding_survives_the_journey_through_json() -> None:
    published = found(Cause.GRANT_REVOKED).model_dump(mode="json")
    assert GateFinding.model_validate(published) == found(Cause.GRANT_REVOKED)


STALE = found(Cause.MBI_STALE)


def test_a_gate_that_fails_over_mbi_brings_the_ticket_with_its_error() -> None:
    decision = decide({"books": STALE, "other": found(Cause.AUTHORIZED)}, GatePolicy())
    assert decision.outcome is Outcome.FAIL
    assert decision.sentence.startswith("books is misconfigured: mbi_stale\nFirst look at Manage Data")
    assert "Subject: Commerce Intelligence: data are not updated any more (books)" in decision.sentence
    assert unheeded({"books": STALE}, decision) == []


def test_a_gate_that_goes_on_despite_mbi_tells_the_ticket_all_the_same() -> None:
    findings = {"books": STALE, "other": found(Cause.AUTHORIZED)}
    for policy in (GatePolicy(on_misconfigured="proceed"), GatePolicy(shadow=True)):
        decision = decide(findings, policy)
        assert decision.outcome is Outcome.PROCEED
        assert unheeded(findings, decision) == [STALE.told]


def test_a_gate_that_waits_does_not_repeat_the_ticket_at_every_look() -> None:
    findings = {"books": STALE, "lost": found(Cause.GRANT_REVOKED)}
    decision = decide(findings, GatePolicy(on_blocked="wait"))
    assert decision.outcome is Outcome.WAIT
    assert unheeded(findings, decision) == []


def test_a_gate_that_is_skipped_for_an_owner_tells_the_engineer_too() -> None:
    findings = {"books": STALE, "lost": found(Cause.GRANT_REVOKED)}
    decision = decide(findings, GatePolicy())
    assert decision.outcome is Outcome.SKIP
    assert unheeded(findings, decision) == [STALE.told]


@pytest.mark.parametrize(
    "cause", [each for each in Cause if each not in (Cause.MBI_STALE, Cause.MBI_UPDATE_FAILED)]
)
def test_no_other_finding_has_a_ticket(cause: Cause) -> None:
    assert found(cause).told == found(cause).sentence
