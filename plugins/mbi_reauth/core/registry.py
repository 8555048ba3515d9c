"""The registry file: every integration, validated as a whole before any DAG is built."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mbi_reauth.core.document import Document, Fault, quoted, read_document
from mbi_reauth.core.faults import model_faults, nearest
from mbi_reauth.core.integration import SIGNAL_TYPES, SIGNALLED_TYPES, Integration

_TOP = "integrations"
_SHOWN = 50


class RegistryError(Exception):
    """The registry is not usable; the message lists every fault with file and line."""


@dataclass(frozen=True)
class Registry:
    """The integrations of one file, by id."""

    path: Path
    integrations: Mapping[str, Integration]

    def get(self, integration_id: str) -> Integration:
        """Return one integration.

        :raises RegistryError: there is none of that id; the message suggests the nearest
        """
        found = self.integrations.get(integration_id)
        if found is None:
            hint = nearest(integration_id, self.integrations)
            raise RegistryError(f"{self.path} has no integration {quoted(integration_id)}{hint}")
        return found


def load_registry(path: Path, known_types: Collection[str]) -> Registry:
    """Read and validate a registry file; an unchanged file is read once a process.

    :param known_types: the integration types there are
    :raises RegistryError: the file has faults; the message lists them all
    """
    try:
        stat = path.stat()
        version = (stat.st_mtime_ns, stat.st_size)
    except OSError:
        version = (0, 0)
    return _load(path, version, frozenset(known_types))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Spare a large file the searches for garbage, of which reading makes none: two thirds of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@lru_cache(maxsize=16)
@_no_garbage_collection()
def _load(path: Path, _version: tuple[int, int], known_types: frozenset[str]) -> Registry:
    document = read_document(path)
    faults = list(document.faults)
    integrations: dict[str, Integration] = {}
    for entry_id, entry in _entries(document, faults).items():
        found = _integration(document, entry_id, entry, faults)
        if found is not None:
            integrations[entry_id] = found
        _check_type(document, entry_id, entry, known_types, faults)
        faults += _signal_faults(document, entry_id)
    if faults:
        raise RegistryError(_message(path, faults))
    return Registry(path, {key: _with_signal(entry, integrations) for key, entry in integrations.items()})


def _with_signal(entry: Integration, integrations: Mapping[str, Integration]) -> Integration:
    if entry.mbi_signal is None:
        return entry
    return entry.model_copy(update={"signal": integrations[entry.mbi_signal]})


def _signal_faults(document: Document, entry_id: str) -> Iterator[Fault]:
    """Find what is wrong with an entry's signal: it must be there, be one, and have none of its own."""
    entries = document.value[_TOP]
    entry, kind = entries[entry_id], _type_of(entries[entry_id])
    named = entry.get("mbi_signal") if isinstance(entry, dict) else None
    if named is None and kind in SIGNALLED_TYPES:
        message = f"is missing; there is nothing else to check of {kind}"
    elif not isinstance(named, str):
        return
    elif kind in SIGNAL_TYPES:
        message = f"{kind} is a signal itself, and has none"
    elif named not in entries:
        hint = nearest(named, [key for key, each in entries.items() if _type_of(each) in SIGNAL_TYPES])
        message = f"there is no integration {quoted(named)}{hint}"
    elif _type_of(entries[named]) not in SIGNAL_TYPES:
        message = f"{quoted(named)} is not of type {' or '.join(sorted(SIGNAL_TYPES))}"
    else:
        return
    at = (_TOP, entry_id, "type" if named is None else "mbi_signal")
    yield document.fault(at, f"{entry_id}: mbi_signal: {message}")


def _type_of(entry: Any) -> str:
    kind = entry.get("type") if isinstance(entry, dict) else None
    return kind if isinstance(kind, str) else ""


def _entries(document: Document, faults: list[Fault]) -> dict[str, Any]:
    top = document.value
    if document.faults and not isinstance(top, dict):
        return {}
    if top is None:
        faults.append(Fault(document.file, 0, f"is empty; begin it with a line {quoted(_TOP + ':')}"))
        return {}
    if not isinstance(top, dict):
        faults.append(document.fault((), f"must be a mapping with the key {quoted(_TOP)}"))
        return {}
    faults += [
        document.fault((key,), f"{key}: unknown key{nearest(key, [_TOP])}") for key in top if key != _TOP
    ]
    entries = top.get(_TOP)
    if entries is None:
        faults.append(document.fault((_TOP,), f"{_TOP}: is {'empty' if _TOP in top else 'missing'}"))
    elif not isinstance(entries, dict):
        faults.append(document.fault((_TOP,), f"{_TOP}: must be a mapping from an id to its integration"))
    return entries if isinstance(entries, dict) else {}


def _integration(document: Document, entry_id: str, entry: Any, faults: list[Fault]) -> Integration | None:
    at = (_TOP, entry_id)
    if not isinstance(entry, dict):
        faults.append(document.fault(at, f"{entry_id}: must be a mapping with at least type and owner"))
        return None
    own = {"id": f"the id is {quoted(entry_id)}", "signal": 'did you mean "mbi_signal"?'}
    faults += [
        document.fault((*at, key), f"{entry_id}: {key}: unknown key; {hint}")
        for key, hint in own.items()
        if key in entry
    ]
    try:
        return Integration.model_validate({"conn_id": entry_id, **entry, "id": entry_id, "signal": None})
    except ValidationError as error:
        found = model_faults(error, document, Integration, at=at, value={**entry, "id": entry_id})
        faults += [Fault(each.file, each.line, f"{entry_id}: {each.message}") for each in found]
        return None


def _check_type(
    document: Document, entry_id: str, entry: Any, known_types: frozenset[str], faults: list[Fault]
) -> None:
    kind = entry.get("type") if isinstance(entry, dict) else None
    if isinstance(kind, str) and kind not in known_types:
        hint = nearest(kind, known_types) or f"; there are {', '.join(sorted(known_types))}"
        faults.append(
            document.fault(
                (_TOP, entry_id, "type"), f"{entry_id}: type: unknown integration type {quoted(kind)}{hint}"
            )
        )


def _message(path: Path, faults: list[Fault]) -> str:
    lines = [str(fault) for fault in sorted(set(faults), key=lambda fault: fault.line)]
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], f"… and {len(lines) - _SHOWN} more"]
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return "\n".join([f"The registry {path} has {count}:", *lines])
