"""How ``authorized()`` wires the gate and its branch into a DAG."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, setup, task, task_group, teardown

from mbi_reauth.core.registry import RegistryError
from mbi_reauth.gate import UNSTOPPABLE, AuthorizedTaskGroup, authorized

ENTRY = "{type: zendesk, owner: {name: Dana Example, email: dana@example.com}}"
GATE, EMAIL = "shop.check_authorization", "shop.needs_reauth.email_owner"


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    path = tmp_path / "integrations.yaml"
    path.write_text(f"integrations: {{shop: {ENTRY}, books: {ENTRY}}}\n")
    return path


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("extract", schedule=None) as dag:
        yield dag


def step(task_id: str, **options: Any) -> EmptyOperator:
    return EmptyOperator(task_id=task_id, **options)


def upstream(dag: DAG, task_id: str) -> set[str]:
    return set(dag.get_task(task_id).upstream_task_ids)


def test_the_gate_is_in_front_of_every_root_and_only_of_those(dag: DAG, registry: Path) -> None:
    with authorized("shop", registry=registry):
        step("a") >> step("b")
        step("c")
    assert upstream(dag, "shop.a") == upstream(dag, "shop.c") == {GATE}
    assert upstream(dag, "shop.b") == {"shop.a"}
    assert upstream(dag, EMAIL) == {GATE}


def test_the_gate_says_beforehand_whether_mbi_may_fail_it(dag: DAG, tmp_path: Path) -> None:
    path = tmp_path / "integrations.yaml"
    signalled = ENTRY.replace("zendesk", "zendesk, mbi_signal: updates")
    updates = ENTRY.replace("zendesk", "mbi_update_cycle")
    path.write_text(f"integrations: {{shop: {signalled}, books: {ENTRY}, updates: {updates}}}\n")
    shop, books = authorized("shop", registry=path), authorized("books", registry=path)
    with shop:
        step("a")
    with books:
        step("a")
    assert "or MBI does not keep up" in str(shop.gate.doc_md)
    assert "MBI" not in str(books.gate.doc_md)


def test_what_comes_before_is_before_the_gate_and_what_comes_after_is_after_the_extraction(
    dag: DAG, registry: Path
) -> None:
    with authorized("shop", registry=registry) as group:
        step("a") >> step("b")
    step("before") >> group >> step("after")
    assert upstream(dag, GATE) == {"before"}
    assert upstream(dag, "after") == {"shop.b"}
    assert upstream(dag, EMAIL) == {GATE}


def test_an_empty_group_is_its_gate(dag: DAG, registry: Path) -> None:
    with authorized("shop", registry=registry) as group:
        pass
    group >> step("after")
    assert upstream(dag, "after") == {GATE}


def test_what_comes_after_a_group_around_it_does_not_wait_for_the_email(dag: DAG, registry: Path) -> None:
    with TaskGroup("outer") as outer, authorized("shop", registry=registry):
        step("a")
    outer >> step("after")
    assert upstream(dag, "after") == {"outer.shop.a"}


def test_what_comes_after_a_mapped_group_does_not_wait_for_the_email(dag: DAG, registry: Path) -> None:
    @task
    def work(number: int) -> int:
        return number

    @task_group
    def each(number: int) -> None:
        with authorized("shop", registry=registry):
            work(number)

    each.expand(number=[1, 2]) >> step("after")
    assert upstream(dag, "after") == {"each.shop.work"}
    assert not dag.get_task(f"each.{GATE}").start_from_trigger


def test_a_gate_inside_a_gated_group_is_behind_its_gate(dag: DAG, registry: Path) -> None:
    with authorized("shop", registry=registry) as outer, authorized("books", registry=registry):
        step("a")
    outer >> step("after")
    inner = "shop.books.check_authorization"
    assert upstream(dag, inner) == {GATE}
    assert upstream(dag, "shop.books.a") == {inner}
    assert upstream(dag, "after") == {"shop.books.a"}


def test_a_group_inside_is_behind_the_gate(dag: DAG, registry: Path) -> None:
    with authorized("shop", registry=registry), TaskGroup("inner"):
        step("a") >> step("b")
    assert upstream(dag, "shop.inner.a") == {GATE}
    assert upstream(dag, "shop.inner.b") == {"shop.inner.a"}


def test_a_teardown_does_not_hold_up_what_comes_after(dag: DAG, registry: Path) -> None:
    @setup
    def create() -> None: ...

    @teardown
    def delete() -> None: ...

    with authorized("shop", registry=registry) as group:
        created = create()
        created >> step("a") >> delete().as_teardown(setups=created)
    group >> step("after")
    assert upstream(dag, "after") == {"shop.a"}
    assert upstream(dag, "shop.create") == {GATE}


@pytest.mark.parametrize(
    ("ends", "rule"), [(ends, rule) for ends, rules in UNSTOPPABLE.items() for rule in sorted(rules)]
)
def test_a_root_that_would_run_all_the_same_is_refused(
    dag: DAG, registry: Path, ends: Any, rule: str
) -> None:
    group = authorized("shop", registry=registry, on_blocked=ends).__enter__()
    step("a", trigger_rule=rule)
    step("b")
    with pytest.raises(ValueError, match=rf"shop\.a \(trigger_rule='{rule}'\).*all_success") as refusal:
        group.__exit__(None, None, None)
    assert "shop.b" not in str(refusal.value)


@pytest.mark.parametrize(
    "rule", ["all_success", "none_failed_min_one_success", "none_skipped", "one_success"]
)
def test_a_root_that_a_skipped_gate_stops_is_fine(dag: DAG, registry: Path, rule: str) -> None:
    with authorized("shop", registry=registry):
        step("a", trigger_rule=rule)


def test_a_fault_inside_the_group_is_not_hidden(dag: DAG, registry: Path) -> None:
    with pytest.raises(KeyError, match="mine"), authorized("shop", registry=registry):
        raise KeyError("mine")


def test_several_integrations_are_one_gate(dag: DAG, registry: Path) -> None:
    with authorized("shop", "books", registry=registry) as group:
        step("a")
    assert group.group_id == "shop_and_books"
    assert [entry["id"] for entry in group.gate.integrations] == ["shop", "books"]
    with authorized("shop", registry=registry, group_id="mine") as named:
        step("a")
    assert named.gate.task_id == "mine.check_authorization"


@pytest.mark.parametrize(("ids", "words"), [(("shoq",), "shop"), (("shop", "nothing_like_it"), "nothing")])
def test_an_unknown_integration_is_an_error_of_the_dag_file(
    dag: DAG, registry: Path, ids: tuple[str, ...], words: str
) -> None:
    with pytest.raises(RegistryError, match=words):
        authorized(*ids, registry=registry)


def test_a_registry_with_faults_is_an_error_of_the_dag_file(dag: DAG, registry: Path) -> None:
    registry.write_text("integrations:\n  shop: {type: zendesk}\n")
    with pytest.raises(RegistryError, match=r"integrations\.yaml:2: .*owner"):
        authorized("shop", registry=registry)


def gate_of(registry: Path, **options: Any) -> AuthorizedTaskGroup:
    with authorized("shop", registry=registry, **options) as group:
        step("a")
    return group


def test_a_gate_that_only_decides_takes_no_worker_slot_and_ten_minutes_at_most(
    dag: DAG, registry: Path
) -> None:
    gate = gate_of(registry, poke_interval=900).gate
    assert (gate.deferrable, gate.start_from_trigger, gate.timeout) == (True, True, 600)
    assert gate.poke_interval == 60, "the second look at an ambiguous refusal does not wait longer"


def test_a_gate_that_waits_does_so_as_long_as_any_sensor(dag: DAG, registry: Path) -> None:
    gate = gate_of(registry, on_unavailable="wait", poke_interval=900).gate
    assert (gate.timeout, gate.poke_interval) == (7 * 24 * 3600, 900)


def test_options_reach_the_gate(dag: DAG, registry: Path) -> None:
    options = {"deferrable": False, "mode": "reschedule", "timeout": 5, "soft_fail": True, "max_age": 7}
    gate = gate_of(registry, on_blocked="wait", **options).gate
    assert {name: getattr(gate, name) for name in options} == options
    assert gate.policy["on_blocked"] == "wait"
    assert not gate.start_from_trigger


@pytest.mark.parametrize(
    ("options", "rule"),
    [({}, "all_skipped"), ({"on_blocked": "wait"}, "all_skipped"), ({"on_blocked": "fail"}, "all_failed")],
)
def test_the_branch_follows_a_gate_that_blocks(
    dag: DAG, registry: Path, options: dict[str, Any], rule: str
) -> None:
    assert gate_of(registry, **options).email_owner.trigger_rule == rule


def test_the_branch_of_a_shadow_gate_is_silent(dag: DAG, registry: Path) -> None:
    assert gate_of(registry, shadow=True).email_owner.silent
    assert not gate_of(registry, group_id="other").email_owner.silent


def test_an_option_that_does_not_exist_is_an_error_of_the_dag_file(dag: DAG, registry: Path) -> None:
    with pytest.raises(TypeError, match="on_bloked"):
        gate_of(registry, on_bloked="skip")


def test_failing_and_being_skipped_at_once_is_an_error_of_the_dag_file(dag: DAG, registry: Path) -> None:
    with pytest.raises(ValueError, match="contradicts soft_fail"):
        gate_of(registry, on_blocked="fail", soft_fail=True)


def test_a_gate_that_cannot_be_built_leaves_the_next_dag_alone(dag: DAG, registry: Path) -> None:
    with pytest.raises(TypeError, match="on_bloked"):
        gate_of(registry, on_bloked="skip")
    with DAG("next"):
        extract = step("extract")
    assert extract.task_id == "extract"


def test_the_gate_takes_what_its_stopped_runs_are_owed(dag: DAG, registry: Path) -> None:
    with authorized("shop", registry=registry, resume="latest", resume_within=timedelta(days=1)) as group:
        step("extract")
    assert (group.gate.policy["resume"], group.gate.policy["resume_within"]) == ("latest", 86400.0)
