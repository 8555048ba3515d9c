"""What stops an extraction; a task shows these messages to an engineer as they are."""

from __future__ import annotations


class ExtractionError(Exception):
    """Rows could not be read or landed; the message says where and what to do, and holds no secret."""
