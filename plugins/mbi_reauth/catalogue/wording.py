"""Every sentence of the packaged catalogue that an owner may read, for those who translate it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mbi_reauth.catalogue import PACKAGED
from mbi_reauth.catalogue.families import FOLDER
from mbi_reauth.catalogue.model import never_the_owners
from mbi_reauth.core.document import read_document


def sentences() -> dict[str, list[str]]:
    """List what all types say to owners, each with the files that have it, as ``families/google.yaml``.

    That is their steps, and the title and the help of each field of theirs. The steps of a family are among
    them although every packaged type overrules them: a site's own type may not.
    """
    found: dict[str, list[str]] = {}
    for path in [*sorted(PACKAGED.glob("*.yaml")), *sorted((PACKAGED / FOLDER).glob("*.yaml"))]:
        document = read_document(path).value
        said = [*_sentences_in(document.get("owner_steps")), *_words_of_fields(document)]
        for sentence in dict.fromkeys(said):
            found.setdefault(sentence, []).append(path.relative_to(PACKAGED).as_posix())
    return found


def _sentences_in(steps: Any) -> Iterator[str]:
    """Walk through ``owner_steps``; every list in it is one of sentences."""
    if isinstance(steps, list):
        yield from steps
    elif isinstance(steps, dict):
        for each in steps.values():
            yield from _sentences_in(each)


def _words_of_fields(document: Mapping[str, Any]) -> Iterator[str]:
    """Give the title and the help of each field that an owner may be asked for."""
    for name, field in (document.get("connection") or {}).items():
        asked = field.get("owner", field.get("secret") or name in ("login", "password"))
        if asked and not never_the_owners(name):
            yield from (field[word] for word in ("title", "help") if field.get(word))
