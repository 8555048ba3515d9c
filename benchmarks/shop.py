"""A third party on the loopback, in a process of its own: many hosts (ports), one API key an account.

Run with ``python -m benchmarks.shop``; it prints its ports. ``GET /ACCOUNT/me`` says that all is well, after
``--latency`` seconds, or with ``--refuse`` that the key is no longer good; ``GET /asked`` tells how often
each account was asked for since the last time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from functools import partial

from demo.webserver import LOOPBACK

_HEAD_ENDS = b"\r\n\r\n"
_OK = "200 OK"
_REFUSED = '401 Unauthorized\r\nWWW-Authenticate: Bearer error="invalid_token"'


class _Answers(asyncio.Protocol):
    """HTTP/1.1 as far as two clients that send no body need it; connections are kept."""

    def __init__(self, asked: Counter[str], *, latency: float, refuse: bool) -> None:
        self._asked = asked
        self._latency = latency
        self._refuse = refuse
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._received = (self._received + data).split(_HEAD_ENDS)
        for head in heads:
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        account = head.split(b" ", 2)[1].decode().split("/")[1]
        if account == "asked":
            self._say(_OK, json.dumps(self._asked).encode())
            self._asked.clear()
            return
        self._asked[account] += 1
        answer = (_REFUSED, b"{}") if self._refuse else (_OK, b'{"account": "north"}')
        asyncio.get_running_loop().call_later(self._latency, self._say, *answer)

    def _say(self, status: str, body: bytes) -> None:
        if not self._transport.is_closing():
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            self._transport.write(head.encode() + _HEAD_ENDS + body)


async def _serve(hosts: int, *, latency: float, refuse: bool) -> None:
    asked: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    answers = partial(_Answers, asked, latency=latency, refuse=refuse)
    servers = [await loop.create_server(answers, LOOPBACK, 0, backlog=1024) for _ in range(hosts)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)  # noqa: T201
    await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0)
    parser.add_argument("--refuse", action="store_true")
    options = parser.parse_args()
    asyncio.run(_serve(**vars(options)))


if __name__ == "__main__":
    main()
