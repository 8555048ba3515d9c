from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from mbi_reauth.api.services.verification import (
    ENDED_WITHIN,
    PICKED_UP_WITHIN,
    STALE,
    Candidate,
    Waiting,
    verify,
)
from mbi_reauth.core.verdict import Cause, Finding, Verdict
from mbi_reauth.models.connection_tests import Progress
from mbi_reauth.probes.candidate import as_message, candidate_in
from tests.checking import NOON, a_credential, an_integration

PASSWORD = "fake-password-of-a-candidate"
CANDIDATE = Candidate(integration=an_integration(), credential=a_credential(password=PASSWORD))
GOOD = Finding(cause=Cause.AUTHORIZED, rule="made_up.ok", explanation="Welcome.", account="Example")
BAD = Finding(cause=Cause.CREDENTIALS_REJECTED, rule="made_up.no", explanation="No.")

PENDING = Progress(taken=False, ended=False)
QUEUED = Progress(taken=True, ended=False)


def ended(message: str | None) -> Progress:
    return Progress(taken=True, ended=True, message=message)


@dataclass
class Clock:
    """Goes on while somebody sleeps, and not otherwise."""

    seconds: float = 0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    @property
    def waiting(self) -> Waiting:
        return Waiting(elapsed=lambda: self.seconds, sleep=self.sleep)


@dataclass
class FakeTests:
    """Airflow's table: tells its progress in turn, the last one for ever."""

    progress: list[Progress | BaseException | None] = field(default_factory=list)
    workers: bool = True
    dropping: Exception | None = None
    rows: dict[UUID, Mapping[str, Any]] = field(default_factory=dict)
    put_in: list[Mapping[str, Any]] = field(default_factory=list)
    swept: list[datetime] = field(default_factory=list)

    def supported(self) -> bool:
        return self.workers

    def put(self, extra: Mapping[str, Any]) -> UUID:
        test_id = uuid4()
        self.rows[test_id] = extra
        self.put_in.append(extra)
        return test_id

    def look(self, test_id: UUID) -> Progress | None:
        assert test_id in self.rows
        seen = self.progress.pop(0) if len(self.progress) > 1 else self.progress[0]
        if isinstance(seen, BaseException):
            raise seen
        return seen

    def drop(self, test_id: UUID) -> None:
        if self.dropping is not None:
            raise self.dropping
        del self.rows[test_id]

    def drop_older(self, moment: datetime) -> None:
        self.swept.append(moment)


def here_is_nobody(_: Candidate) -> Finding:
    pytest.fail("asked from the API server")


def verified(
    tests: FakeTests,
    clock: Clock | None = None,
    *,
    candidate: Candidate = CANDIDATE,
    here: Callable[[Candidate], Finding] = here_is_nobody,
) -> Finding:
    waiting = (clock or Clock()).waiting
    return verify(candidate, now=lambda: NOON, tests=tests, waiting=waiting, here=here)


@pytest.mark.parametrize("found", [GOOD, BAD], ids=["accepted", "refused"])
def test_the_worker_decides_and_the_times_are_those_of_this_side(found: Finding) -> None:
    told = found.model_copy(update={"checked_at": NOON + timedelta(days=1)})
    finding = verified(FakeTests([PENDING, QUEUED, ended(as_message(told))]))
    proved = NOON if found is GOOD else None
    assert finding == found.model_copy(update={"checked_at": NOON, "proved_at": proved})


def test_the_worker_gets_the_whole_candidate() -> None:
    tests = FakeTests([ended(as_message(GOOD))])
    verified(tests)
    assert [candidate_in(extra) for extra in tests.put_in] == [CANDIDATE]


def test_without_such_workers_it_is_asked_from_here() -> None:
    tests = FakeTests(workers=False)
    assert verified(tests, here=lambda _: BAD).cause is Cause.CREDENTIALS_REJECTED
    assert tests.put_in == []


@pytest.mark.parametrize(
    ("progress", "within", "words"),
    [(PENDING, PICKED_UP_WITHIN, "no scheduler"), (QUEUED, ENDED_WITHIN, "no worker")],
)
def test_whoever_does_not_take_it_up_is_waited_for_so_long_and_nobody_else_is_asked(
    progress: Progress, within: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock, tests = Clock(), FakeTests([progress])
    finding = verified(tests, clock)
    assert finding.verdict is Verdict.INDETERMINATE
    assert finding.rule == "check.not_verified"
    assert words in finding.explanation
    assert words in caplog.text
    assert clock.seconds == within
    assert tests.rows == {}


def test_a_test_taken_up_late_has_the_rest_of_the_time() -> None:
    clock = Clock()
    early: list[Progress | BaseException | None] = [PENDING] * int(PICKED_UP_WITHIN / 0.5)
    assert verified(FakeTests([*early, QUEUED]), clock).rule == "check.not_verified"
    assert clock.seconds == ENDED_WITHIN


@pytest.mark.parametrize(
    "progress",
    [None, ended(None), ended('Unknown hook type "mbireauth"'), ended('{"cause": "authorized"}')],
    ids=["row gone", "no words", "worker without the plugin", "half a finding"],
)
def test_anything_but_a_finding_says_nothing_about_the_credential(progress: Progress | None) -> None:
    tests = FakeTests([progress])
    assert verified(tests).rule == "check.not_verified"
    assert tests.rows == {}


def test_a_workers_own_words_are_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    verified(FakeTests([ended(f"cannot use {PASSWORD}")]))
    assert "cannot use ***" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_database_that_is_away_is_no_word_about_the_credential(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tests = FakeTests([RuntimeError(f"connection lost: {PASSWORD}")])
    finding = verified(tests)
    assert finding.rule == "check.fault"
    assert finding.checked_at == NOON
    assert "RuntimeError: connection lost: ***" in caplog.text
    assert PASSWORD not in caplog.text
    assert tests.rows == {}


def test_an_interrupted_verification_leaves_no_row() -> None:
    tests = FakeTests([KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        verified(tests)
    assert tests.put_in != []
    assert tests.rows == {}


def test_a_row_that_cannot_be_deleted_changes_nothing_of_what_was_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tests = FakeTests([ended(as_message(GOOD))], dropping=RuntimeError(f"away with {PASSWORD}"))
    assert verified(tests).cause is Cause.AUTHORIZED
    assert "not deleted yet" in caplog.text
    assert PASSWORD not in caplog.text


def test_what_a_crash_left_behind_is_swept_away_first() -> None:
    tests = FakeTests([ended(as_message(GOOD))])
    verified(tests)
    assert tests.swept == [NOON - STALE]


def test_the_end_that_the_registry_names_is_in_the_finding() -> None:
    candidate = Candidate(
        integration=an_integration(expires_at="2027-03-01"), credential=CANDIDATE.credential
    )
    finding = verified(FakeTests([ended(as_message(GOOD))]), candidate=candidate)
    assert str(finding.expires_at) == "2027-03-01 00:00:00+00:00"
