"""The link in an owner's email: signed, and only a pointer to what it is about."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import Literal

from itsdangerous import BadData, URLSafeSerializer
from pydantic import BaseModel, ConfigDict, ValidationError

from mbi_reauth import settings
from mbi_reauth.api.services.fingerprint import derived
from mbi_reauth.models.metadata_db import fingerprint_keys

LIFETIME = timedelta(days=30)
PATH = f"{settings.API_PREFIX}/reauthorize"

_PURPOSE = "mbi_reauth link to re-authorize"
_LONGEST = 500


class Link(BaseModel):
    """What a link is about, and when it was issued.

    An ``incident`` by its id; or an ``expiry``: the integration ``id``, whose credential of that ``version``
    will stop working.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: Literal["incident", "expiry"]
    id: str
    version: int = 0
    issued_at: datetime


def for_incident(incident_id: str, *, now: datetime) -> str:
    """Give the address of the owner's page about an incident."""
    return address(Link(about="incident", id=incident_id, issued_at=now))


def for_expiry(integration_id: str, credential_version: int, *, now: datetime) -> str:
    """Give the address of the owner's page about a credential that is about to stop working."""
    return address(Link(about="expiry", id=integration_id, version=credential_version, issued_at=now))


def address(link: Link) -> str:
    """Give the absolute address, as people reach Airflow."""
    return f"{settings.base_url()}{path(link)}"


def path(link: Link) -> str:
    """Give the path below Airflow's base URL."""
    return f"{PATH}/{token(link)}"


def token(link: Link) -> str:
    """Sign a link (HMAC-SHA256); the same link gives the same token."""
    facts = [link.about[0], link.id, link.version, int(link.issued_at.timestamp())]
    signed = _serializer().dumps(facts)
    return signed.decode() if isinstance(signed, bytes) else signed


def read(signed: str, *, now: datetime) -> Link | None:
    """Read a token; None where it is not ours, is older than 30 days or comes from the future."""
    if len(signed) > _LONGEST:
        return None
    try:
        about, subject, version, issued = _serializer().loads(signed)
        link = Link(
            about={"i": "incident", "e": "expiry"}[about],
            id=subject,
            version=version,
            issued_at=datetime.fromtimestamp(issued, timezone.utc),
        )
    except (BadData, ValidationError, ValueError, TypeError, KeyError, OverflowError):
        return None
    return link if timedelta(minutes=-5) <= now - link.issued_at <= LIFETIME else None


def _serializer() -> URLSafeSerializer:
    # The last one signs; the others are those that Airflow's Fernet key was before.
    keys = [derived(key, _PURPOSE) for key in reversed(fingerprint_keys())]
    signing = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(keys, salt=_PURPOSE.encode(), signer_kwargs=signing)
