"""How a change of the stored credential is recognised without storing it twice."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence

from mbi_reauth.probes.credential import Credential

_PURPOSE = "mbi_reauth credential fingerprint"
_ROTATED_BY_APP = ("access_token", "expires_at")


def fingerprints(credential: Credential | None, keys: Sequence[str]) -> list[str]:
    """Return the keyed fingerprint (HMAC-SHA256) under each of ``keys``, in hexadecimal.

    What the app itself rotates is left out where it does rotate it, that is, beside a refresh token.
    """
    content = _canonical(credential).encode()
    return [hmac.new(derived(key, _PURPOSE), content, hashlib.sha256).hexdigest() for key in keys]


def derived(key: str, purpose: str) -> bytes:
    """Derive a key of our own (HMAC-SHA256), so that Airflow's own is not used for a second purpose."""
    return hmac.new(key.encode(), purpose.encode(), hashlib.sha256).digest()


def _canonical(credential: Credential | None) -> str:
    if credential is None:
        return json.dumps(None)
    rotates = bool(credential.extra.get("refresh_token"))
    extra = {
        name: value for name, value in credential.extra.items() if not (rotates and name in _ROTATED_BY_APP)
    }
    parts = (
        credential.conn_type,
        credential.host,
        credential.port,
        credential.schema,
        credential.login,
        credential.password,
        extra,
    )
    return json.dumps(parts, sort_keys=True, default=str)
