"""A server on the loopback that says exactly what a test wants, byte by byte."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Script = Callable[[socket.socket, bytes], None]


@dataclass
class Loopback:
    """Where it listens, and the heads of the requests it got."""

    port: int
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Give each connection to ``serve``, in a thread of its own, until the end; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def answer(connection: socket.socket) -> None:
        with suppress(OSError, EOFError), connection:
            serve(connection)

    def accept() -> None:
        while not stopped.is_set():
            with suppress(OSError):
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def exactly(connection: socket.socket, count: int) -> bytes:
    """Read so many bytes.

    :raises EOFError: the client is gone
    """
    received = bytearray()
    while len(received) < count:
        if not (chunk := connection.recv(count - len(received))):
            raise EOFError
        received += chunk
    return bytes(received)


@contextmanager
def serving(script: Script, *, tls: ssl.SSLContext | None = None) -> Iterator[Loopback]:
    """Answer each connection by ``script(connection, head of the request)``, in a thread of its own."""
    requests: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        wrapped = tls.wrap_socket(connection, server_side=True) if tls else connection
        head = _head(wrapped)
        requests.append(head)
        script(wrapped, head)

    with listening(serve) as port:
        yield Loopback(port, requests)


def _head(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            break
        received += chunk
    return received


def reply(status: str = "200 OK", body: bytes = b"", **headers: str) -> Script:
    """Answer in full and close; an underscore in a header's name is a hyphen."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return script
