"""An Airflow metadata database for tests, in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow import settings
from airflow.models.connection import Connection
from airflow.models.log import Log

from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Base

_URL = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


def airflow(home: Path, url: str, *arguments: str) -> str:
    """Run Airflow's command line in a home of its own; return its output."""
    environment = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}
    environment.pop("AIRFLOW__CORE__FERNET_KEY", None)
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def connected_to(url: str) -> Iterator[None]:
    """Let Airflow in this process use another metadata database."""
    before = os.environ.get(_URL)
    _point_to(url)
    try:
        yield
    finally:
        settings.dispose_orm(do_log=False)
        _point_to(before)


def _point_to(url: str | None) -> None:
    if url is None:
        os.environ.pop(_URL, None)
    else:
        os.environ[_URL] = url
    settings.configure_vars()  # type: ignore[no-untyped-call]
    settings.reconfigure_orm()  # type: ignore[no-untyped-call]


def create_tables() -> None:
    """Create what the app uses: its own tables and Airflow's connections, without all the rest of Airflow."""
    from airflow.models.base import Base as AirflowBase
    from airflow.models.team import Team

    assert settings.engine is not None
    tables: Any = [Team.__table__, Connection.__table__, Log.__table__]
    AirflowBase.metadata.create_all(settings.engine, tables=tables)
    Base.metadata.create_all(settings.engine)


def empty() -> None:
    """Take out every row of the plugin's, every connection and Airflow's audit log."""

    def work(session: Any) -> None:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
        for model in (Connection, Log):
            session.execute(model.__table__.delete())

    transact(work)


def drop_connection(conn_id: str) -> None:
    """Take a connection out."""
    transact(lambda session: session.query(Connection).filter_by(conn_id=conn_id).delete())


def put_connection(conn_id: str, *, extra: dict[str, Any] | None = None, **fields: Any) -> None:
    """Create a connection, or replace the one of that id."""

    def work(session: Any) -> None:
        session.query(Connection).filter_by(conn_id=conn_id).delete()
        fields.setdefault("conn_type", "mbireauth")
        session.add(
            Connection(conn_id=conn_id, extra=json.dumps(extra) if extra is not None else None, **fields)
        )

    transact(work)


def extra_of(conn_id: str) -> dict[str, Any]:
    """Read a connection's extra."""
    return transact(
        lambda session: dict(session.query(Connection).filter_by(conn_id=conn_id).one().extra_dejson)
    )


def audited() -> list[tuple[str, str | None]]:
    """Read Airflow's audit log: what was done, by whom."""
    return transact(
        lambda session: [(row.event, row.owner) for row in session.query(Log).order_by(Log.id).all()]
    )
