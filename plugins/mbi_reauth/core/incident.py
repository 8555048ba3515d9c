"""When an authorization is lost, when that is certain, and when it is over: decisions without I/O.

One lost authorization is one incident. A report is judged against what is known of the integration; the
caller stores what the transition says, in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from mbi_reauth.core.verdict import CONFIRM_AFTER, Certainty, Finding, Verdict

CONFIRMATION_DELAY = timedelta(seconds=CONFIRM_AFTER)


class NotificationKind(str, Enum):
    """Why an email is due."""

    OPENED = "opened"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The first ambiguous refusal of a credential that has not worked since."""

    at: datetime
    credential_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an integration before a report.

    ``version_since`` is when the present credential was first seen, None for the first one; ``finding`` is
    the last accepted one and ``finding_version`` the credential version it was made with.
    """

    credential_version: int
    version_since: datetime | None = None
    finding: Finding | None = None
    finding_version: int | None = None
    refusal: Refusal | None = None

    @property
    def present_finding(self) -> Finding | None:
        """The last finding, if it is about the present credential."""
        return self.finding if self.finding_version == self.credential_version else None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIncident:
    """An incident that is not over; ``confirmed_at`` is None while only one ambiguous refusal supports it."""

    opened_at: datetime
    confirmed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A finding with the version of the credential it was made with, if the reporter knew it."""

    finding: Finding
    credential_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An email that has become due."""

    kind: NotificationKind
    due_at: datetime
    ordinal: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What a report changes; ``known`` replaces what was known, and a refused report changes nothing.

    ``credential_replaced``: it was refused because it is about another credential than the present one.
    """

    accepted: bool
    known: Known
    reason: str = ""
    credential_replaced: bool = False
    opens: bool = False
    confirms: bool = False
    closes: bool = False
    due: tuple[Due, ...] = ()


def decide(known: Known, incident: OpenIncident | None, report: Report, *, now: datetime) -> Transition:
    """Judge one report; ``incident`` is the integration's open one."""
    # a reporter's clock that runs ahead must not outdate everybody else's reports
    checked_at = min(report.finding.checked_at or now, now)
    if reason := _about_another_credential(known, report, checked_at):
        return Transition(accepted=False, known=known, reason=reason, credential_replaced=True)
    if reason := _older_than_the_last(known, checked_at):
        return Transition(accepted=False, known=known, reason=reason)
    known = _with_finding(known, report.finding, checked_at)
    verdict = report.finding.verdict
    if report.finding.proves:
        return Transition(accepted=True, known=replace(known, refusal=None), closes=incident is not None)
    if verdict is Verdict.NEEDS_REAUTH:
        return _refused(known, incident, report.finding.certainty, checked_at, now=now)
    return Transition(accepted=True, known=known)


def _about_another_credential(known: Known, report: Report, checked_at: datetime) -> str:
    """Say why a report is not about the present credential; empty when it is."""
    version = report.credential_version
    if version is not None and version != known.credential_version:
        return f"made with credential version {version}; the present one is {known.credential_version}"
    if version is None and known.version_since is not None and checked_at < known.version_since:
        return "made before the present credential was first seen"
    return ""


def _older_than_the_last(known: Known, checked_at: datetime) -> str:
    """Say what a report about the present credential is older than; empty when it is the newest."""
    last = known.present_finding
    if last is None or last.checked_at is None or checked_at >= last.checked_at:
        return ""
    return f"older than the last report, of {last.checked_at.isoformat(timespec='seconds')}"


def _with_finding(known: Known, finding: Finding, checked_at: datetime) -> Known:
    """Store the finding; what was known of the proof and of the expiry outlives one that proves nothing."""
    last = known.present_finding
    proved_at = last.proved_at if last is not None else None
    if finding.proves:
        proved_at = min(finding.proved_at or checked_at, checked_at)
    expires_at = finding.expires_at
    if expires_at is None and last is not None and not finding.proves:
        expires_at = last.expires_at
    stored = finding.model_copy(
        update={"checked_at": checked_at, "proved_at": proved_at, "expires_at": expires_at}
    )
    return replace(known, finding=stored, finding_version=known.credential_version)


def _refused(
    known: Known, incident: OpenIncident | None, certainty: Certainty, checked_at: datetime, *, now: datetime
) -> Transition:
    """Open the incident, confirm it, or only remember the refusal until a second one confirms it."""
    certain = certainty is Certainty.EXPLICIT
    if not certain:
        refusal = known.refusal
        if refusal is None or refusal.credential_version != known.credential_version:
            refusal = Refusal(at=checked_at, credential_version=known.credential_version)
        known = replace(known, refusal=refusal)
        certain = checked_at - refusal.at >= CONFIRMATION_DELAY
    confirms = certain and (incident is None or incident.confirmed_at is None)
    return Transition(
        accepted=True,
        known=known,
        opens=incident is None,
        confirms=confirms,
        due=(Due(kind=NotificationKind.OPENED, due_at=now),) if confirms else (),
    )
