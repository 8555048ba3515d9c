"""The findings that a check makes by itself, and for how long one stands."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone

from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding


def unknown(rule: str, explanation: str) -> Finding:
    """Nothing certain can be said; the extraction decides."""
    return Finding(cause=Cause.UNKNOWN, rule=f"check.{rule}", explanation=explanation)


def misconfigured(explanation: str) -> Finding:
    """The question cannot be asked; an engineer can put that right."""
    return Finding(cause=Cause.PROBE_MISCONFIGURED, rule="check.connection", explanation=explanation)


def unread(integration: Integration, conn_id: str, last: Finding | None, *, asked: bool) -> Finding:
    """Airflow gave no such connection, which may be a secrets backend or an API server without an answer.

    :param last: the last finding about the integration
    :param asked: whether the app answered, if there is one
    """
    if last is not None and last.proved_at is not None:
        return unknown(
            "connection_unread",
            f"The Airflow connection {conn_id!r} could not be read, though it worked at "
            f"{last.proved_at:%Y-%m-%d %H:%M %Z}: it was deleted, or its secrets backend gave no answer.",
        )
    if not asked:
        return unknown(
            "connection_unread",
            f"The Airflow connection {conn_id!r} could not be read; nor is the app there.",
        )
    return misconfigured(
        f"There is no Airflow connection {conn_id!r}, which the integration {integration.id!r} needs; "
        "create it"
    )


def nothing_to_authorize(type_id: str) -> Finding:
    """The type has no credential."""
    because = "There is nothing to authorize."
    return Finding(cause=Cause.AUTHORIZED, rule=f"{type_id}.nothing_to_authorize", explanation=because)


def is_proof(finding: Finding, *, within: float, at: datetime) -> bool:
    """Tell whether a finding still proves the credential, ``within`` seconds after it was proved."""
    if not finding.proves or finding.proved_at is None:
        return False
    return at - finding.proved_at < timedelta(seconds=within)


def rests(last: Finding, *, interval: float, at: datetime) -> bool:
    """Tell whether the third party is to be left alone still, as its type or its own answer asks.

    :param interval: the type's seconds between two questions; a longer Retry-After of the answer counts
    """
    if last.checked_at is None:
        return False
    return at - last.checked_at < timedelta(seconds=max(interval, last.retry_after or 0))


def stamped(finding: Finding, began: datetime, last: Finding | None, integration: Integration) -> Finding:
    """Add the times: the check's is when it began, because what it says may be older than its end."""
    proved = began if finding.proves else last.proved_at if last else None
    expires = finding.expires_at
    if expires is None and last is not None and not finding.proves:
        expires = last.expires_at  # told by somebody who knew; the registry's is for where nobody does
    if expires is None and integration.expires_at is not None:
        expires = datetime.combine(integration.expires_at, time(), timezone.utc)
    return finding.model_copy(update={"checked_at": began, "proved_at": proved, "expires_at": expires})


def timed(finding: Finding, moment: datetime | None) -> Finding:
    """Give a finding the time of the check that it is part of."""
    return finding.model_copy(update={"checked_at": moment})


def differs(finding: Finding, last: Finding | None) -> bool:
    """Tell whether a finding says anything else than the last one."""
    return last is None or (finding.cause, finding.rule) != (last.cause, last.rule)
