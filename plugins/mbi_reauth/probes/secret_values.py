"""Keeps known secrets out of what a third party sends back: many echo the key that they refuse."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mbi_reauth.probes.credential import Credential

HIDDEN = "***"
SHORTEST = 5
"""Shorter secrets cannot be hidden: every text has their letters (Airflow's masker draws the same line)."""

_SECRET_NAME = re.compile(r"secret|token|key|password|passphrase|credential", re.IGNORECASE)
_NO_SECRET = ("_url", "_file", "_id")


class SecretValues:
    """The secrets of one exchange, and every spelling in which they may come back."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)
        texts = {text for secret in self._secrets for text in _texts(secret)}
        # The longest first, so that none leaves the rest of a longer one behind.
        self._patterns = [_pattern(text) for text in sorted(texts, key=len, reverse=True)]

    @classmethod
    def of(cls, credential: Credential, *further: str) -> SecretValues:
        """Gather a connection's secrets: its password and every extra that is named like one."""
        return cls((*_secrets_in(credential), *further))

    def with_further(self, *secrets: str) -> SecretValues:
        """Hide these as well."""
        return SecretValues((*self._secrets, *secrets))

    def with_those_of(self, credential: Credential) -> SecretValues:
        """Hide another connection's secrets as well."""
        return self.with_further(*_secrets_in(credential))

    def hide(self, text: str) -> str:
        """Put stars in the place of each secret."""
        for pattern in self._patterns:
            text = pattern.sub(HIDDEN, text)
        return text


@contextmanager
def hidden_from_logs(secrets: SecretValues) -> Iterator[None]:
    """Keep secrets out of what the HTTP clients log meanwhile: they log addresses, query and all."""
    token = _hidden.set(secrets)
    try:
        yield
    finally:
        _hidden.reset(token)


_hidden: ContextVar[SecretValues | None] = ContextVar("mbi_reauth_hidden", default=None)


def _hide_in(record: logging.LogRecord) -> bool:
    secrets = _hidden.get()
    if secrets is not None:
        record.msg, record.args = secrets.hide(record.getMessage()), None
    return True


for _client in (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.proxy",
    "urllib3.connectionpool",
    "urllib3.util.retry",
):
    logging.getLogger(_client).addFilter(_hide_in)


def _secrets_in(credential: Credential) -> Iterator[str]:
    yield credential.password
    yield from (str(value) for name, value in credential.extra.items() if _is_secret(name))


def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not name.endswith(_NO_SECRET)


def _texts(secret: str) -> Iterator[str]:
    for text in (secret.strip(), base64.b64encode(secret.encode()).decode()):
        if len(text) >= SHORTEST:
            yield text


def _pattern(text: str) -> re.Pattern[str]:
    """Match a text however its signs are escaped, which differs from one JSON or URL writer to the next."""
    return re.compile("".join(map(_written, text)))


def _written(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    units = re.findall("....", character.encode("utf-16-be").hex())
    # PHP's JSON escapes a slash, JSON within JSON once more; as many ways of a backslash would be slow.
    backslashes = "" if character == "\\" else r"\\{0,3}"
    ways = [
        re.escape(json.dumps(character)[1:-1]),
        backslashes + re.escape(character),
        "".join(rf"\\{{1,3}}u(?i:{unit})" for unit in units),  # .NET's JSON
        "".join(f"%(?:25)?(?i:{byte:02x})" for byte in character.encode()),
    ]
    return f"(?:{'|'.join(ways)}{'|[+]' if character == ' ' else ''})"
