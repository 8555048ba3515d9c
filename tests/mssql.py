"""A stand-in for SQL Server: a fake behind a real socket, for there is no server to install.

The wire is real (tests/tds.py): FreeTDS, pymssql and Airflow's hook run as they are, and what they make of an
error is their own doing. What the server says is scripted; statements are answered by a function.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests import tds
from tests.loopback import listening
from tests.tds import Login, Message, Rows

Answer = Rows | Message | None
"""Rows, an error, or nothing but the end."""


def refused(user: str = "reader") -> Message:
    """Say what SQL Server says to every wrong username or password."""
    return Message(18456, f"Login failed for user '{user}'.")


def nothing(_: str) -> Answer:
    """Answer every statement without rows."""
    return None


@dataclass
class FakeSqlServer:
    """Where it listens, what it says, and what it was asked."""

    port: int = 0
    refusal: Sequence[Message] = ()
    answer: Callable[[str], Answer] = nothing
    silent: bool = False
    hangs_up: bool = False
    logins: list[Login] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    connections: int = 0
    _open: list[socket.socket] = field(default_factory=list)

    def speak(self, connection: socket.socket) -> None:
        """Serve one client until it leaves."""
        self.connections += 1
        self._open.append(connection)
        wire = tds.Wire(connection)
        while True:
            kind, payload = wire.receive()
            if self.silent:
                continue
            if kind == tds.PRELOGIN:
                wire.send(tds.prelogin())
            elif kind == tds.LOGIN7:
                self.logins.append(tds.login_of(payload))
                if self.hangs_up:
                    return
                if self.refusal:
                    wire.send(b"".join(map(tds.error, self.refusal)) + tds.done(failed=True))
                    return
                wire.send(tds.login_ack() + tds.done())
            elif kind == tds.ATTENTION:
                wire.send(tds.done(cancelled=True))
            else:
                wire.send(self._reply(tds.statement_of(payload)))

    def cut(self) -> None:
        """Break every connection off."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _reply(self, statement: str) -> bytes | Iterator[bytes]:
        self.statements.append(statement)
        answer = self.answer(statement)
        if isinstance(answer, Message):
            return tds.error(answer) + tds.done(failed=True)
        return tds.result(answer) if answer else tds.done()


@contextmanager
def sql_server(**fields: Any) -> Iterator[FakeSqlServer]:
    """Listen on the loopback until the end."""
    server = FakeSqlServer(**fields)
    with listening(server.speak) as server.port:
        yield server
