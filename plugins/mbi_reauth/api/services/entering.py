"""What an owner has typed into the form: what it changes, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mbi_reauth.catalogue.model import ConnectionField
from mbi_reauth.core.reauthorization import FieldFault
from mbi_reauth.probes.credential import Credential

LONGEST = 16 * 1024
"""Characters; the largest private keys have a quarter of that."""
PRIVATE_KEY = "private_key"

Changes = dict[str, str | None]
_OWN = ("login", "password")
"""What a connection has a field of its own for; the rest is in its extra."""

_KEPT_ELSEWHERE = "key_file"
"""Where Airflow's SSH hook would look for the private key instead (SSHHook of its SSH provider)."""


def entered(
    fields: Mapping[str, ConnectionField], typed: Mapping[str, str]
) -> tuple[Changes, dict[str, FieldFault]]:
    """Read the form; what comes with it beyond ``fields`` is not looked at."""
    values = {name: _pasted(name, typed.get(name, "")) for name in fields}
    faults = {name: fault for name in fields if (fault := _fault(name, fields[name], values[name]))}
    if PRIVATE_KEY in fields and not (values[PRIVATE_KEY] or values["password"]):
        faults["password"] = FieldFault.ONE_OF_BOTH
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
    text = text.replace("\r\n", "\n").strip()
    return text + "\n" if name == PRIVATE_KEY and text else text


def _fault(name: str, field: ConnectionField, value: str) -> FieldFault | None:
    if not value:
        return FieldFault.MISSING if field.required else None
    if len(value) > LONGEST:
        return FieldFault.TOO_LONG
    if "\n" in value and name != PRIVATE_KEY:
        return FieldFault.SEVERAL_LINES
    return None
