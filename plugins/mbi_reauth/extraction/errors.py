"""What stops an extraction; a task shows these messages to an engineer as they are."""

from __future__ import annotations

from mbi_reauth.core.verdict import Finding


class ExtractionError(Exception):
    """Rows could not be read or landed; the message says where and what to do, and holds no secret."""


class RefusedError(ExtractionError):
    """The third party refused a request; ``finding`` is what its answer says, None where nobody judged it."""

    def __init__(self, message: str, finding: Finding | None = None) -> None:
        super().__init__(message)
        self.finding = finding
