"""The registry: right, or refused as a whole with every fault and its line."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from textwrap import dedent

import pytest

from mbi_reauth.core.registry import RegistryError, load_registry

TYPES = {"zendesk", "google_adwords", "postgresql_ssh"}


def _write(folder: Path, text: str) -> Path:
    path = folder / "integrations.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return path


def _message(folder: Path, text: str) -> str:
    with pytest.raises(RegistryError) as raised:
        load_registry(_write(folder, text), TYPES)
    return str(raised.value)


def test_an_entry_is_an_integration(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        """\
        integrations:
          shop:
            type: postgresql_ssh
            name: Web shop
            owner: {name: Dana Example, email: dana@example.com, locale: nl, backup: team@example.com}
            held_by: mbi
            expires_at: 2027-03-01
            tables:
              - {name: public.orders, watermark: changed_at, key: id}
        """,
    )
    shop = load_registry(path, TYPES).get("shop")
    assert (shop.id, shop.conn_id, shop.label, shop.held_by) == ("shop", "shop", "Web shop", "mbi")
    assert shop.expires_at == date(2027, 3, 1)
    assert shop.tables[0].key == "id"


def test_an_unknown_id_suggests_the_nearest(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        """\
        integrations:
          zendesk: {type: zendesk, owner: {name: Dana Example, email: dana@example.com}}
        """,
    )
    with pytest.raises(RegistryError, match='"zendeks"; did you mean "zendesk"'):
        load_registry(path, TYPES).get("zendeks")


OWNER = "owner: {name: Dana Example, email: dana@example.com}"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "{type: zendeks, " + OWNER + "}",
            'a: type: unknown integration type "zendeks"; did you mean "zendesk"?',
        ),
        ("{type: zendesk}", "a: owner: is missing"),
        ("{type: zendesk, owner: {name: Dana Example}}", "a: owner.email: is missing"),
        ("{type: zendesk, owner: {name: D, email: dana}}", 'a: owner.email: "dana" is not an email address'),
        ("{type: zendesk, owner: {name: D, emial: x}}", 'a: owner.emial: unknown key; did you mean "email"?'),
        ("{type: zendesk, " + OWNER + ", tpye: x}", 'a: tpye: unknown key; did you mean "type"?'),
        ("{type: zendesk, " + OWNER + ", id: b}", "a: id: unknown key"),
        (
            "{type: zendesk, " + OWNER + ", account: 42}",
            'a: account: "42" is read as a number; put it in quotes',
        ),
        ("{type: zendesk, " + OWNER + ", name: no}", "is read as true or false; put it in quotes"),
        (
            "{type: zendesk, " + OWNER + ", expires_at: soon}",
            'a: expires_at: "soon" is not a date like 2027-03-01',
        ),
        (
            "{type: zendesk, " + OWNER + ", expires_at: 2027-02-30}",
            '"2027-02-30" is not a date of the calendar',
        ),
        (
            "{type: zendesk, " + OWNER + ", held_by: mib}",
            'a: held_by: "mib" is not one of "airflow" or "mbi"',
        ),
        (
            "{type: zendesk, " + OWNER + ", tables: {x: y}}",
            "a: tables: a mapping is given where a list belongs",
        ),
        ("{type: zendesk, " + OWNER + ", tables: [{name: 'a b'}]}", "a: tables[a b].name"),
        ("{type: zendesk, owner: dana@example.com}", "a: owner: text is given where a mapping belongs"),
        ("", "a: must be a mapping"),
    ],
)
def test_a_fault_names_the_entry_the_field_and_what_is_right(
    entry: str, message: str, tmp_path: Path
) -> None:
    said = _message(tmp_path, f"integrations:\n  a: {entry}\n")
    assert message in said
    assert "integrations.yaml:2: " in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "integrations.yaml: is empty"),
        ("# only a comment\n", "integrations.yaml: is empty"),
        ("[]\n", "must be a mapping with the key"),
        ("integrations:\n", "integrations: is empty"),
        ("integrations: []\n", "must be a mapping from an id"),
        ("integration: {}\n", 'integration: unknown key; did you mean "integrations"?'),
        ("integrations: {a: [}\n", "integrations.yaml:1: not valid YAML"),
        ("integrations:\n  A-1: {type: zendesk, " + OWNER + "}\n", "A-1"),
    ],
)
def test_a_file_of_another_shape_is_refused(text: str, message: str, tmp_path: Path) -> None:
    assert message in _message(tmp_path, text)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="there is no such file"):
        load_registry(tmp_path / "integrations.yaml", TYPES)


def test_all_faults_of_all_entries_come_in_one_message(tmp_path: Path) -> None:
    said = _message(
        tmp_path,
        """\
        integrations:
          a:
            type: zendesk
            owner:
              name: Dana Example
              email: dana
          b: {type: nothing_like_it, owner: {name: "", email: b@example.com}}
          a: {type: zendesk}
        extra: 1
        """,
    )
    lines = [line for line in said.splitlines() if line.startswith("integrations.yaml:")]
    assert [int(line.split(":")[1]) for line in lines] == [6, 7, 7, 8, 9]


def test_an_unchanged_file_is_read_once_and_a_changed_one_again(tmp_path: Path) -> None:
    text = f"integrations:\n  a: {{type: zendesk, {OWNER}}}\n"
    path = _write(tmp_path, text)
    first = load_registry(path, TYPES)
    assert load_registry(path, TYPES) is first
    path.write_text(text + f"  b: {{type: zendesk, {OWNER}}}\n")
    assert set(load_registry(path, TYPES).integrations) == {"a", "b"}


SIGNALS = {*TYPES, "mbi_update_cycle", "mbi_integration_freshness", "mbi_file_upload"}
UPDATES = "updates: {type: mbi_update_cycle, " + OWNER + "}"


def test_a_named_signal_comes_with_the_entry(tmp_path: Path) -> None:
    text = f"integrations:\n  help: {{type: zendesk, mbi_signal: updates, {OWNER}}}\n  {UPDATES}\n"
    registry = load_registry(_write(tmp_path, text), SIGNALS)
    assert registry.get("help").signal == registry.get("updates")
    assert registry.get("updates").signal is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("type: zendesk, mbi_signal: update", 'there is no integration "update"; did you mean "updates"?'),
        (
            "type: zendesk, mbi_signal: other",
            '"other" is not of type mbi_integration_freshness or mbi_update',
        ),
        ("type: zendesk, mbi_signal: a", '"a" is not of type'),
        ("type: mbi_update_cycle, mbi_signal: updates", "mbi_update_cycle is a signal itself, and has none"),
        ("type: mbi_integration_freshness, mbi_signal: a", "mbi_integration_freshness is a signal itself"),
        ("type: mbi_file_upload", "is missing; there is nothing else to check of mbi_file_upload"),
    ],
)
def test_a_signal_must_be_another_entry_that_tells_how_mbi_fares(
    entry: str, message: str, tmp_path: Path
) -> None:
    other = f"other: {{type: zendesk, {OWNER}}}"
    text = f"integrations:\n  a: {{{entry}, {OWNER}}}\n  {other}\n  {UPDATES}\n"
    with pytest.raises(RegistryError) as raised:
        load_registry(_write(tmp_path, text), SIGNALS)
    assert f"integrations.yaml:2: a: mbi_signal: {message}" in str(raised.value)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("signal: {id: x}", 'a: signal: unknown key; did you mean "mbi_signal"?'),
        ("mbi_signal: [updates]", "a: mbi_signal: a list is given where text belongs"),
        ("mbi_signal: 42", 'a: mbi_signal: "42" is read as a number; put it in quotes'),
    ],
)
def test_a_signal_is_named_by_its_id_alone(field: str, message: str, tmp_path: Path) -> None:
    text = f"integrations:\n  a: {{type: zendesk, {field}, {OWNER}}}\n  {UPDATES}\n"
    with pytest.raises(RegistryError) as raised:
        load_registry(_write(tmp_path, text), SIGNALS)
    lines = str(raised.value).splitlines()[1:]
    assert lines == [f"integrations.yaml:2: {message}"]


@pytest.mark.parametrize("kind", ["[mbi_file_upload]", "{a: b}", "42", "", "~"])
def test_an_entry_whose_type_is_no_text_is_a_fault_and_no_signal(kind: str, tmp_path: Path) -> None:
    text = f"integrations:\n  a: {{type: {kind}, {OWNER}}}\n  b: {{type: zendesk, mbi_signal: a, {OWNER}}}\n"
    with pytest.raises(RegistryError) as raised:
        load_registry(_write(tmp_path, text), SIGNALS)
    assert "integrations.yaml:2: a: type" in str(raised.value)
    assert 'integrations.yaml:3: b: mbi_signal: "a" is not of type' in str(raised.value)
