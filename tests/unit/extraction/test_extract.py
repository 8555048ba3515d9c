"""One dataset extracted as its task does it: catalogue, Airflow connection, credential, data folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath

from mbi_reauth.extraction.datasets import datasets_of, task_id_of
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.extract import extract
from tests.checking import an_integration
from tests.unit.extraction.mortal import visible
from tests.unit.extraction.third_party import ThirdParty, rows

TYPE = """
display_name: Loopback
docs: https://docs.example.com
kind: http
connection: {host: {title: Host}, login: {title: Login}, password: {title: Password, secret: true}}
auth: {method: query, name: key}
probe: {url: "{base_url}/me"}
rules: []
resources:
  - name: orders
    url: "{base_url}/rows"
    params: {account: "{account}"}
    records: rows
    paging: {style: token, path: token, param: after}
    watermark: id
    since_param: since
owner_steps: {airflow: [Paste a new key.], mbi: [Paste a new key.]}
"""
LOOPBACK = an_integration(type="loopback", conn_id="loopback", account="north")


@pytest.fixture
def connected(party: ThirdParty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ThirdParty:
    (tmp_path / "loopback.yaml").write_text(TYPE)
    host = party.url.removesuffix("/rows")
    connection = {"conn_type": "mbireauth", "host": host, "login": "dana", "password": "fake-key"}
    monkeypatch.setenv("AIRFLOW_CONN_LOOPBACK", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__DATA_FOLDER", (tmp_path / "data").as_uri())
    return party


def test_a_resource_is_extracted_with_the_integrations_own_credential(
    connected: ThirdParty, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pages = iter([{"rows": rows(1, 2), "token": "t"}, {"rows": rows(3)}, {"rows": rows(3, 4)}])
    connected.answer = lambda _: (200, {}, next(pages))
    first = extract(LOOPBACK, "orders")
    second = extract(LOOPBACK, "orders")
    assert (first["rows"], second["rows"]) == (3, 1)
    folder = ObjectStoragePath((tmp_path / "data").as_uri()) / "shop" / "orders"
    assert [row["id"] for row in visible(folder)] == [1, 2, 3, 4]
    asked = {"account": "north", "key": "fake-key"}
    assert connected.asked == [asked, {**asked, "after": "t"}, {**asked, "since": "3"}]
    assert "fake-key" not in caplog.text


def test_datasets_are_named_by_the_registry_or_else_by_the_catalogue(connected: ThirdParty) -> None:
    assert datasets_of(LOOPBACK) == ["orders"]
    assert datasets_of(an_integration(tables=[{"name": "a.b$c"}])) == ["a.b$c"]
    assert task_id_of("a.b$c") == "extract_a.b-c"


def test_a_dataset_that_is_not_there_is_named_with_those_that_are(connected: ThirdParty) -> None:
    with pytest.raises(ExtractionError, match="no table or resource 'order'; it has orders"):
        extract(LOOPBACK, "order")
