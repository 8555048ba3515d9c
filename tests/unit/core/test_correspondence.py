from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.core.correspondence import Case, Due, Letter, LetterState, due
from mbi_reauth.core.notice import TO_PEOPLE, NotificationKind, Reason

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR, DAY = 60.0, 24 * 60.0
DAYS = (1, 3, 7)


@dataclass
class Correspondence:
    """What a caller of ``due`` keeps: an incident, its letters, and a clock, in minutes."""

    minute: float = 0
    case: Case = field(default_factory=lambda: Case(confirmed=True, closed=False))
    letters: list[Letter] = field(default_factory=list)
    days: Sequence[int] = DAYS
    log: list[tuple[float, str]] = field(default_factory=list)
    """The minute and the reason of everything sent or refused."""

    @property
    def owner(self) -> str:
        return self.case.owner or "dana@example.com"

    @property
    def now(self) -> datetime:
        return START + timedelta(minutes=self.minute)

    def happens(self, *, closed: bool = False, replacement_refused: bool = False) -> Correspondence:
        """Change the case; a replacement that was refused is only ever news once."""
        self.case = replace(self.case, closed=closed, replacement_refused=replacement_refused)
        self._cancel(TO_PEOPLE if closed else (NotificationKind.RECOVERED,))
        self.ask()
        self.case = replace(self.case, replacement_refused=False)
        return self

    def ask(self) -> list[Due]:
        """Put in what is due, as the caller does."""
        found = due(self.case, self.letters, reminder_days=self.days, now=self.now)
        for each in found:
            self._cancel(each.supersedes)
            self._put(each)
        return list(found)

    def _put(self, each: Due) -> None:
        for number, letter in enumerate(self.letters):
            if (letter.kind, letter.ordinal) == (each.kind, each.ordinal):
                assert letter.state is LetterState.CANCELLED
                self.letters[number] = replace(letter, state=LetterState.DUE, at=each.due_at)
                return
        self.letters.append(
            Letter(
                kind=each.kind,
                reason=each.reason,
                ordinal=each.ordinal,
                state=LetterState.DUE,
                at=each.due_at,
            )
        )

    def _cancel(self, kinds: Sequence[NotificationKind]) -> None:
        for number, letter in enumerate(self.letters):
            if letter.pending and letter.kind in kinds:
                self.letters[number] = replace(letter, state=LetterState.CANCELLED)

    def due(self) -> list[tuple[float, str]]:
        """List what is still to be sent: from which minute on, and why."""
        pending = [letter for letter in self.letters if letter.pending]
        return [((letter.at - START) / timedelta(minutes=1), letter.reason.value) for letter in pending]

    def claims(self, letter: Letter | None = None) -> Letter:
        """Take what is due into somebody's hands."""
        if letter is None:
            [letter] = [each for each in self.letters if each.pending and each.at <= self.now]
        number = self.letters.index(letter)
        self.letters[number] = replace(letter, state=LetterState.CLAIMED, claimed=True, to=(self.owner,))
        return letter

    def settles(self, letter: Letter, state: LetterState = LetterState.SENT) -> None:
        """Say how it ended; ``DUE``: it was not sent."""
        for number, each in enumerate(self.letters):
            if (each.kind, each.ordinal) == (letter.kind, letter.ordinal):
                unsent = state is LetterState.DUE
                state = each.state if unsent and each.state is LetterState.CANCELLED else state
                at = each.at if unsent else self.now
                self.letters[number] = replace(each, state=state, claimed=False, at=at, to=(self.owner,))
        if state in (LetterState.SENT, LetterState.REFUSED):
            self.log.append((self.minute, letter.reason.value))
        self.ask()

    def sweeps(self, *, refuses: Sequence[NotificationKind] = ()) -> None:
        """Send everything that is due; each takes a moment."""
        while found := [letter for letter in self.letters if letter.pending and letter.at <= self.now]:
            self.settles(found[0], LetterState.REFUSED if found[0].kind in refuses else LetterState.SENT)
            self.minute += 0.001

    def passes(self, minutes: float, *, every: float = HOUR) -> Correspondence:
        """Let time pass, with a sweep every so often."""
        end = self.minute + minutes
        while self.minute < end:
            self.sweeps()
            self.minute = min(end, (self.minute // every + 1) * every)
        self.sweeps()
        return self

    def sent(self) -> list[str]:
        return [reason for _, reason in self.log]


def lost(minute: float = 0) -> Correspondence:
    """A loss that is certain, and whose first email is due."""
    correspondence = Correspondence(minute=minute)
    correspondence.ask()
    return correspondence


def told() -> Correspondence:
    """A loss of which the owner was told."""
    correspondence = lost()
    correspondence.sweeps()
    return correspondence


def recovered() -> Correspondence:
    """It is over, and the owner was told so too."""
    correspondence = told()
    correspondence.minute = 10
    correspondence.happens(closed=True).sweeps()
    return correspondence


def reopened(correspondence: Correspondence, minute: float) -> Correspondence:
    correspondence.minute = minute
    return correspondence.happens(closed=False)


def test_the_owner_is_told_at_once_of_a_loss_that_is_certain() -> None:
    assert lost().due() == [(0, "lost")]


def test_nothing_is_due_while_the_loss_is_not_certain() -> None:
    assert due(Case(confirmed=False, closed=False), [], reminder_days=DAYS, now=START) == ()


def test_reminders_follow_one_three_and_seven_days_after_the_owner_was_told() -> None:
    days = [
        round(minute / DAY, 1) for minute, reason in told().passes(20 * DAY).log if reason == "still_lost"
    ]
    assert days == [1, 3, 7]


@pytest.mark.parametrize("days", [(), (2,), (1, 2, 3, 4)])
def test_reminders_come_on_the_days_that_are_set(days: tuple[int, ...]) -> None:
    correspondence = Correspondence(days=days)
    correspondence.ask()
    log = correspondence.passes(20 * DAY).log
    assert [round(minute / DAY, 1) for minute, reason in log if reason == "still_lost"] == list(days)


def test_without_reminders_nobody_is_silent_and_after_the_only_one_the_backup_hears() -> None:
    for days, reasons in (((), ["lost"]), ((2,), ["lost", "still_lost", "owner_silent"])):
        correspondence = Correspondence(days=days)
        correspondence.ask()
        assert correspondence.passes(20 * DAY).sent() == reasons


def test_reminders_count_from_when_the_owner_was_told_not_from_the_loss() -> None:
    correspondence = lost()
    correspondence.minute = 2 * DAY
    correspondence.sweeps()
    assert correspondence.due() == [(3 * DAY, "still_lost")]


def test_no_reminder_is_due_before_the_owner_was_told() -> None:
    correspondence = lost()
    correspondence.minute = 9 * DAY
    assert correspondence.ask() == []


def test_reminders_that_nobody_sent_for_a_week_are_caught_up_with_a_day_apart() -> None:
    correspondence = told()
    correspondence.minute = 8 * DAY
    log = correspondence.passes(10 * DAY).log
    assert [round(minute / DAY) for minute, reason in log if reason == "still_lost"] == [8, 9, 10]


def test_the_backup_hears_after_the_second_reminder_and_only_once() -> None:
    assert told().passes(30 * DAY).sent() == [
        "lost",
        "still_lost",
        "still_lost",
        "owner_silent",
        "still_lost",
    ]


@pytest.mark.parametrize(("days", "told_of_silence"), [((2,), [2]), ((), [])])
def test_where_fewer_than_two_reminders_are_set_the_backup_hears_after_the_last(
    days: tuple[int, ...], told_of_silence: list[int]
) -> None:
    correspondence = Correspondence(days=days)
    correspondence.ask()
    log = correspondence.passes(20 * DAY).log
    assert [round(minute / DAY) for minute, reason in log if reason == "owner_silent"] == told_of_silence


def test_a_refused_address_escalates_at_once() -> None:
    correspondence = lost()
    correspondence.sweeps(refuses=[NotificationKind.OPENED])
    assert correspondence.log == [(0, "lost"), (pytest.approx(0.001), "address_refused")]


def test_an_address_that_is_refused_only_later_escalates_at_once() -> None:
    correspondence = told()
    correspondence.minute = DAY
    correspondence.sweeps(refuses=[NotificationKind.REMINDER])
    assert correspondence.sent() == ["lost", "still_lost", "address_refused"]


def test_when_the_backup_is_refused_too_somebody_else_hears_and_then_nobody() -> None:
    correspondence = lost()
    correspondence.sweeps(refuses=[NotificationKind.OPENED, NotificationKind.ESCALATION])
    assert correspondence.sent() == ["lost", "address_refused", "address_refused"]
    assert correspondence.due() == [(0 + DAY, "still_lost")]


def test_a_backup_that_is_refused_after_two_reminders_makes_somebody_else_hear() -> None:
    correspondence = told().passes(2 * DAY)
    correspondence.minute = 3 * DAY
    correspondence.sweeps(refuses=[NotificationKind.ESCALATION])
    assert correspondence.sent()[3:] == ["owner_silent", "owner_silent"]


def test_when_everybody_is_refused_the_reminders_end_as_ever() -> None:
    correspondence = lost()
    every = [NotificationKind.OPENED, NotificationKind.REMINDER, NotificationKind.ESCALATION]
    for _ in range(20):
        correspondence.sweeps(refuses=every)
        correspondence.minute += DAY
    assert correspondence.sent() == ["lost", "address_refused", "address_refused", *["still_lost"] * 3]


def test_whoever_was_told_hears_once_that_it_is_over() -> None:
    correspondence = recovered()
    assert correspondence.sent() == ["lost", "works_again"]
    assert correspondence.passes(9 * DAY).sent() == ["lost", "works_again"]


def test_nobody_hears_that_it_is_over_who_never_heard_of_the_loss() -> None:
    correspondence = lost().happens(closed=True)
    assert correspondence.due() == []


def test_a_recovery_of_which_a_refused_address_alone_was_told_is_no_news() -> None:
    correspondence = lost()
    first = correspondence.claims()
    correspondence.settles(first, LetterState.REFUSED)
    correspondence.happens(closed=True)
    assert correspondence.due() == []


def test_a_recovery_that_the_mail_server_refuses_is_not_sent_again() -> None:
    correspondence = told()
    correspondence.minute = 10
    correspondence.happens(closed=True).sweeps(refuses=[NotificationKind.RECOVERED])
    assert correspondence.ask() == []


def test_what_was_not_sent_when_it_is_over_never_will_be() -> None:
    correspondence = told()
    correspondence.minute = DAY
    correspondence.happens(closed=True)
    assert correspondence.due() == [(DAY, "works_again")]


def test_who_may_have_been_told_hears_that_it_is_over() -> None:
    correspondence = lost()
    correspondence.claims()
    correspondence.happens(closed=True)
    assert correspondence.due() == [(0, "works_again")]


def test_lost_again_before_anybody_heard_of_the_recovery_goes_on_as_one_loss() -> None:
    correspondence = told()
    correspondence.minute = 10
    correspondence.happens(closed=True)
    reopened(correspondence, 20)
    assert correspondence.due() == [(DAY, "still_lost")]


def test_lost_again_after_the_recovery_was_told_is_said_at_once() -> None:
    correspondence = reopened(recovered(), 20)
    assert correspondence.due() == [(20, "lost_again")]


def test_after_it_was_said_to_be_lost_again_reminders_and_escalation_count_anew() -> None:
    correspondence = reopened(recovered(), 20).passes(30 * DAY)
    assert correspondence.sent()[2:] == [
        "lost_again",
        "still_lost",
        "still_lost",
        "owner_silent",
        "still_lost",
    ]
    assert [round(minute / DAY) for minute, reason in correspondence.log if reason == "still_lost"] == [
        1,
        3,
        7,
    ]


def test_the_backup_hears_again_when_it_is_lost_again_and_the_owner_stays_silent() -> None:
    correspondence = told().passes(4 * DAY)
    correspondence.happens(closed=True).sweeps()
    log = reopened(correspondence, 4 * DAY + 20).passes(4 * DAY).sent()
    assert log.count("owner_silent") == 2


def test_nobody_is_told_of_a_silent_owner_who_was_told_that_it_is_over() -> None:
    correspondence = told().passes(3 * DAY - 30)
    correspondence.minute = 3 * DAY
    second = correspondence.claims()
    correspondence.settles(second)
    correspondence.minute += 1
    correspondence.happens(closed=True).sweeps()
    reopened(correspondence, 3 * DAY + 5)
    assert correspondence.due() == [(3 * DAY + 5, "lost_again")]


def test_coming_and_going_all_day_is_no_flood_of_emails() -> None:
    correspondence = recovered()
    for number in range(1, 48):
        reopened(correspondence, 30 * number).sweeps()
        correspondence.minute += 15
        correspondence.happens(closed=True).sweeps()
    assert correspondence.sent() == ["lost", "works_again", "lost_again", "works_again"]


def test_lost_again_after_days_is_due_when_it_is_lost() -> None:
    correspondence = reopened(recovered(), 20)
    correspondence.sweeps()
    correspondence.minute = 5 * DAY
    correspondence.happens(closed=True).sweeps()
    assert reopened(correspondence, 5 * DAY + 30).due() == [(5 * DAY + 30, "lost_again")]


def test_what_comes_and_goes_for_days_is_told_once_a_day() -> None:
    correspondence = recovered()
    for number in range(1, 48 * 4):
        reopened(correspondence, 30 * number).sweeps()
        correspondence.minute += 15
        correspondence.happens(closed=True).sweeps()
    assert correspondence.sent().count("lost_again") == 4
    assert correspondence.sent().count("works_again") == 5


def test_a_replacement_that_is_refused_too_is_said_at_once_and_the_days_count_anew() -> None:
    correspondence = told()
    correspondence.minute = 2 * HOUR
    assert correspondence.happens(replacement_refused=True).due() == [(2 * HOUR, "replacement_refused")]
    days = [
        round((minute - 2 * HOUR) / DAY, 1)
        for minute, reason in correspondence.passes(20 * DAY).log
        if reason == "still_lost"
    ]
    assert days == [1, 3, 7]


def test_many_replacements_in_a_row_are_answered_once_an_hour() -> None:
    correspondence = told()
    for minute in range(1, 181):
        correspondence.minute = minute
        correspondence.happens(replacement_refused=True).sweeps()
    said = [round(minute) for minute, reason in correspondence.log if reason == "replacement_refused"]
    assert said == [1, 61, 121]


def test_another_replacement_that_is_refused_while_that_of_the_first_is_being_told_is_not_said_apart() -> (
    None
):
    correspondence = told()
    correspondence.minute = 2 * HOUR
    correspondence.happens(replacement_refused=True).claims()
    correspondence.minute += 1
    correspondence.happens(replacement_refused=True)
    assert [reason for _, reason in correspondence.due()] == ["replacement_refused"]


def test_a_replacement_that_is_refused_before_the_owner_was_told_at_all_is_not_said_apart() -> None:
    assert lost().happens(replacement_refused=True).due() == [(0, "lost")]


def test_an_address_refused_only_for_earlier_news_does_not_escalate_later_news() -> None:
    correspondence = lost()
    correspondence.sweeps(refuses=[NotificationKind.OPENED])
    correspondence.minute = HOUR
    correspondence.happens(replacement_refused=True).sweeps()
    assert correspondence.sent() == ["lost", "address_refused", "replacement_refused"]


def test_news_that_everybody_refuses_is_not_sent_for_ever() -> None:
    correspondence = reopened(recovered(), 20)
    every = [NotificationKind.REMINDER, NotificationKind.ESCALATION]
    for _ in range(20):
        correspondence.sweeps(refuses=every)
        correspondence.minute += DAY
    assert correspondence.sent()[2:] == ["lost_again", *["address_refused"] * 2, *["still_lost"] * 3]


@pytest.mark.parametrize("sent", [True, False])
def test_an_opening_email_whose_sender_died_is_the_same_one_when_it_is_lost_again(sent: bool) -> None:
    correspondence = lost()
    first = correspondence.claims()
    correspondence.happens(closed=True)
    reopened(correspondence, 20)
    assert correspondence.due() == [(20, "lost")]
    assert [letter.ordinal for letter in correspondence.letters if letter.pending] == [first.ordinal]
    if sent:
        correspondence.settles(first)
        assert correspondence.due() == [(20 + DAY, "still_lost")]


def test_an_opening_email_that_never_went_out_is_another_one_when_it_is_lost_again() -> None:
    correspondence = lost()
    first = correspondence.claims()
    correspondence.settles(first, LetterState.DUE)
    correspondence.happens(closed=True)
    reopened(correspondence, 20)
    assert [letter.ordinal for letter in correspondence.letters if letter.pending] == [1]


def test_who_may_have_been_told_and_was_told_that_it_is_over_hears_that_it_is_lost_again() -> None:
    correspondence = lost()
    correspondence.claims()
    correspondence.happens(closed=True).sweeps()
    correspondence = reopened(correspondence, 20)
    assert correspondence.due() == [(20, "lost_again")]
    assert correspondence.passes(9 * DAY).sent().count("lost") == 0


def test_a_recovery_whose_sender_died_is_the_same_one_when_it_is_over_again() -> None:
    correspondence = told()
    correspondence.minute = 10
    correspondence.happens(closed=True)
    first = correspondence.claims()
    reopened(correspondence, 20)
    correspondence.minute = 30
    correspondence.happens(closed=True)
    assert [(letter.kind, letter.ordinal) for letter in correspondence.letters if letter.pending] == [
        (NotificationKind.RECOVERED, first.ordinal)
    ]


def test_a_recovery_that_may_have_been_told_before_the_last_news_is_told_anew() -> None:
    correspondence = told()
    correspondence.minute = 10
    correspondence.happens(closed=True)
    correspondence.claims()
    reopened(correspondence, 20).sweeps()
    assert correspondence.sent() == ["lost", "lost_again"]
    correspondence.minute = 30
    correspondence.happens(closed=True)
    assert [letter.ordinal for letter in correspondence.letters if letter.pending] == [1]


def test_news_whose_sender_died_is_the_same_one_when_it_is_lost_again() -> None:
    correspondence = reopened(recovered(), 20)
    first = correspondence.claims()
    correspondence.minute = 30
    correspondence.happens(closed=True)
    reopened(correspondence, 40)
    assert correspondence.due() == [(40, "lost_again")]
    assert [letter.ordinal for letter in correspondence.letters if letter.pending] == [first.ordinal]


def test_an_escalation_whose_sender_died_is_the_same_one_when_it_is_lost_again() -> None:
    correspondence = told().passes(3 * DAY - 30)
    correspondence.minute = 3 * DAY
    second = correspondence.claims()
    correspondence.settles(second)
    first = correspondence.claims()
    assert first.kind is NotificationKind.ESCALATION
    correspondence.minute += 10
    correspondence.happens(closed=True)
    reopened(correspondence, correspondence.minute + 5)
    escalations = [each for each in correspondence.letters if each.kind is NotificationKind.ESCALATION]
    assert [(each.state, each.ordinal) for each in escalations] == [(LetterState.DUE, first.ordinal)]


def test_an_escalation_that_waits_for_an_address_is_not_put_in_again_after_further_news() -> None:
    correspondence = told().passes(3 * DAY - 30)
    correspondence.minute = 3 * DAY
    second = correspondence.claims()
    correspondence.settles(second)
    correspondence.minute += HOUR
    correspondence.happens(replacement_refused=True)
    assert "owner_silent" in [reason for _, reason in correspondence.due()]
    news = [letter for letter in correspondence.letters if letter.reason is Reason.REPLACEMENT_REFUSED]
    correspondence.settles(news[0])
    for days in (1, 3):
        correspondence.minute += days * DAY
        reminders = [
            each for each in correspondence.letters if each.pending and each.reason is Reason.STILL_LOST
        ]
        correspondence.settles(reminders[0])
    assert [reason for _, reason in correspondence.due()].count("owner_silent") == 1


def passed_on(correspondence: Correspondence, owner: str = "kim@example.com") -> Correspondence:
    """The registry names somebody else now."""
    correspondence.case = replace(correspondence.case, owner=owner)
    correspondence.ask()
    return correspondence


def test_a_new_owner_is_told_at_once_and_once_and_the_days_count_anew() -> None:
    correspondence = told()
    correspondence.minute = 2 * DAY + HOUR
    passed_on(correspondence)
    assert correspondence.due() == [(2 * DAY + HOUR, "lost")]
    log = correspondence.passes(20 * DAY).log
    assert [reason for _, reason in log].count("lost") == 2
    assert [round(minute / DAY) for minute, reason in log if reason == "still_lost"] == [3, 5, 9]


@pytest.mark.parametrize("owner", ["dana@example.com", "Dana@Example.com"])
def test_an_owner_who_was_told_is_no_new_one(owner: str) -> None:
    correspondence = passed_on(Correspondence(), "dana@EXAMPLE.com")
    correspondence.sweeps()
    assert passed_on(correspondence, owner).due() == [(DAY, "still_lost")]


def test_a_new_owner_of_whose_loss_nobody_was_told_yet_gets_the_first_email() -> None:
    assert passed_on(lost()).due() == [(0, "lost")]
    assert [letter.kind for letter in passed_on(lost()).letters] == [NotificationKind.OPENED]


def test_what_a_new_owner_is_told_is_not_what_the_last_one_may_have_had() -> None:
    correspondence = told()
    correspondence.minute = DAY
    correspondence.claims()
    correspondence.happens(closed=True)
    passed_on(reopened(correspondence, DAY + 10))
    reminders = [each for each in correspondence.letters if each.kind is NotificationKind.REMINDER]
    assert [(each.reason, each.ordinal) for each in reminders if each.pending] == [(Reason.LOST, 1)]


def test_a_new_owner_has_not_been_silent() -> None:
    correspondence = told().passes(3 * DAY - 30)
    correspondence.minute = 3 * DAY
    second = correspondence.claims()
    correspondence.settles(second)
    assert "owner_silent" in [reason for _, reason in correspondence.due()]
    assert passed_on(correspondence).due() == [(3 * DAY, "lost")]
    assert correspondence.ask() == []


def test_a_new_owner_who_may_have_been_told_is_told_the_same_when_it_is_lost_again() -> None:
    correspondence = told()
    correspondence.minute = 10
    first = passed_on(correspondence).claims()
    correspondence.happens(closed=True)
    reopened(correspondence, 20)
    assert correspondence.due() == [(20, "lost")]
    assert [letter.ordinal for letter in correspondence.letters if letter.pending] == [first.ordinal]


EVENTS = ("close", "reopen", "replace", "sweep", "claim", "refuse", "sent", "unsent", "hour", "day")


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_asked_again_nothing_new_comes_of_it_and_no_history_gives_many_reminders(events: list[str]) -> None:
    correspondence = lost()
    hands: list[Letter] = []
    for event in events:
        correspondence.minute += 1
        _happen(correspondence, event, hands)
        before = list(correspondence.letters)
        assert correspondence.ask() == []
        assert correspondence.letters == before
        _at_most_one_of_a_kind(correspondence)
    run = 0
    for _, reason in correspondence.log:
        run = (
            run + 1
            if reason == "still_lost"
            else (run if reason in ("owner_silent", "address_refused") else 0)
        )
        assert run <= 3


def _happen(correspondence: Correspondence, event: str, hands: list[Letter]) -> None:
    closed = correspondence.case.closed
    if event == "close" and not closed:
        correspondence.happens(closed=True)
    elif event == "reopen" and closed:
        reopened(correspondence, correspondence.minute)
    elif event == "replace" and not closed:
        correspondence.happens(replacement_refused=True)
    elif event in ("hour", "day"):
        correspondence.minute += HOUR if event == "hour" else DAY
    else:
        _send(correspondence, event, hands)


def _send(correspondence: Correspondence, event: str, hands: list[Letter]) -> None:
    ready = [each for each in correspondence.letters if each.pending and each.at <= correspondence.now]
    if event in ("sweep", "refuse"):
        hands.clear()
        correspondence.sweeps(refuses=list(NotificationKind) if event == "refuse" else ())
    elif event == "claim" and ready:
        hands.append(correspondence.claims(ready[0]))
    elif event in ("sent", "unsent") and hands:
        correspondence.settles(hands.pop(), LetterState.SENT if event == "sent" else LetterState.DUE)


def _at_most_one_of_a_kind(correspondence: Correspondence) -> None:
    pending = [letter.kind for letter in correspondence.letters if letter.pending]
    assert len(pending) == len(set(pending))
    assert not {NotificationKind.RECOVERED} & set(pending) or len(pending) == 1
