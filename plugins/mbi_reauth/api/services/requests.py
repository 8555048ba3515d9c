"""Attempts to renew an authorization: each is one browser's, good once, for a quarter of an hour.

The browser holds a secret of 256 bits in a cookie; the table holds its SHA-256. The ``state`` of RFC 6749 and
the verifier of RFC 7636 are derived from that secret, so that neither is stored and both are bound to the
browser.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mbi_reauth.api.services.audit import Visitor
from mbi_reauth.api.services.credentials import changed
from mbi_reauth.api.services.fingerprint import derived
from mbi_reauth.api.services.links import Link
from mbi_reauth.core.reauthorization import Outcome, Result, Way
from mbi_reauth.models.metadata_db import fingerprint_keys
from mbi_reauth.models.tables import AuthorizationRequest

LIFETIME = timedelta(minutes=15)
ENDS_WITHIN = timedelta(minutes=5)
"""An attempt that was taken up longer ago and has no result was interrupted."""
KEPT = timedelta(days=1)
"""How long after its end an attempt's row stays; what it was about is in the audit."""


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a new attempt is about (:class:`mbi_reauth.models.tables.AuthorizationRequest`)."""

    link: Link
    integration_id: str
    way: Way
    conn_id: str
    credential_version: int
    fingerprint: str | None
    locale: str
    refusal: Result | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt as the table has it; ``result`` is how it ended."""

    id: str
    way: Way
    link: Link
    conn_id: str
    credential_version: int
    fingerprint: str | None
    locale: str
    actor: str | None
    expires_at: datetime
    used_at: datetime | None
    result: Result | None
    refusal: Result | None

    def is_usable(self, *, now: datetime) -> bool:
        """Whether it has neither been taken up nor expired."""
        return self.used_at is None and now < self.expires_at

    def result_at(self, *, now: datetime) -> Result | None:
        """Tell how it ended; None while it goes on."""
        if self.result is None and self.used_at is not None and now - self.used_at > ENDS_WITHIN:
            return Result(outcome=Outcome.INTERRUPTED)
        return self.result

    def goes_on_with(self, beginning: Beginning, *, now: datetime) -> bool:
        """Whether it is about the very same, and can still be used."""
        return self.is_usable(now=now) and (
            self.way,
            self.link,
            self.conn_id,
            self.credential_version,
            self.fingerprint,
        ) == (
            beginning.way,
            beginning.link,
            beginning.conn_id,
            beginning.credential_version,
            beginning.fingerprint,
        )


def begin(session: Session, beginning: Beginning, visitor: Visitor, *, now: datetime) -> str:
    """Open an attempt; return the browser's secret.

    Who presses the button twice has one attempt: the address of the consent page stays the same.
    """
    session.execute(delete(AuthorizationRequest).where(AuthorizationRequest.expires_at < now - KEPT))
    known = find(session, visitor.secret)
    if known is not None and known.actor == visitor.user and known.goes_on_with(beginning, now=now):
        its = update(AuthorizationRequest).where(AuthorizationRequest.id == known.id)
        changed(session, its.values(expires_at=now + LIFETIME))
        return visitor.secret or ""
    secret = secrets.token_urlsafe(32)
    session.add(
        AuthorizationRequest(
            id=str(uuid.uuid4()),
            session=_digest(secret),
            integration_id=beginning.integration_id,
            link=beginning.link.model_dump(mode="json"),
            way=beginning.way.value,
            conn_id=beginning.conn_id,
            credential_version=beginning.credential_version,
            fingerprint=beginning.fingerprint,
            locale=beginning.locale,
            actor=visitor.user,
            created_at=now,
            expires_at=now + LIFETIME,
            refusal=beginning.refusal.model_dump(mode="json") if beginning.refusal else None,
        )
    )
    session.flush()
    return secret


def find(session: Session, secret: str | None) -> Attempt | None:
    """Return the attempt of the browser that holds ``secret``."""
    if not secret:
        return None
    its = select(AuthorizationRequest).where(AuthorizationRequest.session == _digest(secret))
    row = session.scalar(its.execution_options(populate_existing=True))
    if row is None:
        return None
    return Attempt(
        id=row.id,
        way=Way(row.way),
        link=Link.model_validate(row.link),
        conn_id=row.conn_id,
        credential_version=row.credential_version,
        fingerprint=row.fingerprint,
        locale=row.locale,
        actor=row.actor,
        expires_at=row.expires_at,
        used_at=row.used_at,
        result=Result.model_validate(row.result) if row.result is not None else None,
        refusal=Result.model_validate(row.refusal) if row.refusal is not None else None,
    )


def take_up(session: Session, attempt: Attempt, *, now: datetime) -> bool:
    """Use an attempt, which only one caller can; false: it is used or has expired."""
    usable = update(AuthorizationRequest).where(
        AuthorizationRequest.id == attempt.id,
        AuthorizationRequest.used_at.is_(None),
        AuthorizationRequest.expires_at > now,
    )
    return changed(session, usable.values(used_at=now))


def finish(session: Session, attempt: Attempt, result: Result, *, now: datetime) -> None:
    """Store how it ended, which is final."""
    unfinished = update(AuthorizationRequest).where(
        AuthorizationRequest.id == attempt.id, AuthorizationRequest.finished_at.is_(None)
    )
    changed(session, unfinished.values(result=result.model_dump(mode="json"), finished_at=now))


def ended(session: Session, attempt: Attempt) -> Result | None:
    """Return how it has ended; None while it goes on."""
    row = session.get(AuthorizationRequest, attempt.id, populate_existing=True)
    return Result.model_validate(row.result) if row is not None and row.result is not None else None


def state_of(secret: str) -> str:
    """Derive the ``state`` of RFC 6749 section 4.1.1: 256 bits that only this browser's secret gives."""
    return _derived(secret.encode(), "state")


def is_state_of(secret: str, state: str) -> bool:
    """Compare, in constant time."""
    return hmac.compare_digest(state_of(secret).encode(), state.encode())


def verifier_of(secret: str) -> str:
    """Derive the code verifier of RFC 7636 section 4.1; the browser alone does not know it."""
    return _derived(derived(fingerprint_keys()[0], "mbi_reauth code verifier"), secret)


def _derived(key: bytes, text: str) -> str:
    digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
