"""A fresh access token from the stored one or from the token endpoint, asked by one at a time.

A rotating refresh token is good for one use, and a second use makes many third parties withdraw the whole
grant. So whoever asks holds a lease in the status row; nobody asks while a transaction is open; and what was
granted is stored before anybody sees it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import CheckResponse
from mbi_reauth.api.services.credentials import (
    known_of,
    present_credential,
    remember_rotation,
    take_turn,
)
from mbi_reauth.api.services.grant import Question, refresh_request, saved_values, stored_token
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.api.services.turns import Waiting, take_turn_to_probe
from mbi_reauth.core.evidence import Endpoint, Evidence, TransportFailure
from mbi_reauth.models.metadata_db import save_extra, transact
from mbi_reauth.models.tables import Status
from mbi_reauth.probes.credential import MisconfiguredError
from mbi_reauth.probes.oauth import (
    TOTAL_TIMEOUT,
    InvalidTokenUrlError,
    RefreshRequest,
    TokenResponse,
    set_up_fault,
)

LEASE = timedelta(seconds=4 * TOTAL_TIMEOUT)
_LATEST_START = LEASE / 2
_SAVE_ATTEMPTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshing:
    """The right to ask the token endpoint; without a lease where there is no row to save the answer in."""

    request: RefreshRequest
    response: CheckResponse
    granted_at: datetime
    lease: str | None = None


def look(session: Session, question: Question, *, now: datetime) -> CheckResponse | Refreshing | Waiting:
    """Answer from what is stored, or grant the right to refresh unless somebody else has it."""
    status = take_turn(session, question.integration, now=now)
    credential = present_credential(session, status, question.elsewhere, now=now)
    response = _response(status)
    oauth = question.integration_type.oauth
    if oauth is None:
        return take_turn_to_probe(status, response, question, now=now)
    token = stored_token(credential, oauth, question.refused, now=now)
    if token is not None or oauth.refresh == "none":
        return response.model_copy(update={"access_token": token})
    if status.token_evidence is not None and _since(status.token_evidence_at, question.asked_at):
        return _refused(response, Evidence.model_validate(status.token_evidence))
    try:
        request = refresh_request(question, oauth, credential)
    except MisconfiguredError as error:
        return _refused(response, set_up_fault(str(error)))
    granted = Refreshing(request=request, response=response, granted_at=now)
    return granted if question.elsewhere is not None else _take_lease(session, status, granted)


def _take_lease(session: Session, status: Status, granted: Refreshing) -> Refreshing | Waiting:
    # The connection's row is locked: of two integrations that share it, the second sees the first's lease.
    if _is_leased(session, Status.conn_id == status.conn_id, granted.granted_at):
        return unanswered(granted.response)
    status.refresh_lease = str(uuid.uuid4())
    status.refresh_lease_expires_at = granted.granted_at + LEASE
    return replace(granted, lease=status.refresh_lease)


def unanswered(response: CheckResponse) -> Waiting:
    """Wait for somebody else's refresh; if it does not end, the token endpoint has not answered."""
    silence = Evidence(endpoint=Endpoint.TOKEN, failure=TransportFailure.TIMEOUT)
    return Waiting(_refused(response, silence))


def is_refreshing(session: Session, question: Question, *, now: datetime) -> bool:
    """Say whether somebody is asking still; only reads, so that waiting costs others nothing.

    A refresh is the business of all integrations that share the connection, a turn to probe of one.
    """
    integration = question.integration
    if question.integration_type.oauth is None:
        return _is_leased(session, Status.integration_id == integration.id, now)
    return _is_leased(session, Status.conn_id == integration.conn_id, now)


def _is_leased(session: Session, which: ColumnElement[bool], now: datetime) -> bool:
    ends = select(Status.refresh_lease_expires_at).where(which, Status.refresh_lease.is_not(None))
    return any(_since(expires_at, now) for expires_at in session.scalars(ends))


def refresh_and_save(
    question: Question, refreshing: Refreshing, surroundings: Surroundings
) -> CheckResponse | None:
    """Ask the token endpoint, store what it grants, and answer; None when the asker has to look again."""
    if surroundings.now() - refreshing.granted_at > _LATEST_START:
        return None  # waited too long for a thread: the lease could run out during the exchange
    try:
        evidence, token = surroundings.refresh(refreshing.request)
    except InvalidTokenUrlError as error:
        evidence, token = set_up_fault(f"{error}; see connection {question.integration.conn_id!r}"), None
    if refreshing.lease is None:
        return _answer(refreshing.response, evidence, token)
    settle = partial(_settle, question=question, refreshing=refreshing, evidence=evidence, token=token)
    return transact(partial(settle, now=surroundings.now()), attempts=_SAVE_ATTEMPTS, outlast=True)


def _settle(
    session: Session,
    *,
    question: Question,
    refreshing: Refreshing,
    evidence: Evidence,
    token: TokenResponse | None,
    now: datetime,
) -> CheckResponse | None:
    status = take_turn(session, question.integration, now=now)
    credential = present_credential(session, status, None, now=now)
    holds_lease = status.refresh_lease == refreshing.lease
    if holds_lease:
        status.refresh_lease = status.refresh_lease_expires_at = None
    sent = refreshing.request.refresh_token
    if credential is None or credential.get("refresh_token") != sent:
        return None  # the owner has just put another one in: neither judge nor overwrite that
    if token is None:
        if not holds_lease:
            return None  # somebody else asked meanwhile, whose use may be what made ours a second one
        status.token_evidence, status.token_evidence_at = evidence.model_dump(mode="json"), now
    else:
        saved = save_extra(session, status.conn_id, saved_values(token, question.integration_type, now=now))
        remember_rotation(status, saved)
        status.token_evidence = status.token_evidence_at = None
    return _answer(_response(status), evidence, token)


def _response(status: Status) -> CheckResponse:
    return CheckResponse(
        credential_version=status.credential_version, last_finding=known_of(status).present_finding
    )


def _answer(response: CheckResponse, evidence: Evidence, token: TokenResponse | None) -> CheckResponse:
    if token is None:
        return _refused(response, evidence)
    return response.model_copy(update={"access_token": token.access_token})


def _refused(response: CheckResponse, evidence: Evidence) -> CheckResponse:
    return response.model_copy(update={"token_evidence": evidence})


def _since(moment: datetime | None, earlier: datetime) -> bool:
    return moment is not None and moment >= earlier
