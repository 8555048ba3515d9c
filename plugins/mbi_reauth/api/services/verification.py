"""Verify a credential before it is saved: on a worker where Airflow can, in this process otherwise."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from mbi_reauth.core.standing import stamped, unknown
from mbi_reauth.core.verdict import Finding
from mbi_reauth.models.connection_tests import AirflowConnectionTests, Progress
from mbi_reauth.probes.candidate import Candidate, as_extra, finding_in, try_out, utc_now

__all__ = ["Candidate", "Waiting", "verify"]

PICKED_UP_WITHIN = 20.0
"""Seconds in which a scheduler must have handed it to the executor."""

ENDED_WITHIN = 40.0
"""Seconds that it may take in all; whoever entered the credential looks at a page that loads."""

STALE = timedelta(hours=1)

log = logging.getLogger(__name__)


class ConnectionTests(Protocol):
    """Airflow's connection tests (:class:`mbi_reauth.models.connection_tests.AirflowConnectionTests`)."""

    def supported(self) -> bool:
        """Whether a worker can run one."""

    def put(self, extra: Mapping[str, Any]) -> UUID:
        """Ask for one."""

    def look(self, test_id: UUID) -> Progress | None:
        """Tell how far it is."""

    def drop(self, test_id: UUID) -> None:
        """Delete it."""

    def drop_older(self, moment: datetime) -> None:
        """Delete what a crash has left behind."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How time passes while a worker is at it; all in seconds."""

    elapsed: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    between: float = 0.5


@dataclass(frozen=True, kw_only=True)
class _Verification:
    candidate: Candidate
    tests: ConnectionTests
    waiting: Waiting
    now: Callable[[], datetime]
    here: Callable[[Candidate], Finding] = field(default=try_out)

    def finding(self) -> Finding:
        return self._on_worker() if self.tests.supported() else self.here(self.candidate)

    def _on_worker(self) -> Finding:
        self.tests.drop_older(self.now() - STALE)
        test_id = self.tests.put(as_extra(self.candidate))
        try:
            return self._awaited(test_id)
        finally:
            self._dropped(test_id)

    def _dropped(self, test_id: UUID) -> None:
        try:
            self.tests.drop(test_id)
        except Exception:  # noqa: BLE001 - logged without what it may repeat
            # What was found stands; the next verification sweeps the row away.
            _log_fault(self.candidate, "The row of the connection test is not deleted yet, that of")

    def _awaited(self, test_id: UUID) -> Finding:
        began = self.waiting.elapsed()
        while True:
            progress = self.tests.look(test_id)
            waited = self.waiting.elapsed() - began
            if progress is None:
                return self._unverified("Airflow has lost the test", waited)
            if progress.ended:
                return self._told(progress.message, waited)
            if not progress.taken and waited >= PICKED_UP_WITHIN:
                return self._unverified("no scheduler has taken it up", waited)
            if waited >= ENDED_WITHIN:
                return self._unverified("no worker has given an answer", waited)
            self.waiting.sleep(self.waiting.between)

    def _told(self, message: str | None, waited: float) -> Finding:
        found = finding_in(message)
        if found is not None:
            return found
        # Airflow's own words, as of a worker without the plugin or out of time.
        log.warning("Instead of a finding, the worker said: %s", self.candidate.secrets.hide(message or ""))
        return self._unverified("the worker could not do it", waited)

    def _unverified(self, because: str, waited: float) -> Finding:
        log.warning(
            "%s could not be verified on a worker: %s, after %.0f s",
            self.candidate.integration.full_label,
            because,
            waited,
        )
        return unknown("not_verified", f"It could not be verified now: {because}. Try again in a while.")


def verify(
    candidate: Candidate,
    *,
    now: Callable[[], datetime] = utc_now,
    tests: ConnectionTests | None = None,
    waiting: Waiting = Waiting(),
    here: Callable[[Candidate], Finding] = try_out,
) -> Finding:
    """Ask the third party once, in full; whatever it, the network or a worker does is in the finding.

    It blocks, on a worker for up to :data:`ENDED_WITHIN` seconds. Where no worker takes it up, nothing is
    asked from here instead: the network of the API server may be another than that of the extraction.

    :param here: asks from this process, where the executor's workers cannot
    """
    began = now()
    try:
        verification = _Verification(
            candidate=candidate, tests=tests or AirflowConnectionTests(), waiting=waiting, now=now, here=here
        )
        finding = verification.finding()
    except Exception:  # noqa: BLE001 - logged without what it may repeat
        _log_fault(candidate, "A fault of its own ended the verification of")
        finding = unknown("fault", "The verification itself failed; the log has the reason.")
    return stamped(finding, began, None, candidate.integration)


def _log_fault(candidate: Candidate, what: str) -> None:
    # Not log.exception: an error may repeat what it was given.
    log.error("%s %s\n%s", what, candidate.integration.id, candidate.secrets.hide(traceback.format_exc()))
