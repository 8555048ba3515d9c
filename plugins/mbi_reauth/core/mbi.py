"""What Magento Business Intelligence's own APIs tell, as values.

Facts: developer.adobe.com, "Adobe Commerce Reporting API": Update Cycle Status API, "Response fields"; Export
API. What an answer of the Export API looks like is hardly documented, so it is taken as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mbi_reauth.core.freshness import Limit
from mbi_reauth.core.table import csv_lines
from mbi_reauth.core.verdict import Finding

SUCCESSFUL = 4
"""The only status id of an update job that MBI documents: "Completed Successfully"."""


class MbiError(Exception):
    """MBI did not do what it was asked; ``finding`` says what that means, and who can mend it."""

    def __init__(self, finding: Finding) -> None:
        words = f' It said: "{finding.vendor_words}"' if finding.vendor_words else ""
        super().__init__(f"{finding.cause.value}: {finding.explanation}{words}")
        self.finding = finding


class ExportNotReadyError(MbiError):
    """There is no such raw export, or MBI is still making it; the same request may succeed later."""


class TooSoonError(Exception):
    """MBI was asked less than a minute ago; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "MBI recommends a minute between two questions about a client's update cycle; the next may be "
            f"asked in {retry_after:.0f} s"
        )
        self.retry_after = retry_after


@dataclass(frozen=True)
class UpdateJob:
    """One completed update of MBI's warehouse; what MBI left out is None.

    The times are in UTC. MBI writes them by the account's clock; in the hour that this repeats in autumn, the
    later reading is taken.
    """

    id: int | None
    kind: str | None
    started_at: datetime | None
    ended_at: datetime | None
    status_id: int | None
    status: str | None

    @classmethod
    def of(cls, told: Mapping[str, Any], limit: Limit) -> UpdateJob:
        """Read what MBI tells of a job; ``limit`` has the time zone."""
        kind, status = _part(told, "type"), _part(told, "status")
        return cls(
            id=_number(told.get("id")),
            kind=_word(kind.get("name")),
            started_at=_moment(told.get("start"), limit),
            ended_at=_moment(told.get("end"), limit),
            status_id=_number(status.get("id")),
            status=_word(status.get("name")),
        )

    @property
    def is_successful(self) -> bool:
        """Whether its status is the one that MBI documents as success."""
        if self.status_id is not None:
            return self.status_id == SUCCESSFUL
        return (self.status or "").strip().lower() == "completed successfully"


@dataclass(frozen=True)
class UpdateCycle:
    """The last completed update of an account, None if it never had one; a running one is not told.

    ``time_zone`` is the configured one, by which times were read; ``abbreviation`` is what MBI calls it.
    """

    client_id: int | None
    last_completed: UpdateJob | None
    time_zone: str
    abbreviation: str | None

    @classmethod
    def of(cls, told: Any, limit: Limit) -> UpdateCycle | None:
        """Read an answer of the Update Cycle Status API; None if it is none."""
        if not isinstance(told, dict) or not {"clientId", "lastCompletedUpdateJob"} <= told.keys():
            return None
        job = _part(told, "lastCompletedUpdateJob")
        return cls(
            client_id=_number(told["clientId"]),
            last_completed=UpdateJob.of(job, limit) if job else None,
            time_zone=limit.zone.key,
            abbreviation=_word(told.get("timezoneAbbreviation")),
        )


@dataclass(frozen=True)
class Export:
    """A raw export; MBI keeps it for seven days. ``fields`` are all that it says of it."""

    id: int
    name: str | None
    status: str | None
    fields: Mapping[str, Any]

    @classmethod
    def of(cls, told: Any) -> Export | None:
        """Read the description of an export; None if it is none."""
        if not isinstance(told, dict):
            return None
        number = _number(told.get("id", told.get("export_id")))
        if number is None:
            return None
        return cls(number, _word(told.get("name")), _word(told.get("status")), told)


@dataclass(frozen=True)
class Figure:
    """The data of a report: the names of its columns, and its rows as texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, text: str) -> Figure | None:
        """Read CSV whose first line names the columns; None if it is none."""
        lines = [tuple(line) for line in csv_lines(text)]
        return cls(lines[0], tuple(lines[1:])) if lines else None

    def records(self) -> list[dict[str, str]]:
        """Give each row as a mapping from its columns' names."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def _part(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = told.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:18])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _moment(value: Any, limit: Limit) -> datetime | None:
    span = limit.read(value) if isinstance(value, str) else None
    return span.last if span is not None else None
