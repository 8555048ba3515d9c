from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from demo import connections
from demo.mailbox import Mailbox
from demo.source_database import SourceDatabase
from mbi_reauth.api.app import create_app
from tests.metadata_db import airflow, connected_to, empty, put_connection
from tests.postgresql import PASSWORD, create_database
from tests.served import served


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SourceDatabase]:
    """A real PostgreSQL server, embedded."""
    folder = tmp_path_factory.mktemp("postgresql") / "cluster"
    with SourceDatabase(folder, admin_password=PASSWORD, reader_password="fake-reader") as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def migrated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Airflow's whole metadata database, made by ``airflow db migrate``; in use in this process."""
    home = tmp_path_factory.mktemp("airflow")
    url = f"sqlite:///{home / 'airflow.db'}"
    if request.param == "postgresql":
        url = create_database(request.getfixturevalue("postgresql"), "airflow")
    airflow(home, url, "db", "migrate")
    with connected_to(url):
        yield url


@pytest.fixture
def metadata_db(migrated: str) -> str:
    """The migrated database, without anything in it but the app's key."""
    empty()
    put_connection("mbi_reauth_api", conn_type="generic", password="fake-key-of-the-app")
    return migrated


@pytest.fixture
def app_port(metadata_db: str) -> Iterator[int]:
    """The plugin's app, over HTTP; the port where it listens."""
    with served(create_app(resumes=False)) as port:
        yield port


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """A mail server, which Airflow's connection names."""
    with Mailbox() as running:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connections.mailbox(running.port)))
        yield running
