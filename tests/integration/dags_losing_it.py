"""Run by ``test_retry_policy.py`` in a process of its own: gated DAGs whose extraction is refused.

Prints one JSON object: for each DAG, the states of its task instances.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime, timedelta, timezone

import aiohttp
import httpx
from airflow.sdk import DAG, BaseHook, task

from mbi_reauth.gate import authorized
from mbi_reauth.hooks.integration import IntegrationHook
from mbi_reauth.hooks.session import Limits
from mbi_reauth.lookup import registry_of
from mbi_reauth.retry_policy import AuthorizationRetryPolicy

REGISTRY = registry_of()
DAGS: dict[str, DAG] = {}


def by_hook(name: str) -> None:
    IntegrationHook(REGISTRY.get(name)).run("orders")


def by_session(name: str) -> None:
    hook = IntegrationHook(REGISTRY.get(name), limits=Limits(retries=0))
    hook.get_conn().get(hook.render.url("{base_url}/orders")).raise_for_status()


def by_httpx(name: str) -> None:
    source = BaseHook.get_connection(name)
    headers = {"Authorization": f"Bearer {source.password}"}
    httpx.get(f"{source.host}/orders", headers=headers, trust_env=False).raise_for_status()


async def by_aiohttp(name: str) -> None:
    source = await asyncio.to_thread(BaseHook.get_connection, name)
    headers = {"Authorization": f"Bearer {source.password}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{source.host}/orders") as response,
    ):
        response.raise_for_status()


READERS = {"lost_hook": by_hook, "lost_httpx": by_httpx, "lost_aiohttp": by_aiohttp}

for name in REGISTRY.integrations:
    with (
        DAG(
            name,
            start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
            schedule=None,
            default_args={"retries": 2, "retry_delay": timedelta(0)},
        ) as DAGS[name],
        authorized(name),
    ):
        policy = AuthorizationRetryPolicy(name, shadow=name == "shadowed")
        extract = task(task_id="extract", retry_policy=policy)(READERS.get(name, by_session))
        extract(name)


if __name__ == "__main__":
    result = {
        dag_id: {ti.task_id: str(ti.state) for ti in dag.test().get_task_instances()}
        for dag_id, dag in DAGS.items()
    }
    sys.stdout.write("STATES " + json.dumps(result) + "\n")
