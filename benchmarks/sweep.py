"""A sweep beside a bare asynchronous client that makes the same probes: time, CPU, memory, growth.

Run with ``python -m benchmarks.sweep [1000 10000]``. The sweep is the DAG's own code, each task a process,
one after the other: a plan, then shards of 100; with the plugin's real app (uvicorn, one process), a third
party on the loopback, and every account a connection that is probed (``max_age`` 0). The client is httpx with
one pool of connections for all. Both ask within the sweep's default bounds, 16 at once and 4 of one host, in
turns. Checks begin at once (``sweep_spread`` 0). Imports and Airflow's own start of a task are not measured,
and a worker's connections come from a secrets backend in its own process, where Airflow's supervisor would
ask the API server.

All accounts have the same API key, unless ``--distinct-keys``: Airflow's secrets masker compiles one pattern
of every secret it has seen each time that it sees another, which at thousands outweighs everything else.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import spread, table
from benchmarks.scene import DATABASES, Cost, Scene, ThirdParty, standing


@dataclass(frozen=True)
class Pair:
    """The two sides, measured one after the other; ``beside`` is what the sweep cost other processes."""

    count: int
    bare: dict[str, Any]
    sweep: dict[str, Any]
    beside: Cost
    app_memory: float

    def ratio(self, what: str) -> float:
        """Tell how many times as much the sweep's own processes took."""
        return float(self.sweep[what] / self.bare[what])

    def each(self, seconds: float) -> float:
        """Tell the milliseconds for each integration."""
        return seconds / self.count * 1000


def measured(scene: Scene, shard_size: int) -> Pair:
    """Run both sides once.

    :raises RuntimeError: one of them did not do its work
    """
    scene.asked()
    bare = _worked(scene, scene.run("benchmarks.sides", "bare", str(shard_size)))
    before = scene.spent()
    sweep = _worked(scene, scene.run("benchmarks.sides", "sweep", str(shard_size)))
    beside = scene.spent() - before
    print(f"{bare}, {sweep}, {beside}", file=sys.stderr)  # noqa: T201
    return Pair(scene.accounts.count, bare, sweep, beside, scene.app_memory())


def _worked(scene: Scene, result: dict[str, Any]) -> dict[str, Any]:
    asked, wanted = scene.asked(), dict.fromkeys(scene.accounts.ids, 1)
    authorized = result["counts"]["authorized"]
    if asked != wanted or authorized != scene.accounts.count:
        raise RuntimeError(f"{sum(asked.values())} of {scene.accounts.count} were asked: {result['counts']}")
    return result


COLUMNS: dict[str, Callable[[Pair], float]] = {
    "wall time, ratio": lambda pair: pair.ratio("wall"),
    "CPU, ratio": lambda pair: pair.ratio("cpu"),
    "client, ms of CPU each": lambda pair: pair.each(pair.bare["cpu"]),
    "sweep, ms of CPU each": lambda pair: pair.each(pair.sweep["cpu"]),
    "app, ms of CPU each": lambda pair: pair.each(pair.beside.app),
    "database, ms of CPU each": lambda pair: pair.each(pair.beside.database),
    "sweep, ms each": lambda pair: pair.each(pair.sweep["wall"]),
    "client, MiB": lambda pair: float(pair.bare["highest"]),
    "sweep, MiB a process": lambda pair: float(pair.sweep["highest"]),
    "app, MiB": lambda pair: pair.app_memory,
}

GROWING: dict[str, Callable[[Pair], float]] = {
    "client, CPU": lambda pair: float(pair.bare["cpu"]),
    "client, time": lambda pair: float(pair.bare["wall"]),
    "sweep, CPU": lambda pair: float(pair.sweep["cpu"]),
    "sweep, time": lambda pair: float(pair.sweep["wall"]),
    "app, CPU": lambda pair: pair.beside.app,
}


def exponent(fewer: Sequence[Pair], more: Sequence[Pair], what: Callable[[Pair], float]) -> float:
    """Tell the power of the number of integrations with which something grows."""
    growth = statistics.median(map(what, more)) / statistics.median(map(what, fewer))
    return math.log(growth) / math.log(more[0].count / fewer[0].count)


def report(pairs: Sequence[Pair]) -> str:
    """Write the figures of one database and number of integrations."""
    return table(
        ("of an integration", "median (least to greatest)"),
        [(name, spread([column(pair) for pair in pairs])) for name, column in COLUMNS.items()],
    )


def main() -> None:
    """Measure each number of integrations on each database, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--databases", choices=DATABASES, nargs="+", default=DATABASES)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--shard-size", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0, help="seconds that the third party takes")
    parser.add_argument("--distinct-keys", action="store_true")
    options = parser.parse_args()
    for database in options.databases:
        found = []
        for count in options.counts:
            shop = ThirdParty(options.hosts, options.latency)
            distinct = options.distinct_keys
            with standing(database, count=count, third_party=shop, one_key=not distinct) as scene:
                pairs = [measured(scene, options.shard_size) for _ in range(options.runs)]
            found.append(pairs)
            heading = f"{count:,} integrations, {database}, {options.runs} runs"
            print(f"\n{heading}\n\n{report(pairs)}", flush=True)  # noqa: T201
            first, *later = (f"{pair.each(pair.beside.app):.1f}" for pair in pairs)
            print(f"\nthe app's ms of CPU in its first sweep: {first}, then {', '.join(later)}")  # noqa: T201
        for fewer, more in itertools.pairwise(found):
            grown = {name: exponent(fewer, more, what) for name, what in GROWING.items()}
            told = ", ".join(f"{name} {value:.2f}" for name, value in grown.items())
            print(f"\ngrows with the number of integrations to the power of: {told}")  # noqa: T201


if __name__ == "__main__":
    main()
