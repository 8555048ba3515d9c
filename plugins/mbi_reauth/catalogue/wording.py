"""Every sentence of the packaged catalogue that an owner may read, for those who translate it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mbi_reauth.catalogue import PACKAGED
from mbi_reauth.catalogue.families import FOLDER
from mbi_reauth.core.document import read_document


def sentences() -> dict[str, list[str]]:
    """List the owner's steps of all types, each with the files that have it, as ``families/google.yaml``.

    Those of a family are among them although every packaged type overrules them: a site's own type may not.
    """
    found: dict[str, list[str]] = {}
    for path in [*sorted(PACKAGED.glob("*.yaml")), *sorted((PACKAGED / FOLDER).glob("*.yaml"))]:
        steps = read_document(path).value.get("owner_steps")
        for sentence in dict.fromkeys(_sentences_in(steps)):
            found.setdefault(sentence, []).append(path.relative_to(PACKAGED).as_posix())
    return found


def _sentences_in(steps: Any) -> Iterator[str]:
    """Walk through ``owner_steps``; every list in it is one of sentences."""
    if isinstance(steps, list):
        yield from steps
    elif isinstance(steps, dict):
        for each in steps.values():
            yield from _sentences_in(each)
