"""Check every integration of the registry, so that a lost authorization is found before an extraction.

The registry is ``[mbi_reauth] registry``, or ``integrations.yaml`` beside this file. It is read when the
sweep runs, not when this file is.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from mbi_reauth import settings

SHARD: dict[str, Any] = {
    "retries": 1,
    "retry_delay": timedelta(seconds=30),
    "execution_timeout": timedelta(hours=1),
}


@task
def plan() -> list[list[str]]:
    """Deal the integrations out; one check_shard for each list. Fails where the registry has faults."""
    from mbi_reauth import sweep
    from mbi_reauth.lookup import registry_of

    return sweep.plan(registry_of(near=__file__), shard_size=settings.sweep_shard_size())


@task(multiple_outputs=False, **SHARD)
def check_shard(integration_ids: list[str]) -> dict[str, int]:
    """Check one shard's integrations side by side and email the owners; the counts are the XCom."""
    import asyncio

    from mbi_reauth.lookup import registry_of
    from mbi_reauth.round import run_reference
    from mbi_reauth.sweep import Sweep

    entries = registry_of(near=__file__).integrations
    # The registry may have lost some of them since the plan was made.
    integrations = [entries[each] for each in integration_ids if each in entries]
    return asyncio.run(Sweep(run_reference(get_current_context()["ti"])).shard(integrations))


@task(multiple_outputs=False)
def summarize(counts: list[dict[str, int]]) -> dict[str, int]:
    """Add the shards' counts up; fails where the plugin's app was away for all of them."""
    from mbi_reauth.core.sweep import summed

    return summed(counts)


with DAG(
    dag_id="mbi_authorization_sweep",
    schedule=settings.sweep_schedule(),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    tags=["mbi"],
    doc_md=__doc__,
):
    counted: Any = check_shard.expand(integration_ids=plan())
    summarize(counted)
