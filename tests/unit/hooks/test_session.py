from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import pytest
import requests

from mbi_reauth.hooks.session import CredentialAdapter, Limits
from mbi_reauth.probes.http import HttpCredential
from tests.loopback import Loopback, Script, reply, serving

CANARY = "canary/s3cret"
HEADER = HttpCredential(headers={"Authorization": f"Bearer {CANARY}"})
QUERY = HttpCredential(params={"api_key": CANARY})
QUICK = Limits(connect=1, read=0.3, retries=2, backoff=0, longest_pause=0)

Renew = Callable[[HttpCredential], HttpCredential | None]


def session(
    server: Loopback, credential: HttpCredential = HEADER, *, renew: Renew = lambda _: None
) -> requests.Session:
    opened = requests.Session()
    adapter = CredentialAdapter(credential, origins={f"{server.url}/me"}, renew=renew, limits=QUICK)
    opened.mount("http://", adapter)
    return opened


def in_turn(*answers: Script) -> Script:
    remaining = list(answers)

    def script(connection: socket.socket, head: bytes) -> None:
        (remaining.pop(0) if len(remaining) > 1 else remaining[0])(connection, head)

    return script


def silent(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


@pytest.mark.parametrize(("credential", "sent"), [(HEADER, CANARY), (QUERY, "?a=1&api_key=canary%2Fs3cret")])
def test_the_credential_is_sent_and_not_remembered(credential: HttpCredential, sent: str) -> None:
    with serving(reply("404 Not Found")) as server:
        response = session(server, credential).get(f"{server.url}/orders", params={"a": "1"})
        assert sent.encode() in server.requests[0]
    with pytest.raises(requests.HTTPError) as raised:
        response.raise_for_status()
    shown = f"{raised.value} {response.url} {response.request.url} {response.request.headers}"
    assert "s3cret" not in shown


@pytest.mark.parametrize("credential", [HEADER, QUERY])
def test_another_origin_never_gets_the_credential(credential: HttpCredential) -> None:
    with serving(reply(body=b"there")) as other, serving(reply("302 Found", Location=other.url)) as server:
        opened = session(server, credential)
        assert opened.get(f"{server.url}/orders").text == "there"
        assert opened.get(f"{other.url}/orders").text == "there"
        assert b"s3cret" not in b"".join(other.requests)


def test_a_redirect_that_repeats_the_query_does_not_carry_the_credential_elsewhere() -> None:
    def echoing(other: Loopback) -> Script:
        def script(connection: socket.socket, head: bytes) -> None:
            query = head.split(b" ")[1].partition(b"?")[2].decode()
            reply("302 Found", Location=f"{other.url}/there?b=2&{query}#part")(connection, head)

        return script

    with serving(reply(body=b"there")) as other, serving(echoing(other)) as server:
        response = session(server, QUERY).get(f"{server.url}/orders", params={"a": "1"})
        assert response.text == "there"
        assert b"GET /there?b=2&a=1 " in other.requests[0]
    assert "s3cret" not in f"{response.url} {response.history[0].headers}"


def test_a_redirect_within_the_origin_keeps_the_credential() -> None:
    answer = in_turn(reply("302 Found", Location="/there"), reply(body=b"there"))
    with serving(answer) as server:
        assert session(server).get(server.url).text == "there"
        assert all(CANARY.encode() in head for head in server.requests)


def test_an_expired_token_is_renewed_once_in_the_middle_of_an_extraction() -> None:
    fresh = HttpCredential(headers={"Authorization": "Bearer fake-fresh"})
    with serving(in_turn(reply("401 Unauthorized"), reply(body=b"rows"))) as server:
        assert session(server, renew=lambda _: fresh).get(server.url).text == "rows"
        assert b"fake-fresh" in server.requests[1]


def test_a_refusal_of_the_renewed_token_is_the_answer() -> None:
    with serving(reply("401 Unauthorized")) as server:
        assert session(server, renew=lambda _: HEADER).get(server.url).status_code == 401
        assert len(server.requests) == 2


@pytest.mark.parametrize(("method", "requests_sent"), [("GET", 2), ("POST", 1)])
def test_only_what_may_be_repeated_is_retried_when_throttled(method: str, requests_sent: int) -> None:
    answer = in_turn(reply("429 Too Many", Retry_After="0"), reply(body=b"rows"))
    with serving(answer) as server:
        status = session(server).request(method, server.url).status_code
        assert len(server.requests) == requests_sent
        assert status == (200 if method == "GET" else 429)


def test_a_third_party_that_stays_down_gives_its_last_answer() -> None:
    with serving(reply("503 Down", Retry_After="0")) as server:
        assert session(server).get(server.url).status_code == 503
        assert len(server.requests) == 1 + QUICK.retries


def test_silence_ends_by_the_sessions_own_limit_without_the_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(silent) as server, pytest.raises(requests.ConnectionError) as raised:
        session(server, QUERY).get(server.url)
    assert "s3cret" not in f"{raised.value} {raised.value.request.url if raised.value.request else ''}"
    assert "s3cret" not in caplog.text
    assert "Retrying" in caplog.text
