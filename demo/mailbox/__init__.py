"""A real SMTP server with a mailbox that one can look at."""

from __future__ import annotations

from demo.mailbox.message import Mail
from demo.mailbox.server import Mailbox

__all__ = ["Mail", "Mailbox"]
