"""The whole loop while Airflow's processes are killed: nothing stays blocked, runs or is mailed twice.

Authorizations are lost, runs started, reports repeated, delayed and their answers lost, and owners follow the
links of their emails, while the API server, the scheduler with its workers, and the triggerer are killed at
moments that ``MBI_CHAOS_SEED`` decides. Then the killing ends; within some minutes all must be well.

What Airflow does at least once is done at least once: a task that was killed after its work and before it
could say so is tried again. So an extraction that landed counts where Airflow knows that try as a success,
which must be so exactly once; and an email that was accepted while its sender died goes out again under the
same Message-ID, by which mail programs tell that it is the same.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pytest

from demo.third_party.store import SECRETS
from tests.e2e.chaos import (
    DAGS,
    INTEGRATIONS,
    MORTAL,
    STEPS,
    SWEEP,
    Chaos,
    Owner,
    owner_of,
    started,
)
from tests.e2e.conftest import until

SEED = int(os.environ.get("MBI_CHAOS_SEED", "5"))
LASTS = 75.0
"""Seconds over which authorizations are lost and runs started."""
KILLS = 7
STEP_WITHIN = 8.0
"""Seconds that a kill waits for its step; where nobody takes that one, any moment will do."""
QUIET_WITHIN = 330.0
"""Seconds; mostly one minute. An email whose sender's claim was lost on the way waits for a lease of five."""

pytestmark = pytest.mark.timeout(600)


class Act(NamedTuple):
    """What is done when, in seconds from the beginning."""

    at: float
    verb: str
    what: str


def plan(seed: int) -> list[Act]:
    """Draw up what happens: the same for the same seed, though what Airflow does meanwhile never is."""
    dice = random.Random(seed)  # noqa: S311 - not a secret
    acts = [Act(0, "trigger", dag_id) for dag_id in DAGS]
    acts += [Act(dice.uniform(1, LASTS / 5), "lose", each) for each in INTEGRATIONS]
    acts += [Act(dice.uniform(LASTS / 2, LASTS), "lose", each) for each in INTEGRATIONS]
    acts += [Act(dice.uniform(3, LASTS), "trigger", dag_id) for dag_id in (*DAGS, *DAGS)]
    acts += [Act(dice.uniform(10, LASTS), "trigger", SWEEP) for _ in range(2)]
    return sorted(acts)


class Kill(NamedTuple):
    """Who dies, at the next of these steps that is taken, so many seconds later."""

    victim: str
    steps: tuple[str, ...]
    later: float


def kills(seed: int) -> list[Kill]:
    """Draw up who dies when; everybody in turn, first where a loss is found, then where it is put right."""
    dice = random.Random(f"kills {seed}")  # noqa: S311 - not a secret
    victims = [victim for _ in range(KILLS) for victim in dice.sample(MORTAL, len(MORTAL))]
    halves = [STEPS[:4]] * (KILLS // 2) + [STEPS[3:]] * (KILLS - KILLS // 2)
    chosen = [tuple(dice.sample(half, 2)) for half in halves]
    return [Kill(*each, dice.uniform(0, 0.4)) for each in zip(victims, chosen, strict=False)]


@dataclass
class Ended:
    """What is there to look at when all is over."""

    chaos: Chaos
    owners: list[Owner]

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return self.chaos.rows(query, *values)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    print(f"\nMBI_CHAOS_SEED={SEED}")  # noqa: T201
    began = time.monotonic()
    with started(tmp_path_factory.mktemp("chaos"), SEED) as chaos:
        owners = [Owner(chaos, integration_id, SEED) for integration_id in INTEGRATIONS]
        for owner in owners:
            owner.start()
        say(f"{time.monotonic() - began:.0f} s: Airflow is up, in {chaos.home}")
        losing = threading.Thread(target=wreak, args=(chaos, plan(SEED)), daemon=True)
        losing.start()
        kill_all(chaos, kills(SEED))
        losing.join()
        chaos.wire.calm = True
        chaos.wait_until_healthy()
        for dag_id in DAGS:  # what was lost and not noticed comes to light
            chaos.trigger(dag_id)
        say(f"{time.monotonic() - began:.0f} s: the killing is over")
        wait_until_quiet(chaos)
        chaos.trigger(SWEEP)
        wait_until_quiet(chaos)
        say(f"{time.monotonic() - began:.0f} s: all is quiet")
        say(f"killed: {dict(chaos.killed)}; on the wire: {dict(chaos.wire.happened)}")
        say(f"renewed: { {owner.name: (owner.renewed, owner.attempts) for owner in owners} }")
        yield Ended(chaos, owners)
    say(f"{time.monotonic() - began:.0f} s in all")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def back(chaos: Chaos, victim: str) -> bool | None:
    return chaos.is_back(victim) or None


def kill_all(chaos: Chaos, deaths: list[Kill]) -> None:
    """Kill one after the other, each when the last one is back: in between the loop must get somewhere."""
    for victim, steps, later in deaths:
        step = chaos.moments.await_next(steps, within=STEP_WITHIN)
        time.sleep(later)
        say(f"         kill {victim}, {later:.1f} s after {step or 'nothing of note'}")
        chaos.kill(victim)
        until(partial(back, chaos, victim), f"{victim} to be back", within=60)


def wreak(chaos: Chaos, acts: list[Act]) -> None:
    began = time.monotonic()
    triggers = []
    for act in acts:
        time.sleep(max(0.0, began + act.at - time.monotonic()))
        say(f"{time.monotonic() - began:5.1f} s: {act.verb} {act.what}")
        if act.verb == "lose":
            chaos.lose(act.what)
        else:  # which waits for an API server that is just away, while the killing goes on
            triggers.append(threading.Thread(target=chaos.trigger, args=(act.what,), daemon=True))
            triggers[-1].start()
    for trigger in triggers:
        trigger.join()


UNDONE = {
    "runs": """
        SELECT dag_id, run_id, state FROM dag_run WHERE state NOT IN ('success', 'failed')""",
    "blocked runs": """
        SELECT dag_id, run_id, task_id, map_index, state, reason FROM mbi_reauth_blocked_run
        WHERE state IN ('blocked', 'again', 'paused')""",
    "incidents": """
        SELECT id, integration_id, confirmed_at FROM mbi_reauth_incident WHERE closed_at IS NULL""",
    "emails about a loss": """
        SELECT key, due_at, lease_expires_at, last_error FROM mbi_reauth_notification
        WHERE kind = 'opened' AND sent_at IS NULL AND refused_at IS NULL AND cancelled_at IS NULL""",
}


def wait_until_quiet(chaos: Chaos) -> None:
    """Wait until nothing is under way any more, twice in a row."""
    deadline = time.monotonic() + QUIET_WITHIN
    seen = 0
    while seen < 2:
        undone = {name: found for name, query in UNDONE.items() if (found := chaos.rows(query))}
        seen = 0 if undone or chaos.wire.owes else seen + 1
        assert time.monotonic() < deadline, (
            f"not quiet: {undone}, {chaos.wire.owes} late reports; {where(chaos)}"
        )
        time.sleep(1.5)


def where(chaos: Chaos) -> str:
    tasks = chaos.rows(
        "SELECT dag_id, run_id, task_id, map_index, state, try_number FROM task_instance"
        " WHERE state IS NULL OR state NOT IN ('success', 'skipped') ORDER BY 1, 2, 3"
    )
    return f"see {chaos.home}; tasks: {tasks}"


EXTRACTIONS = "task_id LIKE '%%extract'"


def key_of(row: dict[str, Any]) -> tuple[str, str, str, int]:
    return row["dag_id"], row["run_id"], row["task_id"], row["map_index"]


def test_every_run_has_succeeded_and_its_extraction_too(ended: Ended) -> None:
    runs = ended.rows("SELECT dag_id, run_id, state FROM dag_run WHERE dag_id <> %s", SWEEP)
    assert sorted((run["dag_id"], run["run_id"]) for run in runs) == sorted(
        run for run in ended.chaos.triggered if run[0] != SWEEP
    )
    assert [run for run in runs if run["state"] != "success"] == [], where(ended.chaos)
    tasks = ended.rows(f"SELECT * FROM task_instance WHERE {EXTRACTIONS}")  # noqa: S608
    assert [key_of(task) for task in tasks if task["state"] != "success"] == []
    assert len(tasks) == len(runs) + sum(run["dag_id"] == "mapped" for run in runs)


def test_no_extraction_was_done_twice(ended: Ended) -> None:
    """Of all tries that landed, Airflow has seen exactly one succeed; the others were killed."""
    tries = ended.rows(
        "SELECT dag_id, run_id, task_id, map_index, try_number, state FROM task_instance"
        " UNION ALL SELECT dag_id, run_id, task_id, map_index, try_number, state FROM task_instance_history"
    )
    succeeded = {(*key_of(each), each["try_number"]) for each in tries if each["state"] == "success"}
    landed: dict[tuple[str, str, str, int], list[int]] = defaultdict(list)
    for line in ended.chaos.landed():
        landed[key_of(line)].append(line["try_number"])
    again = {key: numbers for key, numbers in landed.items() if len(numbers) > 1}
    say(f"{len(landed)} extractions landed; killed after landing, before they could say so: {again}")
    counted = {key: sum((*key, number) in succeeded for number in numbers) for key, numbers in landed.items()}
    assert {key: (count, landed[key]) for key, count in counted.items() if count != 1} == {}
    expected = ended.rows(f"SELECT * FROM task_instance WHERE {EXTRACTIONS}")  # noqa: S608
    assert landed.keys() == {key_of(task) for task in expected}


def test_no_stopped_run_was_resumed_twice_for_one_incident(ended: Ended) -> None:
    entries = ended.rows("SELECT * FROM log WHERE event = 'mbi_reauth.resume'")
    resumed = Counter(
        (*key_of(entry), incident)
        for entry in entries
        for incident in json.loads(entry["extra"])["incidents"]
    )
    say(f"{len(entries)} resumed, {len({key[:2] for key in resumed})} runs")
    assert [key for key, count in resumed.items() if count > 1] == []
    assert resumed, "nothing was stopped and resumed: that was no chaos"


def test_nothing_is_left_blocked_and_no_incident_open(ended: Ended) -> None:
    assert {name: found for name, query in UNDONE.items() if (found := ended.rows(query))} == {}
    statuses = ended.rows("SELECT integration_id, finding FROM mbi_reauth_status")
    causes = {row["integration_id"]: row["finding"]["cause"] for row in statuses}
    assert causes == dict.fromkeys(INTEGRATIONS, "authorized")


def test_each_owner_was_told_once_of_each_incident(ended: Ended) -> None:
    letters = ended.rows("SELECT * FROM mbi_reauth_notification WHERE message_id IS NOT NULL")
    about = defaultdict(set)
    for letter in letters:
        about[letter["message_id"]].add((letter["kind"], letter["incident_id"], letter["ordinal"]))
    mails = Counter(
        (mail.header("Message-ID") or "", mail.recipients) for mail in ended.chaos.mailbox.messages
    )
    repeats = {mail: count for mail, count in mails.items() if count > 1}
    say(f"{len(mails)} emails: {Counter(kind for mail, _ in mails for kind, *_ in about[mail])}")
    say(f"accepted again under the same Message-ID, as their senders died: {repeats}")
    assert {mail for mail, _ in mails} <= about.keys(), "an email that the outbox does not know"
    told = Counter(each for mail, _ in mails for each in about[mail])
    assert {each: count for each, count in told.items() if count != 1} == {}
    incidents = ended.rows("SELECT * FROM mbi_reauth_incident")
    openings = {letter["incident_id"]: letter for letter in letters if letter["kind"] == "opened"}
    assert openings.keys() == {incident["id"] for incident in incidents if incident["confirmed_at"]}
    # One that was over before its email could go out, as an earlier email's link led to its page, needs none.
    due = {incident for incident, letter in openings.items() if letter["cancelled_at"] is None}
    assert due <= {incident for kind, incident, _ in told if kind == "opened"}
    owners = {incident["id"]: owner_of(incident["integration_id"]) for incident in incidents}
    for mail, recipients in mails:
        assert {owners.get(incident) for _, incident, _ in about[mail]} == set(recipients)


def test_no_secret_is_in_any_log(ended: Ended) -> None:
    chaos = ended.chaos
    secrets = [*map(re.escape, chaos.keyshop.minted), re.escape(chaos.wire.key), SECRETS]
    known = re.compile("|".join(secrets))
    logs = [path for path in chaos.home.parent.rglob("*.log") if path.is_file()]
    assert len(logs) > len(DAGS)
    found = {path.name: known.search(path.read_text(errors="replace")) for path in logs}
    assert {name: match[0][:12] for name, match in found.items() if match} == {}


def test_each_process_was_killed_and_reports_were_repeated(ended: Ended) -> None:
    """Without which all of the above would say little."""
    assert ended.chaos.killed.keys() == set(MORTAL)
    for mischief in ("report repeated", "report repeated late", "answer lost"):
        assert ended.chaos.wire.happened[mischief] > 0
    assert all(owner.attempts > 0 for owner in ended.owners)
