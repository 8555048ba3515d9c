"""What an email to engineers says of one matter; it is in English."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from mbi_reauth.api.datamodels import Notice
from mbi_reauth.core.notice import Reason, Retirement
from mbi_reauth.core.ticket import ADVICE, engineers_ticket
from mbi_reauth.core.verdict import FAMILY_OF, MBI_FAULTS, Cause, Family, Finding, Verdict
from mbi_reauth.notifications.inert import inert
from mbi_reauth.notifications.language import ENGLISH, language
from mbi_reauth.notifications.surroundings import Surroundings

SHOWN_INTEGRATIONS = 50

WHAT_IS_WRONG: dict[Cause, str] = {
    Cause.PROVIDER_SUNSET: "its API or kind of credential is retired",
    Cause.NETWORK_DENIED: "a firewall refuses Airflow's address",
    Cause.HOST_KEY_CHANGED: "the SSH server's host key is another one",
    Cause.MBI_UPDATE_FAILED: "MBI's last update failed",
    Cause.MBI_STALE: "MBI's last update is too old",
    Cause.MBI_PAUSED: "updates are paused in MBI",
    Cause.MBI_KEY_REJECTED: "MBI refuses our API key",
    Cause.PROBE_MISCONFIGURED: "the set-up is wrong",
}
"""What engineers have to mend, in few words for a subject."""


@dataclass(frozen=True, kw_only=True)
class Matter:
    """One thing that engineers hear of.

    ``title`` is one line. ``facts`` are what people call each, with its value. ``unmapped`` tells that no
    rule of the catalogue takes the answer. ``what`` is retired ``on`` a day, as ``source`` announces.
    ``affected`` are integrations, as people call them, and ``more_affected`` counts those that are not shown.
    ``connection_url`` is where the connection is mended, if that helps.
    """

    reason: str
    title: str
    third_party: str
    facts: tuple[tuple[str, str], ...]
    since: str | None
    until: str | None
    held_until: str | None
    checks: int | None
    unmapped: bool
    what: str | None
    on: str | None
    source: str | None
    affected: tuple[str, ...]
    more_affected: int
    connection_url: str | None
    advice: str | None
    ticket: str | None


def matter(notice: Notice, third_party: str, surroundings: Surroundings) -> Matter:
    """Gather what is to be said; there is nothing harmful in ``notice`` or in ``third_party``, its name."""
    facts = notice.facts
    finding, retirement = facts.finding, facts.retirement
    ticket = _ticket(notice)
    return Matter(
        reason=facts.reason.value,
        title=title(notice, third_party, now=surroundings.now),
        third_party=third_party,
        facts=tuple(_facts(notice, third_party)),
        since=_moment(facts.since),
        until=_moment(facts.until),
        held_until=_moment(facts.held_until),
        checks=facts.checks,
        unmapped=finding is not None and finding.verdict is Verdict.INDETERMINATE,
        what=retirement.what if retirement else None,
        on=language(ENGLISH).day(retirement.on) if retirement else None,
        source=retirement.source if retirement else None,
        affected=facts.affected[:SHOWN_INTEGRATIONS],
        more_affected=len(facts.affected[SHOWN_INTEGRATIONS:]),
        connection_url=_connection_url(notice, surroundings),
        advice=ADVICE if ticket else None,
        ticket=ticket,
    )


def title(notice: Notice, third_party: str, *, now: datetime) -> str:
    """Say in a line what it is about."""
    facts = notice.facts
    name = f"{notice.integration.label} ({third_party})" if notice.integration else third_party
    if facts.reason is Reason.WORKS_AGAIN:
        return f"{name} works again"
    if facts.reason is Reason.MANY_AT_ONCE:
        return f"{len(facts.affected)} integrations of {third_party} were lost at once"
    if facts.reason is Reason.SUNSET and facts.retirement is not None:
        return f"{third_party}: something we use {_ends(facts.retirement, now)}"
    if facts.reason is Reason.LASTING:
        return f"{name} has given no certain answer since {_moment(facts.since)}"
    cause = facts.finding.cause if facts.finding else None
    return (
        f"{name}: {WHAT_IS_WRONG.get(cause, 'an engineer is needed') if cause else 'an engineer is needed'}"
    )


def _ends(retirement: Retirement, now: datetime) -> str:
    verb = "ends" if retirement.on > now.astimezone(timezone.utc).date() else "ended"
    return f"{verb} on {language(ENGLISH).day(retirement.on)}"


def _facts(notice: Notice, third_party: str) -> list[tuple[str, str]]:
    told: list[tuple[str, str | None]] = [("Integration type", f"{notice.integration_type}")]
    if notice.integration is not None:
        told = [
            ("Integration", notice.integration.full_label),
            *told,
            ("Connection", inert(notice.integration.conn_id)),
            ("Account", notice.integration.account),
        ]
    if notice.facts.finding is not None:
        told += _facts_of(notice.facts.finding, third_party)
    return [(name, fact) for name, fact in told if fact]


def _facts_of(finding: Finding, third_party: str) -> list[tuple[str, str | None]]:
    speaker = "MBI" if FAMILY_OF[finding.cause] is Family.MBI else third_party
    return [
        ("What we see", finding.explanation),
        (f"{speaker} said", f"“{finding.vendor_words}”" if finding.vendor_words else None),
        ("Cause", f"{finding.cause.value}, by rule {finding.rule}"),
        ("Last check", _moment(finding.checked_at)),
        ("Last time it worked", _moment(finding.proved_at)),
        *((f"MBI says: {name}", fact) for name, fact in finding.facts.items()),
    ]


def _connection_url(notice: Notice, surroundings: Surroundings) -> str | None:
    over = notice.facts.reason is Reason.WORKS_AGAIN
    at_mbi = notice.facts.finding is not None and notice.facts.finding.cause in MBI_FAULTS
    if notice.integration is None or over or at_mbi:
        return None
    return surroundings.connection_page(notice.integration.conn_id)


def _ticket(notice: Notice) -> str | None:
    if notice.integration is None or notice.facts.finding is None:
        return None
    ticket = engineers_ticket(notice.integration, notice.facts.finding)
    return str(ticket) if ticket else None


def _moment(at: datetime | None) -> str | None:
    return language(ENGLISH).moment(at) if at else None
