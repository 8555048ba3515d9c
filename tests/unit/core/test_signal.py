"""What MBI's own state means for an integration whose third party is fine."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from mbi_reauth.core.integration import Integration
from mbi_reauth.core.signal import by_signal, proof_in, with_signal
from mbi_reauth.core.verdict import MBI_FAULTS, Cause, Finding, Verdict

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
SIGNAL = Integration.model_validate(
    {
        "id": "updates",
        "type": "mbi_update_cycle",
        "conn_id": "updates",
        "name": "MBI updates",
        "owner": {"name": "Dana Example", "email": "dana@example.com"},
    }
)
PROVED = Finding(
    cause=Cause.AUTHORIZED,
    rule="zendesk.users_listed",
    explanation="Zendesk answered.",
    account="example",
    checked_at=NOON,
    proved_at=NOON,
)


def said(cause: Cause) -> Finding:
    earlier = NOON - timedelta(seconds=50)
    return Finding(
        cause=cause,
        rule="mbi_update_cycle.x",
        explanation="So it is.",
        checked_at=earlier,
        proved_at=earlier,
        facts={"Update job": "13554"},
    )


@pytest.mark.parametrize("cause", sorted(MBI_FAULTS))
def test_a_fault_of_mbi_becomes_the_finding_and_is_an_engineers(cause: Cause) -> None:
    finding = with_signal(PROVED, said(cause), SIGNAL)
    assert (finding.cause, finding.verdict) == (cause, Verdict.MISCONFIGURED)
    assert finding.rule == "mbi_signal.updates"
    assert "MBI updates" in finding.explanation
    assert "So it is." in finding.explanation
    assert finding.facts == {"Update job": "13554"}


@pytest.mark.parametrize("cause", sorted(MBI_FAULTS))
def test_the_third_partys_proof_stands_beside_mbis_fault(cause: Cause) -> None:
    finding = with_signal(PROVED, said(cause), SIGNAL)
    assert finding.proves
    assert (finding.proved_at, finding.checked_at, finding.account) == (NOON, NOON, "example")


def test_a_signal_that_is_fine_changes_nothing() -> None:
    assert with_signal(PROVED, said(Cause.AUTHORIZED), SIGNAL) == PROVED


@pytest.mark.parametrize("cause", [each for each in Cause if each not in {*MBI_FAULTS, Cause.AUTHORIZED}])
def test_what_the_signal_says_of_itself_leaves_a_healthy_third_party_healthy(cause: Cause) -> None:
    finding = with_signal(PROVED, said(cause), SIGNAL)
    assert (finding.cause, finding.rule) == (Cause.AUTHORIZED, PROVED.rule)
    assert "How MBI itself fares is not known" in finding.explanation
    assert "So it is." in finding.explanation


@pytest.mark.parametrize("cause", list(Cause))
def test_where_there_is_only_the_signal_its_word_is_the_finding_but_never_the_owners(cause: Cause) -> None:
    finding = by_signal(said(cause), SIGNAL)
    assert finding.rule == "mbi_signal.updates"
    assert finding.verdict is not Verdict.NEEDS_REAUTH
    needs_owner = said(cause).verdict in (Verdict.NEEDS_REAUTH, Verdict.NEEDS_REFRESH)
    assert finding.cause is (Cause.UNKNOWN if needs_owner else cause)


def test_a_finding_of_a_signal_still_holds_the_proof_of_the_third_party() -> None:
    proof = proof_in(with_signal(PROVED, said(Cause.MBI_STALE), SIGNAL))
    assert (proof.cause, proof.account, proof.checked_at, proof.proved_at) == (
        Cause.AUTHORIZED,
        "example",
        NOON,
        NOON,
    )
    assert not proof.facts


def test_an_own_finding_is_its_own_proof_without_what_a_signal_could_not_say() -> None:
    assert proof_in(PROVED) == PROVED
    assert proof_in(said(Cause.MBI_STALE)) == said(Cause.MBI_STALE)
    assert proof_in(with_signal(PROVED, said(Cause.MBI_OUTAGE), SIGNAL)) == PROVED
