"""An answer in CSV, made readable for rules that know only JSON."""

from __future__ import annotations

import csv
import re
from io import StringIO
from typing import Literal

from mbi_reauth.core.evidence import Endpoint, Evidence

MAX_ROWS = 1000
_NO_TABLE = re.compile(r"[<{\[]")
_OTHER_TYPE = re.compile(r"\b(?:html|json|xml)\b", re.IGNORECASE)


def in_shape(evidence: Evidence, shape: Literal["json", "csv"]) -> Evidence:
    """Read an answer in the shape that a probe asks for, as rules and paths see it."""
    return as_table(evidence) if shape == "csv" else evidence


def as_table(evidence: Evidence) -> Evidence:
    """Read a successful probe's CSV as ``{"columns": [...], "rows": [[...], ...]}``; else return it as it is.

    The first line names the columns, and there must be another one, with as many cells: a page, a JSON error
    or a line of text is none of it. Rows after the first thousand are left out.
    """
    text = evidence.body
    if evidence.endpoint is not Endpoint.PROBE or not 200 <= (evidence.status_code or 0) <= 299:
        return evidence
    if not isinstance(text, str) or _NO_TABLE.match(text.lstrip("\ufeff \t\r\n")):
        return evidence
    types = [value for name, value in evidence.headers.items() if name.lower() == "content-type"]
    if any(_OTHER_TYPE.search(each) for each in types):
        return evidence
    lines = csv_lines(text.lstrip("\ufeff"))
    if len(lines) < 2:
        return evidence
    return evidence.model_copy(update={"body": {"columns": lines[0], "rows": lines[1 : MAX_ROWS + 1]}})


def csv_lines(text: str) -> list[list[str]]:
    """Read CSV; none of it if it is broken, or if some line has more cells than another."""
    try:
        lines = [line for line in csv.reader(StringIO(text, newline=""), strict=True) if line]
    except csv.Error:
        return []
    return lines if all(len(line) == len(lines[0]) for line in lines) else []
