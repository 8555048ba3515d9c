"""A folder for everything that a benchmark writes."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make one, and remove it at the end, which SIGTERM now leads to as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _end)
    folder = Path(tempfile.mkdtemp(prefix="mbi_reauth_benchmark_"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)
