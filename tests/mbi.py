"""Magento Business Intelligence on the loopback: its three APIs, as far as they are documented."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

IMPORT_KEY = "canary-import-key/4f2a"
EXPORT_KEY = "canary-export-key-77c1"
CLIENT_ID = "194"


@dataclass(frozen=True)
class Answer:
    """A status, a body and further headers; a body that is neither text nor bytes is sent as JSON."""

    status: int
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


def a_job(ended: datetime | str, **fields: Any) -> dict[str, Any]:
    """Make the last completed update as MBI tells it; ``ended`` is by the account's own clock."""
    end = ended if isinstance(ended, str) else f"{ended:%Y-%m-%d %H:%M:%S}"
    return {
        "id": 13554,
        "type": {"id": 2, "name": "Full Update"},
        "start": end,
        "end": end,
        "status": {"id": 4, "name": "Completed Successfully"},
        **fields,
    }


FAILED = {"id": 7, "name": "Failed"}


def a_zip(name: str = "orders.csv", text: str = "id\n1\n") -> bytes:
    """Make a raw export."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, text)
    return file.getvalue()


@dataclass
class Mbi:
    """What MBI answers now, and what it was asked; ``instead`` overrules everything, by path."""

    url: str
    job: dict[str, Any] | None = None
    figure: str = "latest\n"
    exports: list[dict[str, Any]] = field(default_factory=list)
    instead: dict[str, Callable[[str], Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, list[str]]] = field(default_factory=list)

    @property
    def calls(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(self.asked)

    def answer(self, path: str, query: str, key: str | None) -> Answer:
        """Answer one request; ``key`` is what the header of the Export API said."""
        self.asked.append(path)
        if path in self.instead:
            return self.instead[path](query)
        if path == "/":
            return Answer(200)
        if path.startswith("/v2/"):
            given = parse_qs(query).get("apikey")
            right = path == f"/v2/client/{CLIENT_ID}/authenticate" and given == [IMPORT_KEY]
            return Answer(200, {"code": 200}) if right else Answer(401, {"message": "Authorization failed"})
        if key != EXPORT_KEY:
            return Answer(403, {"message": "Forbidden"})
        return self._export_api(path)

    def _export_api(self, path: str) -> Answer:
        cycle = {
            "clientId": int(CLIENT_ID),
            "lastCompletedUpdateJob": self.job,
            "lastCompletedUpdateJobWithDataSync": None,
            "timezoneAbbreviation": "EST",
        }
        known = {
            f"/0.1/client/{CLIENT_ID}/fullupdatestatus": Answer(200, cycle),
            "/0.1/export": Answer(200, self.exports),
            "/0.1/export/51": Answer(200, a_zip(), {"Content-Type": "application/zip"}),
            "/0.1/export/51/info": Answer(200, {"id": 51, "name": "Orders", "status": "Completed"}),
            "/0.1/export/40": Answer(410),
            "/0.1/export/52": Answer(404),
            "/0.1/figure/360531/export": Answer(200, self.figure, {"Content-Type": "text/csv"}),
        }
        return known.get(path, Answer(403))


@contextmanager
def mbi_server() -> Iterator[Mbi]:
    """Serve it, each request in a thread of its own."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if body:
                mbi.forms.append(parse_qs(body.decode()))
            answer = mbi.answer(parts.path, parts.query, self.headers.get("X-RJM-API-Key"))
            sent = answer.body if isinstance(answer.body, (str, bytes)) else json.dumps(answer.body)
            content = sent.encode() if isinstance(sent, str) else sent
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_one  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mbi = Mbi(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield mbi
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
