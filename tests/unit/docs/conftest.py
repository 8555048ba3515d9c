"""The loopback API of the extraction tests."""

from __future__ import annotations

from tests.unit.extraction.conftest import party

__all__ = ["party"]
