from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from mbi_reauth.core.evidence import Endpoint, Evidence, TransportFailure
from mbi_reauth.probes.oauth import (
    MAX_BODY,
    TOTAL_TIMEOUT,
    InvalidTokenUrlError,
    RefreshRequest,
    TokenResponse,
    refresh,
    set_up_fault,
)

OLD, NEW, ACCESS, CLIENT_SECRET = "fake-refresh-old", "fake-refresh-new", "fake-access", "fake client/secret"
REQUEST = RefreshRequest(
    token_url="https://vendor.example/token",
    client_id="client:1",
    client_secret=CLIENT_SECRET,
    refresh_token=OLD,
)
GRANTED = {"access_token": ACCESS, "refresh_token": NEW, "token_type": "bearer", "expires_in": 3600}

Handler = Callable[[httpx.Request], httpx.Response]


def ask(handler: Handler, request: RefreshRequest = REQUEST) -> tuple[Evidence, TokenResponse | None]:
    return refresh(request, transport=httpx.MockTransport(handler))


def answer(status: int = 200, **response: Any) -> Handler:
    return lambda _: httpx.Response(status, **response)


def test_the_refresh_token_is_traded_with_the_client_in_the_body() -> None:
    seen: list[httpx.Request] = []

    def endpoint(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=GRANTED)

    evidence, token = ask(endpoint)
    assert token == TokenResponse(access_token=ACCESS, refresh_token=NEW, expires_in=3600)
    assert evidence.endpoint is Endpoint.TOKEN
    assert evidence.status_code == 200
    assert parse_qs(seen[0].content.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": [OLD],
        "client_id": ["client:1"],
        "client_secret": [CLIENT_SECRET],
    }
    assert "authorization" not in seen[0].headers


def test_basic_client_authentication_encodes_what_it_joins() -> None:
    seen: list[httpx.Request] = []

    def endpoint(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=GRANTED)

    basic = RefreshRequest(
        token_url=REQUEST.token_url,
        client_id=REQUEST.client_id,
        client_secret=CLIENT_SECRET,
        refresh_token=OLD,
        client_auth="basic",
    )
    ask(endpoint, basic)
    scheme, _, encoded = seen[0].headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(encoded)) == ("Basic", b"client%3A1:fake+client%2Fsecret")
    assert b"client" not in seen[0].content


@pytest.mark.parametrize(
    ("expires_in", "seconds"), [(3600, 3600.0), ("3600", 3600.0), (None, None), ("soon", None), (-1, None)]
)
def test_expires_in_is_read_however_it_is_written(expires_in: object, seconds: float | None) -> None:
    _, token = ask(answer(json={"access_token": ACCESS, "expires_in": expires_in}))
    assert token is not None
    assert token.expires_in == seconds
    assert token.refresh_token is None


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("orders.read profile.read", ("orders.read", "profile.read")),
        ("ads_read,public_profile", ("ads_read", "public_profile")),
        (["orders.read", "profile.read"], ("orders.read", "profile.read")),
        (" ", None),
        ("", None),
        (None, None),
        (7, None),
        ([7], None),
        ([], None),
    ],
)
def test_scopes_are_read_however_they_are_separated(scope: object, scopes: tuple[str, ...] | None) -> None:
    _, token = ask(answer(json={"access_token": ACCESS, "scope": scope}))
    assert token is not None
    assert token.scope == scopes


def test_a_response_without_scope_names_none() -> None:
    _, token = ask(answer(json={"access_token": ACCESS}))
    assert token is not None
    assert token.scope is None


@pytest.mark.parametrize(
    "response",
    [
        {"json": GRANTED},
        {"json": {"authed_user": {"access_token": ACCESS}, "refresh_token": NEW}},
        {"text": f"access_token={ACCESS}&refresh_token={NEW}"},
        {"text": json.dumps(GRANTED)[:-1]},
        {"json": {"error": "invalid_grant", "error_description": f"Token {OLD} is unknown"}},
        {"json": {"error": "invalid_client", "client_secret": CLIENT_SECRET}},
        {"text": f"<p>{OLD}</p>"},
        {"json": GRANTED, "headers": {"set-cookie": f"t={ACCESS}", "x-echo": OLD}},
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_evidence_never_holds_a_secret(status: int, response: dict[str, Any]) -> None:
    evidence, token = ask(answer(status, **response))
    shown = f"{evidence!r} {token!r} {REQUEST!r}"
    assert not any(secret in shown for secret in (OLD, NEW, ACCESS, CLIENT_SECRET))


def test_a_refusal_is_evidence_in_the_endpoints_words() -> None:
    body = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    evidence, token = ask(answer(400, json=body))
    assert token is None
    assert (evidence.status_code, evidence.body) == (400, body)


@pytest.mark.parametrize("body", ["", "<html>", "[]", "{}", '{"access_token": ""}', '{"access_token": 1}'])
def test_a_success_without_a_token_grants_nothing(body: str) -> None:
    evidence, token = ask(answer(200, text=body))
    assert token is None
    assert evidence.status_code == 200


def test_a_redirect_is_not_followed() -> None:
    evidence, token = ask(answer(302, headers={"location": "https://elsewhere.example/token"}))
    assert (evidence.status_code, token) == (302, None)


def test_an_endless_answer_is_cut() -> None:
    evidence, token = ask(answer(200, text="x" * (3 * MAX_BODY)))
    assert token is None
    assert len(evidence.body) == MAX_BODY


def test_an_answer_that_trickles_is_a_timeout() -> None:
    class Trickle(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b" "

    moments = iter([0.0, 1.0, TOTAL_TIMEOUT, TOTAL_TIMEOUT + 0.1])
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Trickle()))
    evidence, token = refresh(REQUEST, transport=transport, clock=lambda: next(moments))
    assert (evidence.failure, token) == (TransportFailure.TIMEOUT, None)


def test_silence_is_a_transport_failure() -> None:
    def silent(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("-")

    assert ask(silent) == (Evidence(endpoint=Endpoint.TOKEN, failure=TransportFailure.TIMEOUT), None)


@pytest.mark.parametrize("url", ["vendor.example/token", "ftp://vendor.example", "https://[::1", ""])
def test_an_address_that_cannot_be_asked_is_said_so(url: str) -> None:
    request = RefreshRequest(token_url=url, client_id="c", refresh_token=OLD)
    with pytest.raises(InvalidTokenUrlError):
        refresh(request)


def test_a_fault_of_the_set_up_looks_like_an_invalid_request() -> None:
    evidence = set_up_fault("there is no connection")
    assert evidence.status_code == 400
    assert evidence.body["error"] == "invalid_request"


@pytest.mark.parametrize("charset", ["base64", "no-such-charset", "utf-16"])
def test_whatever_charset_an_answer_names_it_is_read(charset: str) -> None:
    content = '{"error": "invalid_grant"}'.encode("utf-16" if charset == "utf-16" else "ascii")
    headers = {"content-type": f"application/json; charset={charset}"}
    evidence, token = ask(answer(400, content=content, headers=headers))
    assert token is None
    assert evidence.body == {"error": "invalid_grant"}
