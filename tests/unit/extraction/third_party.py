"""An API on the loopback, and what the tests of paging share."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mbi_reauth.catalogue.model import Resource
from mbi_reauth.extraction.http import all_lines, first_request
from mbi_reauth.extraction.transfer import Transfer

Reply = tuple[int, dict[str, str], Any]
Record = dict[str, Any]


class ThirdParty:
    """An API on the loopback; ``answer`` makes a reply from the parameters, ``asked`` remembers them all."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], Reply] = lambda _: (200, {}, {"rows": []})
        party = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                given = {**dict(parse_qsl(urlsplit(self.path).query)), **body}
                party.asked.append(given)
                status, headers, content = party.answer(given)
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(raw))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            do_POST = do_GET  # noqa: N815 - the name is http.server's

            def log_message(self, *args: Any) -> None:
                """Keep the tests' output quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/rows"


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
