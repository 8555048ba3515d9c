"""Exactly once, whatever moment a run dies at."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbi_reauth.extraction.cursor import Frontier, Values
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.landing import POINTER, Landed, land_batch, land_full_copy, read_cursor
from tests.unit.extraction.mortal import (
    Killed,
    Mortal,
    MortalDisk,
    MortalObjectStore,
    folder_on,
    names,
    visible,
)

Source = list[tuple[int, int]]
"""Rows of a table as (watermark, key), in the order of both."""


def changed(a: Values, b: Values) -> int:
    """Compare as for rows in order, where a change is progress."""
    return int(a != b)


@pytest.fixture(params=[MortalObjectStore, MortalDisk])
def fs(request: pytest.FixtureRequest) -> Mortal:
    kind: type[Mortal] = request.param
    return kind()


@pytest.fixture
def folder(fs: Mortal, tmp_path: Path) -> ObjectStoragePath:
    return folder_on(fs, str(tmp_path / "orders"))


def run(folder: ObjectStoragePath, source: Source, *, keyed: bool = True, fs: Mortal | None = None) -> Landed:
    """Do what an extraction does: rows after the cursor by both, or from the last watermark on."""
    start = read_cursor(folder, by=("watermark", "key") if keyed else ("watermark",))
    frontier = Frontier(start, changed, unique=keyed)

    def lines() -> Iterator[str]:
        for row in source:
            if keyed and start.last and row <= start.last:
                continue
            if not keyed and start.last and row[0] < start.last[0]:
                continue
            if fs is not None:
                fs.step()
            line = json.dumps({"watermark": row[0], "key": row[1]})
            if frontier.admit(row if keyed else row[:1], line):
                yield line

    return land_batch(folder, frontier, lines())


def landed(folder: ObjectStoragePath) -> Source:
    return [(row["watermark"], row["key"]) for row in visible(folder)]


@pytest.mark.parametrize("keyed", [True, False])
def test_each_run_lands_what_is_new(folder: ObjectStoragePath, keyed: bool) -> None:
    source = [(1, 1), (1, 2), (2, 3)]
    assert run(folder, source, keyed=keyed).rows == 3
    source += [(2, 4), (3, 5)]
    second = run(folder, source, keyed=keyed)
    assert (second.rows, landed(folder)) == (2, source)
    assert second.file is not None
    assert "/000002-" in second.file


def test_nothing_new_leaves_no_file(folder: ObjectStoragePath) -> None:
    assert run(folder, []) == Landed(0)
    assert names(folder) == []
    run(folder, [(1, 1)])
    before = names(folder)
    assert run(folder, [(1, 1)]) == Landed(0)
    assert names(folder) == before


def test_rows_that_are_alike_and_share_a_watermark_are_counted(folder: ObjectStoragePath) -> None:
    run(folder, [(1, 7), (1, 7)], keyed=False)
    run(folder, [(1, 7), (1, 7), (1, 7)], keyed=False)
    assert landed(folder) == [(1, 7)] * 3


def steps_of_a_run(fs: Mortal, folder: ObjectStoragePath, source: Source) -> int:
    fs.revive(dies_at=None)
    run(folder, source, fs=fs)
    return fs.steps


@pytest.mark.parametrize("kind", [MortalObjectStore, MortalDisk])
@pytest.mark.parametrize("earlier", [[], [(0, 0), (1, 1)]])
def test_a_run_may_die_at_any_step(kind: type[Mortal], earlier: Source, tmp_path: Path) -> None:
    source = [*earlier, (1, 2), (2, 3), (2, 4)]
    rehearsal = kind()
    rehearsed = folder_on(rehearsal, str(tmp_path / "rehearsal"))
    run(rehearsed, earlier)
    steps = steps_of_a_run(rehearsal, rehearsed, source)
    assert steps >= 7  # three rows, two files written and two moved
    for dies_at in range(steps):
        fs = kind()
        folder = folder_on(fs, str(tmp_path / f"dies_at_{dies_at}"))
        run(folder, earlier)
        fs.revive(dies_at=dies_at)
        with pytest.raises(Killed):
            run(folder, source, fs=fs)
        fs.revive(dies_at=None)
        assert landed(folder) in (earlier, source), f"half a batch is visible after step {dies_at}"
        later = [*source, (2, 5), (3, 6)]
        run(folder, later)
        assert landed(folder) == later, f"not exactly once after step {dies_at}"
        assert not [name for name in names(folder) if name.endswith(".part")]


moves = st.lists(st.integers(0, 2), max_size=4)
"""How far the watermark moves on before each new row; not at all is a tie."""


@pytest.mark.parametrize("keyed", [True, False])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(st.tuples(moves, st.integers(0, 30)), max_size=6))
def test_no_history_of_crashes_loses_or_doubles_a_row(keyed: bool, runs: list[tuple[list[int], int]]) -> None:
    fs = MortalObjectStore()
    folder = folder_on(fs, "/orders")
    source: Source = []
    for new, dies_at in runs:
        for move in new:
            source.append(((source[-1][0] if source else 0) + move, len(source)))
        fs.revive(dies_at=dies_at)
        with suppress(Killed):
            run(folder, source, keyed=keyed, fs=fs)
        fs.revive(dies_at=None)
        assert not Counter(landed(folder)) - Counter(source)
    run(folder, source, keyed=keyed)
    assert Counter(landed(folder)) == Counter(source)


def test_a_source_that_fails_leaves_nothing(folder: ObjectStoragePath) -> None:
    def failing() -> Iterator[str]:
        yield "{}"
        raise ExtractionError("page 2")

    run(folder, [(1, 1)])
    before = names(folder)
    start = read_cursor(folder, by=("watermark", "key"))
    with pytest.raises(ExtractionError, match="page 2"):
        land_batch(folder, Frontier(start, changed, unique=True), failing())
    with pytest.raises(ExtractionError, match="page 2"):
        land_full_copy(folder / "other", failing())
    assert names(folder) == sorted([*before, *(["other"] if "other" in names(folder) else [])])
    assert names(folder / "other") == []


def interleaved(folder: ObjectStoragePath, source: Source, *, other: Source) -> None:
    """Start a run, let a second one do its whole work meanwhile, and go on with the first."""
    start = read_cursor(folder, by=("watermark", "key"))
    frontier = Frontier(start, changed, unique=True)

    def lines() -> Iterator[str]:
        for number, row in enumerate(source):
            if number == 1:
                run(folder, other)
            line = json.dumps({"watermark": row[0], "key": row[1]})
            frontier.admit(row, line)
            yield line

    land_batch(folder, frontier, lines())


def test_of_two_runs_at_once_one_lands_and_the_other_says_so(folder: ObjectStoragePath) -> None:
    with pytest.raises(ExtractionError, match="another run is landing"):
        interleaved(folder, [(1, 1), (2, 2)], other=[(1, 1), (2, 2), (3, 3)])
    assert landed(folder) == [(1, 1), (2, 2), (3, 3)]
    run(folder, [(1, 1), (2, 2), (3, 3), (4, 4)])
    assert landed(folder) == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_a_run_that_began_before_another_ended_says_so(folder: ObjectStoragePath) -> None:
    frontier = Frontier(read_cursor(folder, by=("watermark", "key")), changed, unique=True)
    run(folder, [(1, 1), (2, 2)])
    with pytest.raises(ExtractionError, match="another run is landing"):
        land_batch(folder, frontier, iter(["{}"]))
    assert landed(folder) == [(1, 1), (2, 2)]


def test_the_cursor_remembers_the_rows_of_the_last_watermark_only(folder: ObjectStoragePath) -> None:
    run(folder, [(1, 1), (1, 2), (2, 3), (3, 4), (3, 5)], keyed=False)
    cursor = read_cursor(folder, by=("watermark",))
    assert (cursor.last, len(cursor.seen)) == ((3,), 2)


def test_a_full_copy_replaces_the_one_before(folder: ObjectStoragePath) -> None:
    assert land_full_copy(folder, iter(['{"a":1}', '{"a":2}'])).rows == 2
    assert land_full_copy(folder, iter(['{"a":3}'])).rows == 1
    assert (list(visible(folder)), names(folder)) == ([{"a": 3}], ["full.jsonl.gz"])


def test_a_full_copy_of_an_emptied_table_leaves_no_stale_rows(folder: ObjectStoragePath) -> None:
    land_full_copy(folder, iter(['{"a":1}']))
    assert land_full_copy(folder, iter(())) == Landed(0)
    assert names(folder) == []


def test_a_full_copy_may_die_at_any_step(folder: ObjectStoragePath, fs: Mortal) -> None:
    old, new = [{"a": 1}], [{"a": 2}, {"a": 3}]
    land_full_copy(folder, map(json.dumps, old))
    for dies_at in range(12):
        fs.revive(dies_at=dies_at)
        with suppress(Killed):
            land_full_copy(folder, map(json.dumps, new))
        fs.revive(dies_at=None)
        assert list(visible(folder)) in (old, new)
    assert land_full_copy(folder, map(json.dumps, new)).rows == 2


def damage(folder: ObjectStoragePath, text: str | None) -> None:
    (folder / POINTER).unlink() if text is None else (folder / POINTER).write_text(text)


@pytest.mark.parametrize(
    ("pointer", "says"),
    [
        (None, "no _cursor.json"),
        ("", "not a cursor"),
        ("{", "not a cursor"),
        ("{}", "not a cursor"),
        ('{"by": ["watermark", "key"], "last": [["moon", 1]], "seen": {}, "batches": 1}', "not a cursor"),
        ('{"by": ["id"], "last": [["plain", 1]], "seen": {}, "batches": 1}', "was landed by id"),
    ],
)
def test_a_lost_or_foreign_cursor_stops_the_run(
    folder: ObjectStoragePath, pointer: str | None, says: str
) -> None:
    run(folder, [(1, 1)])
    run(folder, [(1, 1), (2, 2)])
    damage(folder, pointer)
    with pytest.raises(ExtractionError, match=says):
        run(folder, [(1, 1), (2, 2), (3, 3)])


def test_a_folder_is_landed_in_one_way_only(folder: ObjectStoragePath) -> None:
    run(folder, [(1, 1)])
    with pytest.raises(ExtractionError, match="full copy"):
        land_full_copy(folder, iter(["{}"]))
    land_full_copy(folder / "other", iter(["{}"]))
    with pytest.raises(ExtractionError, match=r"full\.jsonl\.gz"):
        run(folder / "other", [(1, 1)])


def test_a_watermark_that_cannot_be_remembered_leaves_nothing(folder: ObjectStoragePath) -> None:
    frontier = Frontier(read_cursor(folder, by=("w",)), changed, unique=False)

    def lines() -> Iterator[str]:
        value: Any = object()
        if frontier.admit((value,), "{}"):
            yield "{}"

    with pytest.raises(ExtractionError, match="of type object"):
        land_batch(folder, frontier, lines())
    assert names(folder) == []
