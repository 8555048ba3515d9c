"""What a process takes: seconds on the clock, of CPU, memory."""

from __future__ import annotations

import logging
import os
import resource
import time
from pathlib import Path
from typing import Any

from typing_extensions import Self

_KIB_IN_MIB = 1024

Result = dict[str, Any]


class measured:  # noqa: N801 - reads as a verb
    """Measures seconds on the clock and of CPU, its ended children's too; ``result`` has both afterwards."""

    result: Result

    def __enter__(self) -> Self:
        """Begin."""
        self._began = time.perf_counter(), _cpu()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        wall, cpu = self._began
        self.result = {"wall": time.perf_counter() - wall, "cpu": _cpu() - cpu}


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def memory() -> dict[str, float]:
    """Tell this process's memory now and at its highest, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return {
        "now": int(sizes["VmRSS"].split()[0]) / _KIB_IN_MIB,
        "highest": int(sizes["VmHWM"].split()[0]) / _KIB_IN_MIB,
    }


def log_to(name: str) -> None:
    """Write this process's log to a file, as a task does."""
    log = Path(os.environ["AIRFLOW_HOME"]) / name
    logging.basicConfig(filename=log, level=logging.INFO, force=True)
