"""A mail in bytes and what a mail server is told about it, fitted to what that server can take."""

from __future__ import annotations

import re
from collections.abc import Container
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import NamedTuple

_LINE_BREAK = re.compile(r"\r\n(?![ \t])|\r(?!\n)|(?<!\r)\n")
"""A break that does not merely fold a header (RFC 5322, section 2.2.3)."""


class Envelope(NamedTuple):
    """What the commands MAIL, RCPT and DATA of one mail say; ``options`` are MAIL's."""

    sender: str
    recipients: tuple[str, ...]
    options: tuple[str, ...]
    content: bytes


def enclose(message: EmailMessage, extensions: Container[str]) -> Envelope:
    """Write a mail from its ``From`` to its ``To`` and ``Cc``.

    :param extensions: what the server offers (RFC 5321, section 4.1.1.1), in small letters; without
        ``8bitmime`` eight-bit text is encoded (RFC 6152)
    :raises ValueError: it has no sender or no recipient, a header breaks out of its line, or an address needs
        SMTPUTF8 (RFC 6531), which the server does not offer
    """
    senders, recipients = _addresses(message, "From"), _addresses(message, "To", "Cc")
    if not senders or not recipients:
        raise ValueError(f"it has no {'recipient' if senders else 'sender'}")
    international = not all(address.isascii() for address in (senders[0], *recipients))
    if international and "smtputf8" not in extensions:
        raise ValueError(
            "an address has characters other than ASCII, and the mail server does not offer SMTPUTF8; use an "
            "address without them"
        )
    eight_bit = "8bitmime" in extensions
    content = _written(message, eight_bit=eight_bit, international=international)
    options = {
        f"SIZE={len(content)}": "size" in extensions,
        "BODY=8BITMIME": eight_bit and not content.isascii(),
        "SMTPUTF8": international,
    }
    return Envelope(
        senders[0], recipients, tuple(option for option, wanted in options.items() if wanted), content
    )


def _addresses(message: EmailMessage, *names: str) -> tuple[str, ...]:
    headers = (header for name in names for header in message.get_all(name, []))
    return tuple(dict.fromkeys(address.addr_spec for header in headers for address in header.addresses))


def _written(message: EmailMessage, *, eight_bit: bool, international: bool) -> bytes:
    policy = EmailPolicy(linesep="\r\n", utf8=international, cte_type="8bit" if eight_bit else "7bit")
    try:
        _refuse_line_breaks(message, policy)
        return message.as_bytes(policy=policy)
    except MessageError as error:
        raise ValueError(str(error)) from error


def _refuse_line_breaks(message: EmailMessage, policy: EmailPolicy[EmailMessage]) -> None:
    # CVE-2024-6923: older patch releases of Python write a break that was hidden in an encoded word.
    for name, value in message.raw_items():
        if _LINE_BREAK.search(policy.fold(name, value).removesuffix("\r\n")):
            raise ValueError(f"its header {name} holds a line break")
