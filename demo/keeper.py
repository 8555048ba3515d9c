"""Keep a program and all its descendants together, so that stopping leaves nothing behind.

``airflow standalone`` leaves its components running when it is told to stop, and a launcher that is killed
stops nothing at all. So each program runs under a keeper, a small process of its own: it holds one end of a
pipe, and when the other end closes, by a stop or by the death of whoever held it, it ends the whole family.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil  # type: ignore[import-untyped]

GRACE = 10.0
"""Seconds that a family has to end by itself before it is killed."""
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


class Kept:
    """A program under a keeper, with its output in a file."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        signal_name: str = "TERM",
        grace: float = GRACE,
    ) -> None:
        options = ["--signal", signal_name, "--grace", str(grace)]
        # Isolated: neither this folder nor the checkout gets onto the import path of what runs below.
        keeper = [sys.executable, "-I", __file__, *options, "--", *command]
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                keeper,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                start_new_session=True,  # out of reach of the terminal's Ctrl-C: the launcher decides
            )

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the program and all its descendants, and wait until they are gone."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


def main() -> int:
    """Run a command until it ends or standard input closes; then end everything it started."""
    parser = argparse.ArgumentParser(prog="keeper", description=main.__doc__)
    parser.add_argument("--signal", default="TERM")
    parser.add_argument("--grace", type=float, default=GRACE)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    _adopt_orphans()
    command = subprocess.Popen(options.command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # only the pipe decides
    exit_code = None
    while exit_code is None and not _closed(sys.stdin.fileno()):
        exit_code = _reap(command.pid)
    return end_family(command.pid, signal.Signals[f"SIG{options.signal}"], options.grace, exit_code)


def end_family(leader: int, first_signal: signal.Signals, grace: float, exit_code: int | None) -> int:
    """End a process group, then every other descendant of this process; kill what outlasts the grace.

    :return: the leader's exit code, negative when a signal ended it
    """
    _signal_group(leader, first_signal)
    deadline = time.monotonic() + grace
    told = False
    while (family := _descendants()) or not _childless():
        late = time.monotonic() > deadline
        if late or (exit_code is not None and not told):
            told = True
            for process in family:
                process.send_signal(signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.05)
        found = _reap(leader)
        exit_code = found if exit_code is None else exit_code
    return exit_code or 0


def _reap(leader: int) -> int | None:
    """Take note of each child that has ended, adopted ones too; tell the exit code of the leader."""
    exit_code = None
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == leader:
                exit_code = os.waitstatus_to_exitcode(ended[1])
    except ChildProcessError:
        pass
    return exit_code


def _descendants() -> list[psutil.Process]:
    import psutil

    return list(psutil.Process().children(recursive=True))


def _signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return


def _childless() -> bool:
    """Whether the kernel knows of no child: a list of processes can miss one that is just being adopted."""
    if sys.platform != "linux":
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _adopt_orphans() -> None:
    """Become the parent of orphaned descendants, so that none is lost from sight (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _closed(pipe: int) -> bool:
    """Wait a moment for the other end of the pipe to close."""
    return bool(select.select([pipe], [], [], 0.1)[0]) and not os.read(pipe, 1024)


if __name__ == "__main__":
    sys.exit(main())
