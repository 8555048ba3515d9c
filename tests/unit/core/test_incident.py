from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth.core.incident import (
    CONFIRMATION_DELAY,
    Known,
    NotificationKind,
    OpenIncident,
    Report,
    Transition,
    decide,
)
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
    """What a caller of ``decide`` stores."""

    known: Known = field(default_factory=lambda: Known(credential_version=1))
    incident: OpenIncident | None = None
    emails: list[NotificationKind] = field(default_factory=list)
    incidents: int = 0

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
        if transition.opens:
            assert self.incident is None
            self.incident = OpenIncident(opened_at=now)
            self.incidents += 1
        if transition.confirms:
            assert self.incident is not None
            assert self.incident.confirmed_at is None
            self.incident = replace(self.incident, confirmed_at=now)
        if transition.closes:
            assert self.incident is not None
            self.incident = None
        self.emails += [due.kind for due in transition.due]

    def replace_credential(self, now: float) -> None:
        version = self.known.credential_version + 1
        self.known = replace(self.known, credential_version=version, version_since=at(now))


def test_an_explicit_refusal_opens_and_confirms_at_once() -> None:
    integration = Integration()
    transition = integration.report(Cause.GRANT_REVOKED, 0)
    assert transition.opens
    assert transition.confirms
    assert integration.emails == [NotificationKind.OPENED]
    assert transition.due[0].due_at == at(0)


def test_a_single_ambiguous_refusal_opens_without_an_email() -> None:
    integration = Integration()
    transition = integration.report(Cause.CREDENTIALS_REJECTED, 0, ambiguous=True)
    assert transition.opens
    assert not transition.confirms
    assert integration.emails == []


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
    assert transition.opens
    assert not transition.confirms


def test_further_refusals_of_a_confirmed_incident_send_no_email() -> None:
    integration = Integration()
    for seconds in range(50):
        integration.report(Cause.GRANT_REVOKED, seconds)
    assert integration.emails == [NotificationKind.OPENED]


def test_a_success_closes_and_the_next_loss_is_a_new_incident() -> None:
    integration = Integration()
    integration.report(Cause.GRANT_REVOKED, 0)
    assert integration.report(Cause.AUTHORIZED, 10).closes
    integration.report(Cause.GRANT_REVOKED, 20)
    assert integration.incidents == 2
    assert integration.emails == [NotificationKind.OPENED] * 2


@pytest.mark.parametrize("cause", sorted(MBI_FAULTS))
def test_a_fault_of_mbi_over_a_proved_credential_closes_and_is_itself_no_incident(cause: Cause) -> None:
    integration = Integration()
    integration.report(Cause.GRANT_REVOKED, 0)
    closing = integration.report(cause, 10)
    assert closing.closes
    assert not closing.due
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
    assert not any((transition.opens, transition.confirms, transition.closes, transition.due))
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
    assert integration.incident is None


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
        before = integration.known, integration.incident, len(integration.emails)
        transition = integration.report(cause, checked, ambiguous=ambiguous, version=version, now=now)
        older = last is not None and last.checked_at is not None and at(checked) < last.checked_at
        if behind or older:
            assert (integration.known, integration.incident, len(integration.emails)) == before
        if transition.due:
            assert cause in (Cause.GRANT_REVOKED, Cause.CREDENTIALS_REJECTED)
        # Integration._store asserts: never two open at once, never confirmed twice
        assert len(integration.emails) <= integration.incidents
        open_unconfirmed = integration.incident is not None and integration.incident.confirmed_at is None
        assert integration.incident is None or open_unconfirmed or integration.emails


@given(st.lists(st.integers(0, 59), max_size=20))
def test_ambiguous_refusals_within_a_minute_never_email_anybody(seconds: list[int]) -> None:
    assert timedelta(seconds=60) == CONFIRMATION_DELAY
    integration = Integration()
    for moment in seconds:
        integration.report(Cause.CREDENTIALS_REJECTED, moment, ambiguous=True, now=59)
    assert integration.emails == []
