"""One received mail, parsed for showing."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage


@dataclass(frozen=True)
class Mail:
    """A mail as it arrived; ``sender`` and ``recipients`` are the envelope's, ``received_at`` is aware."""

    number: int
    received_at: datetime
    sender: str
    recipients: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None

    def header(self, name: str) -> str | None:
        """Find the first header of that name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def subject(self) -> str:
        """The subject, or an empty text."""
        return self.header("Subject") or ""

    def as_json(self) -> dict[str, object]:
        """Everything, for tests."""
        return {
            "number": self.number,
            "received_at": self.received_at.isoformat(),
            "sender": self.sender,
            "recipients": list(self.recipients),
            "subject": self.subject,
            "message_id": self.header("Message-ID"),
            "headers": [list(pair) for pair in self.headers],
            "text": self.text,
            "html": self.html,
        }


def parse(
    content: bytes, *, number: int, received_at: datetime, sender: str, recipients: tuple[str, ...]
) -> Mail:
    """Read a mail's headers and its plain and HTML parts."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    return Mail(
        number=number,
        received_at=received_at,
        sender=sender,
        recipients=recipients,
        headers=tuple((name, str(value)) for name, value in message.items()),
        text=_part(message, "plain"),
        html=_part(message, "html"),
    )


def _part(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    return str(part.get_content()) if part is not None else None
