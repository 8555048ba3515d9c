"""When an authorization is lost, when that is certain, and when it is over: decisions without I/O.

One lost authorization is one incident. A report is judged against what is known of the integration; the
caller stores what the transition says, in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mbi_reauth.core.expiry import ExpiryWatch, warning_due, watched
from mbi_reauth.core.notice import Reason
from mbi_reauth.core.trouble import Trouble, follow
from mbi_reauth.core.verdict import CONFIRM_AFTER, Cause, Certainty, Finding, Verdict

CONFIRMATION_DELAY = timedelta(seconds=CONFIRM_AFTER)
REOPENS_WITHIN = timedelta(hours=1)
"""How soon after its end the same credential's next loss for the same cause is the same incident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The first ambiguous refusal of a credential that has not worked since."""

    at: datetime
    credential_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an integration before a report.

    ``version_since`` is when the present credential was first seen, None for the first one; ``finding`` is
    the last accepted one and ``finding_version`` the credential version it was made with. ``trouble`` is what
    engineers may have to hear of, ``expiry`` when the credential ends and which warnings were given.
    """

    credential_version: int
    version_since: datetime | None = None
    finding: Finding | None = None
    finding_version: int | None = None
    refusal: Refusal | None = None
    trouble: Trouble | None = None
    expiry: ExpiryWatch | None = None

    @property
    def present_finding(self) -> Finding | None:
        """The last finding, if it is about the present credential."""
        return self.finding if self.finding_version == self.credential_version else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastIncident:
    """An integration's last incident; ``closed_at`` is None while it is open.

    ``confirmed_at`` is None while only one ambiguous refusal supports it. ``credential_version`` is the
    credential that it is about: the last one that was refused for certain; ``cause`` why.
    """

    opened_at: datetime
    cause: Cause
    confirmed_at: datetime | None = None
    closed_at: datetime | None = None
    credential_version: int = 1

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.closed_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A finding with the version of the credential it was made with, if the reporter knew it."""

    finding: Finding
    credential_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What a report changes; ``known`` replaces what was known, and a refused report changes nothing.

    ``credential_replaced``: it was refused because it is about another credential than the present one.
    ``opens`` and ``reopens`` exclude each other. ``certain``: the refusal, if it is one, counts by itself.
    ``replacement_refused``: it is about a credential that was entered while the incident was open.
    ``tell_engineers`` says of what; ``expires`` that the owner is to be warned of the credential's end.
    """

    accepted: bool
    known: Known
    reason: str = ""
    credential_replaced: bool = False
    opens: bool = False
    reopens: bool = False
    confirms: bool = False
    closes: bool = False
    certain: bool = False
    replacement_refused: bool = False
    tell_engineers: Reason | None = None
    expires: bool = False


def decide(known: Known, last: LastIncident | None, report: Report, *, now: datetime) -> Transition:
    """Judge one report; ``last`` is the integration's last incident, open or not."""
    # a reporter's clock that runs ahead must not outdate everybody else's reports
    checked_at = min(report.finding.checked_at or now, now)
    if reason := _about_another_credential(known, report, checked_at):
        return Transition(accepted=False, known=known, reason=reason, credential_replaced=True)
    if reason := _older_than_the_last(known, checked_at):
        return Transition(accepted=False, known=known, reason=reason)
    finding = report.finding
    followed = follow(known.trouble, finding, checked_at, now=now)
    known = replace(_with_finding(known, finding, checked_at), trouble=followed.trouble)
    if finding.proves:
        known, expires = _with_expiry(replace(known, refusal=None), now=now)
        transition = Transition(
            accepted=True, known=known, closes=last is not None and last.is_open, expires=expires
        )
    elif finding.verdict is Verdict.NEEDS_REAUTH:
        transition = _refused(known, last, finding.certainty, checked_at, now=now)
    else:
        transition = Transition(accepted=True, known=known)
    return replace(transition, tell_engineers=followed.tell)


def _about_another_credential(known: Known, report: Report, checked_at: datetime) -> str:
    """Say why a report is not about the present credential; empty when it is."""
    version = report.credential_version
    if version is not None and version != known.credential_version:
        return f"made with credential version {version}; the present one is {known.credential_version}"
    # not after it either: a clock that runs ahead is set to now, which is when a new one is first seen
    if version is None and known.version_since is not None and checked_at <= known.version_since:
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


def _with_expiry(known: Known, *, now: datetime) -> tuple[Known, bool]:
    """Follow the credential's end; tell whether a warning is due, which counts as given."""
    expiry = watched(
        known.expiry,
        credential_version=known.credential_version,
        expires_at=known.finding.expires_at if known.finding is not None else None,
        replaced=known.version_since is not None,
        now=now,
    )
    days = warning_due(expiry, now=now) if expiry is not None else None
    if expiry is not None and days is not None:
        expiry = expiry.model_copy(update={"warned_days": days})
    return replace(known, expiry=expiry), days is not None


def _refused(
    known: Known, last: LastIncident | None, certainty: Certainty, checked_at: datetime, *, now: datetime
) -> Transition:
    """Open the incident, confirm it, or only remember the refusal until a second one confirms it."""
    certain = certainty is Certainty.EXPLICIT
    if not certain:
        refusal = known.refusal
        if refusal is None or refusal.credential_version != known.credential_version:
            refusal = Refusal(at=checked_at, credential_version=known.credential_version)
        known = replace(known, refusal=refusal)
        certain = checked_at - refusal.at >= CONFIRMATION_DELAY
    current = last if last is not None and last.is_open else None
    reopens = current is None and _is_the_same(last, known, now=now)
    unconfirmed = current is None or current.confirmed_at is None
    return Transition(
        accepted=True,
        known=known,
        opens=current is None and not reopens,
        reopens=reopens,
        confirms=certain and unconfirmed,
        certain=certain,
        replacement_refused=(
            certain
            and current is not None
            and not unconfirmed
            and current.credential_version < known.credential_version
        ),
    )


def _is_the_same(last: LastIncident | None, known: Known, *, now: datetime) -> bool:
    """Tell whether a loss belongs to the last incident, which seemed over only just now."""
    if last is None or last.closed_at is None or last.credential_version != known.credential_version:
        return False
    if known.finding is None or known.finding.cause is not last.cause:
        return False
    return now - last.closed_at < REOPENS_WITHIN
