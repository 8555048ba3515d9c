"""What a mail server answers, and whether it speaks of the recipient's address or of us."""

from __future__ import annotations

import re
from typing import NamedTuple

from mbi_reauth.core.redact import redact

# At the front by RFC 2034; qmail puts it at the end as "(#5.7.1)", Cisco's appliances in front as "#5.1.0".
_ENHANCED = re.compile(rb"(?:^|#)([245])\.(\d{1,3})\.(\d{1,3})\b")
_ABOUT_THE_ADDRESS = {(1, detail) for detail in (0, 1, 2, 3, 4, 6, 10)} | {(2, 1)}
"""Subject and detail in RFC 3463, and 1.10 in RFC 7505; 1.7 and 1.8 speak of the sender, 1.9 of a gateway."""

_NO_SUCH_ADDRESS = {550, 551, 553, 556}
_ABOUT_US = re.compile(rb"relay|auth|sender|polic|spam|block|listed|denied|prohibit", re.IGNORECASE)
"""RFC 5321 gives 550 for policy as well; Exim, for one, says "550 relay not permitted" without a status."""


class Reply(NamedTuple):
    """A reply code of RFC 5321 and the words after it, the lines of several joined."""

    code: int
    words: bytes

    @property
    def accepted(self) -> bool:
        """Whether the server did what was asked: the first digit decides (RFC 5321, section 4.3.2)."""
        return 200 <= self.code < 300

    @property
    def refuses_address(self) -> bool:
        """Whether this reply to RCPT refuses the recipient's address itself, for good.

        By the enhanced status code of RFC 3463 where there is one, else by the reply code (RFC 5321, section
        4.2.3; RFC 7504). In doubt it does not: who is told nothing because of our own login must not lose
        the mail for good.
        """
        if not 500 <= self.code < 600:
            return False
        if enhanced := _ENHANCED.search(self.words):
            kind, subject, detail = map(int, enhanced.groups())
            return kind == 5 and (subject, detail) in _ABOUT_THE_ADDRESS
        return self.code in _NO_SUCH_ADDRESS and not _ABOUT_US.search(self.words)

    def __str__(self) -> str:
        return f"{self.code} {redact(self.words.decode(errors='replace'))}".strip()
