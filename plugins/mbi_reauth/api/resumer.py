"""The app's thread that resumes stopped runs; every worker of the API server has one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timezone

from mbi_reauth import settings
from mbi_reauth.api.services.resuming import EVERY, Resuming

log = logging.getLogger(__name__)

ENDS_WITHIN = 10.0
"""Seconds that the API server waits at its end for the run that is just being resumed."""


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Resumer:
    """Looks every quarter of a minute, and at once when an incident has closed."""

    def __init__(self, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now
        self._wake = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mbi_reauth resumer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look now: something may be due."""
        self._wake.set()

    def stop(self) -> None:
        """End after the run that is at hand."""
        self._over.set()
        self._wake.set()
        self._thread.join(ENDS_WITHIN)

    def _work(self) -> None:
        while not self._over.is_set():
            self._wake.clear()
            try:
                Resuming(self._now, settings.resume_batch()).run(is_over=self._over.is_set)
            except Exception:
                # Whatever it is, the next round tries again; the API server goes on.
                log.exception("Stopped runs could not be resumed now")
            self._wake.wait(EVERY.total_seconds())
