"""``shadow``: what a person sees of what gates in shadow mode would have stopped."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from mbi_reauth.__main__ import main
from mbi_reauth.api.datamodels import WouldBlock, WouldBlockResponse
from mbi_reauth.cli.shadow import lines_of
from tests.checking import NOON
from tests.loopback import reply, serving

SHOP = WouldBlock(
    integration_id="shop",
    runs=12,
    first_at=NOON,
    last_at=NOON + timedelta(hours=3),
    causes=["grant_expired", "unlinked"],
)
BOOKS = WouldBlock(
    integration_id="google_ads_north", runs=1, first_at=NOON, last_at=NOON, causes=["grant_expired"]
)


def test_each_integration_is_a_line_of_a_table() -> None:
    assert list(lines_of(WouldBlockResponse(would_block=[SHOP, BOOKS], waiting_mails=2))) == [
        "Runs that gates in shadow mode would have stopped:",
        "  Integration       Runs  Since                    Last                     Causes",
        "  shop              12    2026-11-24 12:00:00 UTC  2026-11-24 15:00:00 UTC  grant_expired, unlinked",
        "  google_ads_north  1     2026-11-24 12:00:00 UTC  2026-11-24 12:00:00 UTC  grant_expired",
        "Emails that are due and wait: 2",
    ]


def test_where_nothing_would_have_been_stopped_that_is_said() -> None:
    assert list(lines_of(WouldBlockResponse(would_block=[]))) == [
        "No gate in shadow mode would have stopped a run."
    ]


def the_app_at(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = {"conn_type": "generic", "host": host, "password": "fake-key"}
    monkeypatch.setenv("AIRFLOW_CONN_MBI_REAUTH_API", json.dumps(key))


def test_it_asks_the_app(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answer = WouldBlockResponse(would_block=[SHOP]).model_dump_json().encode()
    with serving(reply(body=answer, content_type="application/json")) as server:
        the_app_at(server.url, monkeypatch)
        assert main(["shadow"]) == 0
    written = capsys.readouterr().out
    assert "shop" in written
    assert "fake-key" not in written


def test_an_app_that_is_away_is_said_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    the_app_at("http://127.0.0.1:1", monkeypatch)
    assert main(["shadow"]) == 3
    captured = capsys.readouterr()
    assert "cannot be reached" in captured.err
    assert captured.out == ""
