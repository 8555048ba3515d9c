from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from airflow import settings
from fastapi import FastAPI

from mbi_reauth.api.app import create_app
from mbi_reauth.api.dependencies import surroundings
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.probes.oauth import RefreshRequest, refresh
from tests.app import INTEGRATION, fake_type
from tests.metadata_db import connected_to, extra_of, put_connection

pytestmark = pytest.mark.usefixtures("metadata_db")

ASKERS = 16
KEY = "fake-key-of-the-app"


@dataclass
class TokenServer:
    """Rotates refresh tokens, and withdraws the whole grant when one is used a second time."""

    url: str = ""
    current: int = 0
    asked: int = 0
    revoked: int = 0
    grace: bool = False
    """Whether the last refresh token but one is taken as well, as by servers that know of lost answers."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, refresh_token: str) -> tuple[int, dict[str, Any]]:
        with self.lock:
            self.asked += 1
            accepted = {self.refresh_token, *([f"fake-refresh-{self.current - 1}"] if self.grace else [])}
            if self.revoked or refresh_token not in accepted:
                self.revoked += 1
                return 400, {"error": "invalid_grant"}
            self.current += 1
        time.sleep(0.1)  # long enough for every asker to find the exchange under way
        granted = {"access_token": self.access_token, "refresh_token": self.refresh_token}
        return 200, {**granted, "token_type": "bearer", "expires_in": 3600}

    @property
    def refresh_token(self) -> str:
        return f"fake-refresh-{self.current}"

    @property
    def access_token(self) -> str:
        return f"fake-access-{self.current}"


@contextmanager
def serving() -> Iterator[TokenServer]:
    state = TokenServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            status, body = state.answer(form["refresh_token"][0])
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    with serving() as server:
        extra = {"client_id": "client", "client_secret": "fake-secret", "refresh_token": server.refresh_token}
        put_connection("shop", extra={**extra, "token_url": server.url})
        yield server


def _app(**outside: Any) -> FastAPI:
    app = create_app(resumes=False)
    app.dependency_overrides[surroundings] = lambda: Surroundings(type_of=fake_type, **outside)
    return app


async def _ask(refused: str | None, times: int = ASKERS, **outside: Any) -> list[dict[str, Any]]:
    app = _app(**outside)
    body = {"integration": INTEGRATION.model_dump(mode="json"), "refused_token": refused}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://app",
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=60,
    ) as client:
        answers = await asyncio.gather(*(client.post("/api/checks", json=body) for _ in range(times)))
    return [answer.raise_for_status().json() for answer in answers]


def ask(refused: str | None = None) -> list[dict[str, Any]]:
    return asyncio.run(_ask(refused))


def test_16_askers_at_once_cause_one_refresh_and_lose_no_grant(token_server: TokenServer) -> None:
    assert {answer["access_token"] for answer in ask()} == {"fake-access-1"}
    assert (token_server.asked, token_server.revoked) == (1, 0)
    assert extra_of("shop")["refresh_token"] == "fake-refresh-1"


def test_a_token_refused_to_16_askers_at_once_is_refreshed_once_each_round(token_server: TokenServer) -> None:
    ask()
    for rounds in range(1, 5):
        refused = sha256(token_server.access_token.encode()).hexdigest()
        assert {answer["access_token"] for answer in ask(refused)} == {f"fake-access-{rounds + 1}"}
    assert (token_server.asked, token_server.revoked) == (5, 0)


def test_a_withdrawn_grant_is_asked_about_once_and_told_to_all(token_server: TokenServer) -> None:
    token_server.current = 99
    answers = ask()
    assert {answer["token_evidence"]["body"]["error"] for answer in answers} == {"invalid_grant"}
    assert token_server.asked <= 2


# processes

_FORKED = multiprocessing.get_context("fork")


def _in_a_process(url: str, told: Any, outside: dict[str, Any]) -> None:
    """Ask as one process of the API server; nothing of the parent's database connections is used."""
    assert settings.engine is not None
    settings.engine.dispose(close=False)
    with connected_to(url):
        [answer] = asyncio.run(_ask(None, times=1, **outside))
    told.put(answer)


def _started(url: str, told: Any, **outside: Any) -> Any:
    process = _FORKED.Process(target=_in_a_process, args=(url, told, outside))
    process.start()
    return process


def _dies_before(_: RefreshRequest) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _dies_after(request: RefreshRequest) -> Any:
    refresh(request)
    os.kill(os.getpid(), signal.SIGKILL)


def _after_the_lease() -> datetime:
    return datetime.now(timezone.utc) + timedelta(minutes=5)


def _killed(url: str, dying: Any) -> None:
    process = _started(url, _FORKED.Queue(), refresh=dying)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_16_processes_at_once_cause_one_refresh_and_lose_no_grant(
    token_server: TokenServer, metadata_db: str
) -> None:
    told = _FORKED.Queue()
    processes = [_started(metadata_db, told) for _ in range(ASKERS)]
    answers = [told.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert {answer["access_token"] for answer in answers} == {"fake-access-1"}
    assert (token_server.asked, token_server.revoked) == (1, 0)
    assert extra_of("shop")["refresh_token"] == "fake-refresh-1"


def test_a_process_that_dies_before_it_asks_loses_nothing(
    token_server: TokenServer, metadata_db: str
) -> None:
    _killed(metadata_db, _dies_before)
    [answer] = asyncio.run(_ask(None, times=1, now=_after_the_lease))
    assert answer["access_token"] == "fake-access-1"
    assert (token_server.asked, token_server.revoked) == (1, 0)


def test_a_process_that_dies_before_it_saves_loses_nothing_where_the_vendor_has_a_grace(
    token_server: TokenServer, metadata_db: str
) -> None:
    token_server.grace = True
    _killed(metadata_db, _dies_after)
    [answer] = asyncio.run(_ask(None, times=1, now=_after_the_lease))
    assert answer["access_token"] == "fake-access-2"
    assert extra_of("shop")["refresh_token"] == "fake-refresh-2"


def test_a_process_that_dies_before_it_saves_loses_the_grant_where_the_vendor_has_none(
    token_server: TokenServer, metadata_db: str
) -> None:
    _killed(metadata_db, _dies_after)
    [answer] = asyncio.run(_ask(None, times=1, now=_after_the_lease))
    assert answer["access_token"] is None
    assert answer["token_evidence"]["body"]["error"] == "invalid_grant"
