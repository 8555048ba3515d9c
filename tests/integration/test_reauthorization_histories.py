"""Random histories of owners who renew; ``HISTORIES=500`` in the environment: for longer, and made short.

Three browsers, three integrations, engineers, checks and a third party with moods; every step is taken by the
real pages and services on SQLite. What must hold is in :mod:`tests.reauthorization_history`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mbi_reauth.core.integration import Integration
from tests.metadata_db import connected_to, create_tables, empty
from tests.owners_browser import Browser
from tests.reauthorization_history import (
    ALL,
    BOOKS,
    KEYED,
    NO_CRASH,
    OF_ERROR,
    OF_PLAN,
    SHOP,
    Crash,
    Pointer,
    Unhurried,
    World,
    open_incidents,
)

MANY = int(os.environ.get("HISTORIES", "0"))
BROWSERS = st.integers(0, 2)
INTEGRATIONS = st.sampled_from((SHOP, SHOP, BOOKS, KEYED))
PLANS = st.sampled_from(("all", "all", "all", "all", *OF_PLAN))
ENTRIES_ALL = ("all", "wrong_account", "token_refused", "verifies_not", "says_nonsense", "empty")
ENTRIES = st.sampled_from(("all", *ENTRIES_ALL))
OTHERS_ALL = (
    "loses", "check", "check_late", "late", "edit", "edit_wrong", "delete", "move_out", "move_back", "allow",
    "restore", "warn",
)  # fmt: skip
OTHERS = st.sampled_from(OTHERS_ALL)
DISHONEST = ("replayed", "made_up_state", "other_type", "other_browser")
HOW = st.sampled_from(("right",) * 8 + DISHONEST + tuple(OF_ERROR))
MIDDLES_ALL = (
    "check", "check_late", "edit", "delete", "lose", "restore", "allow", "late", "other", "twice", "time",
)  # fmt: skip
MIDDLES = st.sampled_from(("", "", "", *MIDDLES_ALL))
WHERE = st.sampled_from(("exchange", "verify"))
CRASHES = st.builds(Crash, st.sampled_from((0,) * 9 + (1, 2, 3, 4, 5)), st.booleans(), st.booleans())
TIMES = st.sampled_from((1, 61, 200, 14 * 60, 16 * 60, 2 * 3600, 25 * 3600, 31 * 86400))


class Histories(RuleBasedStateMachine):
    """What can happen, one thing after the other."""

    world: World
    browsers: list[Browser]

    @initialize(proved=st.booleans(), lost=st.lists(INTEGRATIONS, min_size=1, max_size=2))
    def begin(self, proved: bool, lost: list[Integration]) -> None:
        empty()
        self.world.begin(self.browsers, proved=proved)
        for each in ALL:
            if each in lost:
                self.world.loses(each)

    def pointer(self, number: int) -> Pointer | None:
        """Choose a link, the newest for 0."""
        pointers = self.world.pointers
        return pointers[-1 - number % len(pointers)] if pointers else None

    def step(self, work: Callable[[], None], crash: Crash = NO_CRASH) -> None:
        """Take a step; each closing wakes up whoever resumes."""
        world, before, recovered = self.world, set(open_incidents()), self.world.recovered
        world.crash, world.crashed = crash, bool(crash.commits)
        work()
        world.crash, world.crashed = NO_CRASH, False
        world.emails()
        closed = before - set(open_incidents())
        if not crash.commits or crash.of_database:
            assert world.recovered - recovered >= len(closed), "nobody is woken up"
        world.look_around()

    def middle(self, what: str, where: str, number: int) -> None:
        """Prepare what happens while a third party is asked."""
        world = self.world

        def happens() -> None:
            about = world.about
            assert about is not None
            acts: dict[str, Callable[[], None]] = {
                "check": lambda: world.check(about),
                "check_late": lambda: world.check(about, late=True),
                "edit": lambda: world.puts(about),
                "delete": lambda: world.deletes(about),
                "lose": lambda: world.loses(about),
                "restore": lambda: self._restores(about),
                "allow": lambda: world.allows_another_account(SHOP if about is BOOKS else about),
                "late": lambda: self._late(number),
                "other": lambda: self._somebody_answers(number),
                "twice": self._the_same_again,
                "time": lambda: world.pass_time(100),
            }
            acts[what]()

        world.happening = (where, happens) if what else None

    def _restores(self, which: Integration) -> None:
        self.world.changes_grant(which, live=True)
        self.world.check(which)

    def _late(self, number: int) -> None:
        reports = self.world.on_their_way
        self.world.deliver(reports[number % len(reports)])

    def _somebody_answers(self, number: int) -> None:
        world = self.world
        waiting = [
            each for each in world.attempts if each.way == "consent" and each.browser != world.acting[-1]
        ]
        if waiting:
            world.sends_back(waiting[number % len(waiting)], "right", "all")

    def _the_same_again(self) -> None:
        """Send the same once more, before the first is done."""
        world = self.world
        browser = world.acting[-1]
        secret = world.cookie(browser)
        attempt = next((each for each in world.attempts if each.secret == secret), None)
        if attempt is not None and attempt.way == "form":
            plan = attempt.plan
            world.submits(browser, "all")
            attempt.plan = plan
        elif attempt is not None and attempt.way == "consent":
            plan = attempt.plan
            world.sends_back(attempt, "right", "all")
            attempt.plan = plan

    @rule(what=OTHERS, which=INTEGRATIONS, number=st.integers(0, 5))
    def happens_elsewhere(self, what: str, which: Integration, number: int) -> None:
        self.elsewhere(what, which, number)

    def elsewhere(self, what: str, which: Integration, number: int) -> None:
        world, freed = self.world, SHOP if which is BOOKS else which
        acts: dict[str, Callable[[], None]] = {
            "loses": lambda: world.loses(which),
            "check": lambda: world.check(which),
            "check_late": lambda: world.check(which, late=True),
            "late": lambda: self._late(-1 - number),
            "edit": lambda: world.puts(which),
            "edit_wrong": lambda: world.puts(which, live=False),
            "delete": lambda: world.deletes(which),
            "move_out": world.moves_out,
            "move_back": world.moves_back,
            "allow": lambda: world.allows_another_account(freed),
            "restore": lambda: world.changes_grant(which, live=True),
            "warn": lambda: world.warns(which),
            "": lambda: None,
        }
        self.step(acts[what])

    @rule(seconds=TIMES)
    def time_passes(self, seconds: int) -> None:
        self.step(lambda: self.world.pass_time(seconds))

    def newest(self, which: Integration) -> Pointer:
        """Lose it unless it is lost; return the last link that it has."""
        if which.id not in open_incidents().values():
            self.step(self.world.moves_back)
            self.step(lambda: self.world.puts(which))
            self.step(lambda: self.world.loses(which))
        open_ones = [each for each in self.world.pointers if each.incident in open_incidents()]
        return next(each for each in reversed(open_ones) if each.integration is which)

    @rule(
        which=INTEGRATIONS,
        browser=BROWSERS,
        between=st.sampled_from(("", "", "", *OTHERS_ALL)),
        plan=PLANS,
        middle=st.tuples(MIDDLES, WHERE, st.integers(0, 5)),
        crash=CRASHES,
    )
    def renews(
        self,
        which: Integration,
        browser: int,
        between: str,
        plan: str,
        middle: tuple[str, str, int],
        crash: Crash,
    ) -> None:
        """Go all the way."""
        pointer, world = self.newest(which), self.world
        self.elsewhere(between, which, middle[2])
        way = "form" if which is KEYED else "consent"
        self.step(lambda: world.presses(browser, pointer, way))
        secret = world.cookie(browser)
        begun = [each for each in world.attempts if each.secret == secret and each.pointer is pointer]
        self.middle(middle[0], "verify" if which is KEYED else middle[1], middle[2])
        if begun and which is KEYED:
            self.step(lambda: world.submits(browser, plan if plan in ENTRIES_ALL else "all"), crash)
        elif begun and begun[0].way == "consent":
            self.step(lambda: world.sends_back(begun[0], "right", plan), crash)

    @precondition(lambda self: self.world.pointers)
    @rule(browser=BROWSERS, number=st.integers(0, 3), only_head=st.booleans())
    def opens(self, browser: int, number: int, only_head: bool) -> None:
        pointer = self.pointer(number)
        assert pointer is not None
        before = self.world.as_it_is(pointer.integration)
        self.step(lambda: self.world.opens(browser, pointer, only_head=only_head))
        assert self.world.as_it_is(pointer.integration) == before

    @precondition(lambda self: self.world.pointers)
    @rule(
        browser=BROWSERS,
        number=st.sampled_from((0, 0, 0, 1, 2)),
        way=st.sampled_from(("again", "again", "again", "again", "form", "consent")),
        crash=CRASHES,
    )
    def presses(self, browser: int, number: int, way: str, crash: Crash) -> None:
        pointer = self.pointer(number)
        assert pointer is not None
        again = "form" if pointer.integration is KEYED else "consent"
        way = again if way == "again" else way
        self.step(lambda: self.world.presses(browser, pointer, way), crash)

    @precondition(lambda self: self.world.pointers)
    @rule(browser=BROWSERS, number=st.integers(0, 2), middle=MIDDLES, chosen=st.integers(0, 5), crash=CRASHES)
    def has_it_checked(self, browser: int, number: int, middle: str, chosen: int, crash: Crash) -> None:
        pointer = self.pointer(number)
        assert pointer is not None
        self.middle(middle, "verify", chosen)
        self.step(lambda: self.world.presses(browser, pointer, "check"), crash)

    def _answers(self, number: int, how: str, plan: str, middle: tuple[str, str, int], crash: Crash) -> None:
        asked = [each for each in self.world.attempts if each.way == "consent"]
        if asked:
            self.middle(*middle)
            self.step(lambda: self.world.sends_back(asked[-1 - number % len(asked)], how, plan), crash)

    @precondition(lambda self: self.world.attempts)
    @rule(
        number=st.sampled_from((0, 0, 0, 1, 2)),
        how=HOW,
        plan=PLANS,
        middle=st.tuples(MIDDLES, WHERE, st.integers(0, 5)),
        crash=CRASHES,
    )
    def comes_back(
        self, number: int, how: str, plan: str, middle: tuple[str, str, int], crash: Crash
    ) -> None:
        self._answers(number, how, plan, middle, crash)

    @rule(
        browser=BROWSERS,
        what=ENTRIES,
        middle=st.tuples(MIDDLES, st.just("verify"), st.integers(0, 5)),
        crash=CRASHES,
    )
    def submits(self, browser: int, what: str, middle: tuple[str, str, int], crash: Crash) -> None:
        forms = [each.browser for each in self.world.attempts[-3:] if each.way == "form"]
        self.middle(*middle)
        self.step(lambda: self.world.submits(forms[-1] if forms else browser, what), crash)

    def teardown(self) -> None:
        self.world.moves_back()


@pytest.fixture(scope="module")
def _pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("renewals")
    with connected_to(f"sqlite:///{folder / 'airflow.db'}"):
        create_tables()
        Histories.world = World()
        Histories.browsers = [Browser(Histories.world.as_surroundings()) for _ in range(3)]
        for browser in Histories.browsers:
            browser.client.app.routes[0].app.state.rates = Unhurried()  # type: ignore[attr-defined]
        yield


@pytest.mark.usefixtures("_pages")
def test_a_credential_changes_only_by_what_was_verified_and_whoever_may() -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=MANY or 12,
            stateful_step_count=25,
            deadline=None,
            derandomize=not MANY,
            phases=tuple(Phase) if MANY else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def history(_pages: None) -> Histories:
    """A history that has just begun, to be told by hand."""
    history = Histories()
    empty()
    history.world.begin(history.browsers, proved=True)
    return history


@pytest.mark.parametrize("commits", range(1, 9))
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("of_database", [False, True])
def test_a_fault_at_any_commit_leaves_all_of_it_or_nothing(
    history: Histories, commits: int, after: bool, of_database: bool
) -> None:
    pointer, world = history.newest(SHOP), history.world
    history.step(lambda: world.presses(0, pointer, "consent"))
    crash = Crash(commits, after, of_database)
    history.step(lambda: world.sends_back(world.attempts[-1], "right", "all"), crash)


def test_what_an_engineer_changed_before_the_second_try_is_not_in_its_way(history: Histories) -> None:
    pointer, world = history.newest(KEYED), history.world
    history.step(lambda: world.presses(0, pointer, "form"))
    history.elsewhere("edit", KEYED, 0)
    history.step(lambda: world.submits(0, "token_refused"))
    history.step(lambda: world.submits(0, "all"))
    assert open_incidents() == {}


@pytest.mark.parametrize("middle", ["", "edit", "check", "twice", "delete"])
@pytest.mark.parametrize(
    ("how", "plan"),
    [
        *(("right", plan) for plan in OF_PLAN),
        *((how, "all") for how in (*DISHONEST, *OF_ERROR)),
    ],
)
def test_each_answer_ends_as_it_must(history: Histories, how: str, plan: str, middle: str) -> None:
    pointer, world = history.newest(SHOP), history.world
    history.step(lambda: world.presses(0, pointer, "consent"))
    history.middle(middle, "exchange", 0)
    history.step(lambda: world.sends_back(world.attempts[-1], how, plan))
    history.step(lambda: world.sends_back(world.attempts[-1], "replayed", plan))
