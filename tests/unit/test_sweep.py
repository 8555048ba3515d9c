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
    IncidentView,
    RunReference,
)
from mbi_reauth.check import Checker
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.gate import GateFinding
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.registry import Registry
from mbi_reauth.core.standing import rests
from mbi_reauth.core.sweep import SweepError, shards, summed
from mbi_reauth.core.verdict import Cause, Finding, Verdict
from mbi_reauth.hooks.api import ApiUnavailableError, ReauthApiHook
from mbi_reauth.hooks.connections import ConnectionNotFoundError
from mbi_reauth.notifications.sending import NotSentError, Told
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.integration import Subject
from mbi_reauth.sweep import Limits, Sweep, host_of, plan
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
RUN = RunReference(dag_id="mbi_authorization_sweep", run_id="r1", task_id="check_shard", map_index=0)
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
    """Knows nothing of anybody, or has seen each refusal before; or is away."""

    def __init__(self, *, away: bool = False, saw_it_before: bool = False) -> None:
        super().__init__()
        self.away = away
        self.saw_it_before = saw_it_before

    async def prepare(self, request: CheckRequest) -> CheckResponse:
        if self.away:
            raise ApiUnavailableError("the app did not answer")
        return CheckResponse(credential_version=1)

    async def report(self, report: FindingReport) -> FindingReceipt:
        if self.away:
            raise ApiUnavailableError("the app did not answer")
        if not self.saw_it_before:
            return FindingReceipt(accepted=True)
        incident = IncidentView(id="42", opened_at=NOON, confirmed_at=NOON, finding=report.finding)
        return FindingReceipt(accepted=True, incident=incident)


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


@dataclass
class Owners:
    """Who was told; ``fails`` are those to whom nothing can be sent."""

    fails: Mapping[str, Exception] = field(default_factory=dict)
    already: frozenset[str] = frozenset()
    told: list[tuple[str, bool, RunReference]] = field(default_factory=list)

    async def __call__(
        self, found: GateFinding, *, run: RunReference, stopped: bool, api: ReauthApiHook | None
    ) -> Told:
        name = found.integration.id
        if name in self.fails:
            raise self.fails[name]
        self.told.append((name, stopped, run))
        return Told(None if name in self.already else "dana@example.com", "sent")


def sweep(
    parties: ThirdParties,
    *names: str,
    owners: Owners | None = None,
    limits: Limits | None = None,
    app: App | None = None,
    sleeps: list[float] | None = None,
) -> dict[str, int]:
    async def sleep(seconds: float) -> None:
        (sleeps if sleeps is not None else []).append(seconds)

    shard = Sweep(
        run=RUN,
        limits=limits or Limits(spread=0),
        max_age=60,
        api=app or App(),
        connections=parties,
        probe=parties.probe,
        tell=owners or Owners(),
        sleep=sleep,
    )
    return asyncio.run(shard.shard(shops(*names)))


def test_verdicts_questions_and_mails_are_counted() -> None:
    parties = ThirdParties({"lost": LOST, "down": DOWN, "bare": BARE}, missing=frozenset({"none"}))
    assert sweep(parties, "good", "fine", "lost", "down", "bare", "none") == {
        "integrations": 6,
        "probes": 5,
        "authorized": 2,
        "needs_reauth": 2,
        "unavailable": 1,
        "misconfigured": 1,
        "emails": 1,
    }


def test_the_owner_of_a_certain_loss_is_told_without_any_run_being_owed_a_resume() -> None:
    owners = Owners()
    sweep(ThirdParties({"lost": LOST, "bare": BARE}), "good", "lost", "bare", owners=owners)
    assert owners.told == [("lost", False, RUN)]


def test_a_refusal_without_a_reason_is_told_when_the_app_has_seen_it_at_an_earlier_sweep() -> None:
    owners = Owners()
    sweep(ThirdParties({"bare": BARE}), "bare", owners=owners, app=App(saw_it_before=True))
    assert [name for name, *_ in owners.told] == ["bare"]


def test_an_owner_who_has_been_told_already_counts_as_no_mail() -> None:
    counts = sweep(ThirdParties({"lost": LOST}), "lost", owners=Owners(already=frozenset({"lost"})))
    assert counts.get("emails", 0) == 0


@pytest.mark.parametrize("error", [NotSentError("the mail server is down"), ZeroDivisionError()])
def test_a_mail_that_cannot_be_sent_keeps_nobody_else_from_being_told(error: Exception) -> None:
    parties = ThirdParties({"lost": LOST, "lost_too": LOST})
    owners = Owners(fails={"lost": error})
    counts = sweep(parties, "lost", "good", "lost_too", owners=owners)
    assert [name for name, *_ in owners.told] == ["lost_too"]
    assert (counts["emails"], counts["emails_unsent"], counts["authorized"]) == (1, 1, 1)


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
        summed([counts, counts])


def test_while_the_app_answers_anybody_the_sum_is_what_the_shards_counted() -> None:
    away, here = {"integrations": 2, "authorized": 2, "without_app": 2}, {"integrations": 1, "authorized": 1}
    assert summed([away, here]) == {"integrations": 3, "authorized": 3, "without_app": 2}
    assert summed([]) == {}


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
