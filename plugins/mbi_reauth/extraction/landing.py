"""Land rows in a folder exactly once, whatever moment a run dies at.

A batch is named after the cursor that it starts from. It is written aside and moved into place; then the
pointer file with the next cursor is written aside and moved. A run that dies in between leaves a whole batch
and the old cursor: the next run starts from the same cursor, so it writes the same name again, with the same
rows and those that came since.
"""

from __future__ import annotations

import gzip
import io
import itertools
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from mbi_reauth.extraction.cursor import SUFFIX, Cursor, Frontier
from mbi_reauth.extraction.errors import ExtractionError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

POINTER = "_cursor.json"
FULL_COPY = f"full{SUFFIX}"
PART = ".part"
PROGRESS_EVERY = 100_000
# Level 6 is zlib's own default; gzip's 9 takes twice as long for two percent.
_COMPRESSION = 6


@dataclass(frozen=True, slots=True)
class Landed:
    """What a run added: the file, if there was anything to land, and its rows."""

    rows: int
    file: str | None = None


def read_cursor(folder: ObjectStoragePath, *, by: tuple[str, ...]) -> Cursor:
    """Find where the next batch of ``folder`` begins, with ``by`` the watermark's name and the key's.

    :raises ExtractionError: when the folder was landed by other columns, or without a cursor.
    """
    pointer = folder / POINTER
    if pointer.exists():
        cursor = Cursor.from_json(pointer.read_text(encoding="utf-8"), where=pointer)
        if cursor.by != by:
            raise ExtractionError(
                f"{folder} was landed by {', '.join(cursor.by)}, and is now asked for by {', '.join(by)}. "
                "Empty the folder to extract everything anew, or put the columns back."
            )
        return cursor
    start = Cursor(by)
    # A first batch without a cursor is what a run leaves that died between the two moves.
    strangers = [name for name in _landed_names(folder) if name != start.next_name]
    if strangers:
        raise ExtractionError(
            f"{folder} holds {strangers[0]} but no {POINTER}, so its rows would be landed twice. "
            "Restore the cursor, or empty the folder to extract everything anew."
        )
    return start


def land_batch(folder: ObjectStoragePath, frontier: Frontier, lines: Iterator[str]) -> Landed:
    """Land the rows after ``frontier.start``; the frontier follows each line before it comes."""
    start = frontier.start
    target = folder / start.next_name
    with _aside(target) as part, _aside(folder / POINTER) as pointer:
        rows = _write(part, lines)
        if rows:
            # Both files are whole before either is in place, so that what cannot be written leaves nothing.
            _write_text(pointer, frontier.cursor().to_json())
            if read_cursor(folder, by=start.by) != start:
                raise _overtaken(folder)
            _move(part, target)
            _move(pointer, folder / POINTER)
    return _landed(target, rows)


def land_full_copy(folder: ObjectStoragePath, lines: Iterator[str]) -> Landed:
    """Replace the folder's one file by ``lines``; by nothing when the source is empty."""
    if (folder / POINTER).exists():
        raise ExtractionError(
            f"{folder} was landed by a watermark, and is now asked for as a full copy. Empty the folder, "
            "or put the watermark back."
        )
    target = folder / FULL_COPY
    with _aside(target) as part:
        rows = _write(part, lines)
        if rows:
            _move(part, target)
        elif target.exists():
            target.unlink()
    return _landed(target, rows)


def _landed(target: ObjectStoragePath, rows: int) -> Landed:
    if not rows:
        log.info("Nothing new for %s", target.parent)
        return Landed(0)
    log.info("Landed %d rows in %s", rows, target)
    return Landed(rows, str(target))


def _landed_names(folder: ObjectStoragePath) -> list[str]:
    if not folder.exists():
        return []
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(SUFFIX))


def _overtaken(folder: ObjectStoragePath) -> ExtractionError:
    return ExtractionError(
        f"another run is landing rows in {folder}; this one stops and leaves what is there"
    )


@contextmanager
def _aside(target: ObjectStoragePath) -> Iterator[ObjectStoragePath]:
    """Give a name beside ``target`` that nobody reads, and leave nothing under it.

    What earlier runs left aside for the same target is removed first. That also fences off a run that was
    given up but still writes: its move finds nothing.
    """
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    for path in list(folder.iterdir()):
        if path.name.startswith(f"{target.name}.") and path.name.endswith(PART):
            path.unlink(missing_ok=True)
    # On an object store the move is a copy, and a copy or a put is seen whole or not at all. A put straight
    # to the target would not do: closing an upload after an error publishes what was sent until then.
    part = folder / f"{target.name}.{uuid.uuid4().hex}{PART}"
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _move(part: ObjectStoragePath, target: ObjectStoragePath) -> None:
    try:
        part.move(target)
    except FileNotFoundError as error:
        raise _overtaken(target.parent) from error


def _write(part: ObjectStoragePath, lines: Iterator[str]) -> int:
    """Write ``lines`` compressed and count them; nothing at all when there are none."""
    first = next(lines, None)
    if first is None:
        return 0
    with _open(part) as raw:
        with (
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_COMPRESSION, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
        ):
            rows = _write_lines(text, itertools.chain((first,), lines))
        _to_disk(raw)
    return rows


def _write_lines(text: IO[str], lines: Iterable[str]) -> int:
    rows = 0
    for rows, line in enumerate(lines, start=1):
        text.write(f"{line}\n")
        if rows % PROGRESS_EVERY == 0:
            log.info("%d rows so far", rows)
    return rows


def _write_text(part: ObjectStoragePath, text: str) -> None:
    with _open(part) as raw:
        raw.write(text.encode())
        _to_disk(raw)


def _open(part: ObjectStoragePath) -> IO[bytes]:
    return cast("IO[bytes]", part.open("wb"))  # type: ignore[no-untyped-call]


def _to_disk(raw: IO[bytes]) -> None:
    """Outlast a power cut: a file system may keep the move and lose the bytes that were moved."""
    raw.flush()
    descriptor: Callable[[], int] | None = getattr(raw, "fileno", None)
    if descriptor is None:
        return
    try:
        os.fsync(descriptor())
    except (OSError, AttributeError):
        log.debug("This store has no file to synchronize")
