"""When an authorization that is lost while extracting stops the retries, and who hears of it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from airflow.sdk import RetryAction, RetryDecision

from mbi_reauth.api.datamodels import FindingReport, RunReference
from mbi_reauth.core.gate import GateFinding
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.extraction.errors import ExtractionError, RefusedError
from mbi_reauth.hooks.api import ApiUnavailableError
from mbi_reauth.notifications.sending import Told
from mbi_reauth.retry_policy import AuthorizationRetryPolicy
from mbi_reauth.round import Round
from tests.checking import NOON, an_integration

SHOP = an_integration(type="zendesk")
RUN = RunReference(dag_id="extract", run_id="r1", task_id="shop.extract", map_index=2, try_number=1)
CONTEXT: Any = {"ti": SimpleNamespace(**RUN.model_dump())}
SECRET = "fake-key-that-the-answer-echoes"


def found(cause: Cause, *, confirmed: bool = True) -> GateFinding:
    finding = Finding(cause=cause, rule="test", explanation="As told.", checked_at=NOON)
    return GateFinding(integration=SHOP, finding=finding, confirmed=confirmed, credential_version=7)


LOST = found(Cause.GRANT_REVOKED)


class Rehearsal(AuthorizationRetryPolicy):
    """The policy with a given check, and an app that takes what it is told."""

    def __init__(self, check: GateFinding = LOST, *, shadow: bool = False, app_is_away: bool = False) -> None:
        super().__init__(SHOP, shadow=shadow)
        self.check, self.app_is_away = check, app_is_away
        self.checks: list[bool] = []
        self.recorded: list[FindingReport] = []

    async def _check(self, run: RunReference, *, shadow: bool) -> GateFinding:
        assert run == RUN
        self.checks.append(shadow)
        return self.check

    async def _record(self, report: FindingReport) -> None:
        if self.app_is_away:
            raise ApiUnavailableError("The plugin's app cannot be reached")
        self.recorded.append(report)


@dataclass
class Owners:
    """Whom the policy has told; nothing can be sent while they are ``unreachable``."""

    told: list[RunReference] = field(default_factory=list)
    unreachable: bool = False

    async def tell(self, findings: Sequence[GateFinding], *, run: RunReference) -> dict[str, Told]:
        self.told.append(run)
        return {each.integration.id: Told((), "told", failed=self.unreachable) for each in findings}


@pytest.fixture(autouse=True)
def owners(monkeypatch: pytest.MonkeyPatch) -> Owners:
    owners = Owners()
    monkeypatch.setattr("mbi_reauth.notifications.sending.tell_owners", owners.tell)
    return owners


def an_answer(status: int, body: Any = None) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    response.raw = io.BytesIO(json.dumps(body).encode() if body is not None else b"")
    return requests.HTTPError(f"{status} for https://shop.example/?key={SECRET}", response=response)


def decide(policy: AuthorizationRetryPolicy, error: BaseException) -> RetryDecision:
    return policy.evaluate(error, try_number=1, max_tries=3, context=CONTEXT)


REFUSED = an_answer(401, {"error": "Couldn't authenticate you", "echo": SECRET})


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        an_answer(403),
        RefusedError("refused", Finding(cause=Cause.GRANT_REVOKED, rule="test", explanation="-")),
        RefusedError("refused", Finding(cause=Cause.ACCESS_TOKEN_EXPIRED, rule="test", explanation="-")),
    ],
)
def test_a_refusal_that_a_check_confirms_stops_the_retries_records_the_run_and_tells_the_owner(
    owners: Owners, error: Exception
) -> None:
    policy = Rehearsal()
    decision = decide(policy, error)
    assert decision.action is RetryAction.FAIL
    assert str(decision.reason).startswith("shop is needs_reauth: As told.")
    [report] = policy.recorded
    assert (report.blocked_run, report.finding, report.credential_version) == (RUN, LOST.finding, 7)
    assert owners.told == [RUN]


def test_the_token_endpoint_s_refusal_is_one_too_in_code_that_refreshes_by_itself() -> None:
    policy = Rehearsal()
    policy.integration = an_integration(type="quickbooks")
    decide(policy, an_answer(400, {"error": "invalid_grant"}))
    assert len(policy.checks) == 1


@pytest.mark.parametrize(
    "check",
    [
        found(Cause.AUTHORIZED),
        found(Cause.PROVIDER_OUTAGE),
        found(Cause.UNKNOWN),
        found(Cause.PROBE_MISCONFIGURED),
        found(Cause.CREDENTIALS_REJECTED, confirmed=False),
    ],
    ids=lambda check: check.finding.cause.value,
)
def test_a_refusal_that_no_check_confirms_leaves_the_retries_alone(
    owners: Owners, check: GateFinding
) -> None:
    policy = Rehearsal(check)
    assert decide(policy, REFUSED) == RetryDecision.default()
    assert (policy.checks, policy.recorded, owners.told) == ([False], [], [])


@pytest.mark.parametrize(
    "error",
    [
        an_answer(503),
        an_answer(429),
        an_answer(404),
        requests.ConnectionError("no answer"),
        ExtractionError("a page of more than 64 MiB"),
        RefusedError("refused", Finding(cause=Cause.PROVIDER_OUTAGE, rule="test", explanation="-")),
        ValueError("a bug"),
        KeyboardInterrupt(),
    ],
)
def test_what_is_no_refusal_is_not_even_checked(error: BaseException) -> None:
    policy = Rehearsal()
    assert decide(policy, error) == RetryDecision.default()
    assert policy.checks == []


@pytest.mark.parametrize("whole_plugin", [True, False])
def test_in_shadow_mode_nothing_is_stopped_recorded_or_told(
    owners: Owners, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, *, whole_plugin: bool
) -> None:
    policy = Rehearsal(shadow=not whole_plugin)
    if whole_plugin:
        monkeypatch.setenv("AIRFLOW__MBI_REAUTH__SHADOW", "True")
    with caplog.at_level("INFO", logger="mbi_reauth"):
        assert decide(policy, REFUSED) == RetryDecision.default()
    assert (policy.checks, policy.recorded, owners.told) == ([True], [], [])
    assert "shadow mode" in caplog.text


@pytest.mark.parametrize("whole_plugin", [True, False])
def test_in_shadow_mode_it_is_counted_that_the_run_would_have_been_stopped(
    monkeypatch: pytest.MonkeyPatch, *, whole_plugin: bool
) -> None:
    if whole_plugin:
        monkeypatch.setenv("AIRFLOW__MBI_REAUTH__SHADOW", "True")
    rounds: list[Round] = []

    async def findings(self: Round, _: object) -> dict[str, GateFinding]:
        rounds.append(self)
        return {"shop": LOST}

    monkeypatch.setattr(Round, "findings", findings)
    assert decide(AuthorizationRetryPolicy(SHOP, shadow=not whole_plugin), REFUSED) == RetryDecision.default()
    assert [(each.would_block, each.report, each.blocked_run) for each in rounds] == [
        (RUN, whole_plugin, None)
    ]


def test_a_run_that_cannot_be_recorded_keeps_its_retries_since_nobody_would_resume_it(owners: Owners) -> None:
    assert decide(Rehearsal(app_is_away=True), REFUSED) == RetryDecision.default()
    assert owners.told == []


def test_a_mail_that_cannot_be_sent_changes_nothing_about_the_retries(owners: Owners) -> None:
    owners.unreachable = True
    assert decide(Rehearsal(), REFUSED).action is RetryAction.FAIL


def test_nothing_of_the_exception_is_said_since_it_may_quote_a_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("DEBUG"):
        decision = decide(Rehearsal(), REFUSED)
    assert "checking it" in caplog.text
    assert SECRET not in caplog.text + repr(decision)


def test_without_a_context_there_is_no_run_to_stop() -> None:
    policy = Rehearsal()
    assert policy.evaluate(REFUSED, try_number=1, max_tries=3) == RetryDecision.default()
    assert policy.checks == []
