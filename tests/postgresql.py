"""Databases on a real, embedded PostgreSQL."""

from __future__ import annotations

import psycopg
from psycopg import sql

from demo.source_database import SourceDatabase

PASSWORD = "fake-postgresql-password"


def create_database(server: SourceDatabase, name: str) -> str:
    """Create an empty database; return its address for SQLAlchemy."""
    address = f"postgres:{PASSWORD}@127.0.0.1:{server.port}"
    with psycopg.connect(f"postgresql://{address}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"postgresql+psycopg2://{address}/{name}"
