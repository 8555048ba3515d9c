from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mbi_reauth.__main__ import main
from mbi_reauth.cli.doctor import Line, examine
from mbi_reauth.cli.process import read_connections_as_airflow_does
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Outbox
from tests.loopback import reply, serving
from tests.metadata_db import connected_to, create_tables

REGISTRY = """
integrations:
  shop:
    type: zendesk
    owner: {name: Dana Example, email: dana@example.com}
  stock:
    type: mysql_direct
    owner: {name: Dana Example, email: dana@example.com}
"""
HEALTH = {name: {"status": "healthy"} for name in ("scheduler", "triggerer", "dag_processor")}


def put(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


def test_every_fault_is_listed_with_its_mending(registry: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--registry", registry]) == 1
    written = capsys.readouterr().out
    for words in (
        "ok       catalogue",
        "ok       registry: 2 integrations",
        "missing  connection shop of shop: there is no connection shop",
        "missing  connection stock of stock",
        "missing  mail through smtp_default",
        "missing  app at",
        "missing  triggerer",
    ):
        assert words in written
    assert written.count("missing  ") == written.count("-> ")


def test_what_has_nothing_to_authorize_needs_no_connection(
    registry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = "owner: {name: Dana Example, email: dana@example.com}"
    Path(registry).write_text(
        f"integrations:\n  upload: {{type: mbi_file_upload, mbi_signal: updates, {owner}}}\n"
        f"  updates: {{type: mbi_update_cycle, {owner}}}\n"
    )
    main(["doctor", "--registry", registry])
    written = capsys.readouterr().out
    assert "ok       upload: needs no connection" in written
    assert "missing  connection updates of updates" in written


def test_fields_that_a_connection_lacks_are_named_at_once(
    registry: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(monkeypatch, "shop", conn_type="mbireauth", login="dana")
    put(
        monkeypatch,
        "stock",
        conn_type="postgres",
        host="db.example.com",
        login="dana",
        password="fake",
        schema="x",
    )
    main(["doctor", "--registry", registry])
    written = capsys.readouterr().out
    assert "connection shop of shop: lacks subdomain, password" in written
    assert "connection stock of stock: has every field" in written
    assert "not reached by a connection of type 'postgres'" in written
    assert "Make the connection one of type mysql." in written


def test_a_database_without_its_provider_is_said_with_the_line_to_type(
    registry: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(
        monkeypatch,
        "stock",
        conn_type="mysql",
        host="db.example.com",
        login="dana",
        password="fake",
        schema="x",
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    main(["doctor", "--registry", registry])
    assert "pip install 'mbi-reauth[mysql]'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("triggerer", "mark"), [("healthy", "ok"), ("unhealthy", "missing"), (None, "missing")]
)
def test_a_triggerer_that_is_not_alive_is_missed(
    triggerer: str | None,
    mark: str,
    registry: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    health = json.dumps(HEALTH | {"triggerer": {"status": triggerer}}).encode()
    with serving(reply(body=health)) as server:
        monkeypatch.setenv("AIRFLOW__MBI_REAUTH__APP_URL", f"{server.url}/mbi-reauth")
        main(["doctor", "--registry", registry])
    written = capsys.readouterr().out
    assert f"{mark:<8} triggerer" in written
    assert "ok       scheduler: healthy" in written


@pytest.mark.parametrize(
    ("base_url", "mail_host", "mark"),
    [
        ("http://localhost:8080", "mail.invalid", "missing"),
        ("http://localhost:8080", "127.0.0.1", "ok"),
        ("https://airflow.example.com", "mail.invalid", "ok"),
    ],
)
def test_a_link_that_leads_owners_to_their_own_machine_is_noticed(
    base_url: str,
    mail_host: str,
    mark: str,
    registry: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(monkeypatch, "smtp_default", conn_type="smtp", host=mail_host, port=1)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    main(["doctor", "--registry", registry])
    assert f"{mark:<8} base URL: {base_url}" in capsys.readouterr().out


def test_an_examination_that_fails_itself_does_not_end_the_others() -> None:
    def _broken_one(_: Path | None) -> Iterable[Line]:
        raise ZeroDivisionError

    def _good_one(_: Path | None) -> Iterable[Line]:
        yield Line("good", "fine")

    lines = list(examine([_broken_one, _good_one], None))
    assert [bool(line.mend) for line in lines] == [True, False]
    assert "broken one: could not be looked at (ZeroDivisionError)" in str(lines[0])


def test_a_command_reads_connections_from_airflows_database_too() -> None:
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    read_connections_as_airflow_does()
    assert "MetastoreBackend" in {type(backend).__name__ for backend in ensure_secrets_backend_loaded()}


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("QUIET_HOURS", "at night", "missing  emails: [mbi_reauth] quiet_hours"),
        ("REMINDER_DAYS", "1,soon", "missing  emails: [mbi_reauth] reminder_days: write whole days"),
        ("ENGINEER_EMAIL", "", "missing  engineers: have no address"),
        ("ENGINEER_EMAIL", "a@example.com, b@example.com", "are written to at a@example.com, b@example.com"),
        ("SHADOW", "True", "ok       shadow mode: on"),
    ],
)
def test_how_people_are_written_to_is_looked_at(
    registry: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    setting: str,
    value: str,
    words: str,
) -> None:
    monkeypatch.setenv(f"AIRFLOW__MBI_REAUTH__{setting}", value)
    main(["doctor", "--registry", registry])
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("hours_ago", "words"),
    [
        (None, "missing  sweep: has never sent what is due"),
        (1, "ok       sweep: last sent what was due at "),
        (50, "missing  sweep: last sent what was due at "),
    ],
)
def test_a_sweep_that_sends_nothing_any_more_is_missed(
    registry: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    hours_ago: float | None,
    words: str,
) -> None:
    with connected_to(f"sqlite:///{tmp_path / 'airflow.db'}"):
        create_tables()
        if hours_ago is not None:
            served_at = datetime.now(timezone.utc) - timedelta(hours=hours_ago)
            transact(lambda session: session.add(Outbox(id=1, served_at=served_at)))
        main(["doctor", "--registry", registry])
    assert words in capsys.readouterr().out


def test_in_shadow_mode_no_sweep_is_missed(
    registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__SHADOW", "True")
    with connected_to(f"sqlite:///{tmp_path / 'airflow.db'}"):
        create_tables()
        main(["doctor", "--registry", registry])
    assert " sweep: " not in capsys.readouterr().out
