"""Random histories of findings and emails against a model; ``HISTORIES=2000`` in the environment: for longer.

Every step is taken by the real services on SQLite. What must hold is in :mod:`tests.history`. A history that
breaks it is made as short as it can be and still does.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.history import ADDRESSES, ANSWERS, DOUBTFUL, INTEGRATIONS, REFUSED, WORKS, World
from tests.metadata_db import connected_to, create_tables, empty

MANY = int(os.environ.get("HISTORIES", "0"))
LONGEST = 160
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SKEWS = (0.0, 600.0, -600.0, 45.0, -45.0)
ALL = [each.id for each in INTEGRATIONS]
FEW = ALL[:2]
MOODS = ("takes", "defers", "away", "took", "not")


class Step(NamedTuple):
    """One thing that happens: a method of the world, and what it is called with."""

    what: str
    of: tuple[object, ...] = ()

    def __repr__(self) -> str:
        return f"world.{self.what}({', '.join(map(repr, self.of))})"


def steps(weight: int, what: str, *of: Sequence[object]) -> list[tuple[Step, float]]:
    """Make one of each combination; they weigh as much together."""
    each = [Step(what, arguments) for arguments in product(*of)]
    return [(step, weight / len(each)) for step in each]


STEPS = [
    *steps(50, "look", FEW, (WORKS,)),
    *steps(50, "look", FEW, (REFUSED, DOUBTFUL)),
    *steps(20, "look", ALL, ANSWERS),
    *steps(20, "look", FEW, ANSWERS),
    *steps(20, "check", FEW, ANSWERS[:3], SKEWS),
    *steps(6, "check", FEW, ANSWERS[:3], (0,), (True,)),
    *steps(24, "arrives", range(3), (False, True)),
    *steps(8, "storm", ("ads", "db"), (REFUSED, WORKS)),
    *steps(10, "replace", FEW),
    *steps(40, "wait", (61, 3 * MINUTE, 11 * MINUTE, 40 * MINUTE)),
    *steps(14, "wait", (61 * MINUTE, 9 * HOUR, 25 * HOUR, 2 * DAY)),
    *steps(40, "serve"),
    *steps(24, "claim", (None, *FEW)),
    *steps(24, "transmits", range(3), MOODS),
    *steps(20, "settles", range(3)),
    *steps(20, "dies", range(2), (False, True)),
    *steps(36, "tries", (None, *FEW), MOODS, ("settles", "dies")),
    *steps(14, "changes_its_mind", ADDRESSES),
    *steps(6, "passes_on", FEW),
    *steps(3, "be_shadow", (True,)),
    *steps(12, "be_shadow", (False,)),
]


class History(NamedTuple):
    """What happens, one thing after the other."""

    engineers: bool
    quiet: bool
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        begin = f"world = World(engineers={self.engineers}, quiet={self.quiet})"
        return "\n".join((begin, *map(repr, self.steps), "world.ends()"))

    def breaks(self) -> Exception | None:
        """Let it happen; return what went wrong."""
        empty()
        try:
            world = World(engineers=self.engineers, quiet=self.quiet)
            for step in self.steps:
                getattr(world, step.what)(*step.of)
                world.is_consistent()
            world.ends()
        except Exception as error:  # noqa: BLE001 - it is reported with the history
            return error
        return None

    def shortened(self, broken: Exception) -> History:
        """Leave out what it does not take to break in the same way, in ever smaller pieces."""
        history, size = self, len(self.steps) // 2
        while size:
            start = 0
            while start < len(history.steps):
                less = history._replace(steps=history.steps[:start] + history.steps[start + size :])
                if repr(less.breaks()) == repr(broken):
                    history = less
                else:
                    start += size
            size //= 2
        return history


def history(seed: int) -> History:
    chance = random.Random(seed)  # noqa: S311 - for a history that can be told again
    each, weights = zip(*STEPS, strict=True)
    chosen = chance.choices(each, weights, k=chance.randint(10, LONGEST))
    return History(chance.random() < 0.7, chance.random() < 0.3, tuple(chosen))


@pytest.fixture(scope="module")
def _database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("histories")
    with connected_to(f"sqlite:///{folder / 'airflow.db'}"):
        create_tables()
        yield


@pytest.mark.timeout(24 * HOUR if MANY else 10 * MINUTE)
@pytest.mark.usefixtures("_database")
def test_whatever_happens_the_right_people_hear_once_and_nothing_is_lost() -> None:
    first = int(time.time()) if MANY else 0
    for seed in range(first, first + (MANY or 30)):
        told = history(seed)
        if (broken := told.breaks()) is not None:
            short = told.shortened(broken)
            raise AssertionError(f"of seed {seed}:\n{short!r}\n{short.breaks()!r}") from broken
