"""What the tests of extraction over HTTP have around them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from airflow.sdk import ObjectStoragePath

from mbi_reauth.extraction.transfer import Transfer
from tests.unit.extraction.mortal import MortalObjectStore, folder_on
from tests.unit.extraction.third_party import ThirdParty, serving


@pytest.fixture
def party() -> Iterator[ThirdParty]:
    with serving() as made:
        yield made


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def transfer(pauses: list[float]) -> Iterator[Transfer]:
    with requests.Session() as session:
        session.trust_env = False
        yield Transfer(session, what="Shop, resource rows", sleep=pauses.append)


@pytest.fixture
def folder() -> ObjectStoragePath:
    return folder_on(MortalObjectStore(), "/rows")
