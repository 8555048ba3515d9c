"""Support tickets, written as far as we know the facts; whoever sends one only has to copy it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import NamedTuple

from mbi_reauth.core.integration import SIGNALLED_TYPES, Integration
from mbi_reauth.core.verdict import Cause, Finding

HELP_CENTER = "https://support.magento.com"
"""Adobe Commerce Help Center: sign in, then "Submit a ticket"; its form asks for what a ticket names."""

ADVICE = (
    "First look at Manage Data > Integrations in Commerce Intelligence. If the integration's row shows an "
    "error there, MBI's own login to the third party is lost, although ours works: have the owner enter it "
    f"again on that page. Else send this ticket to Adobe Commerce support ({HELP_CENTER}, Submit a ticket):"
)
"""What an engineer does about an update that failed or is overdue, before the ticket itself."""

_SUBJECTS = {
    Cause.MBI_UPDATE_FAILED: "last update was not successful",
    Cause.MBI_STALE: "data are not updated any more",
}


class Ticket(NamedTuple):
    """What goes into the form of a support ticket."""

    subject: str
    body: str

    def __str__(self) -> str:
        """Write it as one text, ready to be copied."""
        return f"Subject: {self.subject}\n\n{self.body}"


def engineers_ticket(integration: Integration, finding: Finding) -> Ticket | None:
    """Write the ticket to Adobe Commerce about an update of MBI that failed or is overdue; else none.

    Updates that are paused need no ticket: an Admin of MBI switched them off, and can switch them on.
    """
    subject = _SUBJECTS.get(finding.cause)
    if subject is None:
        return None
    facts = {
        "Product": "Commerce Intelligence (MBI)",
        "Environment": "Production",
        "Integration": integration.full_label,
        "Integration type": integration.type,
        "Account": integration.account,
        "What is wrong": finding.explanation,
        "Seen at": _time(finding.checked_at),
        **_authorization(integration, finding),
        **{f"MBI says: {name}": value for name, value in finding.facts.items()},
        "Seen by": _source(integration, finding),
    }
    return Ticket(f"Commerce Intelligence: {subject} ({integration.label})", _lines(facts))


def owners_ticket(
    integration: Integration, finding: Finding, *, third_party: str, since: datetime, reference: str
) -> str:
    """Write what an owner copies into a ticket when re-authorizing did not help."""
    return _lines({
        "Integration": f"{integration.label} ({third_party})",
        "Account": integration.account,
        "Not working since": _time(since),
        "What we see": finding.explanation,
        "What it says": f'"{finding.vendor_words}"' if finding.vendor_words else None,
        "What we did": "followed the steps for the owner; it is still refused.",
        "Reference": reference,
    })  # fmt: skip


def _authorization(integration: Integration, finding: Finding) -> Mapping[str, str | None]:
    """Say that the third party is not the cause, where there is one beside MBI."""
    alone = integration.signal is None or integration.type in SIGNALLED_TYPES
    if alone or finding.proved_at is None:
        return {}
    return {"Third party": f"accepted the credential at {_time(finding.proved_at)}, so it is not the cause"}


def _source(integration: Integration, finding: Finding) -> str:
    signal = integration.signal or integration
    return f"MBI's own API, integration {signal.id} of type {signal.type}; rule {finding.rule}"


def _time(at: datetime | None) -> str | None:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC" if at is not None else None


def _lines(facts: Mapping[str, str | None]) -> str:
    return "\n".join(f"{name}: {fact}" for name, fact in facts.items() if fact)
