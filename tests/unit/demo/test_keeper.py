"""A keeper leaves nothing behind, however its program or its holder ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from demo.keeper import Kept

FAMILY = """
import pathlib, signal, subprocess, sys, time
if {stubborn}: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path({note!r}).write_text(str(child.pid))
{then}
"""


def eventually(fact: Callable[[], bool], timeout: float = 15) -> bool:
    deadline = time.monotonic() + timeout
    while not (held := fact()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


def start_family(
    folder: Path, *, then: str = "time.sleep(600)", stubborn: bool = False, grace: float = 10
) -> tuple[Kept, int]:
    """Start a program with a child that has left its process group, and tell the child's id."""
    note = folder / "child"
    program = FAMILY.format(note=str(note), then=then, stubborn=stubborn)
    kept = Kept([sys.executable, "-c", program], log=folder / "log", grace=grace)
    assert eventually(lambda: note.exists() and bool(note.read_text()))
    return kept, int(note.read_text())


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def test_a_stop_ends_even_what_left_the_process_group(tmp_path: Path) -> None:
    kept, child = start_family(tmp_path)
    kept.stop()
    assert gone(child)
    assert not kept.alive


def test_what_ignores_the_first_signal_is_killed(tmp_path: Path) -> None:
    kept, child = start_family(tmp_path, stubborn=True, grace=0.2)
    kept.stop()
    assert gone(child)


def test_orphans_end_when_the_program_ends_by_itself(tmp_path: Path) -> None:
    kept, child = start_family(tmp_path, then="sys.exit(3)")
    assert eventually(lambda: gone(child))
    assert eventually(lambda: not kept.alive)


def test_everything_ends_when_the_holder_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "child"
    program = FAMILY.format(note=str(note), then="time.sleep(600)", stubborn=False)
    holder = (
        "import sys, time, pathlib; from demo.keeper import Kept\n"
        f"kept = Kept([sys.executable, '-c', {program!r}], log=pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "time.sleep(600)"
    )
    root = Path(__file__).parents[3]
    process = subprocess.Popen([sys.executable, "-c", holder], cwd=root)
    assert eventually(lambda: note.exists() and bool(note.read_text()))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert eventually(lambda: gone(int(note.read_text())))


def test_the_programs_output_is_kept_in_the_log(tmp_path: Path) -> None:
    kept = Kept([sys.executable, "-c", "print('a line')"], log=tmp_path / "log")
    assert eventually(lambda: not kept.alive)
    assert (tmp_path / "log").read_text() == "a line\n"
