"""Mail servers: a whole one, which keeps what it takes, and one that says exactly what a test wants."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from typing_extensions import Self

from demo.mailbox.message import Mail, parse
from demo.ports import free_port
from tests.loopback import listening

LOGIN, PASSWORD = "dana", "fake-password-of-the-mail-server"
SENDER = "airflow@example.com"


def connection(port: int, **given: Any) -> str:
    """Airflow's connection to a server on the loopback, as JSON; without TLS.

    :param given: other extras, and ``host``, ``login`` or ``password``
    """
    fields = {name: given.pop(name) for name in ("host", "login", "password") if name in given}
    extras = {"disable_ssl": True, "disable_tls": True, "from_email": SENDER, "timeout": 10, **given}
    return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": port, **fields, "extra": extras})


class MailServer:
    """A real server; a context manager.

    :param answers: what it says to RCPT of an address, one after the other; then it accepts
    :param parameters: of aiosmtpd's controller and its SMTP
    """

    def __init__(self, answers: Mapping[str, Sequence[str]] | None = None, **parameters: Any) -> None:
        self.port = free_port()
        self.mails: list[Mail] = []
        self.contents: list[bytes] = []
        self.clients: list[Any] = []
        self.logins: list[str] = []
        self._answers = {address: list(answers) for address, answers in (answers or {}).items()}
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self.port, authenticator=self._authenticate, **parameters
        )

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        right = LoginPassword(LOGIN.encode(), PASSWORD.encode())
        self.logins.append(mechanism)
        return AuthResult(success=data == right, handled=False)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's names
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answers := self._answers.get(address):
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        self.contents.append(content)
        self.clients.append(session.peer)
        self.mails.append(
            parse(
                content,
                number=len(self.mails) + 1,
                received_at=datetime.now(timezone.utc),
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
            )
        )
        return "250 2.0.0 Kept"


HANG_UP = ", and hangs up"
Answer = str | None | Callable[[], str]

_ANSWERS: Mapping[str, Answer] = {
    "greeting": "220 mail.example.com ESMTP",
    "EHLO": "250 mail.example.com",
    "MAIL": "250 2.1.0 OK",
    "RCPT": "250 2.1.5 OK",
    "DATA": "354 Go on",
    "line": lambda: "",
    "dot": "250 2.0.0 Kept",
    "NOOP": "250 2.0.0 OK",
    "QUIT": "221 2.0.0 Bye",
}


class Dialogue:
    """A server and what it was told by all its clients: the commands, and the lines of mail."""

    def __init__(self, answers: Mapping[str, Answer | list[Answer]]) -> None:
        self.port = 0
        self.clients = 0
        self.told: list[bytes] = []
        self._lock = threading.Lock()
        self._answers: dict[str, list[Answer]] = {
            name: list(answer) if isinstance(answer, list) else [answer] for name, answer in answers.items()
        }

    def times(self, verb: str) -> int:
        """Count a command; ``dot`` is the end of a mail."""
        return sum(_verb(line) == verb for line in self.told)

    def serve(self, connection: socket.socket) -> None:
        """Talk to one client."""
        self.clients += 1
        self._say(connection, "greeting")
        in_mail = False
        with connection.makefile("rb") as lines:
            for line in lines:
                self.told.append(line.rstrip(b"\r\n"))
                if in_mail and line != b".\r\n":
                    self._say(connection, "line")
                else:
                    in_mail = self._say(connection, _verb(line)).startswith("354")

    def _say(self, connection: socket.socket, name: str) -> str:
        with self._lock:
            left = self._answers.get(name, ["500 5.5.1 What?"])
            answer = left.pop(0) if len(left) > 1 else left[0]
        words, hang_up, _ = (answer() if callable(answer) else answer or HANG_UP).partition(HANG_UP)
        if words:
            connection.sendall(words.replace("\n", "\r\n").encode() + b"\r\n")
        if hang_up or words.startswith(("221", "421")):
            raise EOFError
        return words


def _verb(line: bytes) -> str:
    verb = line.split()[0].decode().upper() if line.strip() else ""
    return "dot" if verb == "." else verb


@contextmanager
def mail_server_saying(**answers: Answer | list[Answer]) -> Iterator[Dialogue]:
    """Answer each command by its name in ``answers``; those in a list one after the other, the last for ever.

    ``greeting`` is for a new client, ``line`` for a line of mail, ``dot`` for its end. It hangs up after 221
    and 421, and where an answer ends in ``HANG_UP`` or is ``None``.
    """
    dialogue = Dialogue({**_ANSWERS, **answers})
    with listening(dialogue.serve) as port:
        dialogue.port = port
        yield dialogue
