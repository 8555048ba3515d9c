"""Which emails about an incident are due, from what has been written so far: decisions without I/O.

They are derived from the whole history each time, not triggered: asked twice, nothing new comes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from mbi_reauth.core.notice import TO_PEOPLE, NotificationKind, Reason

ESCALATES_AFTER = 2
"""Reminders without an effect before the backup is written to; fewer where there are no more."""
AGAIN_AFTER = timedelta(hours=24)
"""Between two emails saying that it is lost again, while it comes and goes."""
REFUSED_AGAIN_AFTER = timedelta(hours=1)
"""Between two emails saying that what was entered anew is refused too."""
BETWEEN_REMINDERS = timedelta(hours=24)
"""At least, also where an outbox that nobody served has several to catch up with."""

_NEWS = (Reason.LOST, Reason.LOST_AGAIN, Reason.REPLACEMENT_REFUSED)


class LetterState(str, Enum):
    """How far a notification has come."""

    DUE = "due"
    CLAIMED = "claimed"
    SENT = "sent"
    REFUSED = "refused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One notification of an incident.

    ``at`` is when it was sent or refused, or may have been; else when it is or was due. ``claimed``: somebody
    took it to send it and has not said how that ended, or did not know, so it may be out. ``to`` is whom it
    was or is being sent to.
    """

    kind: NotificationKind
    reason: Reason
    ordinal: int
    state: LetterState
    at: datetime
    claimed: bool = False
    to: tuple[str, ...] = ()

    @property
    def told(self) -> bool:
        """Whether somebody has, or may have, read it."""
        return self.state is LetterState.SENT or self.claimed

    @property
    def pending(self) -> bool:
        """Whether it is still to be sent."""
        return self.state in (LetterState.DUE, LetterState.CLAIMED)

    @property
    def settled(self) -> bool:
        """Whether it is known how it ended."""
        return self.state in (LetterState.SENT, LetterState.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An incident, as far as emails go.

    ``replacement_refused``: a credential that was entered since has just been refused. ``owner`` is the
    present one's address.
    """

    confirmed: bool
    closed: bool
    replacement_refused: bool = False
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A notification that has become due, or that will be at ``due_at``; ordinals count each kind.

    One of an ordinal that there was is the same email once more: it was taken out, but may have been sent.
    """

    kind: NotificationKind
    reason: Reason
    due_at: datetime
    ordinal: int = 0

    @property
    def supersedes(self) -> tuple[NotificationKind, ...]:
        """Which kinds need not go out any more if they have not yet."""
        if self.kind is not NotificationKind.REMINDER or self.reason is Reason.STILL_LOST:
            return ()
        # nobody has been silent yet, or cannot be reached, if the owner is another one now
        new_owner = (NotificationKind.ESCALATION,) if self.reason is Reason.LOST else ()
        return (NotificationKind.REMINDER, *new_owner)


def due(
    case: Case, letters: Sequence[Letter], *, reminder_days: Sequence[int], now: datetime
) -> tuple[Due, ...]:
    """List the notifications that there must be beside those that there are.

    :param letters: in the order in which they came about
    """
    if case.closed:
        return _of_recovery(letters, now=now)
    if not case.confirmed:
        return ()
    thought_over = _thought_over(letters)
    begun = any(letter.pending or letter.settled for letter in letters if letter.reason in _NEWS)
    if not begun and not thought_over:
        return (_next(letters, NotificationKind.OPENED, Reason.LOST, now),)
    if thought_over:
        return _lost_again(letters, now=now)
    reminders = _reminders(case, letters, reminder_days, now=now)
    return (*reminders, *_escalations(letters, reminder_days, now=now))


def _of_recovery(letters: Sequence[Letter], *, now: datetime) -> tuple[Due, ...]:
    """Everybody who had been written to hears once that it is over."""
    recoveries = _of_kind(letters, NotificationKind.RECOVERED)
    if any(letter.pending for letter in recoveries):
        return ()
    told = _last(letter for letter in letters if letter.kind in TO_PEOPLE and letter.told)
    over = _last(letter for letter in recoveries if letter.settled)
    if told is None or (over is not None and over.at >= told.at):
        return ()
    return (_next(letters, NotificationKind.RECOVERED, Reason.WORKS_AGAIN, now),)


def _lost_again(letters: Sequence[Letter], *, now: datetime) -> tuple[Due, ...]:
    if _is_news_pending(letters):
        return ()
    return (_reminder(letters, Reason.LOST_AGAIN, AGAIN_AFTER, now),)


def _reminders(
    case: Case, letters: Sequence[Letter], reminder_days: Sequence[int], *, now: datetime
) -> tuple[Due, ...]:
    reminders = _of_kind(letters, NotificationKind.REMINDER)
    news = _anchor(letters)
    if news is None or _is_news_pending(letters):
        return ()
    if case.replacement_refused:
        return (_reminder(letters, Reason.REPLACEMENT_REFUSED, REFUSED_AGAIN_AFTER, now),)
    if _is_new_to_it(case.owner, letters):
        return (_next(letters, NotificationKind.REMINDER, Reason.LOST, now),)
    done = [letter for letter in _still_lost(letters, news) if letter.state is not LetterState.CANCELLED]
    if any(letter.pending for letter in reminders) or len(done) >= len(reminder_days):
        return ()
    due_at = news.at + timedelta(days=reminder_days[len(done)])
    if done:
        due_at = max(due_at, done[-1].at + BETWEEN_REMINDERS)
    return (_next(letters, NotificationKind.REMINDER, Reason.STILL_LOST, due_at),)


def _reminder(letters: Sequence[Letter], reason: Reason, pause: timedelta, now: datetime) -> Due:
    before = _last(letter for letter in letters if letter.reason is reason and letter.told)
    if before is None or before is _doubtful(letters):
        return _next(letters, NotificationKind.REMINDER, reason, now)
    return _next(letters, NotificationKind.REMINDER, reason, max(now, before.at + pause))


def _is_new_to_it(owner: str | None, letters: Iterable[Letter]) -> bool:
    """Whether the loss was told to people, and the registry now names an owner who is none of them."""
    written_to = {to.casefold() for letter in letters if letter.settled for to in letter.to}
    return owner is not None and owner.casefold() not in written_to


def _is_news_pending(letters: Iterable[Letter]) -> bool:
    return any(letter.pending and letter.reason in _NEWS for letter in letters)


def _thought_over(letters: Sequence[Letter]) -> bool:
    """Whether people were told that it is over, and not yet that it has been lost again since."""
    over = _last(letter for letter in letters if letter.kind is NotificationKind.RECOVERED and letter.told)
    lost = _last(letter for letter in letters if letter.kind in TO_PEOPLE and letter.settled)
    return over is not None and (lost is None or over.at >= lost.at)


def _escalations(
    letters: Sequence[Letter], reminder_days: Sequence[int], *, now: datetime
) -> tuple[Due, ...]:
    news = _anchor(letters)
    escalations = _of_kind(letters, NotificationKind.ESCALATION)
    if news is None or _is_news_pending(letters) or any(letter.pending for letter in escalations):
        return ()
    since = [letter for letter in letters if letter.at >= news.at and letter.settled]
    escalated = _of_kind(since, NotificationKind.ESCALATION)
    if any(letter.state is LetterState.SENT for letter in escalated) or len(escalated) > 1:
        return ()
    owners = (NotificationKind.OPENED, NotificationKind.REMINDER)
    if any(letter.kind in owners and letter.state is LetterState.REFUSED for letter in since):
        return (_next(letters, NotificationKind.ESCALATION, Reason.ADDRESS_REFUSED, now),)
    enough = min(ESCALATES_AFTER, len(reminder_days))
    if 0 < enough <= len(_still_lost(since, news)):
        return (_next(letters, NotificationKind.ESCALATION, Reason.OWNER_SILENT, now),)
    return ()


def _anchor(letters: Iterable[Letter]) -> Letter | None:
    """Return the last email that brought news of the loss, or failed to for good; reminders count from it."""
    return _last(letter for letter in letters if letter.reason in _NEWS and letter.settled)


def _still_lost(letters: Iterable[Letter], news: Letter) -> list[Letter]:
    """List the reminders since the news, the last one last."""
    reminders = [letter for letter in letters if letter.reason is Reason.STILL_LOST and letter.at >= news.at]
    return sorted(reminders, key=lambda letter: letter.at)


def _of_kind(letters: Iterable[Letter], kind: NotificationKind) -> list[Letter]:
    return [letter for letter in letters if letter.kind is kind]


def _last(letters: Iterable[Letter]) -> Letter | None:
    """Return the latest; of two of one moment the second, which was due because the first was sent."""
    return max(reversed(list(letters)), key=lambda letter: letter.at, default=None)


def _doubtful(letters: Iterable[Letter]) -> Letter | None:
    """Return the last email that people may have, if it was taken out before anybody knew."""
    last = _last(letter for letter in letters if letter.told)
    return last if last is not None and last.state is LetterState.CANCELLED else None


def _next(letters: Sequence[Letter], kind: NotificationKind, reason: Reason, due_at: datetime) -> Due:
    doubtful = _doubtful(letters)
    if doubtful is not None and (doubtful.kind, doubtful.reason) == (kind, reason):
        return Due(kind=kind, reason=reason, due_at=due_at, ordinal=doubtful.ordinal)
    ordinals = [letter.ordinal for letter in letters if letter.kind is kind]
    return Due(kind=kind, reason=reason, due_at=due_at, ordinal=max(ordinals, default=-1) + 1)
