from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.core.incident import (
    CONFIRMATION_DELAY,
    REOPENS_WITHIN,
    Known,
    LastIncident,
    Report,
    Transition,
    decide,
)
from mbi_reauth.core.notice import Reason
from mbi_reauth.core.verdict import MBI_FAULTS, VERDICT_OF, Cause, Certainty, Finding, Verdict

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
NEVER_DECIDE = [
    cause
    for cause, verdict in VERDICT_OF.items()
    if verdict not in (Verdict.AUTHORIZED, Verdict.NEEDS_REAUTH) and cause not in MBI_FAULTS
]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def finding(cause: Cause, checked: float, certainty: Certainty = Certainty.EXPLICIT) -> Finding:
    return Finding(
        cause=cause, rule="test.rule", explanation="-", certainty=certainty, checked_at=at(checked)
    )


@dataclass
class Integration:
    """What a caller of ``decide`` stores; ``losses`` counts each time that one became certain."""

    known: Known = field(default_factory=lambda: Known(credential_version=1))
    incident: LastIncident | None = None
    incidents: int = 0
    losses: int = 0

    @property
    def is_lost(self) -> bool:
        return self.incident is not None and self.incident.is_open

    def report(self, cause: Cause, checked: float, *, ambiguous: bool = False, **more: object) -> Transition:
        certainty = Certainty.AMBIGUOUS if ambiguous else Certainty.EXPLICIT
        version = more.get("version", self.known.credential_version)
        assert version is None or isinstance(version, int)
        now = at(float(str(more.get("now", checked))))
        sent = Report(finding=finding(cause, checked, certainty), credential_version=version)
        transition = decide(self.known, self.incident, sent, now=now)
        self._store(transition, now)
        return transition

    def _store(self, transition: Transition, now: datetime) -> None:
        self.known = transition.known
        version = self.known.credential_version
        if transition.opens:
            assert not self.is_lost
            self.incident = LastIncident(opened_at=now, cause=self._cause, credential_version=version)
            self.incidents += 1
        if transition.reopens:
            assert self.incident is not None
            assert not self.is_lost
            self.incident = replace(self.incident, closed_at=None, confirmed_at=None)
        if self.incident is not None and self.is_lost and transition.accepted and not transition.closes:
            lost = VERDICT_OF[self._cause] is Verdict.NEEDS_REAUTH
            self.incident = replace(self.incident, cause=self._cause) if lost else self.incident
        if transition.confirms:
            assert self.incident is not None
            assert self.incident.confirmed_at is None
            self.incident = replace(self.incident, confirmed_at=now)
            self.losses += 1
        if transition.certain:
            assert self.incident is not None
            self.incident = replace(self.incident, credential_version=version)
        if transition.closes:
            assert self.incident is not None
            assert self.is_lost
            self.incident = replace(self.incident, closed_at=now)

    @property
    def _cause(self) -> Cause:
        assert self.known.finding is not None
        return self.known.finding.cause

    def replace_credential(self, now: float) -> None:
        version = self.known.credential_version + 1
        self.known = replace(self.known, credential_version=version, version_since=at(now))


def test_an_explicit_refusal_opens_and_confirms_at_once() -> None:
    integration = Integration()
    transition = integration.report(Cause.GRANT_REVOKED, 0)
    assert transition.opens
    assert transition.confirms


def test_a_single_ambiguous_refusal_opens_without_certainty() -> None:
    integration = Integration()
    transition = integration.report(Cause.CREDENTIALS_REJECTED, 0, ambiguous=True)
    assert transition.opens
    assert not transition.confirms


@pytest.mark.parametrize(("seconds", "confirmed"), [(1, False), (59.9, False), (60, True), (3600, True)])
def test_a_second_ambiguous_refusal_confirms_from_60_seconds_on(seconds: float, confirmed: bool) -> None:
    integration = Integration()
    integration.report(Cause.CREDENTIALS_REJECTED, 0, ambiguous=True)
    assert integration.report(Cause.CREDENTIALS_REJECTED, seconds, ambiguous=True).confirms is confirmed


def test_the_same_report_delivered_again_later_confirms_nothing() -> None:
    integration = Integration()
    integration.report(Cause.CREDENTIALS_REJECTED, 0, ambiguous=True)
    assert not integration.report(Cause.CREDENTIALS_REJECTED, 0, ambiguous=True, now=300).confirms


def test_an_explicit_refusal_confirms_an_ambiguous_one_at_once() -> None:
    integration = Integration()
    integration.report(Cause.CREDENTIALS_REJECTED, 0, ambiguous=True)
    assert integration.report(Cause.USER_DEACTIVATED, 5).confirms


def test_a_new_credential_starts_the_confirmation_anew() -> None:
    integration = Integration()
    integration.report(Cause.CREDENTIALS_REJECTED, 0, ambiguous=True)
    integration.replace_credential(30)
    assert not integration.report(Cause.CREDENTIALS_REJECTED, 70, ambiguous=True).confirms
    assert integration.report(Cause.CREDENTIALS_REJECTED, 130, ambiguous=True).confirms


def test_a_success_between_two_ambiguous_refusals_separates_them() -> None:
    integration = Integration()
    integration.report(Cause.CREDENTIALS_REJECTED, 0, ambiguous=True)
    assert integration.report(Cause.AUTHORIZED, 30).closes
    transition = integration.report(Cause.CREDENTIALS_REJECTED, 90, ambiguous=True)
    assert transition.reopens
    assert not transition.confirms


def test_further_refusals_of_a_confirmed_incident_change_nothing_about_it() -> None:
    integration = Integration()
    for seconds in range(50):
        integration.report(Cause.GRANT_REVOKED, seconds)
    assert (integration.incidents, integration.losses) == (1, 1)


@pytest.mark.parametrize(("seconds", "reopens"), [(1, True), (3599, True), (3600, False)])
def test_the_same_credential_lost_again_within_the_hour_is_the_same_incident(
    seconds: float, reopens: bool
) -> None:
    assert timedelta(hours=1) == REOPENS_WITHIN
    integration = Integration()
    integration.report(Cause.GRANT_REVOKED, 0)
    assert integration.report(Cause.AUTHORIZED, 10).closes
    transition = integration.report(Cause.GRANT_REVOKED, 10 + seconds)
    assert (transition.reopens, transition.opens) == (reopens, not reopens)
    assert transition.confirms


def test_a_loss_for_another_cause_soon_after_the_repair_is_another_incident() -> None:
    integration = Integration()
    integration.report(Cause.CREDENTIALS_REJECTED, 0)
    integration.report(Cause.AUTHORIZED, 10)
    assert integration.report(Cause.USER_DEACTIVATED, 20).opens


def test_another_credential_lost_soon_after_the_repair_is_another_incident() -> None:
    integration = Integration()
    integration.report(Cause.GRANT_REVOKED, 0)
    integration.replace_credential(5)
    assert integration.report(Cause.AUTHORIZED, 10).closes
    assert integration.report(Cause.GRANT_REVOKED, 20).opens


def test_a_refusal_of_what_was_entered_while_the_incident_was_open_is_told_apart() -> None:
    integration = Integration()
    integration.report(Cause.GRANT_REVOKED, 0)
    assert not integration.report(Cause.GRANT_REVOKED, 5).replacement_refused
    integration.replace_credential(10)
    assert integration.report(Cause.GRANT_REVOKED, 20).replacement_refused
    assert not integration.report(Cause.GRANT_REVOKED, 30).replacement_refused


def test_an_ambiguous_refusal_of_a_new_credential_needs_its_second_look_while_the_incident_is_open() -> None:
    integration = Integration()
    integration.report(Cause.GRANT_REVOKED, 0)
    integration.replace_credential(10)
    first = integration.report(Cause.CREDENTIALS_REJECTED, 20, ambiguous=True)
    assert (first.certain, first.replacement_refused) == (False, False)
    second = integration.report(Cause.CREDENTIALS_REJECTED, 80, ambiguous=True)
    assert (second.certain, second.replacement_refused) == (True, True)


def test_a_wrong_set_up_is_told_to_engineers_once() -> None:
    integration = Integration()
    assert integration.report(Cause.PROBE_MISCONFIGURED, 0).tell_engineers is Reason.MISCONFIGURED
    assert integration.report(Cause.PROBE_MISCONFIGURED, 60).tell_engineers is None


def test_an_expiry_is_warned_of_at_each_of_its_thresholds_once() -> None:
    integration = Integration()
    integration.replace_credential(0)
    days, warned = 86400, []
    for day in range(15):
        told = finding(Cause.AUTHORIZED, day * days).model_copy(update={"expires_at": at(14 * days)})
        transition = decide(
            integration.known, None, Report(finding=told, credential_version=2), now=at(day * days)
        )
        integration.known = transition.known
        warned += [day] if transition.expires else []
    assert warned == [11, 13]


@pytest.mark.parametrize("cause", sorted(MBI_FAULTS))
def test_a_fault_of_mbi_over_a_proved_credential_closes_and_is_itself_no_incident(cause: Cause) -> None:
    integration = Integration()
    integration.report(Cause.GRANT_REVOKED, 0)
    closing = integration.report(cause, 10)
    assert closing.closes
    assert integration.known.finding is not None
    assert integration.known.finding.proved_at == at(10)
    assert not integration.report(cause, 20).opens


def test_a_success_without_an_incident_closes_nothing() -> None:
    assert not Integration().report(Cause.AUTHORIZED, 0).closes


@pytest.mark.parametrize("cause", NEVER_DECIDE, ids=lambda cause: cause.value)
@pytest.mark.parametrize("lost", [False, True])
def test_what_says_nothing_about_the_credential_opens_and_closes_nothing(cause: Cause, lost: bool) -> None:
    integration = Integration()
    if lost:
        integration.report(Cause.GRANT_REVOKED, 0)
    transition = integration.report(cause, 10)
    assert transition.accepted
    assert not any((transition.opens, transition.reopens, transition.confirms, transition.closes))
    assert integration.known.finding is not None
    assert integration.known.finding.cause is cause


@pytest.mark.parametrize("cause", [Cause.GRANT_REVOKED, Cause.AUTHORIZED])
def test_a_report_about_an_older_credential_changes_nothing(cause: Cause) -> None:
    integration = Integration()
    integration.report(Cause.GRANT_REVOKED, 0)
    integration.replace_credential(5)
    before = integration.known, integration.incident
    transition = integration.report(cause, 10, version=1)
    assert not transition.accepted
    assert transition.credential_replaced
    assert "version 1" in transition.reason
    assert (integration.known, integration.incident) == before


def test_an_older_report_of_the_same_credential_changes_nothing() -> None:
    integration = Integration()
    integration.report(Cause.AUTHORIZED, 10)
    late = integration.report(Cause.GRANT_REVOKED, 9, now=20)
    assert not late.accepted
    assert not late.credential_replaced
    assert not integration.is_lost


@pytest.mark.parametrize(("checked", "accepted"), [(29, False), (31, True)])
def test_a_report_without_a_version_counts_only_if_made_since_the_present_credential(
    checked: float, accepted: bool
) -> None:
    integration = Integration()
    integration.replace_credential(30)
    assert integration.report(Cause.GRANT_REVOKED, checked, version=None).accepted is accepted


def test_a_clock_that_runs_ahead_does_not_outdate_the_reports_of_others() -> None:
    integration = Integration()
    integration.report(Cause.GRANT_REVOKED, 3600, now=0)
    assert integration.report(Cause.AUTHORIZED, 10).closes


def test_the_last_proof_and_expiry_outlive_an_outage_but_not_a_new_credential() -> None:
    integration = Integration()
    expiring = finding(Cause.AUTHORIZED, 0).model_copy(update={"expires_at": at(9000)})
    sent = Report(finding=expiring, credential_version=1)
    integration.known = decide(integration.known, None, sent, now=at(0)).known
    integration.report(Cause.PROVIDER_OUTAGE, 10)
    kept = integration.known.finding
    assert kept is not None
    assert (kept.proved_at, kept.expires_at) == (at(0), at(9000))
    integration.replace_credential(20)
    assert integration.known.present_finding is None
    integration.report(Cause.PROVIDER_OUTAGE, 30)
    assert integration.known.finding is not None
    assert integration.known.finding.proved_at is None


def test_a_proof_that_tells_no_expiry_any_more_takes_the_old_one_back() -> None:
    integration = Integration()
    expiring = finding(Cause.AUTHORIZED, 0).model_copy(update={"expires_at": at(9000)})
    sent = Report(finding=expiring, credential_version=1)
    integration.known = decide(integration.known, None, sent, now=at(0)).known
    integration.report(Cause.AUTHORIZED, 10)
    assert integration.known.finding is not None
    assert integration.known.finding.expires_at is None


REPORTS = st.tuples(
    st.sampled_from([Cause.AUTHORIZED, Cause.GRANT_REVOKED, Cause.CREDENTIALS_REJECTED, Cause.RATE_LIMITED]),
    st.booleans(),
    st.integers(0, 400),  # when it was checked
    st.integers(0, 120),  # how much later it arrives
    st.one_of(st.none(), st.integers(0, 2)),  # how many versions behind; none: unknown
)


@given(st.lists(st.one_of(REPORTS, st.just("replaced")), max_size=40))
def test_no_history_breaks_the_invariants(
    history: list[tuple[Cause, bool, int, int, int | None] | str],
) -> None:
    integration = Integration()
    now = 0
    for event in history:
        if isinstance(event, str):
            integration.replace_credential(now)
            continue
        cause, ambiguous, checked, delay, behind = event
        now = max(now, checked + delay)
        version = None if behind is None else integration.known.credential_version - behind
        last = integration.known.present_finding
        before = integration.known, integration.incident, integration.losses
        transition = integration.report(cause, checked, ambiguous=ambiguous, version=version, now=now)
        older = last is not None and last.checked_at is not None and at(checked) < last.checked_at
        if behind or older:
            assert (integration.known, integration.incident, integration.losses) == before
        # Integration._store asserts: never two open at once, never confirmed twice while open
        if transition.confirms or transition.certain:
            assert cause in (Cause.GRANT_REVOKED, Cause.CREDENTIALS_REJECTED)
        assert not (transition.opens and transition.reopens)


@given(st.lists(st.integers(0, 59), max_size=20))
def test_ambiguous_refusals_within_a_minute_are_never_certain(seconds: list[int]) -> None:
    assert timedelta(seconds=60) == CONFIRMATION_DELAY
    integration = Integration()
    for moment in seconds:
        integration.report(Cause.CREDENTIALS_REJECTED, moment, ambiguous=True, now=59)
    assert integration.losses == 0
