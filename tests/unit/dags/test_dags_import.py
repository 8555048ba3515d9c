"""The DAG files, loaded as Airflow's DAG processor loads them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from mbi_reauth.extraction.datasets import datasets_of
from mbi_reauth.lookup import registry_of

DAGS = Path(__file__).parents[3] / "dags"
UNRELATED = """
from airflow.sdk import DAG
with DAG("unrelated"):
    pass
"""


@pytest.fixture(autouse=True)
def no_registry_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__MBI_REAUTH__REGISTRY", raising=False)


def test_the_example_registry_has_an_entry_of_each_kind_and_no_fault() -> None:
    entries = registry_of(DAGS / "integrations.yaml").integrations
    types = {"google_adwords", "quickbooks", "zendesk", "facebook_ads", "mysql_direct", "postgresql_ssh"}
    assert {entry.type for entry in entries.values()} == types
    owners = [entry.owner for entry in entries.values()]
    assert {str(owner.email).partition("@")[2] for owner in owners} == {"example.com"}


def test_every_integration_with_something_to_extract_has_its_dag() -> None:
    bag = DagBag(DAGS)
    assert bag.import_errors == {}
    entries = registry_of(DAGS / "integrations.yaml").integrations.values()
    expected = {f"mbi_extract_{entry.id}" for entry in entries if datasets_of(entry)}
    assert len(expected) >= 3
    assert {dag_id for dag_id in bag.dags if dag_id.startswith("mbi_extract_")} == expected


def test_the_gate_stands_before_each_table_and_the_row_counts_come_after() -> None:
    dag = DagBag(DAGS).dags["mbi_extract_shop_mysql"]
    tables = {"sales_order", "customer_entity", "sales_order_status"}
    extractions = {f"shop_mysql.extract_{table}" for table in tables}
    assert dag.task_dict["shop_mysql.check_authorization"].downstream_task_ids >= extractions
    assert dag.task_dict["summarize"].upstream_task_ids == extractions
    assert (dag.catchup, dag.max_active_runs) == (False, 1)


def load(folder: Path, registry: str) -> DagBag:
    shutil.copy(DAGS / "mbi_extract.py", folder)
    (folder / "integrations.yaml").write_text(registry)
    (folder / "unrelated.py").write_text(UNRELATED)
    return DagBag(folder)


@pytest.mark.parametrize(
    ("registry", "says"),
    [
        ("integrations: {shop: {type: mysql_dierct, owner: {name: A, email: nobody}}}", "mysql_direct"),
        ("integrations: {shop: {type: mysql_direct, owner: {name: A, email: nobody}}}", "email"),
        ("integrations: {shop: [}", "integrations.yaml:1"),
        ("", "is empty"),
    ],
)
def test_an_invalid_registry_is_one_clear_import_error_and_disturbs_no_other_dag(
    tmp_path: Path, registry: str, says: str
) -> None:
    bag = load(tmp_path, registry)
    assert [Path(file).name for file in bag.import_errors] == ["mbi_extract.py"]
    (error,) = bag.import_errors.values()
    assert "integrations.yaml" in error
    assert says in error
    assert set(bag.dags) == {"unrelated"}


def test_a_missing_registry_says_where_to_put_one(tmp_path: Path) -> None:
    shutil.copy(DAGS / "mbi_extract.py", tmp_path)
    (error,) = DagBag(tmp_path).import_errors.values()
    assert "[mbi_reauth] registry" in error


def loaded_by(statement: str) -> set[str]:
    """Say which modules a fresh Python has after ``statement``."""
    program = f"{statement}\nimport sys\nprint('modules', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=DAGS
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.fixture(scope="module")
def extra_modules() -> set[str]:
    return loaded_by("import mbi_extract") - loaded_by("import airflow.sdk")


@pytest.mark.parametrize(
    "heavy", ["airflow.providers.http", "fastapi", "fsspec", "psycopg", "psycopg2", "requests"]
)
def test_parsing_the_dag_file_loads_nothing_heavy(extra_modules: Any, heavy: str) -> None:
    assert heavy not in extra_modules
