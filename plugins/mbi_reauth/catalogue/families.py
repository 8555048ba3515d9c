"""What integration types share: a type ``extends`` families, partial files in the folder ``families``.

A type's own keys overrule its families', and an earlier family's those of a later one; mappings are combined
key by key, and a key that is null is left out. Of ``rules``, ``resources``, ``sunsets`` and ``unverified``
the type has all, its own first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbi_reauth.core.document import Document, Fault, Loc, quoted, read_document
from mbi_reauth.core.faults import nearest

EXTENDS = "extends"
FOLDER = "families"
_JOINED = frozenset({"rules", "resources", "sunsets", "unverified"})


@dataclass(frozen=True)
class _Part:
    """A value and where it was written."""

    document: Document
    loc: tuple[str | int, ...]
    value: Any

    def inside(self, step: str | int) -> _Part:
        return _Part(self.document, (*self.loc, step), self.value[step])


@dataclass(frozen=True)
class Extended:
    """A type's file together with its families; knows of each part in which file and line it was written."""

    value: Any
    faults: tuple[Fault, ...]
    _origins: dict[tuple[str | int, ...], _Part] = field(repr=False)

    def fault(self, loc: Loc, message: str) -> Fault:
        """Write a fault about what is at ``loc``."""
        steps = tuple(loc)
        for length in range(len(steps), -1, -1):
            origin = self._origins.get(steps[:length])
            if origin is not None:
                return origin.document.fault((*origin.loc, *steps[length:]), message)
        raise AssertionError("the whole has an origin")


def read_extended(path: Path, roots: Sequence[Path]) -> Extended:
    """Read a file and the families that it extends; whatever is wrong with them is in the faults.

    :param roots: the folders that have a folder of families, in the order of looking
    """
    own = read_document(path)
    documents, faults = [own], list(own.faults)
    for name in _names(own):
        family = _family(name, roots)
        if family is None:
            faults.append(own.fault((EXTENDS,), f"{EXTENDS}: {_unknown(name, roots)}"))
            continue
        document = read_document(family, file=f"{FOLDER}/{family.name}")
        faults += document.faults
        faults += _unfit(document)
        documents.append(document)
    origins: dict[tuple[str | int, ...], _Part] = {}
    value = _combined([_Part(document, (), document.value) for document in documents], (), origins)
    if isinstance(value, dict):
        value.pop(EXTENDS, None)
    return Extended(value, tuple(faults), origins)


def _names(document: Document) -> list[Any]:
    named = document.value.get(EXTENDS, []) if isinstance(document.value, dict) else []
    return named if isinstance(named, list) else [named]


def _family(name: Any, roots: Sequence[Path]) -> Path | None:
    if not isinstance(name, str) or not name.isidentifier():
        return None
    candidates = (root / FOLDER / f"{name}.yaml" for root in roots)
    return next((path for path in candidates if path.is_file()), None)


def _unknown(name: Any, roots: Sequence[Path]) -> str:
    known = sorted({path.stem for root in roots for path in (root / FOLDER).glob("*.yaml")})
    hint = nearest(str(name), known) or f"; there are {', '.join(known)}"
    return f"there is no family {quoted(name)}{hint}"


def _unfit(document: Document) -> Iterator[Fault]:
    if not isinstance(document.value, dict):
        if not document.faults:
            yield Fault(document.file, 0, "must be a mapping of some of a type's keys")
    elif EXTENDS in document.value:
        yield document.fault((EXTENDS,), f"{EXTENDS}: a family extends nothing; name both in the type")


def _combined(
    parts: list[_Part], at: tuple[str | int, ...], origins: dict[tuple[str | int, ...], _Part]
) -> Any:
    origins[at] = first = parts[0]
    if isinstance(first.value, dict):
        mappings = [part for part in parts if isinstance(part.value, dict)]
        # The families' order, as they know the whole.
        keys = dict.fromkeys(key for part in reversed(mappings) for key in part.value)
        combined = {
            key: _combined([part.inside(key) for part in mappings if key in part.value], (*at, key), origins)
            for key in keys
        }
        return {key: value for key, value in combined.items() if value is not None or len(parts) == 1}
    if isinstance(first.value, list) and len(at) == 1 and at[0] in _JOINED:
        items = [
            part.inside(number)
            for part in parts
            if isinstance(part.value, list)
            for number in range(len(part.value))
        ]
        origins.update({(*at, number): item for number, item in enumerate(items)})
        return [item.value for item in items]
    return first.value
