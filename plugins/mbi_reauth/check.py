"""Check an integration: ask the app, probe, classify, report; gate, sensor, sweep and command line alike."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Protocol

from mbi_reauth import catalogue, settings
from mbi_reauth.api.datamodels import (
    CheckRequest,
    CheckResponse,
    FindingReceipt,
    FindingReport,
    RunReference,
)
from mbi_reauth.catalogue.model import HttpProbe
from mbi_reauth.core.account import accounts_in, with_account
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Certainty, Finding, Verdict
from mbi_reauth.hooks.api import ApiError, ReauthApiHook
from mbi_reauth.hooks.connections import (
    AirflowConnections,
    ConnectionNotFoundError,
    Connections,
)
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.database import TUNNEL_EXTRA
from mbi_reauth.probes.integration import Subject, probe

if TYPE_CHECKING:
    from mbi_reauth.catalogue.loader import LoadedType

__all__ = [
    "AirflowConnections",
    "Checked",
    "Checker",
    "Connections",
    "check",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """A finding, the credential's version it was made with, and what the app made of the report.

    ``receipt`` is None where there was nothing to report or the app could not be told.
    """

    finding: Finding
    credential_version: int | None = None
    receipt: FindingReceipt | None = None


class Probe(Protocol):
    """The one question to the third party (:func:`mbi_reauth.probes.integration.probe`)."""

    def __call__(
        self, subject: Subject, *, access_token: str | None = None, timeout: float = 10
    ) -> Awaitable[Evidence]:
        """Ask it."""


def _utcnow() -> datetime:
    return datetime.now(timezone.utc)


def _load(type_id: str) -> LoadedType:
    return catalogue.load(type_id, folder=settings.catalogue_folder())


async def check(  # noqa: PLR0913 - what a gate can say about a check, all by name
    integration: Integration,
    *,
    api: ReauthApiHook | None,
    connections: Connections,
    max_age: float = 60,
    timeout: float = 10,
    now: Callable[[], datetime] = _utcnow,
    blocked_run: RunReference | None = None,
    report: bool = True,
) -> Checked:
    """Check one integration; whatever the third party, the network or the app does is in the finding.

    :param api: the plugin's app; None works with what the connection holds
    :param max_age: seconds for which the last proof is trusted instead of probing again; the integration
        type may ask for longer. 0 always probes
    :param timeout: seconds for each step of the probe
    :param blocked_run: the run that a lost authorization stops
    :param report: tell the app the finding
    """
    checker = Checker(api=api, connections=connections, timeout=timeout, now=now)
    return await checker.check(integration, max_age=max_age, blocked_run=blocked_run, report=report)


@dataclass(frozen=True)
class _Judged:
    finding: Finding
    credential_version: int | None = None
    probed: bool = True
    credential: Credential | None = None


@dataclass(frozen=True)
class _Case:
    integration: Integration
    loaded: LoadedType
    subject: Subject


@dataclass(frozen=True)
class Checker:
    """Checks integrations; everything it depends on can be given."""

    api: ReauthApiHook | None
    connections: Connections
    timeout: float = 10
    now: Callable[[], datetime] = _utcnow
    load: Callable[[str], LoadedType] = _load
    probe: Probe = probe

    async def check(
        self,
        integration: Integration,
        *,
        max_age: float = 60,
        blocked_run: RunReference | None = None,
        report: bool = True,
    ) -> Checked:
        """See :func:`check`."""
        try:
            judged = await self._judge(integration, max_age)
        except Exception:
            # A fault of this plugin must not stop anybody's DAG: it is logged, and the extraction decides.
            log.exception("The check of %s failed by a fault of its own", integration.id)
            judged = _Judged(
                _unknown("fault", "The check itself failed; the log of the check has the reason.")
            )
        _log(integration, judged)
        checked = Checked(judged.finding, judged.credential_version)
        if not (report and judged.probed):
            return checked
        stopped = blocked_run if judged.finding.verdict is Verdict.NEEDS_REAUTH else None
        try:
            return replace(checked, receipt=await self._report(integration, checked, stopped))
        except Exception:
            # As above: what was found stands, and the email branch reports it once more.
            log.exception("The finding about %s could not be reported", integration.id)
            return checked

    async def _judge(self, integration: Integration, max_age: float) -> _Judged:
        judged = await self._attempt(integration, max_age)
        finding = judged.finding
        if finding.verdict is not Verdict.NEEDS_REAUTH or finding.certainty is not Certainty.EXPLICIT:
            return judged
        if not await self._replaced_since(integration, judged):
            return judged
        log.info("The credential of %s was replaced during its check; checking the new one", integration.id)
        return await self._attempt(integration, max_age)

    async def _attempt(self, integration: Integration, max_age: float) -> _Judged:
        prepared = await self._prepare(CheckRequest(integration=integration))
        version = prepared.credential_version if prepared else None
        last = prepared.last_finding if prepared else None
        began = self.now()
        credential = None
        try:
            loaded = self.load(integration.type)
            age = max(max_age, loaded.model.probe.min_interval) if max_age else 0
            if last is not None and _proves(last, within=age, at=began):
                return _Judged(last, version, probed=False)
            credential = await self.connections.get(integration.conn_id)
            subject = await self._subject(integration, loaded, credential)
            finding, version = await self._ask(_Case(integration, loaded, subject), prepared)
        except (MisconfiguredError, catalogue.CatalogueError) as error:
            finding = _misconfigured(str(error))
        except ConnectionNotFoundError as error:
            finding = self._missing(integration, str(error), prepared)
        return _Judged(_stamped(finding, began, last, integration), version, credential=credential)

    async def _subject(self, integration: Integration, loaded: LoadedType, credential: Credential) -> Subject:
        ssh_conn_id = credential.get(TUNNEL_EXTRA) if loaded.model.kind == "database" else ""
        ssh = await self.connections.get(ssh_conn_id) if ssh_conn_id else None
        return Subject(loaded.model, credential, integration, ssh)

    async def _ask(self, case: _Case, prepared: CheckResponse | None) -> tuple[Finding, int | None]:
        version = prepared.credential_version if prepared else None
        if prepared is not None and prepared.token_evidence is not None:
            return case.loaded.classify(prepared.token_evidence), version
        token = prepared.access_token if prepared else None
        oauth = case.loaded.model.oauth
        if oauth is not None:
            token = token or case.subject.credential.get("access_token")
            if not token and oauth.refresh != "none":
                return _unknown(
                    "no_token", "There is no access token, and only the app can get one."
                ), version
        finding = await self._probed(case, token)
        if finding.verdict is not Verdict.NEEDS_REFRESH:
            return finding, version
        return await self._refreshed(case, token or "", version)

    async def _refreshed(self, case: _Case, refused: str, version: int | None) -> tuple[Finding, int | None]:
        """Let the token endpoint decide: its refusal, or one more probe with a fresh token."""
        digest = hashlib.sha256(refused.encode()).hexdigest()
        prepared = await self._prepare(CheckRequest(integration=case.integration, refused_token=digest))
        if prepared is None:
            return _unknown(
                "no_refresh", "The access token was refused, and only the app can refresh it."
            ), version
        version = prepared.credential_version
        if prepared.token_evidence is not None:
            return case.loaded.classify(prepared.token_evidence), version
        if not prepared.access_token:
            return _unknown("no_refresh", "The access token was refused, and the app has no other."), version
        finding = await self._probed(case, prepared.access_token)
        if finding.verdict is Verdict.NEEDS_REFRESH:
            return _unknown("fresh_token_refused", "Even a fresh access token was refused."), version
        return finding, version

    async def _probed(self, case: _Case, token: str | None) -> Finding:
        evidence = await self.probe(case.subject, access_token=token, timeout=self.timeout)
        finding = case.loaded.classify(evidence)
        question = case.loaded.model.probe
        if finding.verdict is not Verdict.AUTHORIZED or not isinstance(question, HttpProbe):
            return finding
        found = accounts_in(evidence, question.account, question.account_format) if question.account else []
        expected = case.integration.account
        return with_account(finding, found, expected=expected, type_id=case.loaded.id)

    async def _prepare(self, request: CheckRequest) -> CheckResponse | None:
        if self.api is None:
            return None
        try:
            return await self.api.prepare(request)
        except ApiError as error:
            log.warning("Checking %s without the plugin's app. %s", request.integration.id, error)
            return None

    async def _replaced_since(self, integration: Integration, judged: _Judged) -> bool:
        try:
            return await self.connections.get(integration.conn_id) != judged.credential
        except (ConnectionNotFoundError, MisconfiguredError):
            return True

    async def _report(
        self, integration: Integration, checked: Checked, stopped: RunReference | None
    ) -> FindingReceipt | None:
        if self.api is None:
            return None
        report = FindingReport(
            integration=integration,
            finding=checked.finding,
            credential_version=checked.credential_version,
            blocked_run=stopped,
        )
        try:
            return await self.api.report(report)
        except ApiError as error:
            log.warning("The finding about %s is not reported yet. %s", integration.id, error)
            return None

    def _missing(self, integration: Integration, conn_id: str, prepared: CheckResponse | None) -> Finding:
        # Airflow says "not found" for a secrets backend or an API server that gave no answer, too.
        last = prepared.last_finding if prepared else None
        if last is not None and last.proved_at is not None:
            return _unknown(
                "connection_unread",
                f"The Airflow connection {conn_id!r} could not be read, though it worked at "
                f"{last.proved_at:%Y-%m-%d %H:%M %Z}: it was deleted, or its secrets backend gave no answer.",
            )
        if self.api is not None and prepared is None:
            return _unknown(
                "connection_unread",
                f"The Airflow connection {conn_id!r} could not be read; nor is the app there.",
            )
        return _misconfigured(
            f"There is no Airflow connection {conn_id!r}, which the integration {integration.id!r} needs; "
            "create it"
        )


def _proves(finding: Finding, *, within: float, at: datetime) -> bool:
    if finding.verdict is not Verdict.AUTHORIZED or finding.proved_at is None:
        return False
    return at - finding.proved_at < timedelta(seconds=within)


def _stamped(finding: Finding, began: datetime, last: Finding | None, integration: Integration) -> Finding:
    """Add the times: the check's is when it began, because what it says may be older than its end."""
    proved = began if finding.verdict is Verdict.AUTHORIZED else last.proved_at if last else None
    expires = finding.expires_at
    if expires is None and integration.expires_at is not None:
        expires = datetime.combine(integration.expires_at, time(), timezone.utc)
    return finding.model_copy(update={"checked_at": began, "proved_at": proved, "expires_at": expires})


def _unknown(rule: str, explanation: str) -> Finding:
    return Finding(cause=Cause.UNKNOWN, rule=f"check.{rule}", explanation=explanation)


def _misconfigured(explanation: str) -> Finding:
    return Finding(cause=Cause.PROBE_MISCONFIGURED, rule="check.connection", explanation=explanation)


def _log(integration: Integration, judged: _Judged) -> None:
    finding = judged.finding
    good = finding.verdict is Verdict.AUTHORIZED
    log.log(
        logging.INFO if good else logging.WARNING,
        "%s is %s%s: %s%s [%s]",
        integration.full_label,
        finding.verdict.value,
        "" if judged.probed else f", proved at {finding.proved_at:%Y-%m-%d %H:%M:%S %Z}",
        finding.explanation,
        f' It said: "{finding.vendor_words}"' if finding.vendor_words else "",
        finding.rule,
    )
