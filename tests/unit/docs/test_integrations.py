"""The page about the integration types is the catalogue's own words."""

from __future__ import annotations

import re
from pathlib import Path

from mbi_reauth import catalogue
from mbi_reauth.catalogue.reference import reference_text

PAGE = Path(__file__).parents[3] / "docs" / "integrations.md"


def test_the_page_is_current() -> None:
    """Write it anew with ``python -m mbi_reauth.catalogue.reference docs/integrations.md``."""
    assert PAGE.read_text("utf-8") == reference_text()


def test_every_type_has_a_section_that_its_line_in_the_overview_leads_to() -> None:
    text = PAGE.read_text("utf-8")
    for type_id in catalogue.type_ids():
        assert f"](#{type_id})" in text
        assert f"\n## {type_id}\n" in text


def test_what_types_share_is_written_once() -> None:
    _, *sections = PAGE.read_text("utf-8").split("\n## ")
    told = [re.sub(r"^- [^:]*: ", "- ", line) for text in sections for line in text.splitlines()]
    long = [line for line in told if line.startswith("- ") and len(line) > 250]
    assert len(long) == len(set(long)) > 50
    assert "What it answers is judged as at [`google_analytics`](#google_analytics)." in told


def test_no_cell_breaks_its_table() -> None:
    tables = [block.splitlines() for block in PAGE.read_text("utf-8").split("\n\n") if block.startswith("| ")]
    assert tables
    for rows in tables:
        assert {row.replace("\\|", "").count("|") for row in rows} == {rows[1].count("|")}
