"""Column types that mean the same on SQLite, PostgreSQL and MySQL."""

from __future__ import annotations

from datetime import datetime, timezone

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant; stored as UTC, read back as UTC, a naive value refused.

    Airflow's type of this name is not part of its public interface.
    """

    impl = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; SQLite and MySQL keep no zone, so there it goes in without one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"A time without a zone: {value.isoformat()}")
        value = value.astimezone(timezone.utc)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Read as UTC, whatever zone the database session has."""
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def airflow_id() -> String:
    """Make the type of a DAG's, run's or task's id: 250 characters in Airflow, told apart by case.

    Three of them in one unique constraint fit MySQL's 3072 bytes only at three bytes a character.
    """
    narrow = mysql.VARCHAR(250, charset="utf8mb3", collation="utf8mb3_bin")
    return String(250).with_variant(narrow, "mysql", "mariadb")
