"""The sensor behind the gate: waits for, or decides on, the authorization of integrations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from airflow.sdk import BaseOperator, BaseSensorOperator, Context, timezone
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralError,
    TaskDeferralTimeout,
)
from airflow.triggers.base import StartTriggerArgs

from mbi_reauth import settings
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
from mbi_reauth.core.verdict import CONFIRM_AFTER, Finding
from mbi_reauth.lookup import integrations_of

RETRIES = 2
RETRY_DELAY = timedelta(seconds=15)
TRIGGER = "mbi_reauth.triggers.authorization.AuthorizationTrigger"


class AuthorizationSensor(BaseSensorOperator):
    """Check integrations' authorization before their extraction.

    By itself it waits until all of them are authorized, as a sensor does; the owner of a lost one is emailed
    once. In front of an extraction, :func:`mbi_reauth.gate.authorized` makes it end SKIPPED instead.

    :param integrations: ids of the registry, or entries of it
    :param registry: the registry's path; default as :func:`mbi_reauth.lookup.registry_of` says
    :param policy: what to do where nothing is certain
    :param max_age: seconds for which a proof is trusted instead of probing again; default: the setting
    :param deferrable: probe once on the worker, then wait in the triggerer
    :param start_from_trigger: with ``deferrable``, take no worker slot at all
    """

    ui_color = "#dbeafe"

    def __init__(
        self,
        *,
        integrations: str | Sequence[str | Integration],
        registry: str | Path | None = None,
        policy: GatePolicy | None = None,
        max_age: float | None = None,
        deferrable: bool = False,
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        # For what is no decision, such as a worker that dies, or an API server that takes no XCom.
        kwargs.setdefault("retries", RETRIES)
        kwargs.setdefault("retry_delay", RETRY_DELAY)
        super().__init__(**kwargs)
        self.policy = (policy or GatePolicy(on_blocked="wait")).model_dump()
        dag = self.dag if self.has_dag() else None  # type: ignore[no-untyped-call]
        self.integrations = [
            entry.model_dump(mode="json") for entry in integrations_of(integrations, registry, dag=dag)
        ]
        self.max_age = settings.max_age() if max_age is None else max_age
        self.deferrable = deferrable
        self.start_from_trigger = deferrable and start_from_trigger
        self._seen: dict[str, Finding] = {}
        self._told: set[str] = set()
        if self.start_from_trigger:
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls=TRIGGER,
                trigger_kwargs={**self._trigger_kwargs(), "end_task": True},
                next_method="execute_complete",
                timeout=timedelta(seconds=self.timeout),
            )

    def execute(self, context: Context) -> Any:
        """Poke once, then wait as the mode says."""
        if not self.deferrable:
            return super().execute(context)
        decision, findings = self._check(context)
        if not self._conclude(context, decision, findings):
            self._defer(context, decision)
        return None

    def poke(self, context: Context) -> bool:
        """Check once; raise where the gate ends otherwise than by success."""
        return self._conclude(context, *self._check(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Conclude on the worker what the trigger did not end itself, or look where nobody has."""
        findings = {key: GateFinding.model_validate(found) for key, found in event["findings"].items()}
        decision = Decision(Outcome(event["outcome"]), event["sentence"])
        self._told = set(event["told"])
        if decision.outcome is Outcome.WAIT and not findings:
            self.log.info("%s The gate looks at once.", decision.sentence)
            decision, findings = self._check(context)
        if not self._conclude(context, decision, findings):
            self._defer(context, decision)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; where the triggerer failed, check on this worker instead of failing."""
        try:
            return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            timed_out = True
        except TaskDeferralError:
            timed_out = False
        if not timed_out or not GatePolicy.model_validate(self.policy).waits:
            self.log.warning("The triggerer did not finish the check; this worker checks instead")
            return super().execute(context)
        # Somebody may just have re-authorized, and a triggerer that was away has not even looked.
        decision, findings = self._check(context)
        if not self._conclude(context, decision, findings):
            self._give_up(decision)
        return None

    def _check(self, context: Context) -> tuple[Decision, dict[str, GateFinding]]:
        from mbi_reauth.round import in_force

        findings = asyncio.run(self._findings(context))
        return decide(findings, in_force(GatePolicy.model_validate(self.policy))), findings

    def _conclude(self, context: Context, decision: Decision, findings: Mapping[str, GateFinding]) -> bool:
        context["ti"].xcom_push(key=XCOM_KEY, value=published(findings))
        self.log.info("%s", decision.meaning)
        for advice in unheeded(findings, decision):
            self.log.warning("%s", advice)
        if decision.outcome is Outcome.CONFIRM and self.reschedule and not _remembered(findings):
            self.log.warning("Nobody could remember this refusal until a second one; the extraction proceeds")
            return True
        match decision.outcome:
            case Outcome.PROCEED:
                return True
            case Outcome.SKIP:
                raise AirflowSkipException(decision.sentence)
            case Outcome.FAIL:
                self._fail(AirflowFailException, decision.sentence)
            case Outcome.WAIT:
                self._tell_owners(context, findings)
        return False

    def _fail(self, exception: type[AirflowException], reason: str) -> NoReturn:
        raise (AirflowSkipException if self.soft_fail or self.never_fail else exception)(reason)

    def _give_up(self, decision: Decision) -> NoReturn:
        self._fail(AirflowSensorTimeout, f"Waited for {self.timeout:g} s in vain. {decision.sentence}")

    def _tell_owners(self, context: Context, findings: Mapping[str, GateFinding]) -> None:
        """Email the owners that have not been told; what cannot go out yet does so after a later check."""
        from mbi_reauth.notifications.sending import tell_owners
        from mbi_reauth.round import run_reference

        blocked = {key: found for key, found in findings.items() if found.blocks}
        self._told &= blocked.keys()  # an authorization that is lost once more is news
        untold = [found for key, found in blocked.items() if key not in self._told]
        told = asyncio.run(tell_owners(untold, run=run_reference(context["ti"])))
        self._told.update(key for key, each in told.items() if not each.failed and not each.held)

    async def _findings(self, context: Context) -> dict[str, GateFinding]:
        from mbi_reauth.round import Round

        policy = GatePolicy.model_validate(self.policy)
        checks = Round.of_gate(policy, context["ti"], max_age=self.max_age, seen=self._seen)
        return await checks.findings([Integration.model_validate(entry) for entry in self.integrations])

    def _defer(self, context: Context, decision: Decision) -> None:
        from mbi_reauth.triggers.authorization import AuthorizationTrigger

        started = context["ti"].start_date or timezone.utcnow()
        left = self.timeout - (timezone.utcnow() - started).total_seconds()
        confirms = decision.outcome is Outcome.CONFIRM
        if left <= 0 and not confirms:
            self._give_up(decision)
        pause = CONFIRM_AFTER if confirms else self.poke_interval
        self.defer(
            trigger=AuthorizationTrigger(**self._trigger_kwargs(), end_task=False, delay=pause),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(left, 2 * CONFIRM_AFTER if confirms else 1)),
        )

    def _trigger_kwargs(self) -> dict[str, Any]:
        return {
            "integrations": self.integrations,
            "policy": self.policy,
            "poke_interval": self.poke_interval,
            "max_age": self.max_age,
            "told": sorted(self._told),
        }


def _remembered(findings: Mapping[str, GateFinding]) -> bool:
    """Whether the app knows each first refusal; a sensor that is rescheduled forgets its own."""
    return all(found.reported for found in findings.values() if not found.confirmed)
