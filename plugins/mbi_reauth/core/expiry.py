"""When a credential that works will stop working, where the answer tells."""

from __future__ import annotations

from datetime import datetime, timezone

from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Finding

EXPIRES_AT = "expires_at"
"""The key in a database probe's body: an ISO 8601 text with its offset from UTC."""


def with_expiry(finding: Finding, evidence: Evidence) -> Finding:
    """Add the end that a database probe's body tells to a finding that proves the credential."""
    told = evidence.body.get(EXPIRES_AT) if isinstance(evidence.body, dict) else None
    if not finding.proves or not isinstance(told, str):
        return finding
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        return finding
    if moment.tzinfo is None:
        return finding
    return finding.model_copy(update={"expires_at": moment.astimezone(timezone.utc)})
