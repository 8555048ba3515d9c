"""How often a third party is asked when many DAGs read one account, beside as many accounts.

Run with ``python -m benchmarks.probes``. The gates of 200 DAGs check in one process, as in a triggerer, with
the plugin's real app on PostgreSQL and a third party on the loopback; nothing is known of an account when its
gates begin. ``max_age`` is the default, 60 seconds, and each wave takes less.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.figures import spread, table
from benchmarks.scene import Cost, Scene, ThirdParty, standing

MAX_AGE = 60


class Taken(NamedTuple):
    """What one wave of gates took."""

    probes: int
    seconds: float
    cpu: float
    beside: Cost


@dataclass(frozen=True)
class Case:
    """So many gates on so many accounts; they begin evenly over so many seconds."""

    gates: int
    accounts: int
    over: float
    shop: ThirdParty

    def waves(self) -> tuple[Taken, Taken]:
        """Let the gates check accounts of which nothing is known, and then all of them once more."""
        with standing("postgresql", count=self.accounts, third_party=self.shop) as scene:
            return self._wave(scene), self._wave(scene)

    def _wave(self, scene: Scene) -> Taken:
        scene.asked()
        before = scene.spent()
        result = scene.run("benchmarks.gates_at_once", str(self.gates), str(self.over), str(MAX_AGE))
        if result["counts"] != {"needs_reauth" if self.shop.refuses else "authorized": self.gates}:
            raise RuntimeError(f"Of {self.gates} gates: {result['counts']}")
        return Taken(sum(scene.asked().values()), result["wall"], result["cpu"], scene.spent() - before)

    def rows(self, runs: int) -> list[tuple[str, ...]]:
        """Measure it so many times, and write the figures of both waves."""
        found = [self.waves() for _ in range(runs)]
        what = (f"{self.accounts}", "lost" if self.shop.refuses else "fine", f"{self.over:g} s")
        return [
            (
                *what,
                which,
                spread([each.probes for each in taken], 0),
                spread([each.seconds for each in taken]),
                spread([each.cpu for each in taken]),
                spread([each.beside.app for each in taken]),
            )
            for which, taken in zip(("first", "again"), zip(*found, strict=True), strict=True)
        ]


HEADS = ("accounts", "", "begin over", "", "probes", "seconds", "CPU, gates", "CPU, app")


def main() -> None:
    """Print how many probes there were in each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gates", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--over", type=float, nargs="+", default=[0, 10], help="seconds that they begin over")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds that the third party takes")
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    for over, refuses, accounts in itertools.product(options.over, (False, True), (1, options.gates)):
        shop = ThirdParty(latency=options.latency, refuses=refuses)
        rows += Case(options.gates, accounts, over, shop).rows(options.runs)
    print(f"{options.gates} gates, {options.runs} runs\n\n{table(HEADS, rows)}")  # noqa: T201


if __name__ == "__main__":
    main()
