"""The sensor: how it ends, waits, defers, and what it does when the triggerer fails it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from mbi_reauth.core.gate import XCOM_KEY, GateFinding, GatePolicy, released
from mbi_reauth.core.registry import RegistryError
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.notifications.sending import Told
from mbi_reauth.sensors.authorization import AuthorizationSensor
from tests.checking import NOON, an_integration

SHOP, BOOKS = an_integration(id="shop"), an_integration(id="books")
TIMED_OUT = ("__fail__", {"error": "Trigger timeout"})
FAULTY = ("__fail__", {"error": "Trigger failure", "traceback": ["it broke"]})


def found(cause: Cause, *, integration: Any = SHOP, confirmed: bool = True) -> GateFinding:
    finding = Finding(cause=cause, rule="test", explanation="As told.", checked_at=NOON)
    return GateFinding(integration=integration, finding=finding, confirmed=confirmed)


LOST, GOOD = found(Cause.GRANT_REVOKED), found(Cause.AUTHORIZED)


class Rehearsal(AuthorizationSensor):
    """The sensor with given findings, one round after the other."""

    rounds: list[GateFinding]

    async def _findings(self, context: Any) -> dict[str, GateFinding]:
        return {"shop": self.rounds.pop(0)}


def rehearsal(*rounds: GateFinding, policy: dict[str, Any] | None = None, **options: Any) -> Rehearsal:
    sensor = Rehearsal(
        task_id="gate", integrations=[SHOP], policy=GatePolicy.model_validate(policy or {}), **options
    )
    sensor.rounds = list(rounds)
    return sensor


@dataclass
class TaskInstance:
    """What the sensor needs of one; the gate began ``age`` seconds ago."""

    age: float = 0
    dag_id: str = "extract"
    run_id: str = "r1"
    task_id: str = "gate"
    map_index: int = -1
    try_number: int = 1
    pushed: dict[str, Any] = field(default_factory=dict)

    @property
    def start_date(self) -> datetime:
        return datetime.now(timezone.utc) - timedelta(seconds=self.age)

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.pushed[key] = value


@dataclass
class Owners:
    """Whom the sensor has told; nothing is sent while ``down`` or for ``held`` claims."""

    told: list[str] = field(default_factory=list)
    down: bool = False
    held: int = 0

    async def tell(self, findings: Sequence[GateFinding], **options: Any) -> dict[str, Told]:
        names = [found.integration.id for found in findings]
        if self.down:
            return {name: Told((), "the mail server is down", failed=True) for name in names}
        if self.held:
            self.held -= 1
            return {name: Told((), "held until noon", held=True) for name in names}
        self.told += names
        return {name: Told(("dana@example.com",), "sent") for name in names}


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> Owners:
    owners = Owners()
    monkeypatch.setattr("mbi_reauth.notifications.sending.tell_owners", owners.tell)
    return owners


def context(ti: TaskInstance | None = None) -> Any:
    return {"ti": ti or TaskInstance()}


def deferral(run: Callable[[], Any]) -> tuple[dict[str, Any], timedelta]:
    """Return what the trigger is given, and its timeout."""
    with pytest.raises(TaskDeferred) as deferred:
        run()
    assert isinstance(deferred.value.timeout, timedelta)
    return deferred.value.trigger.serialize()[1], deferred.value.timeout


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(
    ("finding", "policy", "expected"),
    [
        (LOST, {}, AirflowSkipException),
        (LOST, {"on_blocked": "fail"}, AirflowFailException),
        (found(Cause.PROBE_MISCONFIGURED), {}, AirflowFailException),
    ],
)
def test_it_ends_on_the_worker_with_the_reason_and_publishes_the_finding(
    finding: GateFinding, policy: dict[str, Any], expected: type[Exception], *, deferrable: bool
) -> None:
    ti = TaskInstance()
    with pytest.raises(expected, match=r"^shop is .*: As told\.$"):
        rehearsal(finding, policy=policy, deferrable=deferrable).execute(context(ti))
    assert ti.pushed == {XCOM_KEY: {"shop": finding.model_dump(mode="json")}}


def test_an_overdue_update_of_mbi_fails_it_with_the_support_ticket_in_the_error(owners: Owners) -> None:
    with pytest.raises(AirflowFailException, match="Subject: Commerce Intelligence: data are not updated"):
        rehearsal(found(Cause.MBI_STALE), deferrable=True).execute(context())
    assert owners.told == []


def test_where_it_proceeds_despite_mbi_the_ticket_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    rehearsal(found(Cause.MBI_STALE), policy={"on_misconfigured": "proceed"}).execute(context())
    assert "Subject: Commerce Intelligence: data are not updated" in capsys.readouterr().out


@pytest.mark.parametrize("cause", [Cause.AUTHORIZED, Cause.PROVIDER_OUTAGE, Cause.UNKNOWN])
def test_it_succeeds_where_nothing_is_certain(cause: Cause) -> None:
    rehearsal(found(cause), deferrable=True).execute(context())


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_failure_that_is_soft_is_a_skip_with_the_reason(*, deferrable: bool) -> None:
    sensor = rehearsal(found(Cause.PROBE_MISCONFIGURED), deferrable=deferrable, soft_fail=True)
    with pytest.raises(AirflowSkipException, match="misconfigured"):
        sensor.execute(context())


def test_a_deferrable_one_that_waits_tells_the_owner_and_leaves_the_rest_to_a_trigger(owners: Owners) -> None:
    sensor = rehearsal(LOST, policy={"on_blocked": "wait"}, deferrable=True, poke_interval=30, timeout=300)
    kwargs, timeout = deferral(lambda: sensor.execute(context(TaskInstance(age=100))))
    assert owners.told == ["shop"]
    assert (kwargs["told"], kwargs["delay"], kwargs["end_task"]) == (["shop"], 30, False)
    assert timedelta(seconds=195) < timeout <= timedelta(seconds=200)


def test_an_owner_whom_the_trigger_knows_as_told_is_not_told_again(owners: Owners) -> None:
    event = {
        "outcome": "wait",
        "sentence": "-",
        "told": ["shop"],
        "findings": {
            "shop": LOST.model_dump(mode="json"),
            "books": found(Cause.GRANT_REVOKED, integration=BOOKS).model_dump(mode="json"),
        },
    }
    sensor = rehearsal(policy={"on_blocked": "wait"}, deferrable=True)
    kwargs, _ = deferral(lambda: sensor.execute_complete(context(), event))
    assert owners.told == ["books"]
    assert kwargs["told"] == ["books", "shop"]


def test_a_waiting_one_that_is_released_looks_itself_and_goes_on(owners: Owners) -> None:
    ti = TaskInstance()
    sensor = rehearsal(GOOD, policy={"on_blocked": "wait"}, deferrable=True)
    sensor.execute_complete(context(ti), released("The authorization works again."))
    assert ti.pushed == {XCOM_KEY: {"shop": GOOD.model_dump(mode="json")}}
    assert (sensor.rounds, owners.told) == ([], [])


def test_a_waiting_one_that_is_released_and_finds_another_lost_waits_on(owners: Owners) -> None:
    sensor = rehearsal(LOST, policy={"on_blocked": "wait"}, deferrable=True, poke_interval=30, timeout=300)
    event = released("The authorization works again.")
    kwargs, timeout = deferral(lambda: sensor.execute_complete(context(TaskInstance(age=100)), event))
    assert owners.told == ["shop"]
    assert (kwargs["told"], kwargs["delay"]) == (["shop"], 30)
    assert timedelta(seconds=195) < timeout <= timedelta(seconds=200)


def test_mail_that_cannot_be_sent_does_not_end_the_waiting_and_is_tried_again(owners: Owners) -> None:
    owners.down = True
    sensor = rehearsal(LOST, policy={"on_blocked": "wait"}, deferrable=True, poke_interval=30)
    kwargs, _ = deferral(lambda: sensor.execute(context()))
    assert (kwargs["told"], kwargs["delay"]) == ([], 30)


def test_an_email_that_is_held_is_asked_for_again_at_each_check(owners: Owners) -> None:
    owners.held = 2
    rounds = (LOST, LOST, LOST, LOST, GOOD)
    rehearsal(*rounds, policy={"on_blocked": "wait"}, poke_interval=0).execute(context())
    assert (owners.held, owners.told) == (0, ["shop"])


def test_one_that_waits_on_the_worker_goes_on_when_it_is_put_right(owners: Owners) -> None:
    sensor = rehearsal(LOST, LOST, GOOD, policy={"on_blocked": "wait"}, poke_interval=0)
    sensor.execute(context())
    assert owners.told == ["shop"]


def test_an_authorization_that_is_lost_once_more_while_waiting_is_told_again(owners: Owners) -> None:
    waiting = {"on_blocked": "wait", "on_unavailable": "wait"}
    rehearsal(LOST, found(Cause.PROVIDER_OUTAGE), LOST, GOOD, policy=waiting, poke_interval=0).execute(
        context()
    )
    assert owners.told == ["shop", "shop"]


def test_an_ambiguous_refusal_is_confirmed_by_the_trigger_a_minute_later() -> None:
    refusal = found(Cause.CREDENTIALS_REJECTED, confirmed=False)
    sensor = rehearsal(refusal, deferrable=True, timeout=5)
    kwargs, timeout = deferral(lambda: sensor.execute(context()))
    assert kwargs["delay"] == 60
    assert timeout > timedelta(seconds=60)


@pytest.mark.parametrize("failure", [TIMED_OUT, FAULTY])
@pytest.mark.parametrize(("finding", "skipped"), [(GOOD, False), (LOST, True)])
def test_a_gate_that_never_waits_decides_on_the_worker_when_the_triggerer_fails_it(
    failure: tuple[str, dict[str, Any]], finding: GateFinding, *, skipped: bool
) -> None:
    sensor = rehearsal(finding, deferrable=True)
    if skipped:
        with pytest.raises(AirflowSkipException):
            sensor.resume_execution(*failure, context())
    else:
        sensor.resume_execution(*failure, context())


@pytest.mark.parametrize(
    ("soft_fail", "expected"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)]
)
def test_waiting_ends_with_a_last_look_and_the_reason(
    owners: Owners, expected: type[Exception], *, soft_fail: bool
) -> None:
    waiting: dict[str, Any] = {
        "policy": {"on_blocked": "wait"},
        "deferrable": True,
        "timeout": 8,
        "soft_fail": soft_fail,
    }
    with pytest.raises(expected, match=r"^Waited for 8 s in vain\. shop is needs_reauth: As told\.$"):
        rehearsal(LOST, **waiting).resume_execution(*TIMED_OUT, context())
    assert owners.told == ["shop"]
    rehearsal(GOOD, **waiting).resume_execution(*TIMED_OUT, context())


def test_a_waiting_gate_waits_on_the_worker_when_its_trigger_breaks(owners: Owners) -> None:
    sensor = rehearsal(LOST, GOOD, policy={"on_blocked": "wait"}, deferrable=True, poke_interval=0)
    sensor.resume_execution(*FAULTY, context())
    assert owners.told == ["shop"]


def test_it_starts_in_the_triggerer_only_when_it_is_deferrable() -> None:
    assert not rehearsal(start_from_trigger=True).start_from_trigger
    sensor = rehearsal(deferrable=True, start_from_trigger=True, timeout=90)
    assert sensor.start_from_trigger
    assert sensor.start_trigger_args is not None
    assert sensor.start_trigger_args.timeout == timedelta(seconds=90)
    assert (sensor.start_trigger_args.trigger_kwargs or {})["end_task"] is True


def test_by_itself_it_waits_for_its_owner() -> None:
    sensor = AuthorizationSensor(task_id="gate", integrations=[SHOP])
    assert sensor.policy["on_blocked"] == "wait"


def test_an_integration_that_is_not_in_the_registry_is_an_error_of_the_dag_file(tmp_path: Any) -> None:
    registry = tmp_path / "integrations.yaml"
    registry.write_text("integrations: {shop: {type: zendesk, owner: {name: Dana, email: d@example.com}}}")
    with pytest.raises(RegistryError, match="shop"):
        AuthorizationSensor(task_id="gate", integrations="shoq", registry=registry)


def test_it_needs_an_integration() -> None:
    with pytest.raises(ValueError, match="at least one integration"):
        AuthorizationSensor(task_id="gate", integrations=[])


def test_it_can_be_expanded_over_integrations() -> None:
    with DAG("expanded", schedule=None):
        mapped = AuthorizationSensor.partial(task_id="gate").expand(integrations=["shop", "books"])
    assert not mapped.operator_class.start_from_trigger


# Shadow mode.


@pytest.fixture
def shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the whole plugin into shadow mode, after its DAGs were parsed."""
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__SHADOW", "True")


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("on_blocked", ["skip", "wait", "fail"])
@pytest.mark.parametrize("finding", [LOST, found(Cause.PROBE_MISCONFIGURED)])
@pytest.mark.usefixtures("shadow")
def test_where_the_whole_plugin_is_in_shadow_mode_it_succeeds_at_once_and_tells_nobody(
    finding: GateFinding, on_blocked: str, owners: Owners, *, deferrable: bool
) -> None:
    ti = TaskInstance()
    rehearsal(finding, policy={"on_blocked": on_blocked}, deferrable=deferrable).execute(context(ti))
    assert owners.told == []
    assert ti.pushed == {XCOM_KEY: {"shop": finding.model_dump(mode="json")}}


@pytest.mark.usefixtures("shadow")
def test_by_itself_it_waits_for_nobody_in_shadow_mode(owners: Owners) -> None:
    sensor = Rehearsal(task_id="gate", integrations=[SHOP])
    sensor.rounds = [LOST]
    sensor.execute(context())
    assert (sensor.policy["on_blocked"], owners.told) == ("wait", [])


@pytest.mark.usefixtures("shadow")
def test_a_gate_that_waited_goes_on_when_its_trigger_ends_in_shadow_mode() -> None:
    sensor = rehearsal(LOST, policy={"on_blocked": "wait"}, deferrable=True, timeout=8)
    sensor.resume_execution(*TIMED_OUT, context())


def test_a_gate_with_shadow_mode_of_its_own_says_in_its_log_what_it_would_have_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rehearsal(LOST, policy={"shadow": True}).execute(context())
    said = [line for line in capsys.readouterr().out.splitlines() if "hadow mode" in line]
    assert len(said) == 1
    assert "would be skipped" in said[0]
