"""A database probe beside an event loop, whatever the database is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

from mbi_reauth.core.evidence import Driver, Endpoint, Evidence, TransportFailure
from mbi_reauth.core.integration import Table
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.database import engine_of, require_packages


async def probe_database(
    credential: Credential, tables: Sequence[Table], *, ssh: Credential | None = None, timeout: float = 10
) -> Evidence:
    """Probe in a thread; stop waiting when all the probe's own limits must have passed.

    :raises MisconfiguredError: the connection lacks something, or a package is missing
    """
    blocking = partial(_blocking(credential), credential, tables, ssh=ssh, timeout=timeout)
    # One leg to connect, one for each question, and one for the password's end.
    legs = 3 + max(1, len(tables)) + (3 if ssh else 0)
    running = asyncio.get_running_loop().run_in_executor(_threads(), blocking)
    try:
        return await asyncio.wait_for(running, legs * timeout)
    except asyncio.TimeoutError:
        driver = engine_of(credential).driver
        return Evidence(endpoint=Endpoint.PROBE, driver=driver, failure=TransportFailure.TIMEOUT)


def _blocking(credential: Credential) -> Callable[..., Evidence]:
    if engine_of(credential).driver is Driver.MONGODB:
        require_packages(credential)
        from mbi_reauth.probes.mongodb import probe_mongodb

        return probe_mongodb
    from mbi_reauth.probes.sql import probe_sql

    return probe_sql


@cache
def _threads() -> ThreadPoolExecutor:
    # Of our own: slow databases must not use up the few threads that Airflow's triggers share.
    return ThreadPoolExecutor(max_workers=16, thread_name_prefix="mbi_reauth_database")


# A worker that has verified a login forks its tasks: they inherit the pool, but none of its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)
