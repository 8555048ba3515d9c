"""Tell an owner, exactly once: report, claim, send, settle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.message import EmailMessage
from functools import partial
from typing import NamedTuple

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

from mbi_reauth import catalogue, settings
from mbi_reauth.api.datamodels import (
    ClaimRequest,
    FindingReport,
    NotificationView,
    RunReference,
    SettleRequest,
)
from mbi_reauth.core.gate import GateFinding
from mbi_reauth.hooks.api import ApiUnavailableError, ReauthApiHook
from mbi_reauth.notifications.message import compose
from mbi_reauth.notifications.smtp import MailError, send

SETTLES_WITHIN = 240.0
"""Seconds for which a sent email is tried to be recorded as such; within its lease of five minutes."""


class NotSentError(Exception):
    """An email is due and could not be sent; the notification stays due."""


class Told(NamedTuple):
    """Who was written to, or nobody, and why."""

    recipient: str | None
    reason: str


async def tell_owner(
    found: GateFinding,
    *,
    run: RunReference,
    stopped: bool = True,
    api: ReauthApiHook | None = None,
    deliver: Callable[[EmailMessage], None] | None = None,
) -> Told:
    """Send the email that is due about ``found``, unless somebody has sent it or is sending it.

    :param run: the gate's task instance
    :param stopped: whether it is stopped, and owed a resume; a waiting gate goes on by itself
    :raises NotSentError: the app or the mail server could not be reached, or refused
    """
    api = api or ReauthApiHook()
    deliver = deliver or partial(send, smtp_conn_id=settings.smtp_conn_id())
    try:
        await api.report(
            FindingReport(
                integration=found.integration,
                finding=found.finding,
                credential_version=found.credential_version,
                blocked_run=run if stopped else None,
            )
        )
        claim = await api.claim(ClaimRequest(integration_id=found.integration.id, claimed_by=run))
    except ApiUnavailableError as error:
        raise NotSentError(f"{found.integration.label}: {error}") from error
    if claim.notification is None:
        return Told(None, f"{found.integration.label}: {claim.reason}")
    await _deliver(api, claim.notification, deliver)
    recipient = claim.notification.recipient
    return Told(recipient, f"{found.integration.label}: sent to {recipient}")


async def _deliver(
    api: ReauthApiHook, notification: NotificationView, deliver: Callable[[EmailMessage], None]
) -> None:
    integration_type = catalogue.load(notification.integration.type, folder=settings.catalogue_folder())
    message = compose(
        notification,
        integration_type.model,
        contact=settings.contact(),
        airflow_url=settings.base_url(),
    )
    try:
        await asyncio.to_thread(deliver, message)
    except MailError as error:
        await _settle(
            api, notification, SettleRequest(lease=notification.lease, sent=False, error=str(error))
        )
        raise NotSentError(f"{notification.integration.label}: {error}") from error
    await _settle(api, notification, SettleRequest(lease=notification.lease, sent=True))


async def _settle(api: ReauthApiHook, notification: NotificationView, request: SettleRequest) -> None:
    # The mail may be out already: giving up here would make somebody send it again.
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(ApiUnavailableError),
        stop=stop_after_delay(SETTLES_WITHIN),
        wait=wait_exponential(max=20),
        reraise=True,
    ):
        with attempt:
            await api.settle(notification.id, request)
