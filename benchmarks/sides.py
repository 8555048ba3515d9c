"""One side of a comparison, in a process of its own; prints as JSON what it took.

Run by the benchmarks as ``python -m benchmarks.sides ACCOUNTS SIDE SHARD_SIZE``.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from benchmarks.accounts import Accounts
from benchmarks.measure import Result, log_to, measured, memory
from mbi_reauth.lookup import registry_of
from mbi_reauth.sweep import Limits, Sweep, plan

LIMITS = Limits(checks=16, per_host=4, spread=0)
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": "benchmark"}


Given = TypeVar("Given")
Returned = TypeVar("Returned")


def sweep(accounts: Accounts, shard_size: int) -> Result:  # noqa: ARG001 - the registry has them
    """Sweep as the DAG does, each task in a process of its own, one after the other; probe every account."""
    counts: Counter[str] = Counter()
    highest = []
    with measured() as took:
        for ids in _forked(_planned, shard_size):
            shard = _forked(_checked, ids)
            counts.update(shard["counts"])
            highest.append(shard["highest"])
    return {**took.result, "counts": counts, "highest": max(highest)}


def _planned(shard_size: int) -> list[list[str]]:
    return plan(registry_of(), shard_size=shard_size)


def _checked(ids: Sequence[str]) -> Result:
    entries = registry_of().integrations
    counts = asyncio.run(Sweep(limits=LIMITS, max_age=0).shard([entries[each] for each in ids]))
    return {"counts": counts, "highest": memory()["highest"]}


def _forked(work: Callable[[Given], Returned], given: Given) -> Returned:
    """Do it in a child, as an executor's worker does each task."""
    here, there = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: there.send(work(given)))
    child.start()
    there.close()
    result: Returned = here.recv()
    child.join()
    return result


def bare(accounts: Accounts, _: int) -> Result:
    """Send the same requests with one client, within the same bounds."""
    with measured() as took:
        counts = asyncio.run(_bare(accounts))
    return {**took.result, "counts": counts, "highest": memory()["highest"]}


async def _bare(accounts: Accounts) -> Counter[str]:
    at_once = asyncio.Semaphore(LIMITS.checks)
    turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(LIMITS.per_host))
    counts: Counter[str] = Counter()

    async def one(client: httpx.AsyncClient, account: str) -> None:
        address = accounts.address(account)
        async with at_once, turns[urlsplit(address).netloc]:
            headers = {**_HEADERS, "Authorization": f"Bearer {accounts.key(account)}"}
            response = await client.get(f"{address}/me", headers=headers)
            counts["authorized"] += response.json()["account"] == "north"

    async with httpx.AsyncClient(timeout=10) as client:
        await asyncio.gather(*(one(client, account) for account in accounts.ids))
    return counts


SIDES: dict[str, Callable[[Accounts, int], Result]] = {"sweep": sweep, "bare": bare}


def main() -> None:
    """Run the side, and say what it took beyond its imports."""
    accounts, side, shard_size = Accounts.of_json(sys.argv[1]), SIDES[sys.argv[2]], int(sys.argv[3])
    log_to(f"{sys.argv[2]}.log")
    before = memory()["now"]
    sys.stdout.write(json.dumps({"before": before, **side(accounts, shard_size)}))


if __name__ == "__main__":
    main()
