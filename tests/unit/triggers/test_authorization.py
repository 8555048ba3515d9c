"""The gate's trigger: how it ends the gate, and what it leaves to the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import pytest
from airflow.triggers.base import TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from mbi_reauth.core.gate import XCOM_KEY, GateFinding, GatePolicy
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.triggers.authorization import AuthorizationTrigger

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
BOOKS = Integration.model_validate(
    {
        "id": "books",
        "type": "quickbooks",
        "conn_id": "books",
        "owner": {"name": "Dana Example", "email": "dana@example.com"},
    }
)
KWARGS: dict[str, Any] = {
    "integrations": [BOOKS.model_dump(mode="json")],
    "policy": GatePolicy().model_dump(),
    "poke_interval": 30.0,
    "max_age": 60,
    "end_task": True,
    "told": [],
    "delay": 0,
}


def found(cause: Cause, *, confirmed: bool = True) -> GateFinding:
    finding = Finding(cause=cause, rule="test", explanation=cause.value, checked_at=NOON)
    return GateFinding(integration=BOOKS, finding=finding, confirmed=confirmed)


class Rounds:
    """Rounds whose findings are given; after the last one, a fault of our own."""

    def __init__(self, *rounds: GateFinding) -> None:
        self.left = list(rounds)

    async def findings(self, integrations: Sequence[Integration]) -> dict[str, GateFinding]:
        return {integration.id: self.left.pop(0) for integration in integrations}


class Rehearsal(AuthorizationTrigger):
    """The trigger with given rounds and a clock that only counts."""

    def __init__(self, rounds: Rounds, **changes: Any) -> None:
        super().__init__(**{**KWARGS, **changes})
        self.rounds = rounds
        self.slept: list[float] = []

    def _round(self, policy: GatePolicy) -> Any:
        return self.rounds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def events_of(trigger: AuthorizationTrigger) -> list[TriggerEvent]:
    async def collect() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    return asyncio.run(collect())


def test_it_is_rebuilt_from_what_it_serializes() -> None:
    path, kwargs = AuthorizationTrigger(**KWARGS).serialize()
    assert path == "mbi_reauth.triggers.authorization.AuthorizationTrigger"
    assert kwargs == KWARGS


@pytest.mark.parametrize(
    ("cause", "event_type"),
    [
        (Cause.AUTHORIZED, TaskSuccessEvent),
        (Cause.GRANT_REVOKED, TaskSkippedEvent),
        (Cause.PROVIDER_OUTAGE, TaskSuccessEvent),
        (Cause.UNKNOWN, TaskSuccessEvent),
    ],
)
def test_it_ends_the_gate_itself_and_publishes_the_finding(cause: Cause, event_type: type) -> None:
    (event,) = events_of(Rehearsal(Rounds(found(cause))))
    assert type(event) is event_type
    assert event.xcoms == {XCOM_KEY: {"books": found(cause).model_dump(mode="json")}}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cause", "changes", "outcome"),
    [
        (Cause.PROBE_MISCONFIGURED, {}, "fail"),
        (Cause.GRANT_REVOKED, {"end_task": False}, "skip"),
        (Cause.AUTHORIZED, {"end_task": False}, "proceed"),
        (Cause.GRANT_REVOKED, {"policy": {"on_blocked": "fail"}}, "fail"),
        (Cause.GRANT_REVOKED, {"policy": {"on_blocked": "wait"}}, "wait"),
    ],
)
def test_it_leaves_to_the_worker_what_only_a_worker_can_do(
    cause: Cause, changes: dict[str, Any], outcome: str
) -> None:
    (event,) = events_of(Rehearsal(Rounds(found(cause)), **changes))
    assert type(event) is TriggerEvent
    assert event.payload["outcome"] == outcome
    assert event.payload["findings"]["books"]["finding"]["cause"] == cause.value


def test_an_ambiguous_refusal_is_looked_at_again_a_minute_later() -> None:
    trigger = Rehearsal(Rounds(found(Cause.CREDENTIALS_REJECTED, confirmed=False), found(Cause.AUTHORIZED)))
    (event,) = events_of(trigger)
    assert type(event) is TaskSuccessEvent
    assert trigger.slept == [60.0]


def test_a_waiting_gate_leaves_the_trigger_once_to_have_its_owner_told() -> None:
    waiting = {"policy": {"on_blocked": "wait"}}
    (event,) = events_of(Rehearsal(Rounds(found(Cause.GRANT_REVOKED)), **waiting))
    assert event.payload["outcome"] == "wait"
    assert event.payload["told"] == []

    told = Rehearsal(Rounds(found(Cause.GRANT_REVOKED), found(Cause.AUTHORIZED)), told=["books"], **waiting)
    (event,) = events_of(told)
    assert type(event) is TaskSuccessEvent
    assert told.slept == [30.0]


def test_an_authorization_that_is_lost_once_more_while_waiting_is_told_again() -> None:
    lost = found(Cause.GRANT_REVOKED)
    waiting = {"policy": {"on_blocked": "wait", "on_unavailable": "wait"}, "told": ["books"]}
    (event,) = events_of(Rehearsal(Rounds(lost, found(Cause.PROVIDER_OUTAGE), lost), **waiting))
    assert (event.payload["outcome"], event.payload["told"]) == ("wait", [])


def test_it_does_not_repeat_at_once_what_a_worker_has_just_checked() -> None:
    trigger = Rehearsal(Rounds(found(Cause.AUTHORIZED)), delay=30)
    events_of(trigger)
    assert trigger.slept == [30]


def test_a_second_look_comes_after_a_minute_however_long_the_gate_waits_otherwise() -> None:
    refusal = found(Cause.CREDENTIALS_REJECTED, confirmed=False)
    trigger = Rehearsal(Rounds(refusal, found(Cause.AUTHORIZED)), poke_interval=900)
    events_of(trigger)
    assert trigger.slept == [60.0]


def test_waiting_is_said_once_and_not_at_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    lost = found(Cause.GRANT_REVOKED)
    waiting = {"policy": {"on_blocked": "wait"}, "told": ["books"]}
    events_of(Rehearsal(Rounds(lost, lost, lost, found(Cause.AUTHORIZED)), **waiting))
    assert capsys.readouterr().out.count("The gate waits.") == 1


def test_a_fault_of_the_plugin_lets_the_extraction_proceed() -> None:
    (event,) = events_of(Rehearsal(Rounds()))
    assert type(event) is TaskSuccessEvent


@pytest.mark.parametrize("policy", [{}, {"on_blocked": "wait"}, {"on_blocked": "fail"}])
@pytest.mark.parametrize("whole_plugin", [True, False])
def test_in_shadow_mode_it_ends_the_gate_as_a_success_and_says_what_it_would_have_done(
    policy: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    whole_plugin: bool,
) -> None:
    if whole_plugin:
        monkeypatch.setenv("AIRFLOW__MBI_REAUTH__SHADOW", "True")
    trigger = Rehearsal(
        Rounds(found(Cause.GRANT_REVOKED)), policy={**policy, "shadow": not whole_plugin}, told=[]
    )
    (event,) = events_of(trigger)
    assert type(event) is TaskSuccessEvent
    assert event.xcoms == {XCOM_KEY: {"books": found(Cause.GRANT_REVOKED).model_dump(mode="json")}}
    said = [line for line in capsys.readouterr().out.splitlines() if "Shadow mode: the extraction" in line]
    assert len(said) == 1
    assert "books is needs_reauth" in said[0]


def test_a_shadow_gate_does_not_delay_the_extraction_for_a_second_look() -> None:
    refusal = found(Cause.CREDENTIALS_REJECTED, confirmed=False)
    trigger = Rehearsal(Rounds(refusal), policy={"shadow": True})
    (event,) = events_of(trigger)
    assert type(event) is TaskSuccessEvent
    assert trigger.slept == []
