"""What is in a connection for an OAuth 2 grant: a token to use, what to refresh it with, what to save."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hashlib import sha256

from mbi_reauth.catalogue.model import IntegrationType, OAuth
from mbi_reauth.core.integration import Integration
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.oauth import RefreshRequest, TokenResponse
from mbi_reauth.probes.template import Templates

_FRESH_FOR = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One asker's question; ``refused`` is the SHA-256 of a token that the third party has just refused.

    ``max_age`` is for how many seconds the asker trusts a proof.
    """

    integration: Integration
    integration_type: IntegrationType
    elsewhere: Credential | None
    refused: str | None
    asked_at: datetime
    max_age: timedelta = timedelta()


def stored_token(
    credential: Credential | None, oauth: OAuth, refused: str | None, *, now: datetime
) -> str | None:
    """Return the stored access token; where the app can refresh, only one that is worth trying."""
    token = credential.get("access_token") if credential is not None else ""
    if not token or credential is None:
        return None
    if oauth.refresh == "none":
        return token
    if refused is not None and hmac.compare_digest(sha256(token.encode()).hexdigest(), refused.lower()):
        return None
    expires_at = credential.get("expires_at")
    return token if not expires_at or _read_time(expires_at) - now > _FRESH_FOR else None


def _read_time(text: str) -> datetime:
    """Read ISO 8601, without a zone as UTC; what cannot be read is long past, so that a refresh mends it."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return datetime.min.replace(tzinfo=timezone.utc)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def refresh_request(question: Question, oauth: OAuth, credential: Credential | None) -> RefreshRequest:
    """Gather what the token endpoint wants to see.

    :raises MisconfiguredError: what is missing, and where to put it
    """
    conn_id = question.integration.conn_id
    if credential is None:
        raise MisconfiguredError(f"There is no Airflow connection {conn_id!r}; create it")
    if question.elsewhere is not None and oauth.refresh == "rotating":
        raise MisconfiguredError(
            f"The connection {conn_id!r} comes from an environment variable or a secrets backend, where its "
            "refresh token, which changes at every use, cannot be saved; store the connection in Airflow's "
            "database instead"
        )
    missing = [name for name in ("client_id", "refresh_token") if not credential.has(f"extra.{name}")]
    if missing:
        raise MisconfiguredError(
            f"The extra of the Airflow connection {conn_id!r} lacks {' and '.join(missing)}; fill it in"
        )
    templates = Templates(question.integration_type, credential, integration=question.integration)
    return RefreshRequest(
        token_url=credential.get("token_url") or templates.url(oauth.token_url),
        client_id=credential.get("client_id"),
        client_secret=credential.get("client_secret") or None,
        refresh_token=credential.get("refresh_token"),
        client_auth=oauth.client_auth,
    )


def saved_values(
    token: TokenResponse, integration_type: IntegrationType, *, now: datetime
) -> Mapping[str, object]:
    """Say what to save; a refresh token that was not replaced stays good (RFC 6749 section 6)."""
    lifetime = token.expires_in
    if lifetime is None and integration_type.oauth is not None:
        lifetime = integration_type.oauth.access_token_lifetime
    expires_at = (now + timedelta(seconds=lifetime)).isoformat() if lifetime else None
    changes: dict[str, object] = {"access_token": token.access_token, "expires_at": expires_at}
    if token.refresh_token is not None:
        changes["refresh_token"] = token.refresh_token
    return changes
