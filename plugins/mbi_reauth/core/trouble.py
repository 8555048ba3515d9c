"""What engineers hear of: a set-up that is wrong, and an answer that fails to come for too long."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from mbi_reauth.core.notice import Reason
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Finding, Verdict

LASTS_CHECKS = 3
LASTS_FOR = timedelta(minutes=30)
TOLD_FOR = timedelta(hours=24)
"""A trouble that comes and goes is told no more often than this."""

_WAITING = (Verdict.UNAVAILABLE, Verdict.INDETERMINATE)


def subject(cause: Cause) -> str:
    """Name what engineers are told of; how an answer fails to come may vary."""
    return Reason.LASTING.value if VERDICT_OF[cause] in _WAITING else cause.value


class Trouble(BaseModel):
    """A run of checks that neither proved the credential nor blamed it; ``over_at`` once one did.

    ``checks`` counts them, the last of which was at ``last_at``. ``told`` is when engineers were told of
    which :func:`subject`, and ``worked_at`` the end of the run before this one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cause: Cause
    since: datetime
    last_at: datetime
    checks: int = 1
    told: dict[str, datetime] = {}
    worked_at: datetime | None = None
    over_at: datetime | None = None

    @property
    def reason(self) -> Reason:
        """Why engineers hear of it."""
        wrong = VERDICT_OF[self.cause] is Verdict.MISCONFIGURED
        return Reason.MISCONFIGURED if wrong else Reason.LASTING

    @property
    def was_told(self) -> bool:
        """Whether engineers were told that something is wrong since it last worked."""
        return any(self._is_news(at) for at in self.told.values())

    def forget(self, causes: Iterable[Cause]) -> Trouble:
        """Return it without what engineers were not told after all."""
        in_vain = {subject(cause) for cause in causes}
        return self.model_copy(
            update={"told": {about: at for about, at in self.told.items() if about not in in_vain}}
        )

    def is_known(self, now: datetime) -> bool:
        """Tell whether engineers were told of it since it last worked, or not long ago."""
        at = self.told.get(subject(self.cause))
        return at is not None and (self._is_news(at) or now - at < TOLD_FOR)

    def _is_news(self, at: datetime) -> bool:
        return self.worked_at is None or at > self.worked_at


class Followed(NamedTuple):
    """The trouble after a check, and what engineers are to be told now, if anything."""

    trouble: Trouble | None
    tell: Reason | None = None


def follow(trouble: Trouble | None, finding: Finding, checked_at: datetime, *, now: datetime) -> Followed:
    """Count one more check: a wrong set-up is told at once, silence after three checks and half an hour."""
    if finding.verdict is Verdict.NEEDS_REFRESH:
        return Followed(trouble)
    if finding.verdict in (Verdict.AUTHORIZED, Verdict.NEEDS_REAUTH):
        return _ended(trouble, finding, now=now)
    trouble = _gone_on(trouble, finding.cause, checked_at)
    if trouble.is_known(now) or not _is_due(trouble):
        return Followed(trouble)
    told = trouble.model_copy(update={"told": trouble.told | {subject(finding.cause): now}})
    return Followed(told, told.reason)


def _ended(trouble: Trouble | None, finding: Finding, *, now: datetime) -> Followed:
    if trouble is None or trouble.over_at is not None:
        return Followed(trouble)
    works = trouble.was_told and finding.verdict is Verdict.AUTHORIZED
    return Followed(trouble.model_copy(update={"over_at": now}), Reason.WORKS_AGAIN if works else None)


def _gone_on(trouble: Trouble | None, cause: Cause, checked_at: datetime) -> Trouble:
    begun = Trouble(cause=cause, since=checked_at, last_at=checked_at)
    if trouble is None:
        return begun
    if trouble.over_at is not None:
        return begun.model_copy(update={"told": trouble.told, "worked_at": trouble.over_at})
    if subject(trouble.cause) != subject(cause):
        return begun.model_copy(update={"told": trouble.told, "worked_at": trouble.worked_at})
    # a finding that is reported again is no other check
    checks = trouble.checks + (checked_at > trouble.last_at)
    return trouble.model_copy(update={"cause": cause, "checks": checks, "last_at": checked_at})


def _is_due(trouble: Trouble) -> bool:
    if trouble.reason is Reason.MISCONFIGURED:
        return True
    return trouble.checks >= LASTS_CHECKS and trouble.last_at - trouble.since >= LASTS_FOR
