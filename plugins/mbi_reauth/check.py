"""Check an integration: ask the app, probe, classify, report; gate, sensor, sweep and command line alike."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from mbi_reauth import catalogue, settings
from mbi_reauth.api.datamodels import (
    CheckRequest,
    CheckResponse,
    FindingReceipt,
    FindingReport,
    RunReference,
)
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.resume import Owed
from mbi_reauth.core.signal import by_signal, proof_in, with_signal
from mbi_reauth.core.standing import (
    differs,
    is_proof,
    misconfigured,
    nothing_to_authorize,
    rests,
    stamped,
    timed,
    unknown,
    unread,
)
from mbi_reauth.core.verdict import Certainty, Finding, Verdict
from mbi_reauth.hooks.api import ApiError, ReauthApiHook
from mbi_reauth.hooks.connections import (
    AirflowConnections,
    ConnectionNotFoundError,
    Connections,
)
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.database import TUNNEL_EXTRA
from mbi_reauth.probes.integration import Probe, Subject, probe
from mbi_reauth.probes.judge import judge

if TYPE_CHECKING:
    from mbi_reauth.catalogue.loader import LoadedType
    from mbi_reauth.catalogue.model import IntegrationType

__all__ = [
    "AirflowConnections",
    "Checked",
    "Checker",
    "Connections",
    "Probe",
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

    Where the registry names a signal of MBI (``mbi_signal``) and the third party accepts the credential, the
    signal is checked as well; :mod:`mbi_reauth.core.signal` says what it means. It never breaks a check. A
    type of which its third party wants few questions is asked by one asker in each interval; the others,
    even with a ``max_age`` of 0, get the last finding, and nobody asks while the app that counts is away.
    """
    checker = Checker(api=api, connections=connections, timeout=timeout, now=now)
    return await checker.check(integration, max_age=max_age, blocked_run=blocked_run, report=report)


@dataclass(frozen=True)
class _Judged:
    """What a check found; ``last`` is what the app knew before, ``news`` whether it has to be told.

    ``idle``: the type has nothing to check but MBI's signal. ``turn`` is the one that the app has given.
    """

    finding: Finding
    credential_version: int | None = None
    news: bool = True
    idle: bool = False
    credential: Credential | None = None
    last: Finding | None = None
    turn: str | None = None


@dataclass(frozen=True)
class _Case:
    integration: Integration
    loaded: LoadedType
    subject: Subject


@dataclass(frozen=True)
class Checker:
    """Checks integrations; everything it depends on can be given.

    ``patient``: whatever the last finding was, it stands until the type's interval and the third party's
    Retry-After are over, be ``max_age`` 0. For who asks without being asked; a gate is not patient.
    """

    api: ReauthApiHook | None
    connections: Connections
    timeout: float = 10
    now: Callable[[], datetime] = _utcnow
    load: Callable[[str], LoadedType] = _load
    probe: Probe = probe
    patient: bool = False

    async def check(
        self,
        integration: Integration,
        *,
        max_age: float = 60,
        blocked_run: RunReference | None = None,
        owed: Owed = Owed(),  # noqa: B008 - frozen
        report: bool = True,
    ) -> Checked:
        """See :func:`check`; ``owed`` is what ``blocked_run`` is owed."""
        try:
            judged = await self._judge(integration, max_age)
        except Exception:
            # A fault of this plugin must not stop anybody's DAG: it is logged, and the extraction decides.
            log.exception("The check of %s failed by a fault of its own", integration.id)
            judged = _Judged(
                unknown("fault", "The check itself failed; the log of the check has the reason.")
            )
        judged = await self._signalled(integration, judged, max_age)
        _log(integration, judged)
        checked = Checked(judged.finding, judged.credential_version)
        # Others wait for the answer of whoever had the turn, be it a gate in shadow mode.
        if not (judged.news and (report or judged.turn)):
            return checked
        stopped = blocked_run if judged.finding.verdict is Verdict.NEEDS_REAUTH else None
        try:
            return replace(checked, receipt=await self._report(integration, judged, stopped, owed))
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
        prepared = await self._prepare(CheckRequest(integration=integration, max_age=max_age))
        version = prepared.credential_version if prepared else None
        last = prepared.last_finding if prepared else None
        began = self.now()
        credential = None
        try:
            loaded = self.load(integration.type)
            if loaded.model.probe is None:
                return _Judged(timed(nothing_to_authorize(loaded.id), began), version, idle=True)
            if (standing := self._standing(loaded.model, prepared, max_age, began)) is not None:
                return _Judged(standing, version, news=False, last=last)
            credential = await self.connections.get(integration.conn_id)
            subject = await self._subject(integration, loaded, credential)
            finding, version = await self._ask(_Case(integration, loaded, subject), prepared)
        except (MisconfiguredError, catalogue.CatalogueError) as error:
            finding = misconfigured(str(error))
        except ConnectionNotFoundError as error:
            missing = await self._is_missing(integration, str(error))
            finding = unread(integration, str(error), last, asked=missing)
        finding = stamped(finding, began, last, integration)
        turn = prepared.turn if prepared else None
        return _Judged(finding, version, credential=credential, last=last, turn=turn)

    async def _is_missing(self, integration: Integration, conn_id: str) -> bool:
        """Whether there is no such connection: an API server that is away looks the same to Airflow 3.3.2."""
        if self.api is None:
            return True
        if await self._prepare(CheckRequest(integration=integration)) is None:
            return False
        try:
            await self.connections.get(conn_id)
        except ConnectionNotFoundError:
            return True
        except MisconfiguredError:
            return False
        return False

    def _standing(
        self, model: IntegrationType, prepared: CheckResponse | None, max_age: float, at: datetime
    ) -> Finding | None:
        """Return what holds without asking: a recent proof, or the last word where it is another's turn."""
        if prepared is not None and prepared.turn is not None:
            return None
        last = prepared.last_finding if prepared else None
        interval = model.probe.min_interval if model.probe else 0
        if last is not None and is_proof(last, within=max(max_age, interval) if max_age else 0, at=at):
            return proof_in(last)
        if (spared := self._spared(prepared, interval, at)) is not None:
            return spared
        if not model.turn_seconds or self.api is None:
            return None
        if prepared is None:
            return unknown("no_turn", "Only the app knows when it was last asked, and gives no answer.")
        return last or unknown("no_turn", "It was asked just now, and nobody has told yet what it said.")

    def _spared(self, prepared: CheckResponse | None, interval: float, at: datetime) -> Finding | None:
        """Return what stands while it is too early to ask; the token endpoint is heard all the same."""
        if not self.patient or prepared is None or prepared.token_evidence is not None:
            return None
        last = prepared.last_finding
        if last is None or not rests(last, interval=interval, at=at):
            return None
        return proof_in(last) if last.proves else last

    async def _signalled(self, integration: Integration, judged: _Judged, max_age: float) -> _Judged:
        """Add what MBI's own signal says, where one is named; whatever becomes of that, the check stands."""
        finding, signal = judged.finding, integration.signal
        if finding.verdict is not Verdict.AUTHORIZED or (signal is None and not judged.idle):
            return judged
        if signal is None:
            unnamed = unknown("no_signal", "There is nothing to authorize, and no mbi_signal is named.")
            return replace(judged, finding=timed(unnamed, finding.checked_at))
        try:
            said = (await self.check(signal, max_age=max_age)).finding
            weighed = by_signal(said, signal) if judged.idle else with_signal(finding, said, signal)
        except Exception:
            # As above: the third party was proved, and that stands.
            log.exception("The signal %s of %s could not be weighed", signal.id, integration.id)
            return judged
        news = judged.news or differs(weighed, judged.last)
        return replace(judged, finding=timed(weighed, finding.checked_at), news=news)

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
                return unknown("no_token", "There is no access token, and only the app can get one."), version
        finding = await self._probed(case, token)
        if finding.verdict is not Verdict.NEEDS_REFRESH:
            return finding, version
        return await self._refreshed(case, token or "", version)

    async def _refreshed(self, case: _Case, refused: str, version: int | None) -> tuple[Finding, int | None]:
        """Let the token endpoint decide: its refusal, or one more probe with a fresh token."""
        digest = hashlib.sha256(refused.encode()).hexdigest()
        prepared = await self._prepare(CheckRequest(integration=case.integration, refused_token=digest))
        if prepared is None:
            return unknown(
                "no_refresh", "The access token was refused, and only the app can refresh it."
            ), version
        version = prepared.credential_version
        if prepared.token_evidence is not None:
            return case.loaded.classify(prepared.token_evidence), version
        if not prepared.access_token:
            return unknown("no_refresh", "The access token was refused, and the app has no other."), version
        finding = await self._probed(case, prepared.access_token)
        if finding.verdict is Verdict.NEEDS_REFRESH:
            return unknown("fresh_token_refused", "Even a fresh access token was refused."), version
        return finding, version

    async def _probed(self, case: _Case, token: str | None) -> Finding:
        evidence = await self.probe(case.subject, access_token=token, timeout=self.timeout)
        return judge(case.loaded, case.subject, evidence, account=case.integration.account, now=self.now())

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
        self, integration: Integration, judged: _Judged, stopped: RunReference | None, owed: Owed
    ) -> FindingReceipt | None:
        if self.api is None:
            return None
        report = FindingReport(
            integration=integration,
            finding=judged.finding,
            credential_version=judged.credential_version,
            blocked_run=stopped,
            owed=owed,
            turn=judged.turn,
        )
        try:
            return await self.api.report(report)
        except ApiError as error:
            log.warning("The finding about %s is not reported yet. %s", integration.id, error)
            return None


def _log(integration: Integration, judged: _Judged) -> None:
    finding = judged.finding
    good = finding.verdict is Verdict.AUTHORIZED
    old = None if judged.news else finding.proved_at
    log.log(
        logging.INFO if good else logging.WARNING,
        "%s is %s%s: %s%s [%s]",
        integration.full_label,
        finding.verdict.value,
        f", proved at {old:%Y-%m-%d %H:%M:%S %Z}" if old else "",
        finding.explanation,
        f' It said: "{finding.vendor_words}"' if finding.vendor_words else "",
        finding.rule,
    )
