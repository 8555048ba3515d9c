"""One round of a gate: every integration checked once, side by side."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mbi_reauth import settings
from mbi_reauth.api.datamodels import FindingReceipt, FindingReport, RunReference
from mbi_reauth.check import AirflowConnections, Checked, Checker, Connections, Probe
from mbi_reauth.core.gate import GateFinding, GatePolicy, confirmed_by
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.resume import Owed
from mbi_reauth.core.verdict import Certainty, Finding, Verdict
from mbi_reauth.hooks.api import ApiError, ReauthApiHook
from mbi_reauth.probes.integration import probe

log = logging.getLogger(__name__)


def run_reference(ti: Any, *, task_id: str | None = None) -> RunReference:
    """Name a task instance, as tasks and triggers know it, or the one called ``task_id`` beside it."""
    return RunReference(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=task_id or ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
    )


def in_force(policy: GatePolicy) -> GatePolicy:
    """Return a gate's policy as it is when the gate runs: the whole plugin may be in shadow mode."""
    return policy.model_copy(update={"shadow": policy.shadow or settings.shadow()})


@dataclass(frozen=True)
class Round:
    """How to check: the app, the credentials, the age in seconds at which a proof needs renewing.

    ``owed`` is what the run of ``blocked_run`` is owed.
    ``seen`` remembers each integration's first ambiguous refusal between rounds, for when the app cannot.
    ``blocked_run`` is the gate that a refusal stops or holds up, ``would_block`` the one that it would stop
    without shadow mode. ``report``: tell the app each finding, which a gate that has shadow mode of its own
    does not.
    ``patient`` and ``probe`` are as in :class:`mbi_reauth.check.Checker`.
    """

    connections: Connections
    api: ReauthApiHook | None = field(default_factory=ReauthApiHook)
    max_age: float = 60
    blocked_run: RunReference | None = None
    would_block: RunReference | None = None
    owed: Owed = field(default_factory=Owed)
    report: bool = True
    seen: MutableMapping[str, Finding] = field(default_factory=dict)
    patient: bool = False
    probe: Probe = probe

    @classmethod
    def of_gate(
        cls, policy: GatePolicy, ti: Any, *, max_age: float, seen: MutableMapping[str, Finding]
    ) -> Round:
        """Check as the gate of this policy does; ``ti`` is its task instance, None where it is not known."""
        run = run_reference(ti) if ti is not None else None
        now = in_force(policy)
        return cls(
            connections=AirflowConnections(),
            max_age=max_age,
            blocked_run=None if now.shadow else run,
            would_block=run if now.shadow else None,
            owed=policy.owed,
            report=not policy.shadow,
            seen=seen,
        )

    async def findings(self, integrations: Sequence[Integration]) -> dict[str, GateFinding]:
        """Check all of them concurrently; what goes wrong is in the findings, nothing is raised for it."""
        found = await asyncio.gather(*(self._finding(integration) for integration in integrations))
        await asyncio.gather(*(self._count(result) for result in found))
        return {result.integration.id: result for result in found}

    async def _count(self, found: GateFinding) -> None:
        """Have it counted that a run would have been stopped; whatever prevents that stops nobody.

        A refusal that is not certain here counts where the app knows the incident to be confirmed: in shadow
        mode there is no second look.
        """
        if not (self.would_block and self.api and found.finding.verdict is Verdict.NEEDS_REAUTH):
            return
        report = FindingReport(
            integration=found.integration,
            finding=found.finding,
            credential_version=found.credential_version,
            blocked_run=self.would_block,
            shadow=True,
        )
        try:
            await self.api.report(report)
        except ApiError as error:
            log.warning("What shadow mode would have done is not counted. %s", error)
        except Exception:
            # A fault of this plugin must not stop anybody's DAG.
            log.exception("What shadow mode would have done is not counted")

    async def _finding(self, integration: Integration) -> GateFinding:
        checked = await self._check(integration)
        if checked.receipt is not None and _outdated(checked.receipt):
            # The credential was replaced, or somebody saw it work, while it was being checked.
            checked = await self._check(integration)
        refusal = self._refusal(integration, checked)
        return GateFinding(
            integration=integration,
            finding=refusal or checked.finding,
            credential_version=checked.credential_version,
            confirmed=refusal is None or refusal.certainty is Certainty.EXPLICIT,
            reported=checked.receipt is not None or not self.report,
            try_number=self.blocked_run.try_number if self.blocked_run else None,
            owed=self.owed,
        )

    async def _check(self, integration: Integration) -> Checked:
        checker = Checker(api=self.api, connections=self.connections, patient=self.patient, probe=self.probe)
        return await checker.check(
            integration,
            max_age=self.max_age,
            blocked_run=self.blocked_run,
            owed=self.owed,
            report=self.report,
        )

    def _refusal(self, integration: Integration, checked: Checked) -> Finding | None:
        """Return a refusal as sure as it has become: a second ambiguous one makes it explicit.

        Where the app has taken the report, it says which it is: it knows whether both were of one credential.
        """
        finding, receipt = checked.finding, checked.receipt
        if finding.verdict is not Verdict.NEEDS_REAUTH:
            self.seen.pop(integration.id, None)
            return None
        sure = confirmed_by(self.seen.setdefault(integration.id, finding), finding)
        if receipt is not None:
            known = receipt.incident is not None and receipt.incident.confirmed_at is not None
            sure = known or (sure and not receipt.accepted)
        return finding.model_copy(update={"certainty": Certainty.EXPLICIT}) if sure else finding


def _outdated(receipt: FindingReceipt) -> bool:
    """Whether the app knows better; a refusal that only came late while an incident is open stands."""
    return receipt.credential_replaced or (not receipt.accepted and receipt.incident is None)
