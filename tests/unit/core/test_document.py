"""YAML with its lines: whatever is wrong is found at once, and where it is."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from mbi_reauth.core.document import parse_document, read_document


def _faults(text: str) -> list[str]:
    return [str(fault) for fault in parse_document(text, file="f.yaml").faults]


def test_a_document_has_its_value_and_its_lines() -> None:
    document = parse_document("a:\n  b: [1, 2]\n  c:\n    - x: y\n", file="f.yaml")
    assert document.value == {"a": {"b": [1, 2], "c": [{"x": "y"}]}}
    assert [document.line(loc) for loc in [(), ("a",), ("a", "c", 0, "x"), ("a", "nothing")]] == [1, 1, 4, 1]


def test_dates_are_dates_and_keys_are_always_text() -> None:
    document = parse_document("on: 2027-03-01\n7: x\n", file="f.yaml")
    assert document.value == {"on": date(2027, 3, 1), "7": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 'f.yaml:3: "a" is here twice; the first is on line 1'),
        ("a: 2027-02-30\n", 'f.yaml:1: "2027-02-30" is not a date of the calendar'),
        ("a: [1,\nb: 2\n", "f.yaml:3: not valid YAML"),
        ("a: b: c\n", "f.yaml:1: not valid YAML"),
        (
            "a: !!python/object:os.system x\n",
            "f.yaml:1: tag:yaml.org,2002:python/object:os.system is not supported",
        ),
        ("? [a, b]\n: c\n", "f.yaml:1: a key must be a plain name"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: not valid YAML"),
        ("a: &x [*x]\n", ""),
        ("a: \x01\n", "f.yaml: not valid YAML"),
        ("[" * 80 + "]" * 80, "f.yaml:1: nested too deeply"),
    ],
)
def test_a_fault_says_its_line(text: str, message: str) -> None:
    faults = _faults(text)
    assert (faults[0] if faults else "").startswith(message)


def test_all_faults_are_found_at_once() -> None:
    assert len(_faults("a: 1\na: 2\nb: 2027-13-01\nb: 1\n")) == 3


def test_an_alias_and_a_merge_give_what_they_name() -> None:
    document = parse_document("a: &base {x: 1, y: 2}\nb: {<<: *base, y: 3}\nc: *base\n", file="f.yaml")
    assert document.value == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}}
    assert not document.faults


def test_a_missing_file_and_a_wrong_encoding_are_faults(tmp_path: Path) -> None:
    assert "there is no such file" in str(read_document(tmp_path / "no.yaml").faults[0])
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    assert "latin.yaml:2: this is not UTF-8" in str(read_document(tmp_path / "latin.yaml").faults[0])


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(tmp_path / "f.yaml").value == {"a": 1}
