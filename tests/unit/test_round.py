"""One round of a gate: what the app knows better, and when an ambiguous refusal counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from mbi_reauth.api.datamodels import FindingReceipt, IncidentView
from mbi_reauth.check import Checked
from mbi_reauth.core.gate import GateFinding
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Certainty, Finding
from mbi_reauth.round import Round
from tests.checking import NOON, FakeConnections, an_integration


def found(cause: Cause, certainty: Certainty = Certainty.EXPLICIT, *, after: float = 0) -> Finding:
    at = NOON + timedelta(seconds=after)
    return Finding(cause=cause, rule="test", explanation="-", certainty=certainty, checked_at=at)


REFUSED = found(Cause.GRANT_REVOKED)
INCIDENT = IncidentView(id="42", opened_at=NOON, confirmed_at=NOON, finding=REFUSED)


@dataclass(frozen=True)
class Rehearsal(Round):
    """A round whose checks are given."""

    checks: list[Checked] = field(default_factory=list)

    async def _check(self, integration: Integration) -> Checked:
        return self.checks.pop(0)


def round_of(*checks: Checked) -> Rehearsal:
    return Rehearsal(connections=FakeConnections({}), api=None, checks=list(checks))


def run(rehearsal: Rehearsal) -> GateFinding:
    return asyncio.run(rehearsal.findings([an_integration()]))["shop"]


@pytest.mark.parametrize(
    "receipt",
    [
        FindingReceipt(accepted=False, credential_replaced=True, incident=INCIDENT),
        FindingReceipt(accepted=False, reason="older than the last report"),
    ],
)
def test_a_refusal_that_the_app_knows_to_be_outdated_is_looked_at_again(receipt: FindingReceipt) -> None:
    works = Checked(found(Cause.AUTHORIZED), receipt=FindingReceipt(accepted=True))
    assert not run(round_of(Checked(REFUSED, receipt=receipt), works)).blocks


def test_a_refusal_that_only_came_late_stands_while_its_incident_is_open() -> None:
    late = FindingReceipt(accepted=False, reason="older than the last report", incident=INCIDENT)
    assert run(round_of(Checked(REFUSED, receipt=late))).blocks


@pytest.mark.parametrize(("after", "blocks"), [(30, False), (60, True)])
def test_without_the_app_two_ambiguous_refusals_a_minute_apart_are_one_certain_refusal(
    after: float, *, blocks: bool
) -> None:
    refusals = [
        Checked(found(Cause.CREDENTIALS_REJECTED, Certainty.AMBIGUOUS, after=seconds))
        for seconds in (0, after)
    ]
    rehearsal = round_of(*refusals)
    assert not run(rehearsal).blocks
    second = run(rehearsal)
    assert second.blocks is blocks
    assert (second.finding.certainty is Certainty.EXPLICIT) is blocks
