"""The type that the guide shows is short, and works as it stands: gate, words and extraction."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath

from mbi_reauth import catalogue
from mbi_reauth.check import AirflowConnections, Checker
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.extraction.extract import extract
from tests.checking import an_integration
from tests.unit.extraction.mortal import visible
from tests.unit.extraction.third_party import ThirdParty

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "adding-a-type.md").read_text("utf-8")
PARCELS = an_integration(type="parcels", conn_id="parcels", account="north")


def example() -> str:
    found = re.search(r"<!-- parcels.yaml -->\n```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parcels.yaml").write_text(example())
    return tmp_path


@pytest.fixture
def parcels(party: ThirdParty, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ThirdParty:
    host = party.url.removesuffix("/rows")
    connection = {"conn_type": "mbireauth", "host": host, "password": "fake-key"}
    monkeypatch.setenv("AIRFLOW_CONN_PARCELS", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER", str(folder))
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__DATA_FOLDER", (folder / "data").as_uri())
    return party


def finding_of(folder: Path) -> Finding:
    checker = Checker(api=None, connections=AirflowConnections(), load=partial(catalogue.load, folder=folder))
    return asyncio.run(checker.check(PARCELS, max_age=0, report=False)).finding


def test_a_new_type_takes_less_than_forty_lines_and_the_guide_counts_them_right() -> None:
    lines = len(example().splitlines())
    assert lines < 40
    assert f"in {lines} lines" in GUIDE


def test_the_example_loads_with_all_packaged_types(folder: Path) -> None:
    assert "parcels" in catalogue.load_all(folder=folder)


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, {"account": {"id": "north"}}, Cause.AUTHORIZED),
        (401, {"error": {"code": "key_unknown"}}, Cause.CREDENTIALS_REJECTED),
        (402, {"error": {"code": "plan_ended"}}, Cause.ACCOUNT_SUSPENDED),
        (401, {"error": {"code": "clock_skew"}}, Cause.UNKNOWN),
        (200, {"account": {"id": "south"}}, Cause.ACCOUNT_UNLINKED),
        (503, {}, Cause.PROVIDER_OUTAGE),
    ],
)
def test_the_example_judges_a_real_answer(
    parcels: ThirdParty, folder: Path, status: int, body: dict[str, object], cause: Cause
) -> None:
    parcels.answer = lambda _: (status, {}, body)
    assert finding_of(folder).cause is cause


def test_the_example_extracts_page_after_page(parcels: ThirdParty, folder: Path) -> None:
    pages = iter([{"data": [{"id": 1}, {"id": 2}], "next": "p2"}, {"data": [{"id": 3}], "next": None}])
    parcels.answer = lambda _: (200, {}, next(pages))
    assert extract(PARCELS, "shipments")["rows"] == 3
    landed = ObjectStoragePath((folder / "data").as_uri()) / "shop" / "shipments"
    assert [row["id"] for row in visible(landed)] == [1, 2, 3]
    assert parcels.asked == [{}, {"after": "p2"}]


def test_the_guides_command_answers(folder: Path) -> None:
    found = re.search(r"```console\n(echo.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    command = found[1].replace("my_types", str(folder)).replace("python -m", f"{sys.executable} -m")
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
    )
    assert json.loads(done.stdout)["verdict"] == "needs_reauth"
