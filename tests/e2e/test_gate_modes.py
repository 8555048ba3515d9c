"""Every mode of the gate on a real Airflow: scheduler, triggerer, workers and API server.

All runs start together when the module starts, because the second look at an ambiguous refusal takes a
minute; each test looks at its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.ports import free_port
from tests.e2e.gates import (
    API_CONN_ID,
    CONNECTED,
    EMAIL,
    GATE,
    UNCONNECTED,
    GateRun,
    Gates,
    eventually,
    exported_connections,
    secrets_of,
    started,
)

CUT_OFF = ("cut_off", "cut_off_oauth", "cut_off_lost_oauth")
AT_ONCE = sorted({*CONNECTED, *UNCONNECTED, "expanded"} - {*CUT_OFF}, key=lambda name: "refused" not in name)
"""Those that need a minute come first."""
SKIP_BEFORE = "skip_before"
TIMED_OUT = "Waited for 8 s in vain."
WITHDRAWN = "is needs_reauth: The authorization was withdrawn; its owner can give a new one."

Runs = dict[str, GateRun]


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gates]:
    with started(tmp_path_factory.mktemp("gates")) as gates:
        yield gates


@pytest.fixture(scope="module")
def runs(gates: Gates) -> Runs:
    gates.keyshop.answers |= {"refused_401": "401", "refused_403": "403", "refused_once": "401"}
    gates.keyshop.answers |= {"hangs": "hang", "cut_off": "invalid_token", "mapped_one": "200"}
    gates.keyshop.answers["lost_again"] = "invalid_token"
    runs = {dag_id: gates.start(dag_id) for dag_id in AT_ONCE}
    eventually(lambda: "refused_once" in gates.keyshop.asked, "the first refusal", within=90)
    gates.keyshop.answers["refused_once"] = "200"
    return runs


def assert_extracted(states: dict[str, str | None]) -> None:
    assert states == {
        GATE: "success", EMAIL: "skipped", "extract": "success", "load": "success", "after": "success"
    }  # fmt: skip


def assert_stopped(states: dict[str, str | None], *, gate: str, email: str) -> None:
    below = "skipped" if gate == "skipped" else "upstream_failed"
    assert states == {GATE: gate, EMAIL: email, "extract": below, "load": below, "after": below}


# Waiting comes first: its gates have a time limit.


@pytest.mark.parametrize(("dag_id", "lines"), [("waits", 4), ("waits_on_worker", 2)])
def test_a_waiting_gate_tells_its_owner_once_and_goes_on_by_itself_when_put_right(
    gates: Gates, runs: Runs, dag_id: str, lines: int
) -> None:
    eventually(lambda: len(gates.mails_to(dag_id)) == 1, f"the email about {dag_id}", within=90)
    eventually(lambda: runs[dag_id].said().count(WITHDRAWN) >= lines, f"{dag_id} to check again", within=90)
    gates.put_right(dag_id)
    assert_extracted(runs[dag_id].ended())
    assert len(gates.mails_to(dag_id)) == 1
    assert "The gate waits." in runs[dag_id].said()
    assert runs[dag_id].faults() == []


@pytest.mark.parametrize("dag_id", ["waits_out", "waits_out_on_worker"])
def test_waiting_in_vain_fails(gates: Gates, runs: Runs, dag_id: str) -> None:
    assert_stopped(runs[dag_id].ended(), gate="failed", email="skipped")
    assert len(gates.mails_to(dag_id)) == 1


@pytest.mark.parametrize("dag_id", ["waits_out_softly", "waits_out_softly_on_worker"])
def test_waiting_in_vain_softly_is_a_skip(gates: Gates, runs: Runs, dag_id: str) -> None:
    assert_stopped(runs[dag_id].ended(), gate="skipped", email="skipped")
    assert len(gates.mails_to(dag_id)) == 1
    assert runs[dag_id].faults() == []


def test_a_deferred_gate_that_waited_in_vain_says_for_what(runs: Runs) -> None:
    assert f"{TIMED_OUT} waits_out {WITHDRAWN}" in runs["waits_out"].said_of_its_end()
    assert f"{TIMED_OUT} waits_out_softly {WITHDRAWN}" in runs["waits_out_softly"].said_of_its_end()


def test_a_healthy_gate_ends_in_the_triggerer_without_a_worker(gates: Gates, runs: Runs) -> None:
    run = runs["healthy"]
    assert_extracted(run.ended())
    gate = run.tasks()[GATE]
    assert gate["pid"] is None
    assert (gate["try_number"], gate["queued_when"]) == (1, None)
    assert run.finding()["finding"]["cause"] == "authorized"
    assert run.finding()["reported"] is True
    assert gates.mails_to("healthy") == []
    assert run.faults() == []


def test_a_blocked_gate_ends_in_the_triggerer_without_a_worker(gates: Gates, runs: Runs) -> None:
    run = runs["lost"]
    assert_stopped(run.ended(), gate="skipped", email="success")
    assert run.state == "success"
    assert run.tasks()[GATE]["pid"] is None
    assert run.finding()["finding"]["cause"] == "grant_revoked"
    assert len(gates.mails_to("lost")) == 1
    assert "The extraction is skipped until the owner has re-authorized." in run.said()
    assert "sent to lost@example.com" in run.said(EMAIL)
    assert run.faults() == run.faults(EMAIL) == []


def test_a_trigger_encodes_what_it_publishes_once_more_than_a_task_does(runs: Runs) -> None:
    """When this fails, Airflow has changed, and ``EmailOwnerOperator`` need no longer decode."""
    runs["lost"].ended()
    assert isinstance(runs["lost"].stored_xcom(), str)
    runs["waits_out_on_worker"].ended()
    assert isinstance(runs["waits_out_on_worker"].stored_xcom(), dict)


@pytest.mark.parametrize(
    ("dag_id", "gate", "email"),
    [
        ("mapped_healthy", "success", ["skipped", "skipped"]),
        ("mapped_lost", "skipped", ["skipped", "success"]),
    ],
)
def test_each_instance_of_a_mapped_group_is_gated(
    gates: Gates, runs: Runs, dag_id: str, gate: str, email: list[str]
) -> None:
    states = runs[dag_id].ended()
    for index in (0, 1):
        assert states[f"{GATE}[{index}]"] == states[f"load[{index}]"] == gate
    assert sorted(str(states[f"{EMAIL}[{index}]"]) for index in (0, 1)) == email
    assert len(gates.mails_to(dag_id)) == email.count("success")


def test_the_sensor_can_be_expanded_over_integrations(runs: Runs) -> None:
    assert runs["expanded"].ended() == {"check[0]": "success", "check[1]": "success"}


def test_a_gate_that_fails_when_blocked_says_why_is_not_retried_and_its_owner_hears(
    gates: Gates, runs: Runs
) -> None:
    run = runs["fails"]
    assert_stopped(run.ended(), gate="failed", email="success")
    assert run.tasks()[GATE]["try_number"] == 1
    assert f"fails {WITHDRAWN}" in run.said_of_its_end()
    assert len(gates.mails_to("fails")) == 1


def test_a_missing_connection_fails_the_gate_with_what_to_do_and_no_retry(gates: Gates, runs: Runs) -> None:
    run = runs["misconfigured"]
    assert_stopped(run.ended(), gate="failed", email="skipped")
    assert run.tasks()[GATE]["try_number"] == 1
    assert "There is no Airflow connection 'misconfigured'" in run.said_of_its_end()
    assert "create it" in run.said_of_its_end()
    assert gates.mails_to("misconfigured") == []


def test_a_trigger_that_times_out_leaves_the_check_to_a_worker(gates: Gates, runs: Runs) -> None:
    run = runs["hangs"]
    assert_extracted(run.ended())
    assert "this worker checks instead" in run.said()
    assert run.finding()["finding"]["cause"] == "provider_outage"
    assert gates.mails_to("hangs") == []
    assert run.faults() == []


@pytest.mark.parametrize("dag_id", ["refused_401", "refused_403"])
def test_a_refusal_without_a_reason_blocks_when_a_second_check_says_the_same(
    gates: Gates, runs: Runs, dag_id: str
) -> None:
    run = runs[dag_id]
    assert_stopped(run.ended(), gate="skipped", email="success")
    assert run.finding()["confirmed"] is True
    assert gates.keyshop.asked.count(dag_id) == 2
    assert len(gates.mails_to(dag_id)) == 1
    assert "a second check in 60 s decides" in run.said()


def test_a_single_refusal_without_a_reason_blocks_and_mails_nobody(gates: Gates, runs: Runs) -> None:
    assert_extracted(runs["refused_once"].ended())
    assert gates.keyshop.asked.count("refused_once") == 2
    assert gates.mails_to("refused_once") == []


def test_a_cleared_gate_that_its_own_upstream_skips_tells_nobody(gates: Gates, runs: Runs) -> None:
    run = runs["cleared"]
    assert run.ended()[EMAIL] == "success"
    gates.ask("POST", "/variables", json={"key": SKIP_BEFORE, "value": "yes"})
    run.clear("before")
    states = run.ended()
    gates.ask("DELETE", f"/variables/{SKIP_BEFORE}")
    assert set(states.values()) == {"skipped"}
    assert len(gates.mails_to("cleared")) == 1


def test_a_cleared_run_completes_once_its_authorization_is_put_right(gates: Gates, runs: Runs) -> None:
    run = runs["cleared"]
    run.clear("before")
    assert run.ended()[GATE] == "skipped", "still lost"

    gates.put_right("cleared")
    run.clear(f"cleared.{GATE}")
    states = run.ended()
    assert states.pop("before") == "success"
    assert_extracted(states)
    assert run.finding()["finding"]["cause"] == "authorized"
    assert len(gates.mails_to("cleared")) == 1


def resumed(run: GateRun, *gates: str) -> dict[str, str | None]:
    """Wait for stopped gates to have passed by themselves, and for their run to end."""
    for gate in gates:
        run.reaches(gate, "success")
    return run.ended()


def tries(run: GateRun, *tasks: str) -> list[int]:
    found = run.tasks()
    return [found[task]["try_number"] for task in tasks]


def test_stopped_runs_complete_by_themselves_once_one_check_proves_the_authorization(
    gates: Gates, runs: Runs
) -> None:
    first, second = runs["lost"], gates.start("lost")
    assert_stopped(second.ended(), gate="skipped", email="skipped")
    gates.put_right("lost")
    assert_extracted(gates.start("lost").ended())
    for run, email in ((first, "success"), (second, "skipped")):
        states = resumed(run, GATE)
        assert states.pop(EMAIL) == email, "what the branch has done stays"
        assert set(states.values()) == {"success"}
        assert tries(run, GATE, "extract", "load", "after") == [2, 1, 1, 1], "each ran once"
        assert run.tasks()[GATE]["duration"] is None or run.tasks()[GATE]["duration"] >= 0
    assert len(gates.mails_to("lost")) == 1


def test_a_run_whose_gate_failed_for_the_authorization_is_resumed_too(gates: Gates, runs: Runs) -> None:
    runs["fails"].ended()
    gates.put_right("fails")
    assert_extracted(gates.start("fails").ended())
    states = resumed(runs["fails"], GATE)
    assert states.pop(EMAIL) == "success"
    assert set(states.values()) == {"success"}


def test_only_the_stopped_instance_of_a_mapped_group_is_resumed(gates: Gates, runs: Runs) -> None:
    run = runs["mapped_lost"]
    before = run.ended()
    task = f"each.mapped_lost.{GATE}"
    gates.ask("PATCH", f"{run.path}/taskInstances/{task}/0", json={"new_state": "success"})
    gates.put_right("mapped_lost")
    gates.start("mapped_lost").ended()
    states = resumed(run, f"{GATE}[1]")
    assert states["load[1]"] == "success"
    assert states["load[0]"] == "skipped", "somebody has dealt with that one"
    assert tries(run, f"{GATE}[0]", f"{GATE}[1]") == [1, 2]
    assert [states[f"{EMAIL}[{index}]"] for index in (0, 1)] == [
        before[f"{EMAIL}[{index}]"] for index in (0, 1)
    ]


def test_of_three_instances_the_one_that_lost_it_is_cleared_and_no_other(gates: Gates, runs: Runs) -> None:
    run, group = runs["mapped_one"], "each.mapped_one"
    assert set(run.ended().values()) == {"success", "skipped"}
    gates.keyshop.answers["mapped_one"] = "invalid_token"
    second = [[f"{group}.{task}", 1] for task in (GATE, EMAIL, "load")]
    gates.ask("POST", "/dags/mapped_one/clearTaskInstances", json={
        "dag_run_id": run.run_id, "task_ids": second, "only_failed": False, "dry_run": False,
        "include_downstream": False, "reset_dag_runs": True,
    })  # fmt: skip
    assert run.reaches(f"{EMAIL}[1]", "success", "failed") == "success"
    stopped = run.ended()
    assert (stopped[f"{GATE}[1]"], stopped["load[1]"]) == ("skipped", "skipped")
    assert len(gates.mails_to("mapped_one")) == 1
    before = run.tasks()

    gates.keyshop.answers["mapped_one"] = "200"
    gates.start("mapped_one").ended()
    states = resumed(run, f"{GATE}[1]")
    assert {states[f"load[{index}]"] for index in range(3)} == {"success"}
    after = run.tasks()
    ran = {name for name in after if after[name]["start_date"] != before[name]["start_date"]}
    assert ran == {f"{GATE}[1]", "load[1]"}
    assert len(gates.mails_to("mapped_one")) == 1
    assert audited(gates, run) == [("mbi_reauth.resume", f"{group}.{GATE}", 1)]


@pytest.mark.parametrize(
    ("dag_id", "state"), [("waits_long", "deferred"), ("waits_long_on_worker", "up_for_reschedule")]
)
def test_a_waiting_gate_goes_on_at_once_and_not_at_its_next_look(
    gates: Gates, runs: Runs, dag_id: str, state: str
) -> None:
    run = runs[dag_id]
    eventually(lambda: len(gates.mails_to(dag_id)) == 1, f"the email about {dag_id}", within=90)
    run.reaches(GATE, state)
    gates.put_right(dag_id)
    assert_extracted(gates.start(dag_id).ended())
    assert_extracted(run.ended(within=60))
    assert tries(run, GATE) == [1]
    assert audited(gates, run) == [("mbi_reauth.release", f"{dag_id}.{GATE}", -1)]
    assert len(gates.mails_to(dag_id)) == 1
    assert run.faults() == []


def test_the_email_branch_of_a_resumed_gate_that_stops_again_runs_again_without_any_sweep(
    gates: Gates, runs: Runs
) -> None:
    run = runs["lost_again"]
    assert_stopped(run.ended(), gate="skipped", email="success")
    gates.keyshop.answers["lost_again"] = "200, invalid_token"
    assert_extracted(gates.start("lost_again").ended())
    eventually(lambda: tries(run, GATE, EMAIL) == [2, 2], "the gate and its branch to run again", within=120)
    assert_stopped(run.ended(), gate="skipped", email="skipped")
    assert "sent to lost_again@example.com" in run.said(EMAIL), "within the hour it is the same incident"
    assert len(gates.mails_to("lost_again")) == 1


def audited(gates: Gates, run: GateRun) -> list[tuple[str, str, int]]:
    """Return what Airflow's audit log says was done to a run by the plugin: event, task, map index."""
    found = gates.ask("GET", "/eventLogs", params={"dag_id": run.dag_id, "run_id": run.run_id, "limit": 100})
    its = [entry for entry in found["event_logs"] if entry["owner"] == "mbi_reauth"]
    return [(entry["event"], entry["task_id"], entry["map_index"]) for entry in its]


# After all others have ended: this concerns every DAG.


def test_gates_do_their_work_while_the_app_is_away_and_the_email_follows(gates: Gates, runs: Runs) -> None:
    for run in runs.values():
        run.ended()
    gates.lead_the_app_to(f"http://127.0.0.1:{free_port()}")
    cut = {dag_id: gates.start(dag_id) for dag_id in CUT_OFF}
    for dag_id in ("cut_off_oauth", "cut_off_lost_oauth"):
        assert_extracted(cut[dag_id].ended())
        assert cut[dag_id].finding()["reported"] is False
        assert cut[dag_id].faults() == []
    assert cut["cut_off_lost_oauth"].finding()["finding"]["cause"] == "unknown"

    run = cut["cut_off"]
    assert run.reaches(EMAIL, "up_for_retry") == "up_for_retry"
    assert run.states()[GATE] == "skipped"
    assert run.finding()["reported"] is False
    assert "The owner of cut_off is not told yet. cut_off: The plugin's app cannot be reached" in run.said(
        EMAIL
    )
    assert gates.mails_to("cut_off") == []

    gates.lead_the_app_to("")
    assert_stopped(run.ended(), gate="skipped", email="success")
    assert len(gates.mails_to("cut_off")) == 1


def test_no_secret_is_in_any_log_page_or_table(gates: Gates, runs: Runs) -> None:
    stored = exported_connections(gates)
    secrets = gates.secrets | {secret for entry in stored.values() for secret in secrets_of(entry)}
    assert stored[API_CONN_ID]["password"] in secrets
    assert len(secrets) > len(stored)
    written = {path: path.read_bytes() for path in _written(gates.home)}
    assert any(path.suffix == ".log" for path in written)
    assert any(path.name.startswith("airflow.db") for path in written)
    mails = "\n".join(f"{mail.text}{mail.html}{mail.headers}" for mail in gates.mailbox.messages)
    assert [path.name for path, text in written.items() if any(s.encode() in text for s in secrets)] == []
    assert not any(secret in mails for secret in secrets)
    told = json.dumps([_everything_told(run) for run in runs.values()])
    assert not any(secret in told for secret in secrets)


def _written(home: Path) -> list[Path]:
    """Return all logs, and the database with its XComs, rendered fields, serialized DAGs and triggers."""
    return [path for path in home.rglob("*") if path.suffix == ".log" or path.name.startswith("airflow.db")]


def _everything_told(run: GateRun) -> object:
    """Return what the pages about a run show: its task instances, rendered fields included, and its XComs."""
    shown = run.tasks()
    entries = run.gates.ask("GET", f"{run.path}/taskInstances/~/xcomEntries", params={"limit": 100})
    keys = {(entry["task_id"], entry["key"]) for entry in entries["xcom_entries"] if entry["map_index"] < 0}
    values = [
        run.gates.ask("GET", f"{run.path}/taskInstances/{task_id}/xcomEntries/{key}") for task_id, key in keys
    ]
    return [shown, values]
