"""Check every integration of the registry, so that a lost authorization is found before an extraction.

Then send every email that is due, be it about what this sweep found or a reminder of what others did.

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
OUTBOX: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "execution_timeout": timedelta(hours=1),
}


@task(retries=1, retry_delay=timedelta(seconds=30))
def plan() -> list[list[str]]:
    """Deal the integrations out; one check_shard for each list. Fails where the registry has faults."""
    from mbi_reauth import sweep
    from mbi_reauth.lookup import registry_of

    return sweep.plan(registry_of(near=__file__), shard_size=settings.sweep_shard_size())


@task(multiple_outputs=False, **SHARD)
def check_shard(integration_ids: list[str]) -> dict[str, int]:
    """Check one shard's integrations side by side and report them; the counts are the XCom."""
    import asyncio

    from mbi_reauth.lookup import registry_of
    from mbi_reauth.sweep import Sweep

    entries = registry_of(near=__file__).integrations
    # The registry may have lost some of them since the plan was made.
    integrations = [entries[each] for each in integration_ids if each in entries]
    return asyncio.run(Sweep().shard(integrations))


@task(multiple_outputs=False, trigger_rule="all_done", **OUTBOX)
def send_due() -> dict[str, int]:
    """Send what is due, after all shards, so that losses found together reach an owner as one email.

    The counts are the XCom. Fails, to be retried, while mail that is due cannot be sent.
    """
    import asyncio

    from mbi_reauth.core.sweep import EMAILS_UNSENT, SweepError
    from mbi_reauth.round import run_reference
    from mbi_reauth.sweep import serve

    ti = get_current_context()["ti"]
    counts = asyncio.run(serve(run_reference(ti)))
    if unsent := counts.get(EMAILS_UNSENT):
        ti.xcom_push(key="return_value", value=counts)
        raise SweepError(f"{unsent} of the emails that are due could not be sent; the log says why")
    return counts


@task(multiple_outputs=False)
def summarize(shards: list[dict[str, int]], outbox: dict[str, int]) -> dict[str, int]:
    """Add the counts up; fails where the plugin's app took no part."""
    from mbi_reauth.core.sweep import summed

    return summed(shards, outbox)


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
    sent: Any = send_due()
    counted >> sent
    summarize(counted, sent)
