"""Collect every text that people read, and bring the translations in ``locales`` up to date with them.

``python -m mbi_reauth.notifications.translate``, or ``make translations``, writes for each locale that an
owner may have, and for each domain, a ``.po`` for translators and the ``.mo`` that is read. A text that is
new has an empty ``msgstr`` there; one that is gone is gone. No dates and no line numbers are in these files,
so that they change only when a text does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any, get_args

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from mbi_reauth.catalogue.wording import sentences
from mbi_reauth.core.integration import Owner
from mbi_reauth.notifications.language import DOMAINS, ENGLISH, LOCALES
from mbi_reauth.notifications.rendering import TEMPLATES, environment

TRANSLATED = tuple(each for each in get_args(Owner.model_fields["locale"].annotation) if each != ENGLISH)
"""The locales that an owner may have, but for the one that the texts are written in."""

_PACKAGE = Path(__file__).parent
_PLACES = (_PACKAGE, _PACKAGE.parent / "web")
"""Where texts are that people read: the emails, and the owner's page."""
_HEADER = "# Fill in where msgstr is empty, and run `make translations` again."
_WIDTH = 110
_LASTING_HEADERS = {
    "Language",
    "Plural-Forms",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
}


class LastingCatalog(Catalog):
    """A catalogue that names neither a day nor the tool's version."""

    @property
    def mime_headers(self) -> list[tuple[str, str]]:
        """The headers that say something of the translation."""
        return [(name, value) for name, value in super().mime_headers if name in _LASTING_HEADERS]


def texts_of(domain: str) -> Catalog:
    """Collect what is to be translated: ``messages`` of emails and pages, or the ``catalogue``'s texts."""
    catalog = Catalog()
    for text, file in _marked() if domain == "messages" else _steps():
        catalog.add(text, locations=[(file, 0)])
    return catalog


def updated(texts: Catalog, translated: Catalog, locale: str) -> Catalog:
    """Make a catalogue of ``texts``, with the translations of ``translated`` that are of the same text."""
    catalog = LastingCatalog(locale=locale, header_comment=_HEADER, fuzzy=False)
    for text in _messages(texts):
        known = translated.get(text.id)
        if known is None or known.pluralizable != text.pluralizable:
            catalog.add(text.id, locations=text.locations)
            continue
        catalog.add(
            text.id,
            known.string,
            locations=text.locations,
            flags=known.flags & {"fuzzy"},
            user_comments=known.user_comments,
        )
    return catalog


def untranslated(catalog: Catalog) -> list[Message]:
    """List the messages of which a form is not translated."""
    return [message for message in _messages(catalog) if not all(forms(message))]


def forms(message: Message) -> tuple[str, ...]:
    """Return the translation, or those for each number."""
    string = message.string or ""
    return (string,) if isinstance(string, str) else tuple(string)


def path_of(domain: str, locale: str, suffix: str, folder: Path = LOCALES) -> Path:
    """Return where a catalogue is, as gettext looks for it."""
    return folder / locale / "LC_MESSAGES" / f"{domain}.{suffix}"


def read(domain: str, locale: str, folder: Path = LOCALES) -> Catalog:
    """Read a ``.po``; where there is none, nothing is translated."""
    path = path_of(domain, locale, "po", folder)
    return read_po(BytesIO(path.read_bytes() if path.exists() else b""), locale=locale, ignore_obsolete=True)


def write(catalog: Catalog, domain: str, locale: str, folder: Path = LOCALES) -> None:
    """Write the ``.po``, and the ``.mo``, which has none of the guesses that are marked ``fuzzy``."""
    po, mo = BytesIO(), BytesIO()
    write_po(po, catalog, width=_WIDTH, include_lineno=False)
    write_mo(mo, catalog)
    for suffix, file in (("po", po), ("mo", mo)):
        path = path_of(domain, locale, suffix, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.getvalue())


def _messages(catalog: Catalog) -> list[Message]:
    return [message for message in catalog if message.id]


def _steps() -> Iterator[tuple[str, str]]:
    for sentence, files in sentences().items():
        for file in files:
            yield sentence, f"catalogue/{file}"


def _marked() -> Iterator[tuple[str | tuple[str, ...], str]]:
    files = [path for place in _PLACES for path in _files_of(place)]
    for path in files:
        method: Any = "python" if path.suffix == ".py" else _in_template
        with path.open("rb") as file:
            for _, text, _, _ in extract(method, file):
                yield text, path.relative_to(_PACKAGE.parent).as_posix()


def _files_of(place: Path) -> list[Path]:
    return [*sorted((place / TEMPLATES.name).rglob("*.jinja")), *sorted(place.glob("*.py"))]


def _in_template(
    file: IO[bytes],
    _keywords: Any,
    _comment_tags: Any,
    options: Any,  # noqa: ARG001 - called by name
) -> Iterator[tuple[int, str, Any, list[str]]]:
    """Read a template as it will be rendered: blanks around a text are a matter of the environment."""
    reading: Any = environment("text", ENGLISH)
    for line, function, text in reading.extract_translations(file.read().decode("utf-8")):
        yield line, function, text, []


def _main() -> None:
    for locale in TRANSLATED:
        for domain in DOMAINS:
            catalog = updated(texts_of(domain), read(domain, locale), locale)
            write(catalog, domain, locale)
            missing = f"{len(untranslated(catalog))} of {len(catalog)} not translated"
            sys.stdout.write(f"{path_of(domain, locale, 'po').relative_to(_PACKAGE)}: {missing}\n")


if __name__ == "__main__":
    _main()
