"""The gate's trigger: checks without a worker slot and ends the gate by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypedDict

from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from mbi_reauth.core.gate import (
    XCOM_KEY,
    Decision,
    GateFinding,
    GatePolicy,
    Outcome,
    decide,
    published,
    unheeded,
)
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import CONFIRM_AFTER
from mbi_reauth.round import Round, in_force


class GatePayload(TypedDict):
    """What the trigger hands to the worker where it does not end the gate itself."""

    outcome: str
    sentence: str
    findings: dict[str, Any]
    told: list[str]


class AuthorizationTrigger(BaseTrigger):
    """Check integrations until the gate can be decided.

    Running twice at once (two triggerers) is harmless: a check changes nothing at the third party, and the
    plugin's app keeps reports and emails apart.

    :param integrations: registry entries as JSON-ready mappings (:class:`Integration`)
    :param policy: a :class:`GatePolicy` as a mapping
    :param poke_interval: seconds between two rounds while waiting
    :param max_age: seconds for which a proof is trusted instead of probing again
    :param end_task: end the gate from here as SUCCESS or SKIPPED; else every decision goes to the worker
    :param told: the integrations whose owners have had their email already
    :param delay: seconds before the first round
    """

    sleep = staticmethod(asyncio.sleep)

    def __init__(  # noqa: PLR0913 - the state of a gate, all by name
        self,
        *,
        integrations: list[dict[str, Any]],
        policy: dict[str, Any],
        poke_interval: float,
        max_age: float,
        end_task: bool = False,
        told: list[str] | None = None,
        delay: float = 0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.integrations = integrations
        self.policy = policy
        self.poke_interval = poke_interval
        self.max_age = max_age
        self.end_task = end_task
        self.told = told or []
        self.delay = delay

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what rebuilds this trigger in any triggerer."""
        return (
            "mbi_reauth.triggers.authorization.AuthorizationTrigger",
            {
                "integrations": self.integrations,
                "policy": self.policy,
                "poke_interval": self.poke_interval,
                "max_age": self.max_age,
                "end_task": self.end_task,
                "told": self.told,
                "delay": self.delay,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield exactly one event. A fault of the plugin itself lets the extraction proceed."""
        try:
            decision, findings = await self._decision()
        except Exception:
            self.log.exception(
                "The authorization check failed by a fault of its own; the extraction proceeds"
            )
            decision, findings = Decision(Outcome.PROCEED, "the check failed by a fault of its own"), {}
        yield self._event(decision, findings)

    async def _decision(self) -> tuple[Decision, dict[str, GateFinding]]:
        policy = GatePolicy.model_validate(self.policy)
        integrations = [Integration.model_validate(entry) for entry in self.integrations]
        checks = self._round(policy)
        policy = in_force(policy)
        told = set(self.told)
        pause = self.delay
        said = None
        while True:
            if pause:
                await self.sleep(pause)
            findings = await checks.findings(integrations)
            decision = decide(findings, policy)
            if decision.outcome is not said:
                self.log.info("%s", decision.line)
                for advice in unheeded(findings, decision):
                    self.log.warning("%s", advice)
            said = decision.outcome
            blocked = {key for key, found in findings.items() if found.blocks}
            told &= blocked  # an authorization that is lost once more is news
            if decision.outcome is Outcome.CONFIRM:
                pause = CONFIRM_AFTER
            elif decision.outcome is Outcome.WAIT and blocked <= told:
                pause = self.poke_interval
            else:
                self.told = sorted(told)
                return decision, findings

    def _round(self, policy: GatePolicy) -> Round:
        return Round.of_gate(policy, self.task_instance, max_age=self.max_age, seen={})

    def _event(self, decision: Decision, findings: Mapping[str, GateFinding]) -> TriggerEvent:
        if self.end_task and decision.outcome is Outcome.PROCEED:
            return TaskSuccessEvent(xcoms={XCOM_KEY: published(findings)})
        if self.end_task and decision.outcome is Outcome.SKIP:
            return TaskSkippedEvent(xcoms={XCOM_KEY: published(findings)})
        payload: GatePayload = {
            "outcome": decision.outcome.value,
            "sentence": decision.sentence,
            "findings": published(findings),
            "told": self.told,
        }
        return TriggerEvent(payload)  # type: ignore[no-untyped-call]
