from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mbi_reauth.api.app import create_app
from mbi_reauth.api.dependencies import surroundings
from tests.app import KEY, App, Outside
from tests.metadata_db import connected_to, create_tables, empty, put_connection


@pytest.fixture(scope="module")
def _database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("metadata")
    with connected_to(f"sqlite:///{folder / 'airflow.db'}"):
        create_tables()
        yield


@pytest.fixture
def outside(_database: None) -> Outside:
    empty()
    put_connection("mbi_reauth_api", password=KEY)
    return Outside()


@pytest.fixture
def client(outside: Outside) -> Iterator[TestClient]:
    app = create_app(resumes=False)
    app.dependency_overrides[surroundings] = outside.as_surroundings
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


@pytest.fixture
def app(client: TestClient, outside: Outside) -> App:
    return App(client, outside)
