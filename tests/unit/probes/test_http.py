from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import socket
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mbi_reauth.core.evidence import Evidence, TransportFailure
from mbi_reauth.core.integration import Integration
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.http import CUT, MAX_BODY, HttpCredential
from mbi_reauth.probes.integration import Subject, probe
from mbi_reauth.probes.template import Templates
from tests.checking import OAUTH, a_credential, a_type, an_integration
from tests.loopback import Script, reply, serving
from tests.tls import self_signed

CANARY = "canary/s3cret+value="
ZENDESK_AUTH = {"method": "basic", "username": "{login}/token"}
QUERY_AUTH = {"method": "query", "name": "api_key", "value": "{password}"}


def ask(
    model: Any,
    credential: Credential,
    *,
    handler: Callable[[httpx.Request], httpx.Response] | None = None,
    timeout: float = 5,
    integration: Integration | None = None,
    token: str | None = None,
) -> Evidence:
    transport = httpx.MockTransport(handler) if handler else None
    subject = Subject(model, credential, integration)
    return asyncio.run(probe(subject, access_token=token, timeout=timeout, transport=transport))


def sent(model: Any, credential: Credential, **options: Any) -> httpx.Request:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))

    ask(model, credential, handler=handler, **options)
    return seen[0]


def ask_server(script: Script, *, timeout: float = 2, auth: dict[str, Any] | None = None) -> Evidence:
    with serving(script) as server:
        return ask(a_type(auth=auth), a_credential(host=server.url, password=CANARY), timeout=timeout)


def test_the_answer_is_the_evidence() -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        headers = {"Retry-After": "7", "Set-Cookie": "a=b"}
        return httpx.Response(403, stream=httpx.ByteStream(b'{"error":"no"}'), headers=headers)

    evidence = ask(a_type(), a_credential(host="shop.example.com"), handler=handler)
    assert (evidence.status_code, evidence.body, evidence.failure) == (403, '{"error":"no"}', None)
    assert evidence.headers["retry-after"] == "7"
    assert "set-cookie" not in evidence.headers


@pytest.mark.parametrize(
    ("auth", "header", "query"),
    [
        ({"method": "basic"}, ("authorization", "Basic ZGFuYTpmYWtlLXBhc3N3b3Jk"), ""),
        (ZENDESK_AUTH, ("authorization", "Basic ZGFuYS90b2tlbjpmYWtlLXBhc3N3b3Jk"), ""),
        ({"method": "basic", "key_alone": True}, ("authorization", "Basic ZGFuYTpmYWtlLXBhc3N3b3Jk"), ""),
        ({"method": "bearer"}, ("authorization", "Bearer fake-password"), ""),
        ({"method": "header", "name": "X-Api-Key"}, ("x-api-key", "fake-password"), ""),
        (QUERY_AUTH, ("accept", "application/json"), "api_key=fake-password"),
    ],
)  # fmt: skip
def test_the_credential_goes_where_the_type_says(
    auth: dict[str, Any], header: tuple[str, str], query: str
) -> None:
    request = sent(a_type(auth=auth), a_credential(host="shop.example.com", login="dana"))
    assert request.headers[header[0]] == header[1]
    assert request.url.query.decode() == query


def test_a_key_without_a_login_stands_alone_where_the_type_says_so() -> None:
    model = a_type(auth={"method": "basic", "key_alone": True})
    request = sent(model, a_credential(host="shop.example.com"))
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"fake-password:"


def test_an_oauth_type_sends_the_fresh_token() -> None:
    credential = a_credential(host="shop.example.com", extra={"access_token": "fake-stored"})
    request = sent(a_type(oauth=OAUTH), credential, token="fake-fresh")
    assert request.headers["authorization"] == "Bearer fake-fresh"


def test_every_part_is_rendered_over_the_connection() -> None:
    model = a_type(
        base_url="https://{extra.region}.vendor.example",
        probe={
            "method": "POST",
            "url": "{base_url}/{account}/me",
            "params": {"who": "{login}"},
            "headers": {"X-Version": "{extra.version}"},
            "json_body": {"ids": ["{account}", 7]},
        },
        extra_defaults={"version": "v2"},
    )
    request = sent(
        model,
        a_credential(login="dana", extra={"region": "eu"}),
        integration=an_integration(account="a/1"),
    )
    assert str(request.url) == "https://eu.vendor.example/a%2F1/me?who=dana"
    assert request.headers["x-version"] == "v2"
    assert request.content == b'{"ids":["a/1",7]}'


@pytest.mark.parametrize("region", ["evil.example/", "x@evil.example#", "evil.example?"])
def test_a_field_cannot_lead_the_credential_to_another_host(region: str) -> None:
    model = a_type(base_url="https://{extra.region}.vendor.example")
    try:
        host = sent(model, a_credential(extra={"region": region})).url.host
    except MisconfiguredError:
        return
    assert host.endswith(".vendor.example")


@pytest.mark.parametrize(
    ("model", "fields", "words"),
    [
        (a_type(), {}, "has no host"),
        (a_type(), {"host": "x.example", "password": ""}, "has no password"),
        (a_type(oauth=OAUTH), {"host": "x.example", "password": ""}, "has no access token"),
        (a_type(auth={"method": "basic"}), {"host": "x.example"}, "has no login"),
        (a_type(probe={"url": "{base_url}/{account}"}), {"host": "x.example"}, "the registry name one"),
        (a_type(probe={"url": "{base_url}/{extra.shop}"}), {"host": "x.example"}, "has no extra.shop"),
        (a_type(probe={"headers": {"X": "{login}"}}), {"host": "x.example", "login": "a\nb"}, "in its login"),
        (a_type(), {"host": "x.example", "password": "a\nb"}, "line break"),
        (a_type(), {"host": "ftp://x.example"}, "usable web address"),
        (a_type(), {"host": "https://"}, "usable web address"),
        (a_type(), {"host": "https://x.example:port"}, "usable web address"),
        (a_type(auth={"method": "login"}), {"host": "x.example"}, "to a database"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_the_connection_and_the_field(
    model: Any, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(MisconfiguredError, match="'shop_conn'") as raised:
        sent(model, a_credential(**fields))
    assert words in str(raised.value)


@pytest.mark.parametrize("place", ["url", "params", "headers", "json_body"])
def test_a_secret_may_stand_only_in_the_auth_part(place: str) -> None:
    value = "{base_url}/{password}" if place == "url" else {"x": "{password}"}
    with pytest.raises(MisconfiguredError, match="only in the auth part"):
        sent(a_type(probe={place: value}), a_credential(host="x.example"))


def silent(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


def dripping(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _number in range(1000):
        connection.sendall(b" ")
        time.sleep(0.1)


def dripping_headers(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        connection.sendall(b"X-%d: 1\r\n" % number)
        time.sleep(0.1)


def resetting(connection: socket.socket, _: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def cut_short(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 99\r\n\r\n{"err')


def garbage(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        (silent, TransportFailure.TIMEOUT),
        (dripping, TransportFailure.TIMEOUT),
        (dripping_headers, TransportFailure.TIMEOUT),
        (resetting, TransportFailure.CONNECTION_RESET),
        (cut_short, TransportFailure.CONNECTION_RESET),
        (garbage, TransportFailure.CONNECTION_RESET),
        (reply("302 Found", Location="/again"), TransportFailure.TOO_MANY_REDIRECTS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_no_answer_is_a_failure_within_twice_the_timeout(script: Script, failure: TransportFailure) -> None:
    began = time.monotonic()
    evidence = ask_server(script, timeout=0.3)
    assert (evidence.failure, evidence.status_code) == (failure, None)
    assert time.monotonic() - began < 1.5


def test_a_closed_port_is_a_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    evidence = ask(a_type(), a_credential(host=f"http://127.0.0.1:{port}"))
    assert evidence.failure is TransportFailure.CONNECTION_REFUSED


def test_a_host_without_an_address_is_a_dns_failure() -> None:
    assert ask(a_type(), a_credential(host="nowhere.invalid")).failure is TransportFailure.DNS


def test_a_certificate_is_verified() -> None:
    with serving(reply(), tls=self_signed()) as server:
        evidence = ask(a_type(), a_credential(host=f"https://127.0.0.1:{server.port}"))
        assert evidence.failure is TransportFailure.TLS
        assert server.requests == []


def test_a_long_body_is_cut_and_cannot_be_parsed() -> None:
    evidence = ask_server(reply(body=b"{}" + b" " * MAX_BODY), timeout=5)
    assert isinstance(evidence.body, str)
    assert evidence.body.endswith(CUT)
    assert len(evidence.body) == MAX_BODY + len(CUT)


@pytest.mark.parametrize(
    ("body", "encoding", "expected"),
    [
        (gzip.compress(b'{"a": 1}'), "gzip", '{"a": 1}'),
        (zlib.compress(b'{"a": 1}'), "deflate", '{"a": 1}'),
        (gzip.compress(b"0" * 50_000_000), "gzip", "0" * MAX_BODY + CUT),
        (b"not gzip", "gzip", CUT),
        (b"as it is", "unheard-of", "as it is"),
    ],
    ids=["gzip", "deflate", "bomb", "broken", "unknown"],
)
def test_a_compressed_body_is_bounded_after_decompression(body: bytes, encoding: str, expected: str) -> None:
    evidence = ask_server(reply(body=body, Content_Encoding=encoding), timeout=5)
    assert evidence.status_code == 200
    assert evidence.body == expected


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "no-such-charset"])
def test_a_body_is_read_whatever_its_charset(charset: str) -> None:
    evidence = ask_server(reply(body=b'{"a": 1}', Content_Type=f"application/json; charset={charset}"))
    assert evidence.body == '{"a": 1}'


def test_too_many_and_too_long_headers_are_left_out() -> None:
    many = {f"X_Header_{number}": "1" for number in range(90)} | {"A": "9" * 5000}
    evidence = ask_server(reply(body=b"", **many))
    assert len(evidence.headers) <= 64
    assert max(len(value) for value in evidence.headers.values()) <= 1024


def redirecting(to: str) -> Script:
    def script(connection: socket.socket, head: bytes) -> None:
        answer = reply("302 Found", Location=to) if head.startswith(b"GET /me") else reply(body=b"here")
        answer(connection, head)

    return script


@pytest.mark.parametrize("auth", [{"method": "bearer"}, {"method": "header", "name": "X-Key"}, QUERY_AUTH])
def test_a_redirect_within_the_origin_is_followed_with_the_credential(auth: dict[str, Any]) -> None:
    with serving(redirecting("/there")) as server:
        evidence = ask(a_type(auth=auth), a_credential(host=server.url))
        assert evidence.body == "here"
        assert b"fake-password" in server.requests[1]


@pytest.mark.parametrize("auth", [{"method": "bearer"}, {"method": "header", "name": "X-Key"}, QUERY_AUTH])
def test_a_redirect_to_another_origin_is_the_evidence_and_is_not_followed(auth: dict[str, Any]) -> None:
    with serving(reply()) as other, serving(redirecting(f"{other.url}/there")) as server:
        evidence = ask(a_type(auth=auth), a_credential(host=server.url))
        assert evidence.status_code == 302
        assert evidence.headers["location"] == f"{other.url}/there"
        assert other.requests == []


@pytest.mark.parametrize("location", ["mailto:a@example.com", "http://x.example:port/"])
def test_a_redirect_to_nowhere_is_no_answer(location: str) -> None:
    evidence = ask_server(redirecting(location))
    assert evidence.failure is not None


@pytest.mark.parametrize("location", ["https://{}", "//evil.example/", "ftp://{}/"])
def test_another_scheme_is_another_origin(location: str) -> None:
    def script(connection: socket.socket, head: bytes) -> None:
        redirecting(location.format(f"127.0.0.1:{server.port}/"))(connection, head)

    with serving(script) as server:
        evidence = ask(a_type(), a_credential(host=server.url))
        assert evidence.status_code == 302
        assert len(server.requests) == 1


ECHOING_AUTHS = [QUERY_AUTH, {"method": "basic"}, {"method": "header", "name": "X-Key"}, {"method": "bearer"}]


@pytest.mark.parametrize("auth", ECHOING_AUTHS, ids=lambda auth: str(auth["method"]))
def test_a_secret_that_is_echoed_is_in_no_evidence_and_no_log(
    auth: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    def echoing(connection: socket.socket, head: bytes) -> None:
        target = head.split(b" ")[1].decode()
        reply("401 Unauthorized", head + CANARY.encode(), X_Echo=target)(connection, head)

    caplog.set_level(logging.DEBUG)
    with serving(echoing) as server:
        credential = a_credential(host=server.url, login="dana", password=CANARY)
        evidence = ask(a_type(auth=auth), credential)
    assert evidence.status_code == 401
    written = evidence.model_dump_json() + caplog.text + repr(credential)
    for spelling in (CANARY, "canary%2Fs3cret%2Bvalue%3D", "ZGFuYTpjYW5hcnkv"):
        assert spelling not in written


def test_a_credential_does_not_show_itself() -> None:
    rendered = HttpCredential.of(a_type().auth, Templates(a_type(), a_credential(password=CANARY)))
    assert CANARY not in repr(rendered)
