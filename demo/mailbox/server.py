"""An SMTP server that keeps what it is sent, and can refuse it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from types import TracebackType

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from typing_extensions import Self

from demo.mailbox.message import Mail, parse
from demo.ports import free_port
from demo.webserver import LOOPBACK

REFUSED = "451 4.3.0 The mail system is out of order; try again later"
_MOST = 10_000_000
"""Bytes of one mail."""


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Mailbox:
    """A real SMTP server on a loopback port; tests use it as a context manager."""

    def __init__(self, *, port: int = 0, now: Callable[[], datetime] = _utc_now) -> None:
        self.refusals = 0
        self._now = now
        self._refusing = False
        self._lock = threading.Lock()
        self._mails: list[Mail] = []
        self.port = port or free_port()  # aiosmtpd needs to know it beforehand
        self._controller = Controller(self, hostname=LOOPBACK, port=self.port, data_size_limit=_MOST)

    @property
    def messages(self) -> list[Mail]:
        """What has arrived, oldest first."""
        with self._lock:
            return list(self._mails)

    @property
    def refusing(self) -> bool:
        """Whether mail is refused at present."""
        return self._refusing

    def refuse(self, refuse: bool) -> None:
        """Refuse every mail with a temporary error (451) from now on, or take it again."""
        self._refusing = refuse

    def clear(self) -> None:
        """Forget all mail."""
        with self._lock:
            self._mails.clear()

    def start(self) -> Self:
        """Take mail from now on."""
        self._controller.start()
        return self

    def stop(self) -> None:
        """Free the port."""
        self._controller.stop(no_assert=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802, ARG002
        """Answer the end of a mail, for aiosmtpd."""
        if self._refusing:
            self.refusals += 1
            return REFUSED
        content = envelope.content or b""
        with self._lock:
            self._mails.append(
                parse(
                    content if isinstance(content, bytes) else content.encode(),
                    number=len(self._mails) + 1,
                    received_at=self._now(),
                    sender=envelope.mail_from or "",
                    recipients=tuple(envelope.rcpt_tos),
                )
            )
        return "250 2.0.0 Kept"
