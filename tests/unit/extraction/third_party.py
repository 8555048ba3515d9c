"""An API on the loopback, and what the tests of paging share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mbi_reauth.catalogue.resource import Resource
from mbi_reauth.extraction.http import all_lines, first_request
from mbi_reauth.extraction.transfer import Transfer

Reply = tuple[int, dict[str, str], Any]
"""Status, headers, and the body: bytes, chunks of bytes, or what JSON is made of."""
Record = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    json: dict[str, Any]
    form: dict[str, str]


class BrokenOffError(Exception):
    """The third party goes away in the middle of an answer."""


class ThirdParty:
    """An API on the loopback.

    ``answer`` makes a reply from the parameters wherever they are, or ``reply`` from the whole request;
    ``asked`` and ``requests`` remember them all.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.requests: list[Asked] = []
        self.answer: Callable[[dict[str, Any]], Reply] = lambda _: (200, {}, {"rows": []})
        self.reply: Callable[[Asked], Reply] = lambda _: self.answer(self.asked[-1])
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.host = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.url = f"{self.host}/rows"


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the third party, and sends what it replies."""

    def __init__(self, party: ThirdParty, *args: Any) -> None:
        self.party = party
        super().__init__(*args)

    def do_GET(self) -> None:
        asked = self.read()
        self.party.requests.append(asked)
        self.party.asked.append({**asked.query, **asked.json, **asked.form})
        status, headers, content = self.party.reply(asked)
        self.send_response(status)
        if isinstance(content, Iterator):
            self.send_chunks(headers, content)
        else:
            self.send_whole(headers, content)

    do_POST = do_GET  # noqa: N815 - the name is http.server's

    def read(self) -> Asked:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get_content_type()
        return Asked(
            method=self.command,
            path=url.path,
            query=dict(parse_qsl(url.query)),
            headers=self.headers,
            json=json.loads(body) if kind == "application/json" else {},
            form=dict(parse_qsl(body.decode())) if kind == "application/x-www-form-urlencoded" else {},
        )

    def send_whole(self, headers: dict[str, str], content: Any) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_head({"Content-Length": str(len(raw))} | headers)
        self.wfile.write(raw)

    def send_chunks(self, headers: dict[str, str], content: Iterator[bytes]) -> None:
        """Send chunks (RFC 9112 section 7.1); where they end by an error, without the last one."""
        self.send_head({"Transfer-Encoding": "chunked"} | headers)
        with suppress(OSError, BrokenOffError):
            for chunk in content:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")

    def send_head(self, headers: dict[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Keep the tests' output quiet."""


@contextmanager
def serving() -> Iterator[ThirdParty]:
    """Let a third party answer, in a thread of its own."""
    made = ThirdParty()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


class Plain:
    """Templates over nothing: every text as it stands."""

    def url(self, template: str) -> str:
        return template

    def text(self, template: str) -> str:
        return template

    def data(self, body: Any) -> Any:
        return body


def resource(party: ThirdParty, paging: dict[str, Any], **more: Any) -> Resource:
    fields = {"name": "rows", "url": party.url, "records": "rows", "paging": paging, **more}
    return Resource.model_validate(fields)


def read(transfer: Transfer, of: Resource) -> list[int]:
    """Read all pages; the records' ids."""
    return [json.loads(line)["id"] for line in all_lines(transfer, of, first_request(of, Plain()))]


def rows(*ids: int) -> list[Record]:
    return [{"id": number} for number in ids]
