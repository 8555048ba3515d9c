"""Everybody can read and use the pages: WCAG 2.2 level AA, as far as HTML and colours tell it."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from mbi_reauth.web.rendering import STYLE
from tests.unit.web.drawn import EVERY_PAGE, IN_BOTH, Page, drawn, page

FORMS = [(name, locale) for name, locale in IN_BOTH if name.startswith("form")]

TEXT_ON = [
    ("text", "page"),
    ("text", "card"),
    ("text", "box"),
    ("text", "bad-box"),
    ("muted", "page"),
    ("muted", "card"),
    ("muted", "box"),
    ("link", "page"),
    ("link", "card"),
    ("link", "box"),
    ("link", "bad-box"),
    ("good", "card"),
    ("bad", "card"),
    ("bad", "bad-box"),
    ("on-action", "action"),
    ("on-action", "action-hover"),
]
"""Each colour of text with each background that it stands on."""
EDGES_ON = [
    ("field", "card"),
    ("bad", "card"),
    ("action", "card"),
    ("link", "card"),
    ("link", "page"),
    ("good", "page"),
    ("bad", "page"),
    ("wait", "page"),
]
"""What must be told apart without being text: a field's edge, a button, the ring of the focus."""


def palettes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, flags=re.DOTALL)
    colours = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in (light, dark)]
    return dict(zip(("light", "dark"), colours, strict=True))


PALETTES = palettes()


def luminance(colour: str) -> float:
    """Compute it as WCAG 2.2 defines relative luminance."""
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_computed_as_wcag_defines_it() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("scheme", PALETTES)
@pytest.mark.parametrize(("text", "ground"), TEXT_ON)
def test_text_has_a_contrast_of_four_and_a_half(text: str, ground: str, scheme: str) -> None:
    colours = PALETTES[scheme]
    assert contrast(colours[text], colours[ground]) >= 4.5


@pytest.mark.parametrize("scheme", PALETTES)
@pytest.mark.parametrize(("edge", "ground"), EDGES_ON)
def test_what_can_be_used_has_a_contrast_of_three(edge: str, ground: str, scheme: str) -> None:
    colours = PALETTES[scheme]
    assert contrast(colours[edge], colours[ground]) >= 3


def test_both_schemes_have_every_colour_and_no_rule_has_one_of_its_own() -> None:
    assert PALETTES["light"].keys() == PALETTES["dark"].keys()
    used = set(re.findall(r"var\(--([\w-]+)\)", STYLE))
    assert used == PALETTES["light"].keys()
    assert {name for pair in [*TEXT_ON, *EDGES_ON] for name in pair} | {"line"} == used
    rules = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsl", rules) == []


def test_what_is_pressed_or_filled_in_is_high_enough_for_a_finger() -> None:
    for selector in (r"\.button", r"\.languages a", r'input\[type="text"\][^{]*'):
        (height,) = re.findall(selector + r" ?\{[^}]*min-height: (\d+)px", STYLE)
        assert int(height) >= 44


def test_the_focus_is_seen_and_motion_can_be_declined() -> None:
    assert re.search(r":focus-visible \{ outline: 3px solid", STYLE)
    assert not re.search(r"outline: (?:0|none)", STYLE)
    assert "prefers-reduced-motion: reduce" in STYLE


@pytest.mark.parametrize(("name", "locale"), IN_BOTH)
def test_a_page_says_its_language_and_what_it_is(name: str, locale: str) -> None:
    read = page(name, locale)
    assert drawn(name, locale).startswith("<!doctype html>\n")
    assert read.one("html").get("lang") == locale
    assert read.one("title").text
    assert read.one("h1").text in read.one("title").text
    assert len(read.all("main")) == 1
    (viewport,) = [each for each in read.all("meta") if each.get("name") == "viewport"]
    assert viewport.get("content") == "width=device-width, initial-scale=1"


@pytest.mark.parametrize(("name", "locale"), IN_BOTH)
def test_headings_follow_each_other_and_ids_are_unique(name: str, locale: str) -> None:
    read = page(name, locale)
    levels = [int(each.tag[1]) for each in read.elements if re.fullmatch(r"h[1-6]", each.tag)]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    ids = [each.get("id") for each in read.elements if each.get("id")]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("name", "locale"), IN_BOTH)
def test_what_can_be_pressed_says_what_it_does(name: str, locale: str) -> None:
    read = page(name, locale)
    assert all(each.text for each in [*read.all("a"), *read.all("button")])
    assert all(each.get("type") == "submit" for each in read.all("button"))


def filled_in(read: Page) -> list[dict[str, str | None]]:
    fields = [*read.all("input"), *read.all("textarea")]
    return [each.attributes for each in fields if each.get("type") != "hidden"]


@pytest.mark.parametrize(("name", "locale"), FORMS)
def test_every_field_has_its_label_and_what_describes_it(name: str, locale: str) -> None:
    read = page(name, locale)
    fields = filled_in(read)
    assert {each["id"] for each in fields} == {label.get("for") for label in read.all("label")}
    described = [words for each in fields for words in (each.get("aria-describedby") or "").split()]
    assert all(read.by_id(words).text for words in described)
    hints = [each.get("id") for each in [*read.of_class("hint"), *read.of_class("fault")]]
    assert sorted(described) == sorted(str(hint) for hint in hints)


@pytest.mark.parametrize(("name", "locale"), FORMS)
def test_no_browser_fills_in_corrects_or_checks_a_credential(name: str, locale: str) -> None:
    for field in filled_in(page(name, locale)):
        secret = field.get("type") == "password"
        assert field["autocomplete"] == ("new-password" if secret else "off")
        assert field["spellcheck"] == "false"
        assert field["autocapitalize"] == "none"


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_english_that_stays_english_is_marked_so_on_a_dutch_page(name: str) -> None:
    assert all(each.get("lang") == "en" for each in page(name, "nl").all("pre"))
