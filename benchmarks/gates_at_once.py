"""Many gates in one process, as in a triggerer; prints as JSON what they took and found.

Run by the benchmark as ``python -m benchmarks.gates_at_once ACCOUNTS GATES SPREAD MAX_AGE``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from types import SimpleNamespace

from benchmarks.accounts import Accounts
from benchmarks.measure import log_to, measured
from mbi_reauth.core.gate import GatePolicy
from mbi_reauth.core.integration import Integration
from mbi_reauth.lookup import registry_of
from mbi_reauth.round import Round


async def gate(number: int, integration: Integration, *, after: float, max_age: float) -> str:
    """Check once as the gate of a DAG does, and return the verdict; begins ``after`` so many seconds."""
    await asyncio.sleep(after)
    ti = SimpleNamespace(
        dag_id=f"dag_{number}", run_id="benchmark", task_id="check", map_index=-1, try_number=1
    )
    checks = Round.of_gate(GatePolicy(), ti, max_age=max_age, seen={})
    return (await checks.findings([integration]))[integration.id].finding.verdict.value


async def gates(accounts: Accounts, count: int, spread: float, max_age: float) -> Counter[str]:
    """Check with so many gates, dealt out over the accounts, which begin evenly over ``spread`` seconds."""
    entries = [registry_of().get(each) for each in accounts.ids]
    each = (
        gate(number, entries[number % len(entries)], after=spread * number / count, max_age=max_age)
        for number in range(count)
    )
    return Counter(await asyncio.gather(*each))


def main() -> None:
    """Run the gates."""
    accounts, count = Accounts.of_json(sys.argv[1]), int(sys.argv[2])
    spread, max_age = map(float, sys.argv[3:5])
    log_to("gates.log")
    with measured() as took:
        counts = asyncio.run(gates(accounts, count, spread, max_age))
    sys.stdout.write(json.dumps({**took.result, "counts": counts}))


if __name__ == "__main__":
    main()
