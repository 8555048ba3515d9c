"""Every text that an owner may read is there in every language that an owner may have, and says the same."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import read_mo

from mbi_reauth.notifications.language import DOMAINS, LOCALES
from mbi_reauth.notifications.translate import (
    TRANSLATED,
    forms,
    path_of,
    read,
    texts_of,
    untranslated,
    updated,
    write,
)

EVERY = pytest.mark.parametrize(
    ("domain", "locale"),
    [pytest.param(domain, locale, id=f"{locale}-{domain}") for locale in TRANSLATED for domain in DOMAINS],
)
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[a-z%]|\{[\w.]*\}|</?\w+[^>]*>")
QUOTED = re.compile(r'"[^"]+"|“[^”]+”')
LITERAL = re.compile(r"\d+(?:\.\d+)+(?:/\d+)?|\b\d+\b|\b\w+(?:\.\w+)+\b|\b[A-Z]\w*[A-Z_]\w*\b|\b\w+_\w+\b")
NAME = re.compile(r"(?<![.!?;:] )(?<!^)\b[A-Z][\w-]*")
ENDING = re.compile(r"[.,:;!]?\s*$")
MONTHS = {"March", "July", "October"}


def messages(catalog: Catalog) -> list[Message]:
    return [message for message in catalog if message.id]


def pairs(catalog: Catalog) -> list[tuple[str, str]]:
    """Put each form of each text beside its translation; of a plural, the first form is the singular."""
    found = []
    for message in messages(catalog):
        ids = (message.id,) if isinstance(message.id, str) else tuple(message.id)
        found += [(ids[min(number, len(ids) - 1)], form) for number, form in enumerate(forms(message))]
    return found


def menus_in(sentence: str) -> list[str]:
    """Find the joints of a path such as ``Settings > Apps``, and the whole of what stands between two."""
    parts = sentence.split(" > ")
    joints = [f"{one.split()[-1]} > {next_.split()[0].strip('.,;')}" for one, next_ in pairwise(parts)]
    between = [part for part in parts[1:-1] if not set(part) & set(",;.()")]
    return [*joints, *(f"> {part} >" for part in between)]


def names_in(sentence: str) -> list[str]:
    """Find what a third party's pages call things: in quotes, along a menu, or capital within a sentence."""
    capital = [word for word in NAME.findall(sentence) if word not in MONTHS]
    return [*QUOTED.findall(sentence), *menus_in(sentence), *LITERAL.findall(sentence), *capital]


def test_every_language_of_an_owner_has_a_folder() -> None:
    assert {folder.name for folder in LOCALES.iterdir()} == set(TRANSLATED)


@EVERY
def test_every_text_is_translated(domain: str, locale: str) -> None:
    """Run ``make translations``, and fill in where ``msgstr`` is empty."""
    catalog = read(domain, locale)
    assert [message.id for message in untranslated(catalog)] == []
    assert len(messages(catalog)) > 20


@EVERY
def test_no_translation_is_a_guess(domain: str, locale: str) -> None:
    assert [message.id for message in messages(read(domain, locale)) if message.fuzzy] == []


@EVERY
def test_the_translations_are_of_the_texts_there_are(domain: str, locale: str) -> None:
    """Run ``make translations``."""
    translated = {message.id for message in messages(read(domain, locale))}
    assert translated == {message.id for message in messages(texts_of(domain))}


@EVERY
def test_what_is_read_is_what_the_translators_wrote(domain: str, locale: str) -> None:
    """Run ``make translations``."""
    with path_of(domain, locale, "mo").open("rb") as file:
        compiled = read_mo(file)
    assert sorted(pairs(compiled)) == sorted(pairs(read(domain, locale)))


@EVERY
def test_a_translation_has_the_same_values_and_tags(domain: str, locale: str) -> None:
    for text, translation in pairs(read(domain, locale)):
        assert Counter(PLACEHOLDER.findall(translation)) == Counter(PLACEHOLDER.findall(text)), translation


@EVERY
def test_a_translation_ends_as_the_text_does(domain: str, locale: str) -> None:
    """A text that goes on in a template goes on; only a request may become a question."""
    for text, translation in pairs(read(domain, locale)):
        if not translation.endswith("?"):
            assert ENDING.findall(translation) == ENDING.findall(text), translation


@pytest.mark.parametrize("locale", TRANSLATED)
def test_a_step_names_what_the_third_partys_page_shows(locale: str) -> None:
    """Menus, buttons, fields, addresses and numbers are written as the English writes them."""
    for step, translation in pairs(read("catalogue", locale)):
        assert [name for name in names_in(step) if name not in translation] == [], translation


@pytest.mark.parametrize("locale", TRANSLATED)
def test_a_step_that_speaks_of_our_button_does_so_in_the_same_words(locale: str) -> None:
    """A plain text replaces them with those for a link."""
    button = read("messages", locale)["Press the button"].string
    spoken = [(text, said) for text, said in pairs(read("catalogue", locale)) if "Press the button" in text]
    assert len(spoken) > 5
    assert [said for _, said in spoken if not said.startswith(str(button))] == []


@EVERY
def test_bringing_up_to_date_what_is_so_already_changes_no_byte(
    domain: str, locale: str, tmp_path: Path
) -> None:
    shutil.copytree(LOCALES, tmp_path, dirs_exist_ok=True)
    write(updated(texts_of(domain), read(domain, locale, tmp_path), locale), domain, locale, tmp_path)
    for suffix in ("po", "mo"):
        assert path_of(domain, locale, suffix, tmp_path).read_bytes() == (
            path_of(domain, locale, suffix).read_bytes()
        )


def test_bringing_up_to_date_keeps_a_translation_drops_the_gone_and_guesses_nothing(tmp_path: Path) -> None:
    earlier, now = Catalog(), Catalog()
    earlier.add("The key is gone.", "De sleutel is weg.", user_comments=["Of an API."])
    earlier.add("The key was gone.", "De sleutel was weg.")
    earlier.add("%(days)s days", "%(days)s dagen")
    now.add("The key is gone.", locations=[("here.yaml", 7)])
    now.add("The keys are gone.")
    now.add(("%(days)s day", "%(days)s days"))
    write(updated(now, earlier, "nl"), "messages", "nl", tmp_path)
    again = read("messages", "nl", tmp_path)
    assert {message.id: forms(message) for message in messages(again)} == {
        "The key is gone.": ("De sleutel is weg.",),
        "The keys are gone.": ("",),
        ("%(days)s day", "%(days)s days"): ("", ""),
    }
    assert again["The key is gone."].user_comments == ["Of an API."]
    assert len(untranslated(again)) == 2
    file = path_of("messages", "nl", "po", tmp_path).read_text("utf-8")
    assert "#: here.yaml\n" in file
    assert "Date" not in file


def test_where_there_is_no_translation_yet_everything_is_to_be_translated(tmp_path: Path) -> None:
    texts = texts_of("catalogue")
    assert len(untranslated(updated(texts, read("catalogue", "de", tmp_path), "de"))) == len(texts)
