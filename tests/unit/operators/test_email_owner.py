"""The email branch: whom it tells, when it has nothing to do, and what it says when it cannot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from mbi_reauth.api.datamodels import RunReference
from mbi_reauth.core.gate import XCOM_KEY, GateFinding
from mbi_reauth.core.verdict import Cause, Finding
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
    """Whom the operator has had told; what came of each is given."""

    answers: dict[str, Told] = field(default_factory=dict)
    told: list[tuple[str, RunReference]] = field(default_factory=list)

    async def tell(self, findings: Sequence[GateFinding], *, run: RunReference) -> dict[str, Told]:
        names = [found.integration.id for found in findings]
        self.told += [(name, run) for name in names]
        return {name: self.answers.get(name, Told((f"{name}@example.com",), "sent")) for name in names}


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> Owners:
    owners = Owners()
    monkeypatch.setattr("mbi_reauth.notifications.sending.tell_owners", owners.tell)
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


def test_where_the_whole_plugin_is_in_shadow_mode_nobody_is_told(
    owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__SHADOW", "True")
    with pytest.raises(AirflowSkipException, match="shadow"):
        execute(TaskInstance(published("shop")))
    assert owners.told == []


def test_it_is_skipped_with_the_reasons_where_nothing_is_to_be_sent(owners: Owners) -> None:
    owners.answers = {
        "shop": Told((), "shop: sent to dana@example.com at 02:15"),
        "books": Told((), "books: held until 03:15"),
    }
    with pytest.raises(AirflowSkipException, match=r"Nothing to send\. shop: sent to dana.*\n.*held until"):
        execute(TaskInstance(published("shop", "books")))


def test_each_address_is_named_once_whatever_went_to_it(owners: Owners) -> None:
    owners.answers = {name: Told(("dana@example.com",), "sent") for name in ("shop", "books")}
    assert execute(TaskInstance(published("shop", "books", "other"))) == [
        "dana@example.com",
        "other@example.com",
    ]


def test_it_fails_with_every_reason_where_something_that_is_due_was_not_sent(owners: Owners) -> None:
    owners.answers = {name: Told((), f"{name}: no mail server", failed=True) for name in ("shop", "books")}
    with pytest.raises(NotSentError, match="shop: no mail server\nbooks: no mail server"):
        execute(TaskInstance(published("shop", "books", "other")))
    assert [name for name, _ in owners.told] == ["shop", "books", "other"]


def test_it_is_retried_by_default() -> None:
    assert EmailOwnerOperator(task_id="email_owner", gate_task_id=GATE).retries == 5
    assert EmailOwnerOperator(task_id="email_owner", gate_task_id=GATE, retries=1).retries == 1
