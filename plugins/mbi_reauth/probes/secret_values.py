"""Keeps known secrets out of what a third party sends back: many echo the key that they refuse."""

from __future__ import annotations

import base64
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
_PARTS = re.compile(r"(\\*)([^\\]|$)", re.DOTALL)
_BY_LETTER = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}
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
    """Match a text however its signs are escaped, which differs from one JSON or URL writer to the next.

    There is one way at most to match each text: with two of each sign, a text that differs at its end would
    be tried in 2 to the power of its length.
    """
    return re.compile("".join(_after(*part.groups()) for part in _PARTS.finditer(text)))


def _after(backslashes: str, character: str) -> str:
    """Match a character and the backslashes before it, of which those that escape it cannot be told apart."""
    if not backslashes:
        return _written(character) if character else ""
    count = len(backslashes)
    escaped = rf"(?:(?:\\{{1,3}}u005[cC]){{{count}}}|(?:%(?:25)?5[cC]){{{count}}})"
    if not character:
        return rf"(?:\\{{{count},{4 * count}}}|{escaped})"
    as_they_are = rf"\\{{{count},{4 * count + 3}}}{_written(character, escapes='')}"
    return f"(?:{as_they_are}|{escaped}{_written(character)})"


def _written(character: str, escapes: str = r"\\{0,3}") -> str:
    """Match a character; PHP's JSON escapes a slash, JSON within JSON once more, .NET's by numbers."""
    if character.isascii() and character.isalnum():
        return character
    some = escapes.replace("0", "1")
    units = re.findall("....", character.encode("utf-16-be").hex())
    ways = [
        escapes + re.escape(character),
        some + r"\\{1,3}".join(f"u(?i:{unit})" for unit in units),
        "".join(f"%(?:25)?(?i:{byte:02x})" for byte in character.encode()),
    ]
    if character in _BY_LETTER:
        ways.append(some + _BY_LETTER[character])
    if character == " ":
        ways.append("[+]")
    return f"(?:{'|'.join(ways)})"
