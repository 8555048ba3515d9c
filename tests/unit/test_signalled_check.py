"""Checks of integrations that name a signal of MBI, and of those that have nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.api.datamodels import CheckRequest, CheckResponse
from mbi_reauth.catalogue.loader import LoadedType
from mbi_reauth.check import Checked, Checker
from mbi_reauth.core.evidence import Endpoint, Evidence, TransportFailure
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding, Verdict
from mbi_reauth.hooks.api import ApiUnavailableError
from mbi_reauth.probes.integration import Subject
from tests.checking import (
    NOON,
    FakeApi,
    FakeConnections,
    MadeUpType,
    a_credential,
    a_type,
    an_integration,
)
from tests.mbi import FAILED, a_job

UPDATES = an_integration(id="updates", type="mbi_update_cycle", conn_id="mbi_conn")
SHOP = an_integration(mbi_signal="updates", signal=UPDATES)
UPLOAD = an_integration(id="upload", type="mbi_file_upload", mbi_signal="updates", signal=UPDATES)
DOWN = ApiUnavailableError("The plugin's app cannot be reached: timeout")
RECENT = "2026-11-24 06:00:00"  # an hour before noon UTC, by New York's clock
Reply = int | Evidence | Exception


def cycle(job: dict[str, Any] | None) -> Evidence:
    body = {"clientId": 194, "lastCompletedUpdateJob": job, "timezoneAbbreviation": "EST"}
    return Evidence(endpoint=Endpoint.PROBE, status_code=200, body=body)


FRESH = cycle(a_job(RECENT))
STALE = cycle(a_job("2026-11-20 06:00:00"))
FAULTY = cycle(a_job(RECENT, status=FAILED))
SILENT = Evidence(endpoint=Endpoint.PROBE, failure=TransportFailure.TIMEOUT)
KEY_REFUSED = Evidence(endpoint=Endpoint.PROBE, status_code=403)


class AppOfTwo(FakeApi):
    """An app that answers about each integration by itself."""

    def __init__(self, about: dict[str, CheckResponse | Exception]) -> None:
        super().__init__()
        self.about = about

    async def prepare(self, request: CheckRequest) -> CheckResponse:
        self.asked.append(request)
        answer = self.about[request.integration.id]
        if isinstance(answer, Exception):
            raise answer
        return answer


def the_turn(**fields: Any) -> CheckResponse:
    return CheckResponse(credential_version=1, turn="turn", **fields)


def no_turn(last: Finding | None = None) -> CheckResponse:
    return CheckResponse(credential_version=1, turn_in=40, last_finding=last)


@dataclass
class Scene:
    """One check; what third party and signal answer, and what was asked of whom."""

    third_party: Reply = 200
    signal: Reply = FRESH
    about_shop: CheckResponse | Exception = field(default_factory=lambda: CheckResponse(credential_version=7))
    about_signal: CheckResponse | Exception = field(default_factory=the_turn)
    mbi_extra: dict[str, str] = field(default_factory=lambda: {"time_zone": "America/New_York"})
    now: datetime = NOON
    load: Callable[[str], Any] | None = None
    probed: list[str] = field(default_factory=list)
    app: AppOfTwo = field(init=False)

    async def probe(
        self, subject: Subject, *, access_token: str | None = None, timeout: float = 10
    ) -> Evidence:
        assert subject.integration is not None
        self.probed.append(subject.integration.id)
        answer = self.signal if subject.integration.id == "updates" else self.third_party
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return Evidence(endpoint=Endpoint.PROBE, status_code=answer)
        return answer

    def loaded(self, type_id: str) -> LoadedType:
        return MadeUpType(a_type()) if type_id == "made_up" else catalogue.load(type_id)  # type: ignore[return-value]

    def check(self, integration: Integration = SHOP, **options: Any) -> Checked:
        about = {"shop": self.about_shop, "upload": self.about_shop, "updates": self.about_signal}
        self.app = AppOfTwo(about)
        mbi = a_credential(conn_id="mbi_conn", login="194", password="fake-key", extra=self.mbi_extra)
        checker = Checker(
            api=self.app,
            connections=FakeConnections({"shop_conn": [a_credential()], "mbi_conn": [mbi]}),
            now=lambda: self.now,
            load=self.load or self.loaded,
            probe=self.probe,
        )
        return asyncio.run(checker.check(integration, **options))

    def reported(self, integration_id: str) -> list[Finding]:
        return [each.finding for each in self.app.reports if each.integration.id == integration_id]


@pytest.mark.parametrize(("signal", "cause"), [(STALE, Cause.MBI_STALE), (FAULTY, Cause.MBI_UPDATE_FAILED)])
def test_a_healthy_third_party_behind_a_faulty_mbi_is_an_engineers_matter(
    signal: Evidence, cause: Cause
) -> None:
    scene = Scene(signal=signal)
    finding = scene.check().finding
    assert (finding.cause, finding.verdict) == (cause, Verdict.MISCONFIGURED)
    assert finding.rule == "mbi_signal.updates"
    assert finding.proved_at == finding.checked_at == NOON
    assert finding.facts["Update job"] == "13554"
    assert scene.reported("shop") == [finding]
    assert scene.reported("updates")[0].cause is cause


def test_a_healthy_mbi_leaves_the_third_partys_finding_as_it_is() -> None:
    scene = Scene()
    finding = scene.check().finding
    assert (finding.cause, finding.rule) == (Cause.AUTHORIZED, "made_up.authorized")
    assert scene.probed == ["shop", "updates"]


@pytest.mark.parametrize("status", [403, 410, 503, 418])
def test_a_third_party_that_is_not_authorized_outranks_the_signal(status: int) -> None:
    scene = Scene(third_party=status, signal=STALE)
    assert scene.check().finding.cause not in (Cause.MBI_STALE, Cause.AUTHORIZED)
    assert scene.probed == ["shop"]


@pytest.mark.parametrize(
    "signal",
    [SILENT, KEY_REFUSED, 503, 429, 418, cycle(a_job("soon")), cycle(a_job("2026-11-24 20:00:00"))],
    ids=["silent", "key refused", "503", "429", "unmapped", "unreadable time", "time of the future"],
)
def test_what_the_signal_cannot_say_leaves_the_third_party_healthy(
    signal: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    finding = Scene(signal=signal).check().finding
    assert finding.verdict is Verdict.AUTHORIZED
    assert "How MBI itself fares is not known (updates is " in finding.explanation
    assert "updates is " in caplog.text


@pytest.mark.parametrize("extra", [{}, {"time_zone": "EST"}, {"time_zone": "UTC", "max_age_hours": "x"}])
def test_a_signal_that_is_set_up_wrong_leaves_the_third_party_healthy(extra: dict[str, str]) -> None:
    finding = Scene(mbi_extra=extra).check().finding
    assert finding.verdict is Verdict.AUTHORIZED
    assert "'mbi_conn'" in finding.explanation


def test_a_fault_in_looking_the_signal_up_never_breaks_a_check(caplog: pytest.LogCaptureFixture) -> None:
    finding = Scene(signal=ZeroDivisionError("a bug")).check().finding
    assert finding.verdict is Verdict.AUTHORIZED
    assert "ZeroDivisionError" in caplog.text


def test_without_the_app_nobody_asks_mbi_and_the_third_party_stands() -> None:
    scene = Scene(about_shop=DOWN, about_signal=DOWN, signal=STALE)
    finding = scene.check().finding
    assert finding.verdict is Verdict.AUTHORIZED
    assert scene.probed == ["shop"]
    assert "Only the app knows when it was last asked" in finding.explanation


def mbi_finding(cause: Cause, *, age: float = 30) -> Finding:
    at = NOON - timedelta(seconds=age)
    return Finding(
        cause=cause, rule="mbi_update_cycle.x", explanation="So it is.", checked_at=at, proved_at=at
    )


@pytest.mark.parametrize("cause", [Cause.MBI_STALE, Cause.AUTHORIZED, Cause.MBI_OUTAGE])
@pytest.mark.parametrize("max_age", [0, 60])
def test_who_has_no_turn_takes_the_last_answer(cause: Cause, max_age: float) -> None:
    scene = Scene(about_signal=no_turn(mbi_finding(cause)))
    finding = scene.check(max_age=max_age).finding
    assert scene.probed == ["shop"]
    assert finding.cause is (cause if cause is Cause.MBI_STALE else Cause.AUTHORIZED)
    assert scene.reported("updates") == []


def test_who_has_no_turn_and_no_answer_lets_the_third_party_stand() -> None:
    scene = Scene(about_signal=no_turn())
    finding = scene.check().finding
    assert finding.verdict is Verdict.AUTHORIZED
    assert "nobody has told yet" in finding.explanation


def test_the_signals_own_gate_has_to_do_with_the_last_answer_too() -> None:
    scene = Scene(about_signal=no_turn(mbi_finding(Cause.MBI_OUTAGE)))
    assert scene.check(UPDATES, max_age=0).finding.cause is Cause.MBI_OUTAGE
    assert scene.probed == []


def test_whoever_has_the_turn_tells_what_came_even_in_shadow_mode() -> None:
    scene = Scene(signal=STALE)
    assert scene.check(report=False).finding.cause is Cause.MBI_STALE
    assert [(each.integration.id, each.turn) for each in scene.app.reports] == [("updates", "turn")]


# A young proof of the third party is trusted; the signal is consulted all the same.


def composite(cause: Cause, *, rule: str, age: float = 30) -> Finding:
    at = NOON - timedelta(seconds=age)
    return Finding(cause=cause, rule=rule, explanation="As told.", account="A", checked_at=at, proved_at=at)


def known(finding: Finding) -> CheckResponse:
    return CheckResponse(credential_version=7, last_finding=finding)


def test_a_recent_proof_is_trusted_while_the_signal_says_what_is_new() -> None:
    scene = Scene(about_shop=known(composite(Cause.AUTHORIZED, rule="made_up.authorized")), signal=STALE)
    finding = scene.check().finding
    assert scene.probed == ["updates"]
    assert (finding.cause, finding.account) == (Cause.MBI_STALE, "A")
    assert finding.proved_at == NOON - timedelta(seconds=30)
    assert scene.reported("shop") == [finding]


def test_a_fault_of_mbi_that_is_over_is_over_without_asking_the_third_party_again() -> None:
    scene = Scene(about_shop=known(composite(Cause.MBI_STALE, rule="mbi_signal.updates")))
    finding = scene.check().finding
    assert scene.probed == ["updates"]
    assert (finding.cause, finding.account) == (Cause.AUTHORIZED, "A")
    assert scene.reported("shop") == [finding]


def test_a_fault_of_mbi_that_goes_on_is_no_news() -> None:
    scene = Scene(about_shop=known(composite(Cause.MBI_STALE, rule="mbi_signal.updates")), signal=STALE)
    assert scene.check().finding.cause is Cause.MBI_STALE
    assert scene.reported("shop") == []


def test_a_signal_that_is_no_longer_named_says_nothing_any_more() -> None:
    scene = Scene(about_shop=known(composite(Cause.MBI_STALE, rule="mbi_signal.updates")))
    assert scene.check(an_integration()).finding.cause is Cause.AUTHORIZED


def test_an_old_proof_is_renewed_at_the_third_party_although_mbi_is_at_fault() -> None:
    old = composite(Cause.MBI_STALE, rule="mbi_signal.updates", age=61)
    scene = Scene(about_shop=known(old), third_party=410)
    assert scene.check().finding.cause is Cause.USER_DEACTIVATED


# What people upload has nothing to authorize.


@pytest.mark.parametrize(
    ("signal", "cause"),
    [
        (FRESH, Cause.AUTHORIZED),
        (STALE, Cause.MBI_STALE),
        (FAULTY, Cause.MBI_UPDATE_FAILED),
        (SILENT, Cause.MBI_OUTAGE),
        (KEY_REFUSED, Cause.MBI_KEY_REJECTED),
        (418, Cause.UNKNOWN),
    ],
)
def test_an_upload_is_what_its_signal_says(signal: Reply, cause: Cause) -> None:
    scene = Scene(signal=signal)
    finding = scene.check(UPLOAD).finding
    assert (finding.cause, finding.rule) == (cause, "mbi_signal.updates")
    assert finding.explanation.startswith("There is nothing to authorize; MBI says (updates): ")
    assert scene.probed == ["updates"]
    assert scene.reported("upload") == [finding]


def test_an_upload_needs_no_connection_and_without_a_signal_nothing_is_known_of_it() -> None:
    unsignalled = an_integration(id="upload", type="mbi_file_upload", conn_id="nowhere")
    finding = Scene().check(unsignalled).finding
    assert (finding.verdict, finding.rule) == (Verdict.INDETERMINATE, "check.no_signal")


def test_the_log_tells_both_findings(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Scene(signal=STALE).check()
    shown = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("updates is misconfigured") for line in shown)
    assert any(line.startswith("shop is misconfigured") for line in shown)
