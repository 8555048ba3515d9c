"""Send what is due, exactly once: claim, compose, send, settle. And tell an owner: report, then send."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal, NamedTuple

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from mbi_reauth import catalogue, settings
from mbi_reauth.api.datamodels import ClaimRequest, FindingReport, MailView, RunReference, SettleRequest
from mbi_reauth.catalogue.model import IntegrationType
from mbi_reauth.core.gate import GateFinding
from mbi_reauth.core.notice import NotificationKind
from mbi_reauth.hooks.api import ApiError, ApiRefusedError, ApiUnavailableError, ReauthApiHook
from mbi_reauth.notifications.message import compose
from mbi_reauth.notifications.smtp import (
    AddressRefusedError,
    MailError,
    NoServerError,
    Outgoing,
    UnansweredError,
)

log = logging.getLogger(__name__)

SETTLES_WITHIN = 240.0
"""Seconds for which an email's end is tried to be recorded; a lease lasts five minutes from the claim on."""
FAILURES_IN_A_ROW = 3
"""After so many emails that the mail server did not take, one after the other, no more are tried."""

Deliver = Callable[[EmailMessage], None]
Outcome = Literal["sent", "unsent", "untried", "unsure", "refused"]
_OUTCOMES: tuple[tuple[type[MailError], Outcome], ...] = (
    (UnansweredError, "unsure"),
    (NoServerError, "untried"),
    (MailError, "unsent"),
)


class NotSentError(Exception):
    """An email is due and could not be sent; the notification stays due."""


class SentMail(NamedTuple):
    """One email that went out, and what people call the integrations that it is about."""

    kind: NotificationKind
    recipients: tuple[str, ...]
    labels: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.labels)}: sent to {', '.join(self.recipients)} ({self.kind.value})"


class Sent(NamedTuple):
    """What came of sending what was due.

    ``unsent`` says, a sentence each, what stays due and why; ``refused`` to which addresses mail never will
    go. ``reason`` is why nothing more was to be sent. ``held``: the email about a loss goes out later.
    """

    mails: list[SentMail]
    unsent: list[str]
    refused: list[str]
    reason: str
    held: bool = False


class Told(NamedTuple):
    """What came of telling an owner: whom email went to, and in words what was sent, or why nothing was.

    ``failed``: something that is due could not be sent; it stays due. ``held``: it goes out later, by whoever
    asks then.
    """

    recipients: tuple[str, ...]
    reason: str
    failed: bool = False
    held: bool = False


async def send_due(
    *,
    api: ReauthApiHook,
    run: RunReference | None,
    integration_id: str | None = None,
    serving: bool = False,
    deliver: Deliver | None = None,
) -> Sent:
    """Send every email that is due, one after the other; what goes wrong with one keeps no other.

    :param run: the asking task instance
    :param integration_id: only what is due about this one, and what goes out with it
    :param serving: for the sweep, which comes again
    :param deliver: hands one message to a mail server; default: over one connection for all
    :raises ApiError: the plugin's app did not say what is due; nothing has been sent
    """
    request = ClaimRequest(integration_id=integration_id, serving=serving, claimed_by=run)
    with _delivery(deliver) as hand_over:
        sending = _Sending(api, hand_over)
        claim = await api.claim(request)
        while claim.mail is not None:
            sending.reasons.append(claim.reason)
            await sending.send(claim.mail)
            if sending.over:
                return sending.ended(sending.over)
            try:
                again = {"serving": False, "passed_over": sorted(sending.passed_over)}
                claim = await api.claim(request.model_copy(update=again))
            except ApiError as error:
                sending.unsent.append(f"What else is due is not known. {error}")
                return sending.ended(str(error))
    return sending.ended(claim.reason, held=claim.held_until is not None)


async def tell_owner(
    found: GateFinding,
    *,
    run: RunReference,
    api: ReauthApiHook | None = None,
    deliver: Deliver | None = None,
) -> Told:
    """Report ``found``, and send what is due about it unless somebody has sent it or is sending it.

    :param run: the gate's task instance, which is stopped or waits
    :raises NotSentError: the app or the mail server could not be reached, or refused
    """
    api = api or ReauthApiHook()
    label = found.integration.label
    try:
        await api.report(
            FindingReport(
                integration=found.integration,
                finding=found.finding,
                credential_version=found.credential_version,
                blocked_run=_stopped(found, run),
                owed=found.owed,
            )
        )
        sent = await send_due(api=api, run=run, integration_id=found.integration.id, deliver=deliver)
    except ApiError as error:
        raise NotSentError(f"{label}: {error}") from error
    if sent.unsent:
        raise NotSentError("\n".join(sent.unsent))
    recipients = [address for mail in sent.mails for address in mail.recipients]
    sentences = [*sent.refused, *map(str, sent.mails)] if sent.mails else [*sent.refused, sent.reason]
    said = "\n".join(sentences)
    said = said if sent.mails else f"{label}: {said}"
    return Told(tuple(dict.fromkeys(recipients)), said, held=sent.held)


async def tell_owners(
    findings: Sequence[GateFinding],
    *,
    run: RunReference,
    api: ReauthApiHook | None = None,
) -> dict[str, Told]:
    """Tell the owners of all of them as :func:`tell_owner` does; return what came of it, by integration.

    Whatever goes wrong with one is in the log and in what is returned; it keeps no other from being told.
    """
    return {found.integration.id: await _told(found, run, api) for found in findings}


async def _told(found: GateFinding, run: RunReference, api: ReauthApiHook | None) -> Told:
    try:
        told = await tell_owner(found, run=run, api=api)
    except NotSentError as error:
        log.warning("The owner of %s is not told yet. %s", found.integration.full_label, error)
        return Told((), str(error), failed=True)
    except Exception as error:
        # A fault of this plugin decides nothing about anybody's task; whoever has to know is told by the log.
        log.exception("The owner of %s is not told yet", found.integration.full_label)
        return Told((), f"{found.integration.label}: {type(error).__name__}", failed=True)
    log.info("%s", told.reason)
    return told


def _stopped(found: GateFinding, run: RunReference) -> RunReference:
    """Name the stopped try of the gate, which is another one than that of the task that tells of it."""
    return run.model_copy(update={"try_number": found.try_number}) if found.try_number else run


@contextmanager
def _delivery(deliver: Deliver | None) -> Iterator[Deliver]:
    if deliver is not None:
        yield deliver
        return
    with Outgoing(settings.smtp_conn_id()) as outgoing:
        yield outgoing.send


@dataclass
class _Sending:
    """Sends claimed emails and keeps what came of them; ``over`` says why no more are to be tried."""

    api: ReauthApiHook
    deliver: Deliver
    mails: list[SentMail] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    passed_over: set[int] = field(default_factory=set)
    failures: int = 0
    over: str = ""

    def ended(self, reason: str, *, held: bool = False) -> Sent:
        reasons = dict.fromkeys(each for each in (*self.reasons, reason) if each)
        return Sent(self.mails, self.unsent, self.refused, "; ".join(reasons), held)

    async def send(self, mail: MailView) -> None:
        about = ", ".join(_labels(mail))
        try:
            await asyncio.to_thread(self.deliver, _written(mail))
        except AddressRefusedError as error:
            self.failures = 0
            log.warning("%s: this mail will never arrive. %s", about, error)
            self.refused.append(f"{about}: {error}")
            await self._settle(mail, "refused", str(error))
        except MailError as error:
            self.failures += 1
            if self.failures == FAILURES_IN_A_ROW:
                self.over = f"the mail server took none of the last {FAILURES_IN_A_ROW} emails"
            self.unsent.append(f"{about}: {error}")
            outcome = next(outcome for kind, outcome in _OUTCOMES if isinstance(error, kind))
            await self._settle(mail, outcome, str(error))
        except Exception as error:
            # One email's trouble must not keep the others from being sent.
            log.exception("The %s email about %s could not be made", mail.kind.value, about)
            self.unsent.append(f"{about}: {type(error).__name__}; the log has the reason")
            await self._settle(mail, "unsent", type(error).__name__)
        else:
            self.failures = 0
            self.mails.append(SentMail(mail.kind, tuple(mail.recipients), _labels(mail)))
            await self._settle(mail, "sent")

    async def _settle(self, mail: MailView, outcome: Outcome, error: str | None = None) -> None:
        if outcome in ("unsent", "untried", "unsure"):
            self.passed_over.update(notice.id for notice in mail.notices)
        request = SettleRequest(lease=mail.lease, outcome=outcome, error=error)
        try:
            await self._persist(request)
        except ApiRefusedError as refusal:
            # Another has claimed it meanwhile, and sends it under the same Message-ID.
            self.passed_over.update(notice.id for notice in mail.notices)
            log.warning("%s: the end of its email is not recorded. %s", ", ".join(_labels(mail)), refusal)
        except ApiUnavailableError as away:
            self.over = str(away)
            self.unsent.append(f"{', '.join(_labels(mail))}: {outcome}, which is not recorded. {away}")

    async def _persist(self, request: SettleRequest) -> None:
        # The mail may be out already: giving up here would make somebody send it again.
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(ApiUnavailableError),
            stop=stop_after_delay(SETTLES_WITHIN),
            wait=wait_random_exponential(multiplier=0.5, max=20),
            reraise=True,
        ):
            with attempt:
                await self.api.settle(request)


def _written(mail: MailView) -> EmailMessage:
    return compose(mail, type_of=_type_of, contact=settings.contact(), airflow_url=settings.base_url())


def _type_of(type_id: str) -> IntegrationType:
    return catalogue.load(type_id, folder=settings.catalogue_folder()).model


def _labels(mail: MailView) -> tuple[str, ...]:
    """Name what an email is about: the integrations, or a whole type of them."""
    return tuple(
        notice.integration.label if notice.integration else notice.integration_type for notice in mail.notices
    )
