"""File systems that die: from a chosen operation on, nothing works any more, as after a kill."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]


class Killed(BaseException):
    """The process is gone; not an Exception, so that nothing catches it."""


class Mortal:
    """Counts the operations that change something, and dies at one of them."""

    dies_at: int | None = None
    steps = 0

    def revive(self, *, dies_at: int | None) -> None:
        self.steps = 0
        self.dies_at = dies_at

    def step(self) -> None:
        """Live through one more operation, or die; once dead, always dead."""
        if self.dies_at is not None and self.steps >= self.dies_at:
            raise Killed
        self.steps += 1

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "r" not in mode:
            self.step()
        return super()._open(path, mode=mode, **kwargs)  # type: ignore[misc]

    def cp_file(self, *args: Any, **kwargs: Any) -> Any:
        self.step()
        return super().cp_file(*args, **kwargs)  # type: ignore[misc]

    def _rm(self, path: str) -> Any:
        self.step()
        return super()._rm(path)  # type: ignore[misc]

    def rm_file(self, path: str) -> Any:
        self.step()
        return super().rm_file(path)  # type: ignore[misc]


class MortalObjectStore(Mortal, MemoryFileSystem):  # type: ignore[misc]
    """An object store: a move is a copy and a removal, and a file is visible while it is written."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.store: dict[str, Any] = {}
        self.pseudo_dirs = [""]


class MortalDisk(Mortal, LocalFileSystem):  # type: ignore[misc]
    """A local file system: a move is one operation."""

    cachable = False

    def mv(self, *args: Any, **kwargs: Any) -> Any:
        self.step()
        return super().mv(*args, **kwargs)


def folder_on(fs: Mortal, where: str) -> ObjectStoragePath:
    """Name a folder of this very file system, as a user does by a connection."""
    conn_id = f"mortal_{uuid.uuid4().hex}"
    protocol = "memory" if isinstance(fs, MortalObjectStore) else "file"
    attach(protocol, conn_id=conn_id, fs=fs)
    return ObjectStoragePath(f"{protocol}://{where}", conn_id=conn_id)


def visible(folder: ObjectStoragePath) -> Iterator[dict[str, Any]]:
    """Read what a consumer sees: every line of every file that does not end in .part."""
    if not folder.exists():
        return
    for path in sorted(folder.iterdir(), key=lambda path: str(path.name)):
        if path.name.endswith(".jsonl.gz"):
            yield from map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines())


def names(folder: ObjectStoragePath) -> list[str]:
    return sorted(Path(str(path)).name for path in folder.iterdir()) if folder.exists() else []
