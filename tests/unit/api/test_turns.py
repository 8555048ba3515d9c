"""Of a third party that wants few questions, one asker in each interval, whoever else wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mbi_reauth.api.services.checks import PATIENCE
from mbi_reauth.core.verdict import Cause
from tests.app import App
from tests.metadata_db import put_connection


@pytest.fixture
def metered(app: App) -> App:
    put_connection("shop", password="fake-key")
    app.integration = app.integration.model_copy(update={"type": "metered"})
    return app


def answered(app: App, cause: Cause = Cause.AUTHORIZED, **body: Any) -> str:
    """Take the turn and report what came; return the turn."""
    turn = app.check()["turn"]
    app.report(cause, turn=turn, **body)
    return str(turn)


def meanwhile(app: App, work: Callable[[], object]) -> None:
    """Do something once, as soon as somebody waits."""
    waited, pending = app.outside.sleep, [work]

    async def sleep(seconds: float) -> None:
        if pending:
            await asyncio.to_thread(pending.pop())
        await waited(seconds)

    app.outside.sleep = sleep  # type: ignore[method-assign]


def test_a_type_without_an_interval_knows_no_turns(app: App) -> None:
    put_connection("shop", password="fake-key")
    app.integration = app.integration.model_copy(update={"type": "plain"})
    for _ in range(2):
        answer = app.check()
        assert (answer["turn"], answer["turn_in"]) == (None, None)


@pytest.mark.parametrize("cause", [Cause.AUTHORIZED, Cause.MBI_STALE, Cause.MBI_OUTAGE, Cause.UNKNOWN])
def test_within_the_interval_the_last_answer_is_everybodys_whatever_it_was(
    metered: App, cause: Cause
) -> None:
    answered(metered, cause)
    metered.outside.pass_time(20)
    answer = metered.check()
    assert (answer["turn"], answer["turn_in"]) == (None, 40)
    assert answer["last_finding"]["cause"] == cause.value


def test_after_the_interval_the_next_asker_has_the_turn(metered: App) -> None:
    first = answered(metered)
    metered.outside.pass_time(60)
    assert metered.check()["turn"] not in (None, first)


def test_who_comes_while_another_asks_waits_for_the_answer(metered: App) -> None:
    turn = metered.check()["turn"]
    meanwhile(metered, lambda: metered.report(Cause.MBI_STALE, turn=turn))
    answer = metered.check()
    assert answer["turn"] is None
    assert answer["last_finding"]["cause"] == "mbi_stale"


def test_an_answer_that_never_comes_gives_nobody_the_turn_before_the_interval_is_over(metered: App) -> None:
    began = metered.outside.moment
    assert metered.check()["turn"]
    answer = metered.check()
    assert (answer["turn"], answer["last_finding"]) == (None, None)
    assert metered.outside.moment - began >= PATIENCE
    metered.outside.pass_time(60)
    assert metered.check()["turn"]


def test_another_credential_does_not_shorten_the_interval(metered: App) -> None:
    answered(metered)
    put_connection("shop", password="fake-other-key")
    answer = metered.check()
    assert (answer["turn"], answer["turn_in"], answer["last_finding"]) == (None, 60, None)


def test_what_was_said_before_a_turn_is_no_answer_of_it(metered: App) -> None:
    answered(metered, Cause.MBI_STALE)
    metered.outside.pass_time(60)
    assert metered.check()["turn"]
    assert metered.check()["last_finding"] is None


def test_a_fault_of_mbi_is_not_trusted_for_as_long_as_a_proof(metered: App) -> None:
    answered(metered, Cause.MBI_STALE)
    metered.outside.pass_time(60)
    assert metered.check(max_age=3600)["turn"]


def test_who_trusts_the_last_proof_takes_no_turn_from_the_others(metered: App) -> None:
    answered(metered)
    metered.outside.pass_time(100)
    trusting = metered.check(max_age=3600)
    assert (trusting["turn"], trusting["last_finding"]["cause"]) == (None, "authorized")
    assert metered.check(max_age=90)["turn"]


def test_a_turn_of_before_does_not_end_the_present_one(metered: App) -> None:
    first = answered(metered)
    metered.outside.pass_time(60)
    second = metered.check()["turn"]
    metered.report(Cause.AUTHORIZED, turn=first)
    meanwhile(metered, lambda: metered.report(Cause.MBI_STALE, turn=second))
    assert metered.check()["last_finding"]["cause"] == "mbi_stale"
