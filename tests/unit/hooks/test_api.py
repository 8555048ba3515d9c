from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable

import httpx
import pytest

from mbi_reauth.api.datamodels import (
    CheckRequest,
    CheckResponse,
    ClaimRequest,
    ClaimResponse,
    FindingReport,
    MailView,
    Notice,
    SettleRequest,
)
from mbi_reauth.core.notice import Facts, NotificationKind, Reason
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.hooks.api import ApiRefusedError, ApiUnavailableError, ReauthApiHook
from tests.checking import FakeConnections, a_credential, an_integration

KEY = "fake-app-key"
ACCESS = a_credential(
    conn_id="mbi_reauth_api", conn_type="http", password=KEY, host="http://app.example/base/"
)
REQUEST = CheckRequest(integration=an_integration())
FINDING = Finding(cause=Cause.AUTHORIZED, rule="r", explanation="e")

Handler = Callable[[httpx.Request], httpx.Response]


def hook(handler: Handler, access: FakeConnections | None = None) -> ReauthApiHook:
    return ReauthApiHook(
        connections=access or FakeConnections({"mbi_reauth_api": [ACCESS]}),
        transport=httpx.MockTransport(handler),
    )


def answer(status: int = 200, **response: object) -> Handler:
    return lambda _: httpx.Response(status, **response)  # type: ignore[arg-type]


def test_each_request_goes_to_its_route_with_the_key() -> None:
    seen: list[httpx.Request] = []

    def app(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=_body(request))

    async def everything() -> None:
        client = hook(app)
        await client.prepare(REQUEST)
        await client.report(FindingReport(integration=an_integration(), finding=FINDING))
        await client.claim(ClaimRequest(integration_id="shop"))
        await client.settle(SettleRequest(lease="x", outcome="sent"))
        await client.would_block()

    asyncio.run(everything())
    assert [f"{request.method} {request.url}" for request in seen] == [
        "POST http://app.example/base/api/checks",
        "POST http://app.example/base/api/findings",
        "POST http://app.example/base/api/notifications/claim",
        "POST http://app.example/base/api/notifications/settle",
        "POST http://app.example/base/api/would-block",
    ]
    assert {request.headers["authorization"] for request in seen} == {f"Bearer {KEY}"}
    assert json.loads(seen[0].content)["integration"]["id"] == "shop"


def _body(request: httpx.Request) -> object:
    bodies = {
        "checks": {"credential_version": 1},
        "findings": {"accepted": True},
        "claim": {},
        "settle": None,
        "would-block": {"would_block": []},
    }
    return bodies[request.url.path.rpartition("/")[2]]


def test_what_the_app_knows_comes_back_whole() -> None:
    response = CheckResponse(credential_version=3, last_finding=FINDING, access_token="fake-access")
    client = hook(answer(content=response.model_dump_json()))
    assert asyncio.run(client.prepare(REQUEST)) == response


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422])
def test_a_refusal_says_the_apps_words(status: int) -> None:
    client = hook(answer(status, json={"detail": "unknown key"}))
    with pytest.raises(ApiRefusedError, match=f"{status}.*unknown key") as raised:
        asyncio.run(client.prepare(REQUEST))
    assert raised.value.status_code == status


@pytest.mark.parametrize(
    "handler",
    [
        answer(500),
        answer(503, text="<html>maintenance</html>"),
        answer(429),
        answer(302, headers={"Location": "/login"}),
        answer(200, text="<html>sign in</html>"),
        answer(200, json={"credential_version": "x"}),
        answer(200, json={"credential_version": 1, "unknown": "fake-access"}),
    ],
    ids=["500", "503", "429", "redirect", "a page", "wrong type", "unknown field"],
)
def test_what_is_no_answer_of_the_app_is_unavailable(handler: Handler) -> None:
    with pytest.raises(ApiUnavailableError) as raised:
        asyncio.run(hook(handler).prepare(REQUEST))
    assert "fake-access" not in str(raised.value)


AT = "at http://app.example/base"


def failing(error: Exception) -> Handler:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectError("no"), f"{AT}: connection refused"),
        (httpx.ReadTimeout("no"), "timeout"),
        (httpx.LocalProtocolError(f"Illegal header value b'Bearer {KEY}'"), f"{AT}: connection reset"),
        (httpx.InvalidURL("no"), "not a URL"),
    ],
)
def test_a_broken_way_to_the_app_is_unavailable_and_shows_no_key(error: Exception, words: str) -> None:
    with pytest.raises(ApiUnavailableError, match=words) as raised:
        asyncio.run(hook(failing(error)).prepare(REQUEST))
    assert KEY not in str(raised.value)
    assert raised.value.__cause__ is None


def test_an_app_that_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mbi_reauth.hooks.api.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        access = a_credential(host=f"http://127.0.0.1:{server.getsockname()[1]}", password=KEY)
        client = ReauthApiHook(connections=FakeConnections({"mbi_reauth_api": [access]}))
        with pytest.raises(ApiUnavailableError):
            asyncio.run(client.settle(SettleRequest(lease="x", outcome="sent")))


def test_a_missing_key_says_who_makes_it() -> None:
    with pytest.raises(ApiUnavailableError, match=r"'mbi_reauth_api'.*when the API server starts"):
        asyncio.run(hook(answer(), FakeConnections({})).prepare(REQUEST))


def test_the_key_and_the_token_are_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    response = CheckResponse(credential_version=3, access_token="fake-access")
    asyncio.run(hook(answer(content=response.model_dump_json())).prepare(REQUEST))
    assert KEY not in caplog.text
    assert "fake-access" not in caplog.text


def test_the_link_of_an_email_is_in_no_log_and_masked_where_somebody_else_would_log_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    masked: list[str] = []

    async def mask(secret: str) -> None:
        masked.append(secret)

    monkeypatch.setattr("mbi_reauth.hooks.api.mask", mask)
    notice = Notice(id=1, integration_type="shop", facts=Facts(reason=Reason.LOST), link=f"{AT}/fake-token")
    mail = MailView(
        lease="x",
        kind=NotificationKind.OPENED,
        recipients=["dana@example.com"],
        message_id="<1@example.com>",
        notices=[notice],
    )
    response = ClaimResponse(mail=mail)
    assert asyncio.run(hook(answer(content=response.model_dump_json())).claim(ClaimRequest())) == response
    assert masked == ["fake-token"]
    assert "fake-token" not in caplog.text
    assert "fake-token" not in repr(response)
