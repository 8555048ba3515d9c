"""What an email depends on beside its notifications."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where Airflow is, as people reach it, without a trailing slash; whom a reader may ask; and the time."""

    airflow_url: str
    contact: str
    now: datetime

    def connection_page(self, conn_id: str) -> str:
        """Give the address of Airflow's page with the connection, and only that one, on it."""
        return f"{self.airflow_url}/connections?name_pattern={quote(conn_id, safe='', errors='replace')}"
