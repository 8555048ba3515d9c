"""What to do when an authorization is lost while an extraction runs: Airflow's ``retry_policy``.

.. code-block:: python

    @task(retries=3, retry_policy=AuthorizationRetryPolicy("google_ads"))
    def extract(): ...
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Context, RetryDecision, RetryPolicy

from mbi_reauth import settings
from mbi_reauth.api.datamodels import FindingReport, RunReference
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.gate import GateFinding
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.resume import A_WEEK, Owed, Resume
from mbi_reauth.core.verdict import Finding, Verdict
from mbi_reauth.lookup import integrations_of

log = logging.getLogger(__name__)

_REFUSALS = frozenset({Verdict.NEEDS_REAUTH, Verdict.NEEDS_REFRESH})


class AuthorizationRetryPolicy(RetryPolicy):
    """Stop a task's retries when its integration's authorization is lost.

    Airflow asks it on the worker, after each failure of the task. Where the exception holds a refusal of the
    credential, the integration is checked at once, and that check alone decides: a certain refusal is
    reported as a gate reports it, the task's run is owed a resume, the owner is emailed, once, and the task
    fails. Everything else, as an outage, a bug or a refusal that nobody confirms, is left to the task's own
    ``retries`` and ``retry_delay``; so is a lost authorization that the plugin's app could not be told.

    :param integration: an id of the registry, or an entry of it
    :param registry: the registry's path; default: Airflow's configuration, else the one of the DAGs folder
    :param resume: when the authorization works again, run the task of all runs that were stopped so, of the
        latest or of none, with what comes after it
    :param resume_within: a timedelta or seconds after which a stopped run is left; None: no limit
    :param shadow: only say in the log, and have it counted, what would be done
    """

    def __init__(
        self,
        integration: str | Integration,
        *,
        registry: str | Path | None = None,
        shadow: bool = False,
        resume: Resume = "all",
        resume_within: timedelta | float | None = A_WEEK,
    ) -> None:
        [self.integration] = integrations_of([integration], registry, dag=None)
        self.shadow = shadow
        self.owed = Owed.model_validate({"resume": resume, "within": resume_within, "ends": "failed"})

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - the same at each try
        max_tries: int,  # noqa: ARG002 - as above
        context: Context | None = None,
    ) -> RetryDecision:
        """Decide about one failure; Airflow always gives the context, without which there is no run."""
        if context is None or not self._is_refusal(exception):
            return RetryDecision.default()
        from mbi_reauth.round import run_reference

        return asyncio.run(self._decide(run_reference(context["ti"])))

    def _is_refusal(self, exception: BaseException) -> bool:
        """Tell whether a check is worth its while: the answer may be about the credential."""
        from mbi_reauth import catalogue
        from mbi_reauth.probes.raised import told_by

        judge = catalogue.load(self.integration.type, folder=settings.catalogue_folder()).classify
        for told in told_by(exception):
            findings = [told] if isinstance(told, Finding) else map(judge, _either_endpoint(told))
            if any(finding.verdict in _REFUSALS for finding in findings):
                return True
        return False

    async def _decide(self, run: RunReference) -> RetryDecision:
        from mbi_reauth.hooks.api import ApiError
        from mbi_reauth.notifications.sending import tell_owners

        log.info("%s refused while extracting; checking it", self.integration.full_label)
        shadow = self.shadow or settings.shadow()
        found = (await self._check(run, shadow=shadow)).model_copy(update={"owed": self.owed})
        if not found.blocks or shadow:
            instead = " (shadow mode; otherwise there would be none)" if found.blocks else ""
            log.info("The task's own retries decide%s", instead)
            return RetryDecision.default()
        try:
            await self._record(_report(found, run))
        except ApiError as error:
            # A run that nobody knows of would never be resumed.
            log.warning("The lost authorization could not be recorded; the retries go on. %s", error)
            return RetryDecision.default()
        await tell_owners([found], run=run)
        return RetryDecision.fail(f"{found.sentence} Retries are of no use until that is put right.")

    async def _check(self, run: RunReference, *, shadow: bool) -> GateFinding:
        """Check as a gate does, but without the run: it is stopped only if the refusal is certain."""
        from mbi_reauth.hooks.connections import AirflowConnections
        from mbi_reauth.round import Round

        checks = Round(
            connections=AirflowConnections(),
            max_age=0,
            report=not self.shadow,
            would_block=run if shadow else None,
        )
        return (await checks.findings([self.integration]))[self.integration.id]

    async def _record(self, report: FindingReport) -> None:
        from mbi_reauth.hooks.api import ReauthApiHook

        await ReauthApiHook().report(report)


def _either_endpoint(evidence: Evidence) -> tuple[Evidence, ...]:
    """Take an HTTP answer also for a token endpoint's: who asked does not tell which one was asked."""
    if evidence.status_code is None:
        return (evidence,)
    return evidence, evidence.model_copy(update={"endpoint": Endpoint.TOKEN})


def _report(found: GateFinding, run: RunReference) -> FindingReport:
    return FindingReport(
        integration=found.integration,
        finding=found.finding,
        credential_version=found.credential_version,
        blocked_run=run,
        owed=found.owed,
    )
