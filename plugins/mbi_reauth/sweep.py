"""The sweep: every integration of the registry checked, whatever DAGs read it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mbi_reauth import catalogue, settings
from mbi_reauth.api.datamodels import RunReference
from mbi_reauth.catalogue.model import HttpProbe
from mbi_reauth.check import AirflowConnections, Connections, Probe
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.registry import Registry
from mbi_reauth.core.sweep import (
    EMAILS,
    EMAILS_REFUSED,
    EMAILS_UNSENT,
    FAULTS,
    INTEGRATIONS,
    OUTBOX_AWAY,
    PROBES,
    WITHOUT_APP,
    shards,
)
from mbi_reauth.hooks.api import ApiError, ReauthApiHook
from mbi_reauth.notifications.sending import Deliver, send_due
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.integration import Subject, probe
from mbi_reauth.probes.template import Templates
from mbi_reauth.round import Round

log = logging.getLogger(__name__)

_PROGRESS_LINES = 10
_NOBODY_TO_WRITE_TO = "[mbi_reauth] engineer_email"
"""What the app names where an email waits because there is no address for it."""


def plan(registry: Registry, *, shard_size: int) -> list[list[str]]:
    """Deal the registry's integrations out into shards; each is a list of ids."""
    host_of_type = {kind: _host_of_type(kind) for kind in {e.type for e in registry.integrations.values()}}
    dealt = shards({e.id: host_of_type[e.type] for e in registry.integrations.values()}, shard_size)
    log.info("%d integrations in %d shards", len(registry.integrations), len(dealt))
    return dealt


def _host_of_type(type_id: str) -> str | None:
    """Return the host that all integrations of a type ask, if it does not depend on their connections."""
    try:
        base_url = catalogue.load(type_id, folder=settings.catalogue_folder()).model.base_url
    except catalogue.CatalogueError:
        return None  # the checks say what is wrong with it
    return urlsplit(base_url).netloc if base_url and "{" not in base_url else None


def host_of(subject: Subject) -> str:
    """Return the server that a probe connects to: the SSH server in front, the database, or the API.

    :raises MisconfiguredError: the connection lacks what the API's address is made of
    """
    question = subject.model.probe
    if not isinstance(question, HttpProbe):
        return (subject.ssh or subject.credential).host or ""
    templates = Templates(subject.model, subject.credential, integration=subject.integration)
    return urlsplit(templates.url(question.url)).netloc


@dataclass(frozen=True)
class Limits:
    """How many checks a shard makes at once, how many of one host; seconds over which they begin."""

    checks: int = 16
    per_host: int = 4
    spread: float = 30

    @classmethod
    def of_settings(cls) -> Limits:
        """Read them from Airflow's configuration."""
        return cls(
            max(1, settings.sweep_checks()),
            max(1, settings.sweep_checks_per_host()),
            settings.sweep_spread(),
        )


@dataclass(frozen=True)
class Sweep:
    """Checks the integrations of one shard side by side, and reports what it finds.

    ``max_age``: seconds for which a proof, be it a gate's, is trusted.
    """

    limits: Limits = field(default_factory=Limits.of_settings)
    max_age: float = field(default_factory=settings.max_age)
    api: ReauthApiHook = field(default_factory=lambda: ReauthApiHook(connections=_ReadOnce()))
    connections: Connections = field(default_factory=AirflowConnections)
    probe: Probe = probe
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def shard(self, integrations: Sequence[Integration]) -> dict[str, int]:
        """Check them all; whatever goes wrong with one is in the log and in the counts.

        :return: how many integrations, how many of each verdict, and the rest of :mod:`mbi_reauth.core.sweep`
        """
        counts: Counter[str] = Counter({INTEGRATIONS: len(integrations)})
        paced = _PacedProbe(self.probe, self.limits.per_host, counts)
        checks = Round(
            connections=self.connections, api=self.api, max_age=self.max_age, patient=True, probe=paced
        )
        at_once = asyncio.Semaphore(self.limits.checks)

        async def one(integration: Integration) -> None:
            await self.sleep(random.uniform(0, self.limits.spread))  # noqa: S311 - not a secret
            async with at_once:
                await self._one(integration, checks, counts)

        running = [asyncio.ensure_future(one(integration)) for integration in integrations]
        for done, each in enumerate(asyncio.as_completed(running), start=1):
            await each
            if done * _PROGRESS_LINES // len(running) > (done - 1) * _PROGRESS_LINES // len(running):
                log.info("%d of %d checked", done, len(running))
        log.info("%s", in_words(counts))
        return dict(counts)

    async def _one(self, integration: Integration, checks: Round, counts: Counter[str]) -> None:
        try:
            found = (await checks.findings([integration]))[integration.id]
        except Exception:
            # One integration's trouble must not keep the others from being checked.
            log.exception("%s could not be checked", integration.full_label)
            counts[FAULTS] += 1
            return
        counts[found.finding.verdict.value] += 1
        if found.credential_version is None:
            counts[WITHOUT_APP] += 1


class _ReadOnce:
    """Airflow's connections for the app's client, which wants one and the same for each of its questions."""

    def __init__(self) -> None:
        self._found: dict[str, Credential] = {}

    async def get(self, conn_id: str) -> Credential:
        """Read one as :class:`AirflowConnections` does; a second time, give the same."""
        if conn_id not in self._found:
            self._found[conn_id] = await AirflowConnections().get(conn_id)
        return self._found[conn_id]


class _PacedProbe:
    """The probe, with a bound for each host; counts the questions."""

    def __init__(self, ask: Probe, per_host: int, counts: Counter[str]) -> None:
        self._ask = ask
        self._counts = counts
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(per_host))

    async def __call__(
        self, subject: Subject, *, access_token: str | None = None, timeout: float = 10
    ) -> Evidence:
        async with self._turns[host_of(subject)]:
            self._counts[PROBES] += 1
            return await self._ask(subject, access_token=access_token, timeout=timeout)


async def serve(
    run: RunReference, *, api: ReauthApiHook | None = None, deliver: Deliver | None = None
) -> dict[str, int]:
    """Send every email that is due, once all shards have reported; whatever goes wrong is in the log.

    :param run: the task instance that sends
    :return: how many emails of each kind were sent, how many were not; see :mod:`mbi_reauth.core.sweep`
    """
    api = api or ReauthApiHook(connections=_ReadOnce())
    try:
        sent = await send_due(api=api, run=run, serving=True, deliver=deliver)
    except ApiError as error:
        log.warning("What is due is not known. %s", error)
        return {OUTBOX_AWAY: 1}
    for mail in sent.mails:
        log.info("%s", mail)
    for sentence in sent.unsent:
        log.error("Not sent: %s", sentence)
    unaddressed = _NOBODY_TO_WRITE_TO in sent.reason
    log.log(logging.WARNING if unaddressed else logging.INFO, "Nothing more to send: %s", sent.reason)
    counts = Counter(EMAILS.format(mail.kind.value) for mail in sent.mails)
    counts += Counter({EMAILS_UNSENT: len(sent.unsent), EMAILS_REFUSED: len(sent.refused)})
    log.info("%s", in_words(counts) or "no emails")
    await _tell_of_shadow(api)
    return dict(counts)


async def _tell_of_shadow(api: ReauthApiHook) -> None:
    try:
        shadow = await api.would_block()
    except ApiError as error:
        log.warning("What shadow mode would have done is not known. %s", error)
        return
    if shadow.would_block:
        runs = sum(each.runs for each in shadow.would_block)
        log.info(
            "Shadow mode would have stopped %d runs so far; `python -m mbi_reauth shadow` lists them", runs
        )


def in_words(counts: Counter[str] | dict[str, int]) -> str:
    """Write counts as one line for a log."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
