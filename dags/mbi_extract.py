"""One gated extraction DAG per integration of the registry.

The registry is ``[mbi_reauth] registry``, or ``integrations.yaml`` beside this file; a fault in it is the
import error of this file and of no other.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import DAG, task

from mbi_reauth.core.integration import Integration
from mbi_reauth.extraction.datasets import datasets_of, task_id_of
from mbi_reauth.gate import authorized
from mbi_reauth.lookup import registry_of
from mbi_reauth.retry_policy import AuthorizationRetryPolicy

DEFAULTS = {"retries": 2, "execution_timeout": timedelta(hours=6)}


@task(multiple_outputs=False)
def extract(integration_id: str, dataset: str) -> dict[str, Any]:
    """Land what is new in one table or resource; the row count is the XCom."""
    from mbi_reauth.extraction.extract import extract as land

    return dict(land(registry_of(near=__file__).get(integration_id), dataset))


@task(multiple_outputs=False)
def summarize(extracted: list[dict[str, Any]]) -> dict[str, int]:
    """Say how many rows each table or resource gave."""
    return {each["dataset"]: each["rows"] for each in extracted}


def extraction_dag(integration: Integration, datasets: list[str]) -> None:
    """Build the DAG of one integration: the gate, a task for each dataset, and the row counts."""
    with DAG(
        dag_id=f"mbi_extract_{integration.id}",
        schedule="@hourly",
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        tags=["mbi", integration.type],
        doc_md=f"Extracts {', '.join(datasets)} of **{integration.label}** while it is authorized.\n\n"
        f"Owner of the authorization: {integration.owner.name}, {integration.owner.email}.",
    ):
        with authorized(integration.id):
            landed: Any = [
                extract.override(
                    task_id=task_id_of(each), retry_policy=AuthorizationRetryPolicy(integration)
                )(integration.id, each)
                for each in datasets
            ]
        summarize(landed)


for entry in registry_of(near=__file__).integrations.values():
    if found := datasets_of(entry):
        extraction_dag(entry, found)
