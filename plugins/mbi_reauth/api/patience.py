"""Work that may take longer than a proxy waits for an answer: it goes on, and the browser looks again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

_going_on: set[asyncio.Task[Any]] = set()
"""An event loop alone does not keep a task (asyncio's documentation of ``create_task``)."""


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what comes of ``work``; None where it takes longer, and then it goes on by itself."""
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if done:
        return task.result()
    _going_on.add(task)
    task.add_done_callback(_over)
    return None


def _over(task: asyncio.Task[Any]) -> None:
    _going_on.discard(task)
    if not task.cancelled() and task.exception() is not None:
        # Not with its text, which may repeat what somebody has entered.
        log.error("An attempt to re-authorize failed by a fault of ours: %s", type(task.exception()).__name__)
