"""What an owner has typed into the form: what it changes, or what is wrong with it."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Mapping
from dataclasses import replace

from mbi_reauth.catalogue.model import ConnectionField
from mbi_reauth.core.reauthorization import FieldFault
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.ssh import is_readable

LONGEST = 16 * 1024
"""Characters; the largest private keys have a quarter of that."""
LONGEST_LINE = 4 * 1024
"""Characters of anything but a private key; the largest tokens have half of that."""
PRIVATE_KEY, PASSPHRASE = "private_key", "private_key_passphrase"

Changes = dict[str, str | None]
_OWN = ("login", "password")
"""What a connection has a field of its own for; the rest is in its extra."""

_AROUND_WHAT_IS_COPIED = string.whitespace + "\u00a0\u200b\u200c\u200d\u2060\ufeff"
"""Web pages and phones put what cannot be seen around what is copied."""

_NOT_IN_A_LINE = ("Cc", "Zl", "Zp")
"""Line breaks and control characters, as Unicode classes them: no key, password or login has one."""

_KEPT_ELSEWHERE = "key_file"
"""Where Airflow's SSH hook would look for the private key instead (SSHHook of its SSH provider)."""


def entered(
    fields: Mapping[str, ConnectionField], typed: Mapping[str, str], *, in_header: bool = False
) -> tuple[Changes, dict[str, FieldFault]]:
    """Read the form; what comes with it beyond ``fields`` is not looked at.

    ``in_header``: what is secret is sent in a header as it is, so it must be of ASCII (RFC 9110 section 5.5).
    """
    values = {name: _pasted(name, typed.get(name, "")) for name in fields}
    faults = {name: fault for name in fields if (fault := _fault(name, fields[name], values[name]))}
    for name in (each for each in fields if in_header and fields[each].secret):
        if not values[name].isascii():
            faults.setdefault(name, FieldFault.FOREIGN_CHARACTER)
    if PRIVATE_KEY in fields and not (values[PRIVATE_KEY] or values["password"]):
        faults["password"] = FieldFault.ONE_OF_BOTH
    elif values.get(PRIVATE_KEY) and not is_readable(values[PRIVATE_KEY], values.get(PASSPHRASE, "")):
        faults.setdefault(PRIVATE_KEY, FieldFault.UNREADABLE)
    changes: Changes = {name: value or None for name, value in values.items()}
    if values.get(PRIVATE_KEY):
        changes[_KEPT_ELSEWHERE] = None
    return changes, faults


def with_changes(credential: Credential, changes: Mapping[str, object]) -> Credential:
    """Apply changes, of which None removes a value."""
    extra = {**credential.extra, **{name: value for name, value in changes.items() if name not in _OWN}}
    own = {name: str(changes[name] or "") for name in _OWN if name in changes}
    kept = {name: value for name, value in extra.items() if value is not None}
    return replace(credential, **own, extra=kept)  # type: ignore[arg-type]


def _pasted(name: str, text: str) -> str:
    """Take off what pasting adds; a key file ends with a line break, which SSH wants."""
    text = "\n".join(text.splitlines()) if name == PRIVATE_KEY else text
    text = text.strip(_AROUND_WHAT_IS_COPIED)
    return text + "\n" if name == PRIVATE_KEY and text else text


def _fault(name: str, field: ConnectionField, value: str) -> FieldFault | None:
    if not value:
        return FieldFault.MISSING if field.required else None
    if len(value) > (LONGEST if name == PRIVATE_KEY else LONGEST_LINE):
        return FieldFault.TOO_LONG
    if name != PRIVATE_KEY and any(unicodedata.category(char) in _NOT_IN_A_LINE for char in value):
        return FieldFault.SEVERAL_LINES
    return None
