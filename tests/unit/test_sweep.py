"""The sweep: how it is dealt out, how many questions go to whom and when, and what it counts."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.api.datamodels import (
    CheckRequest,
    CheckResponse,
    FindingReceipt,
    FindingReport,
    RunReference,
    WouldBlock,
    WouldBlockResponse,
)
from mbi_reauth.check import Checker
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import NotificationKind
from mbi_reauth.core.registry import Registry
from mbi_reauth.core.standing import rests
from mbi_reauth.core.sweep import SweepError, shards, summed
from mbi_reauth.core.verdict import Cause, Finding, Verdict
from mbi_reauth.hooks.api import ApiUnavailableError, ReauthApiHook
from mbi_reauth.hooks.connections import ConnectionNotFoundError
from mbi_reauth.notifications.sending import Sent, SentMail
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.integration import Subject
from mbi_reauth.sweep import Limits, Sweep, host_of, plan, serve
from tests.checking import (
    NOON,
    OAUTH,
    FakeApi,
    FakeConnections,
    MadeUpType,
    a_credential,
    a_type,
    an_integration,
)

TYPES = Path(__file__).parents[1] / "e2e" / "integration_types"
DAGS = Path(__file__).parents[2] / "dags"
RUN = RunReference(dag_id="mbi_authorization_sweep", run_id="r1", task_id="send_due")
GOOD = Evidence(endpoint=Endpoint.PROBE, status_code=200, body={"account": "north"})
LOST = Evidence(
    endpoint=Endpoint.PROBE, status_code=401, headers={"www-authenticate": 'Bearer error="invalid_token"'}
)
BARE = Evidence(endpoint=Endpoint.PROBE, status_code=401)
DOWN = Evidence(endpoint=Endpoint.PROBE, status_code=503)


@pytest.fixture(autouse=True)
def keyshop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER", str(TYPES))


def shops(*names: str, kind: str = "keyshop") -> list[Integration]:
    return [an_integration(id=name, type=kind, conn_id=name) for name in names]


HOSTS = st.dictionaries(st.integers(0, 400).map(str), st.sampled_from([None, None, None, "a", "b"]))


@given(hosts=HOSTS, size=st.integers(1, 60))
def test_each_integration_is_in_one_shard_and_those_of_one_host_are_together(
    hosts: dict[str, str | None], size: int
) -> None:
    dealt = shards(hosts, size)
    assert sorted(each for shard in dealt for each in shard) == sorted(hosts)
    for host in ("a", "b"):
        assert sum(any(hosts[each] == host for each in shard) for shard in dealt) <= 1


@given(count=st.integers(0, 500), size=st.integers(1, 60))
def test_where_no_host_is_shared_no_shard_is_larger_than_asked_for_and_all_are_even(
    count: int, size: int
) -> None:
    sizes = [len(shard) for shard in shards({str(number): None for number in range(count)}, size)]
    assert len(sizes) == -(-count // size)
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_a_host_of_many_does_not_take_the_others_into_its_shard() -> None:
    hosts: dict[str, str | None] = {f"big{number}": "big" for number in range(6)}
    dealt = shards({**hosts, "one": None, "two": None, "three": None}, 3)
    assert sorted(map(sorted, dealt)) == [sorted(hosts), ["one", "three"], ["two"]]


def test_the_types_whose_host_is_their_own_are_kept_together_and_an_unknown_type_stops_nobody() -> None:
    entries = [
        *shops("s1", "s2", "s3", kind="stripe"),
        *shops("z1", "z2", "z3", kind="zendesk"),
        *shops("gone", kind="there_is_no_such_type"),
    ]
    dealt = plan(Registry(Path(), {entry.id: entry for entry in entries}), shard_size=3)
    assert len(dealt) == 3
    assert ["s1", "s2", "s3"] in dealt


def found(cause: Cause, *, age: float, retry_after: float | None = None) -> Finding:
    at = NOON - timedelta(seconds=age)
    proved = at if cause is Cause.AUTHORIZED else None
    return Finding(
        cause=cause,
        rule="made_up.rule",
        explanation="-",
        retry_after=retry_after,
        checked_at=at,
        proved_at=proved,
    )


@pytest.mark.parametrize(
    ("retry_after", "interval", "age", "expected"),
    [
        (None, 0, 0, False),
        (600, 0, 599, True),
        (600, 0, 600, False),
        (None, 300, 299, True),
        (60, 300, 299, True),
        (600, 300, 301, True),
    ],
)
def test_a_third_party_rests_for_the_longer_of_its_types_interval_and_its_own_retry_after(
    retry_after: float | None, interval: float, age: float, *, expected: bool
) -> None:
    last = found(Cause.RATE_LIMITED, age=age, retry_after=retry_after)
    assert rests(last, interval=interval, at=NOON) is expected


def checks(last: Finding, *, patient: bool, interval: int = 0, **more: Any) -> tuple[int, Verdict]:
    """Check at noon, with a ``max_age`` of 0; say how often the third party was asked, and the verdict."""
    asked: list[Subject] = []

    async def probe(subject: Subject, *, access_token: str | None = None, timeout: float = 10) -> Evidence:
        asked.append(subject)
        return GOOD

    model = a_type(probe={"min_interval": interval}, **({"oauth": OAUTH} if more else {}))
    checker = Checker(
        api=FakeApi(CheckResponse(credential_version=1, last_finding=last, **more)),
        connections=FakeConnections({"shop_conn": [a_credential()]}),
        now=lambda: NOON,
        load=lambda _: MadeUpType(model),  # type: ignore[arg-type, return-value]
        probe=probe,
        patient=patient,
    )
    verdict = asyncio.run(checker.check(an_integration(), max_age=0)).finding.verdict
    return len(asked), verdict


def test_a_throttle_stands_until_its_retry_after_is_over_but_a_gate_asks() -> None:
    throttled = found(Cause.RATE_LIMITED, age=100, retry_after=900)
    over = found(Cause.RATE_LIMITED, age=1000, retry_after=900)
    assert checks(throttled, patient=True) == (0, Verdict.UNAVAILABLE)
    assert checks(over, patient=True) == (1, Verdict.AUTHORIZED)
    assert checks(throttled, patient=False) == (1, Verdict.AUTHORIZED)


@pytest.mark.parametrize("cause", [Cause.AUTHORIZED, Cause.CREDENTIALS_REJECTED, Cause.UNKNOWN])
def test_the_types_interval_is_kept_whatever_the_last_finding_was(cause: Cause) -> None:
    assert checks(found(cause, age=299), patient=True, interval=300) == (0, found(cause, age=0).verdict)
    assert checks(found(cause, age=301), patient=True, interval=300) == (1, Verdict.AUTHORIZED)


def test_a_refusal_of_the_token_endpoint_is_heard_while_the_api_rests() -> None:
    refused = Evidence(endpoint=Endpoint.TOKEN, status_code=400)
    throttled = found(Cause.RATE_LIMITED, age=1, retry_after=900)
    assert checks(throttled, patient=True, token_evidence=refused) == (0, Verdict.NEEDS_REAUTH)


class App(ReauthApiHook):
    """Knows nothing of anybody; or is away. ``would`` is what shadow mode would have stopped."""

    def __init__(self, *, away: bool = False, would: WouldBlockResponse | Exception | None = None) -> None:
        super().__init__()
        self.away = away
        self.would = would or WouldBlockResponse(would_block=[])
        self.reports: list[FindingReport] = []

    async def prepare(self, request: CheckRequest) -> CheckResponse:
        if self.away:
            raise ApiUnavailableError("the app did not answer")
        return CheckResponse(credential_version=1)

    async def report(self, report: FindingReport) -> FindingReceipt:
        if self.away:
            raise ApiUnavailableError("the app did not answer")
        self.reports.append(report)
        return FindingReceipt(accepted=True)

    async def would_block(self) -> WouldBlockResponse:
        if isinstance(self.would, Exception):
            raise self.would
        return self.would


@dataclass
class ThirdParties:
    """The connections and the answers, by name; each question takes some turns of the loop."""

    answers: Mapping[str, Evidence]
    host: Callable[[str], str] = lambda name: f"https://{name}.example"
    missing: frozenset[str] = frozenset()
    running: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    asked: list[str] = field(default_factory=list)

    async def get(self, conn_id: str) -> Credential:
        if conn_id in self.missing:
            raise ConnectionNotFoundError(conn_id)
        return a_credential(conn_id=conn_id, host=self.host(conn_id))

    async def probe(
        self, subject: Subject, *, access_token: str | None = None, timeout: float = 10
    ) -> Evidence:
        name = subject.credential.conn_id
        self.asked.append(name)
        for key in ("all", host_of(subject)):
            self.running[key] += 1
            self.most[key] = max(self.most[key], self.running[key])
        for _ in range(20):
            await asyncio.sleep(0)
        for key in ("all", host_of(subject)):
            self.running[key] -= 1
        return self.answers.get(name, GOOD)


def sweep(
    parties: ThirdParties,
    *names: str,
    limits: Limits | None = None,
    app: App | None = None,
    sleeps: list[float] | None = None,
) -> dict[str, int]:
    async def sleep(seconds: float) -> None:
        (sleeps if sleeps is not None else []).append(seconds)

    shard = Sweep(
        limits=limits or Limits(spread=0),
        max_age=60,
        api=app or App(),
        connections=parties,
        probe=parties.probe,
        sleep=sleep,
    )
    return asyncio.run(shard.shard(shops(*names)))


def test_verdicts_and_questions_are_counted() -> None:
    parties = ThirdParties({"lost": LOST, "down": DOWN, "bare": BARE}, missing=frozenset({"none"}))
    assert sweep(parties, "good", "fine", "lost", "down", "bare", "none") == {
        "integrations": 6,
        "probes": 5,
        "authorized": 2,
        "needs_reauth": 2,
        "unavailable": 1,
        "misconfigured": 1,
    }


def test_what_a_shard_finds_is_reported_without_any_run_being_owed_a_resume() -> None:
    app = App()
    sweep(ThirdParties({"lost": LOST, "bare": BARE}), "good", "lost", "bare", app=app)
    verdicts = {report.integration.id: report.finding.verdict for report in app.reports}
    lost = Verdict.NEEDS_REAUTH
    assert verdicts == {"good": Verdict.AUTHORIZED, "lost": lost, "bare": lost}
    assert {report.blocked_run for report in app.reports} == {None}


def test_a_fault_of_one_check_keeps_nobody_else_from_being_checked(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(ThirdParties):
        async def probe(self, subject: Subject, **options: Any) -> Evidence:
            if subject.credential.conn_id == "faulty":
                raise ZeroDivisionError
            return await super().probe(subject, **options)

    counts = sweep(Faulty({}), "good", "faulty", "fine")
    assert (counts["authorized"], counts["indeterminate"]) == (2, 1)
    assert "ZeroDivisionError" in caplog.text


def test_no_more_checks_run_at_once_than_allowed() -> None:
    parties = ThirdParties({})
    sweep(parties, *(f"shop{number}" for number in range(30)), limits=Limits(7, 4, 0))
    assert (parties.most["all"], len(parties.asked)) == (7, 30)


def test_no_more_questions_go_to_one_host_at_once_than_allowed() -> None:
    parties = ThirdParties(
        {}, host=lambda name: "https://big.example" if name.startswith("big") else f"https://{name}.example"
    )
    names = [*(f"big{number}" for number in range(20)), *(f"small{number}" for number in range(5))]
    sweep(parties, *names, limits=Limits(25, 3, 0))
    assert parties.most["big.example"] == 3
    assert parties.most["all"] == 8
    assert len(parties.asked) == 25


def test_the_checks_begin_at_random_moments_of_the_spread() -> None:
    sleeps: list[float] = []
    sweep(
        ThirdParties({}), *(f"shop{number}" for number in range(20)), limits=Limits(spread=30), sleeps=sleeps
    )
    assert len(set(sleeps)) == 20
    assert all(0 <= seconds <= 30 for seconds in sleeps)


def test_the_log_tells_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sweep(ThirdParties({}), *(f"shop{number}" for number in range(40)))
    told = [line for line in caplog.messages if line.endswith(" checked")]
    assert told == [f"{done} of 40 checked" for done in range(4, 41, 4)]
    assert caplog.messages[-1] == "40 integrations, 40 probes, 40 authorized"


def test_without_the_app_everything_is_checked_and_the_sum_is_an_error() -> None:
    counts = sweep(ThirdParties({"lost": LOST}), "good", "lost", app=App(away=True))
    assert (counts["authorized"], counts["needs_reauth"]) == (1, 1)
    with pytest.raises(SweepError, match="in none of 4 checks"):
        summed([counts, counts], {})


def test_while_the_app_answers_anybody_the_sum_is_what_the_shards_counted() -> None:
    away, here = {"integrations": 2, "authorized": 2, "without_app": 2}, {"integrations": 1, "authorized": 1}
    emails = {"opened_emails": 2, "emails_refused": 1}
    assert summed([away, here], emails) == {
        "integrations": 3,
        "authorized": 3,
        "without_app": 2,
        "opened_emails": 2,
        "emails_refused": 1,
    }
    assert summed([], {}) == {}


def test_an_app_that_does_not_say_what_is_due_fails_the_sweep() -> None:
    with pytest.raises(SweepError, match="which emails are due"):
        summed([{"integrations": 1, "authorized": 1}], {"outbox_away": 1})


def test_where_the_app_took_part_in_nothing_that_is_what_is_said() -> None:
    with pytest.raises(SweepError, match="in none of 1 checks"):
        summed([{"integrations": 1, "without_app": 1}], {"outbox_away": 1})


OUTCOME = Sent(
    mails=[
        SentMail(NotificationKind.OPENED, ("dana@example.com",), ("shop", "books")),
        SentMail(NotificationKind.OPENED, ("sam@example.com",), ("sheets",)),
        SentMail(NotificationKind.RECOVERED, ("dana@example.com",), ("desk",)),
    ],
    unsent=["docs: the mailbox is full"],
    refused=["mail: nobody of that name"],
    reason="nothing else is due",
)


def serve_with(monkeypatch: pytest.MonkeyPatch, outcome: Sent | Exception, app: App) -> dict[str, int]:
    async def send_due(**options: Any) -> Sent:
        assert (options["run"], options["serving"], options.get("integration_id")) == (RUN, True, None)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr("mbi_reauth.sweep.send_due", send_due)
    return asyncio.run(serve(RUN, api=app))


def test_emails_are_counted_by_kind_and_each_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    counts = serve_with(monkeypatch, OUTCOME, App())
    assert counts == {"opened_emails": 2, "recovered_emails": 1, "emails_unsent": 1, "emails_refused": 1}
    assert "shop, books: sent to dana@example.com (opened)" in caplog.messages
    assert "Not sent: docs: the mailbox is full" in caplog.messages
    assert "2 opened emails, 1 recovered emails, 1 emails unsent, 1 emails refused" in caplog.messages


def test_where_nothing_is_due_nothing_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert serve_with(monkeypatch, Sent([], [], [], "nothing else is due"), App()) == {}
    assert "no emails" in caplog.messages
    assert "shadow" not in caplog.text


@pytest.mark.parametrize(
    ("reason", "level"),
    [
        ("there is no address to write to: set [mbi_reauth] engineer_email", logging.WARNING),
        ("nothing else is due", logging.INFO),
    ],
)
def test_an_email_that_has_no_address_is_a_warning_once(
    reason: str, level: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    serve_with(monkeypatch, Sent([], [], [], reason), App())
    assert [each.levelno for each in caplog.records if reason in each.getMessage()] == [level]


def test_an_app_that_is_away_when_it_comes_to_sending_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = ApiUnavailableError("the app did not answer")
    assert serve_with(monkeypatch, away, App()) == {"outbox_away": 1}
    assert "the app did not answer" in caplog.text


def test_the_log_says_how_many_runs_shadow_mode_would_have_stopped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    would = [
        WouldBlock(integration_id=name, runs=runs, first_at=NOON, last_at=NOON, causes=["grant_revoked"])
        for name, runs in (("shop", 3), ("books", 4))
    ]
    serve_with(monkeypatch, OUTCOME, App(would=WouldBlockResponse(would_block=would)))
    assert "Shadow mode would have stopped 7 runs so far" in caplog.text


def test_emails_that_are_out_are_counted_although_nobody_knows_of_shadow_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = serve_with(monkeypatch, OUTCOME, App(would=ApiUnavailableError("the app did not answer")))
    assert counts["opened_emails"] == 2


@pytest.mark.parametrize(
    ("model", "credential", "ssh", "host"),
    [
        ({}, {"host": "https://shop.example:8443/api"}, None, "shop.example:8443"),
        ({"base_url": "https://{extra.sub}.shop.example"}, {"extra": {"sub": "n"}}, None, "n.shop.example"),
        ({"kind": "database"}, {"host": "db.example"}, None, "db.example"),
        ({"kind": "database"}, {"host": "db.example"}, {"host": "ssh.example"}, "ssh.example"),
    ],
)
def test_the_host_is_the_one_that_is_connected_to(
    model: dict[str, Any], credential: dict[str, Any], ssh: dict[str, Any] | None, host: str
) -> None:
    if model.get("kind") == "database":
        made = a_type().model_copy(update={"kind": "database", "probe": None})
    else:
        made = a_type(**model)
    subject = Subject(made, a_credential(**credential), None, a_credential(**ssh) if ssh else None)
    assert host_of(subject) == host


def test_the_schedule_can_be_set_and_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from mbi_reauth import settings

    assert settings.sweep_schedule() == "*/15 * * * *"
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__SWEEP_SCHEDULE", "*/5 * * * *")
    assert settings.sweep_schedule() == "*/5 * * * *"
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__SWEEP_SCHEDULE", "")
    assert settings.sweep_schedule() is None


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DagBag:
    """Load the DAG file as Airflow does, beside a registry with faults."""
    monkeypatch.delenv("AIRFLOW__MBI_REAUTH__REGISTRY", raising=False)
    shutil.copy(DAGS / "mbi_authorization_sweep.py", tmp_path)
    (tmp_path / "integrations.yaml").write_text("integrations: {shop: [}")
    return DagBag(tmp_path)


def test_the_dag_runs_every_quarter_of_an_hour_never_twice_at_once_and_makes_up_for_nothing(
    bag: DagBag,
) -> None:
    dag = bag.dags["mbi_authorization_sweep"]
    assert str(dag.schedule) == "*/15 * * * *"
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    assert dag.task_dict["check_shard"].is_mapped


def test_mail_goes_out_once_after_all_shards_whatever_became_of_them(bag: DagBag) -> None:
    tasks = bag.dags["mbi_authorization_sweep"].task_dict
    assert tasks["send_due"].upstream_task_ids == {"check_shard"}
    assert tasks["send_due"].trigger_rule == "all_done"
    assert tasks["send_due"].retries == 2
    assert tasks["summarize"].upstream_task_ids == {"check_shard", "send_due"}
    assert tasks["summarize"].trigger_rule == "all_success"


@dataclass
class TaskInstance:
    """The task instance of send_due; remembers its XComs."""

    dag_id: str = RUN.dag_id
    run_id: str = RUN.run_id
    task_id: str = RUN.task_id
    map_index: int = -1
    try_number: int = 1
    pushed: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.pushed[key] = value


def run_send_due(
    bag: DagBag, counts: dict[str, int], ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> Any:
    async def serve(run: RunReference) -> dict[str, int]:
        assert run == RUN
        return counts

    task: Any = bag.dags["mbi_authorization_sweep"].task_dict["send_due"]
    function = task.python_callable
    monkeypatch.setattr("mbi_reauth.sweep.serve", serve)
    monkeypatch.setitem(function.__globals__, "get_current_context", lambda: {"ti": ti})
    return function()


def test_what_was_sent_is_the_value_of_the_last_step(bag: DagBag, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"opened_emails": 2, "emails_refused": 1}
    assert run_send_due(bag, counts, TaskInstance(), monkeypatch) == counts


def test_mail_that_could_not_be_sent_fails_the_last_step_whose_counts_are_kept(
    bag: DagBag, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, ti = {"opened_emails": 2, "emails_unsent": 1}, TaskInstance()
    with pytest.raises(SweepError, match="1 of the emails that are due could not be sent"):
        run_send_due(bag, counts, ti, monkeypatch)
    assert ti.pushed == {"return_value": counts}


def test_a_registry_with_faults_is_no_import_error_of_the_sweep(bag: DagBag) -> None:
    assert bag.import_errors == {}


def test_parsing_the_dag_file_loads_nothing_of_the_plugin_but_its_settings() -> None:
    program = (
        "import mbi_authorization_sweep, sys;"
        "print(*sorted(name for name in sys.modules if name.startswith('mbi_reauth')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=DAGS
    )
    # Airflow itself reads the provider's metadata.
    allowed = {"mbi_reauth", "mbi_reauth.settings", "mbi_reauth.provider_info"}
    assert set(done.stdout.splitlines()[-1].split()) <= allowed
