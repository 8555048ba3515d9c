from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from mbi_reauth.api.datamodels import CheckResponse, FindingReceipt, RunReference
from mbi_reauth.catalogue import CatalogueError
from mbi_reauth.check import Checked, Checker, check
from mbi_reauth.core.evidence import Endpoint, Evidence, TransportFailure
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding, Verdict
from mbi_reauth.hooks.api import ApiRefusedError, ApiUnavailableError
from mbi_reauth.hooks.connections import ConnectionNotFoundError
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.integration import Subject
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

DOWN = ApiUnavailableError("The plugin's app cannot be reached: connection_refused")
RUN = RunReference(dag_id="extract", run_id="r1", task_id="gate")
OAUTH_TYPE = a_type(oauth=OAUTH)
TOKEN_REFUSED = Evidence(endpoint=Endpoint.TOKEN, status_code=400)
OLD, NEW = a_credential(), a_credential(password="fake-new")


@dataclass
class FakeProbe:
    """Answers with each status, evidence or error in turn, the last one for ever."""

    answers: Sequence[int | Evidence | BaseException]
    asked: list[tuple[Credential, str | None]] = field(default_factory=list)

    async def __call__(
        self,
        subject: Subject,
        *,
        access_token: str | None = None,
        timeout: float = 10,
    ) -> Evidence:
        self.asked.append((subject.credential, access_token))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Evidence):
            return answer
        return Evidence(endpoint=Endpoint.PROBE, status_code=answer)


@dataclass
class Scene:
    """One check of a made-up integration, and everything it touched."""

    api: FakeApi | None = field(default_factory=lambda: FakeApi(CheckResponse(credential_version=7)))
    probe: FakeProbe = field(default_factory=lambda: FakeProbe([200]))
    model: Any = field(default_factory=a_type)
    connections: FakeConnections = field(default_factory=lambda: FakeConnections({"shop_conn": [OLD]}))
    now: datetime = NOON

    def check(self, integration: Integration | None = None, **options: Any) -> Checked:
        checker = Checker(
            api=self.api,
            connections=self.connections,
            now=lambda: self.now,
            load=lambda _: MadeUpType(self.model),  # type: ignore[arg-type, return-value]
            probe=self.probe,
        )
        return asyncio.run(checker.check(integration or an_integration(), **options))


def prepared(**fields: Any) -> CheckResponse:
    return CheckResponse(credential_version=7, **fields)


def proof(*, age: float) -> Finding:
    at = NOON - timedelta(seconds=age)
    return Finding(
        cause=Cause.AUTHORIZED, rule="made_up.ok", explanation="Fine.", checked_at=at, proved_at=at
    )


def test_an_accepted_credential_is_authorized_and_reported() -> None:
    scene = Scene()
    checked = scene.check(blocked_run=RUN)
    assert checked.finding.verdict is Verdict.AUTHORIZED
    assert checked.finding.proved_at == checked.finding.checked_at == NOON
    assert checked.credential_version == 7
    assert checked.receipt == FindingReceipt(accepted=True)
    assert scene.api
    assert [(r.credential_version, r.blocked_run) for r in scene.api.reports] == [(7, None)]


def test_a_lost_authorization_is_reported_with_the_run_it_blocks() -> None:
    scene = Scene(probe=FakeProbe([410]))
    assert scene.check(blocked_run=RUN).finding.verdict is Verdict.NEEDS_REAUTH
    assert scene.api
    assert scene.api.reports[0].blocked_run == RUN


@pytest.mark.parametrize(
    ("age", "max_age", "min_interval", "probes"),
    [(59, 60, 0, 0), (60, 60, 0, 1), (0, 0, 0, 1), (200, 60, 300, 0), (301, 60, 300, 1), (1, 0, 300, 1)],
)
def test_a_young_proof_is_trusted_instead_of_probing(
    age: float, max_age: float, min_interval: int, probes: int
) -> None:
    scene = Scene(
        api=FakeApi(prepared(last_finding=proof(age=age))),
        model=a_type(probe={"min_interval": min_interval}),
    )
    checked = scene.check(max_age=max_age)
    assert checked.finding.verdict is Verdict.AUTHORIZED
    assert len(scene.probe.asked) == probes
    assert scene.api
    assert len(scene.api.reports) == probes


def test_an_old_refusal_is_never_trusted() -> None:
    refused = Finding(cause=Cause.GRANT_REVOKED, rule="r", explanation="e", checked_at=NOON, proved_at=NOON)
    scene = Scene(api=FakeApi(prepared(last_finding=refused)))
    assert scene.check().finding.verdict is Verdict.AUTHORIZED


def test_the_last_proof_is_remembered_through_an_outage() -> None:
    last = proof(age=3600)
    scene = Scene(api=FakeApi(prepared(last_finding=last)), probe=FakeProbe([503]))
    finding = scene.check().finding
    assert (finding.verdict, finding.proved_at) == (Verdict.UNAVAILABLE, last.proved_at)


def oauth_scene(*answers: CheckResponse | Exception, statuses: Sequence[int] = (200,)) -> Scene:
    return Scene(api=FakeApi(*answers), probe=FakeProbe(statuses), model=OAUTH_TYPE)


T1, T2 = prepared(access_token="fake-1"), prepared(access_token="fake-2")
REFUSED = prepared(token_evidence=TOKEN_REFUSED)


@pytest.mark.parametrize(
    ("answers", "statuses", "cause", "tokens"),
    [
        ([T1], [200], Cause.AUTHORIZED, ["fake-1"]),
        ([REFUSED], [200], Cause.GRANT_INVALID, []),
        ([T1, T2], [401, 200], Cause.AUTHORIZED, ["fake-1", "fake-2"]),
        ([T1, T2], [401, 503], Cause.PROVIDER_OUTAGE, ["fake-1", "fake-2"]),
        ([T1, REFUSED], [401], Cause.GRANT_INVALID, ["fake-1"]),
        ([T1, T2], [401, 401], Cause.UNKNOWN, ["fake-1", "fake-2"]),
        ([T1, DOWN], [401], Cause.UNKNOWN, ["fake-1"]),
        ([T1, prepared()], [401], Cause.UNKNOWN, ["fake-1"]),
        ([DOWN], [200], Cause.UNKNOWN, []),
    ],
    ids=[
        "accepted",
        "refused by the token endpoint",
        "refreshed",
        "refreshed, then an outage",
        "refresh refused",
        "fresh token refused too",
        "no refresh, app down",
        "no refresh",
        "app down, no token",
    ],
)
def test_only_the_token_endpoint_decides_about_a_refused_token(
    answers: list[CheckResponse | Exception], statuses: list[int], cause: Cause, tokens: list[str]
) -> None:
    scene = oauth_scene(*answers, statuses=statuses)
    assert scene.check().finding.cause is cause
    assert [token for _, token in scene.probe.asked] == tokens


def test_a_token_that_nobody_can_refresh_and_that_is_missing_is_for_the_engineer() -> None:
    checked = asyncio.run(
        Checker(
            api=FakeApi(prepared()),
            connections=FakeConnections({"shop_conn": [a_credential(password="", host="shop.invalid")]}),
            load=lambda _: MadeUpType(a_type(oauth=OAUTH | {"refresh": "none"})),  # type: ignore[arg-type, return-value]
        ).check(an_integration())
    )
    assert checked.finding.verdict is Verdict.MISCONFIGURED
    assert "has no access token" in checked.finding.explanation


def test_the_app_is_told_which_token_was_refused_but_not_the_token() -> None:
    scene = oauth_scene(T1, T2, statuses=[401, 200])
    scene.check()
    assert scene.api
    digest = hashlib.sha256(b"fake-1").hexdigest()
    assert [request.refused_token for request in scene.api.asked] == [None, digest]


def test_without_the_app_the_stored_token_is_used_and_nothing_is_reported() -> None:
    stored = a_credential(extra={"access_token": "fake-stored"})
    scene = oauth_scene(DOWN)
    scene.connections = FakeConnections({"shop_conn": [stored]})
    assert scene.api
    scene.api.receipt = DOWN
    checked = scene.check()
    assert checked.finding.verdict is Verdict.AUTHORIZED
    assert checked.receipt is None
    assert scene.probe.asked == [(stored, "fake-stored")]


def test_a_check_works_where_there_is_no_app_at_all() -> None:
    checked = Scene(api=None).check()
    assert (checked.finding.verdict, checked.receipt) == (Verdict.AUTHORIZED, None)


def test_a_shadow_check_reports_nothing() -> None:
    scene = Scene(probe=FakeProbe([410]))
    assert scene.check(report=False).receipt is None
    assert scene.api
    assert scene.api.reports == []


def test_a_credential_replaced_during_its_check_is_checked_anew() -> None:
    scene = Scene(probe=FakeProbe([410, 200]), connections=FakeConnections({"shop_conn": [OLD, NEW]}))
    assert scene.check().finding.verdict is Verdict.AUTHORIZED
    assert [credential for credential, _ in scene.probe.asked] == [OLD, NEW]


def test_a_refusal_of_an_unchanged_credential_is_not_asked_twice() -> None:
    scene = Scene(probe=FakeProbe([410]))
    assert scene.check().finding.cause is Cause.USER_DEACTIVATED
    assert len(scene.probe.asked) == 1


def test_an_ambiguous_refusal_stays_ambiguous_and_is_not_repeated_at_once() -> None:
    scene = Scene(probe=FakeProbe([403]))
    checked = scene.check()
    assert (checked.finding.verdict, checked.finding.certainty.value) == (Verdict.NEEDS_REAUTH, "ambiguous")
    assert len(scene.probe.asked) == 1


ACCOUNT_PROBE = {"account": "accounts.*", "account_format": "customers/{account}"}
TWO_ACCOUNTS = Evidence(
    endpoint=Endpoint.PROBE, status_code=200, body='{"accounts": ["customers/1234567890", "customers/9"]}'
)


@pytest.mark.parametrize(
    ("account", "cause", "shown"),
    [
        ("123-456-7890", Cause.AUTHORIZED, "123-456-7890"),
        (None, Cause.AUTHORIZED, None),
        ("555", Cause.ACCOUNT_UNLINKED, None),
    ],
)
def test_the_login_must_lead_to_the_account_of_the_registry(
    account: str | None, cause: Cause, shown: str | None
) -> None:
    scene = Scene(model=a_type(probe=ACCOUNT_PROBE), probe=FakeProbe([TWO_ACCOUNTS]))
    finding = scene.check(an_integration(account=account)).finding
    assert (finding.cause, finding.account) == (cause, shown)
    if cause is Cause.ACCOUNT_UNLINKED:
        assert finding.certainty.value == "explicit"
        assert "1234567890, 9" in finding.explanation
        assert "555" in finding.explanation


def test_an_answer_without_an_account_proves_no_other_one() -> None:
    scene = Scene(model=a_type(probe=ACCOUNT_PROBE))
    assert scene.check(an_integration(account="555")).finding.verdict is Verdict.AUTHORIZED


@pytest.mark.parametrize(
    ("connections", "tables", "missing"),
    [({}, {}, "shop_conn"), ({"shop_conn": [a_credential(extra={"ssh_conn_id": "bastion"})]}, {}, "bastion")],
)
def test_a_missing_connection_is_for_the_engineer(
    connections: dict[str, list[Credential]], tables: dict[str, Any], missing: str
) -> None:
    scene = Scene(
        connections=FakeConnections(dict(connections)),
        model=a_type(kind="database", auth={"method": "login"}, probe={"url": "x"}),
    )
    finding = scene.check().finding
    assert finding.verdict is Verdict.MISCONFIGURED
    assert repr(missing) in finding.explanation
    assert "'shop'" in finding.explanation


def test_a_connection_that_cannot_be_read_while_the_app_is_down_is_nobodys_fault() -> None:
    scene = Scene(api=FakeApi(DOWN), connections=FakeConnections({}))
    assert scene.check().finding.verdict is Verdict.INDETERMINATE


def test_a_connection_that_an_app_that_died_meanwhile_did_not_give_is_nobodys_fault() -> None:
    scene = Scene(api=FakeApi(prepared(), DOWN), connections=FakeConnections({}))
    assert scene.check().finding.verdict is Verdict.INDETERMINATE


def test_a_connection_that_is_there_again_is_not_missing() -> None:
    class Restarting(FakeConnections):
        async def get(self, conn_id: str) -> Credential:
            if not self.asked:
                self.asked.append(conn_id)
                raise ConnectionNotFoundError(conn_id)
            return await super().get(conn_id)

    scene = Scene(connections=Restarting({"shop_conn": [OLD]}))
    assert scene.check().finding.verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize("error", [MisconfiguredError("no host"), CatalogueError("no such type")])
def test_what_an_engineer_set_up_wrong_is_misconfigured(error: Exception) -> None:
    finding = Scene(probe=FakeProbe([error])).check().finding
    assert (finding.verdict, finding.explanation) == (Verdict.MISCONFIGURED, str(error))


def test_an_app_that_refuses_does_not_stop_the_check() -> None:
    scene = Scene(api=FakeApi(ApiRefusedError("The plugin's app answered 401", 401)))
    assert scene.check().finding.verdict is Verdict.AUTHORIZED


def test_a_fault_of_our_own_stops_nobody_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(probe=FakeProbe([ZeroDivisionError("a bug")]))
    checked = scene.check()
    assert checked.finding.verdict is Verdict.INDETERMINATE
    assert checked.finding.rule == "check.fault"
    assert "ZeroDivisionError" in caplog.text
    assert "a bug" not in checked.finding.explanation


def test_being_cancelled_is_not_swallowed() -> None:
    scene = Scene(probe=FakeProbe([asyncio.CancelledError()]))
    with pytest.raises(asyncio.CancelledError):
        scene.check()


def test_no_answer_is_unavailable_whatever_the_type() -> None:
    timed_out = Evidence(endpoint=Endpoint.PROBE, failure=TransportFailure.TIMEOUT)
    assert Scene(probe=FakeProbe([timed_out])).check().finding.verdict is not Verdict.NEEDS_REAUTH


def test_the_registrys_expiry_is_in_the_finding() -> None:
    finding = Scene().check(an_integration(expires_at=date(2027, 3, 1))).finding
    assert finding.expires_at == datetime(2027, 3, 1, tzinfo=timezone.utc)


def test_what_a_database_told_of_the_expiry_outlasts_an_outage_although_the_registry_says_later() -> None:
    told = NOON + timedelta(days=7)
    last = Finding(
        cause=Cause.AUTHORIZED,
        rule="made_up.authorized",
        explanation="As told.",
        checked_at=NOON - timedelta(hours=1),
        proved_at=NOON - timedelta(hours=1),
        expires_at=told,
    )
    scene = Scene(api=FakeApi(CheckResponse(credential_version=7, last_finding=last)), probe=FakeProbe([503]))
    finding = scene.check(an_integration(expires_at=date(2027, 3, 1))).finding
    assert (finding.verdict, finding.expires_at) == (Verdict.UNAVAILABLE, told)


def test_the_log_says_in_one_line_what_was_found(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mbi_reauth.check")
    Scene(probe=FakeProbe([410])).check(an_integration(name="Dana's shop"))
    assert caplog.messages == ["Dana's shop (shop) is needs_reauth: As told. [made_up.user_deactivated]"]


def test_the_function_checks_as_the_checker_does() -> None:
    checked = asyncio.run(
        check(an_integration(type="nothing_like_it"), api=None, connections=FakeConnections({}))
    )
    assert checked.finding.verdict is Verdict.MISCONFIGURED
    assert "nothing_like_it" in checked.finding.explanation


def test_a_connection_that_worked_before_and_cannot_be_read_now_is_nobodys_fault() -> None:
    scene = Scene(api=FakeApi(prepared(last_finding=proof(age=3600))), connections=FakeConnections({}))
    finding = scene.check(max_age=0).finding
    assert finding.verdict is Verdict.INDETERMINATE
    assert "it worked at" in finding.explanation


def test_a_report_that_fails_by_a_fault_of_our_own_leaves_the_finding(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(api=FakeApi(prepared(), receipt=RuntimeError("a bug")))
    checked = scene.check()
    assert checked.finding.verdict is Verdict.AUTHORIZED
    assert checked.receipt is None
    assert "could not be reported" in caplog.text
