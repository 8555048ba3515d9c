"""The email branch: whom it tells, when it has nothing to do, and what it says when it cannot."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from mbi_reauth.api.datamodels import RunReference
from mbi_reauth.core.gate import XCOM_KEY, GateFinding
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.hooks.api import ApiRefusedError
from mbi_reauth.notifications.sending import NotSentError, Told
from mbi_reauth.operators.email_owner import EmailOwnerOperator
from tests.checking import NOON, an_integration

GATE = "shop.check_authorization"


def published(*ids: str, cause: Cause = Cause.GRANT_REVOKED, confirmed: bool = True) -> dict[str, Any]:
    finding = Finding(cause=cause, rule="test", explanation="As told.", checked_at=NOON)
    return {
        name: GateFinding(
            integration=an_integration(id=name), finding=finding, confirmed=confirmed
        ).model_dump(mode="json")
        for name in ids
    }


@dataclass
class TaskInstance:
    """One beside its gate, whose XCom is given."""

    xcom: Any = None
    map_index: int = -1
    dag_id: str = "extract"
    run_id: str = "r1"
    task_id: str = "shop.needs_reauth.email_owner"
    try_number: int = 2
    asked: list[dict[str, Any]] = field(default_factory=list)

    def xcom_pull(self, **question: Any) -> Any:
        self.asked.append(question)
        return self.xcom


@dataclass
class Owners:
    """Each answers as given: an address, nobody, or an exception."""

    answers: dict[str, str | Exception | None] = field(default_factory=dict)
    told: list[tuple[str, RunReference]] = field(default_factory=list)

    async def tell(self, finding: GateFinding, *, run: RunReference, stopped: bool = True) -> Told:
        name = finding.integration.id
        self.told.append((name, run))
        answer = self.answers.get(name, f"{name}@example.com")
        if isinstance(answer, Exception):
            raise answer
        return Told(answer, f"{name}: sent to somebody")


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> Owners:
    owners = Owners()
    monkeypatch.setattr("mbi_reauth.notifications.sending.tell_owner", owners.tell)
    return owners


def execute(ti: TaskInstance, **options: Any) -> list[str]:
    operator = EmailOwnerOperator(task_id="email_owner", gate_task_id=GATE, **options)
    return operator.execute({"ti": ti})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("encode", [dict, json.dumps], ids=["from a worker", "from a trigger"])
def test_it_tells_the_owner_of_what_the_gate_found(owners: Owners, encode: Any) -> None:
    ti = TaskInstance(encode(published("shop")), map_index=3)
    assert execute(ti) == ["shop@example.com"]
    assert ti.asked == [{"task_ids": GATE, "key": XCOM_KEY, "map_indexes": 3}]
    gate = RunReference(dag_id="extract", run_id="r1", task_id=GATE, map_index=3, try_number=2)
    assert owners.told == [("shop", gate)]


@pytest.mark.parametrize(
    "xcom",
    [
        None,
        {},
        published("shop", cause=Cause.AUTHORIZED),
        published("shop", cause=Cause.PROBE_MISCONFIGURED),
        published("shop", confirmed=False),
    ],
    ids=["gate skipped by its upstream", "fault", "authorized", "misconfigured", "single ambiguous refusal"],
)
def test_it_tells_nobody_where_nothing_is_lost(owners: Owners, xcom: Any) -> None:
    with pytest.raises(AirflowSkipException, match="found no lost authorization"):
        execute(TaskInstance(xcom))
    assert owners.told == []


def test_the_branch_of_a_shadow_gate_tells_nobody_whatever_was_published(owners: Owners) -> None:
    with pytest.raises(AirflowSkipException, match="shadow"):
        execute(TaskInstance(published("shop")), silent=True)
    assert owners.told == []


def test_it_is_skipped_with_the_reason_when_another_run_has_told_the_owner(owners: Owners) -> None:
    owners.answers["shop"] = None
    with pytest.raises(AirflowSkipException, match="shop: sent to somebody"):
        execute(TaskInstance(published("shop")))


@pytest.mark.parametrize(
    "error", [NotSentError("shop: no mail server"), ApiRefusedError("no mail server", 401)]
)
def test_who_cannot_be_told_keeps_nobody_else_from_being_told(owners: Owners, error: Exception) -> None:
    owners.answers["shop"] = error
    with pytest.raises(NotSentError, match="no mail server"):
        execute(TaskInstance(published("shop", "books")))
    assert [name for name, _ in owners.told] == ["shop", "books"]


def test_it_is_retried_by_default() -> None:
    assert EmailOwnerOperator(task_id="email_owner", gate_task_id=GATE).retries == 5
    assert EmailOwnerOperator(task_id="email_owner", gate_task_id=GATE, retries=1).retries == 1


def test_a_fault_of_our_own_about_one_owner_keeps_no_other_from_being_told(owners: Owners) -> None:
    owners.answers["shop"] = ZeroDivisionError("a bug")
    with pytest.raises(NotSentError, match="ZeroDivisionError"):
        execute(TaskInstance(published("shop", "books")))
    assert [name for name, _ in owners.told] == ["shop", "books"]
