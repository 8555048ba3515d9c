"""CSV answers, as rules see them; and what is no CSV."""

from __future__ import annotations

from typing import Any

import pytest

from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.table import MAX_ROWS, as_table, in_shape


def evidence(body: Any, **fields: Any) -> Evidence:
    return Evidence.model_validate({"endpoint": Endpoint.PROBE, "status_code": 200, "body": body, **fields})


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("latest\n2026-11-24 10:00:00\n", ["latest"], [["2026-11-24 10:00:00"]]),
        ('"a","b"\r\n"x, y","2"\r\n', ["a", "b"], [["x, y", "2"]]),
        ("\ufeffa\n1", ["a"], [["1"]]),
        ('a,b\n"two\nlines",1\n', ["a", "b"], [["two\nlines", "1"]]),
        ('a,b\n"",\n', ["a", "b"], [["", ""]]),
        ("a\n" + "1\n" * (MAX_ROWS + 5), ["a"], [["1"]] * MAX_ROWS),
    ],
)
def test_the_first_line_names_the_columns(text: str, columns: list[str], rows: list[list[str]]) -> None:
    assert as_table(evidence(text)).body == {"columns": columns, "rows": rows}


@pytest.mark.parametrize(
    "seen",
    [
        evidence("a\n"),
        evidence(""),
        evidence(None),
        evidence("a,b\n1\n"),
        evidence('a\n"1\n'),
        evidence({"code": 403}),
        evidence('{"code": 403,\n"a": 1}'),
        evidence("[1,\n2]"),
        evidence("<html>\n</html>\n"),
        evidence("Sign in\nplease\n", headers={"Content-Type": "text/html; charset=utf-8"}),
        evidence("a\n1\n", headers={"content-type": "application/json"}),
        evidence("a\n1\n", status_code=403),
        evidence("a\n1\n", status_code=None),
        evidence("a\n1\n", endpoint="token"),
    ],
    ids=lambda seen: repr(seen.body),
)
def test_what_is_no_table_stays_as_it_is(seen: Evidence) -> None:
    assert as_table(seen) is seen


def test_only_a_probe_that_asks_for_csv_gets_it_read() -> None:
    seen = evidence("a\n1\n")
    assert in_shape(seen, "json") is seen
    assert in_shape(seen, "csv") == as_table(seen)
