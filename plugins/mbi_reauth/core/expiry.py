"""When a credential that works will stop working, where the answer tells, and when its owner is warned."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from pydantic import AwareDatetime, BaseModel, ConfigDict

from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Finding

EXPIRES_AT = "expires_at"
"""The key in a database probe's body: an ISO 8601 text with its offset from UTC."""

_DAY = timedelta(days=1)
_LONGEST = timedelta(days=365)
_THRESHOLDS = (
    (timedelta(days=180), (30, 14, 7, 2)),
    (timedelta(days=90), (14, 7, 2)),
    (timedelta(days=30), (7, 2)),
    (timedelta(days=7), (3, 1)),
    (timedelta(days=2), (1,)),
)


class ExpiryWatch(BaseModel):
    """The end of one credential, and which warning of it the owner was given.

    Its lifetime is ``expires_at - seen_at`` where ``lifetime_known``: it was new when it was first seen.
    ``warned_days``: the last warning's threshold, in days before the end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    credential_version: int
    expires_at: AwareDatetime
    seen_at: AwareDatetime
    lifetime_known: bool
    warned_days: int | None = None


def thresholds(lifetime: timedelta) -> tuple[int, ...]:
    """How many days before its end a credential of this lifetime is warned of; descending."""
    return next((days for at_least, days in _THRESHOLDS if lifetime >= at_least), ())


def watched(
    previous: ExpiryWatch | None,
    *,
    credential_version: int,
    expires_at: datetime | None,
    replaced: bool,
    now: datetime,
) -> ExpiryWatch | None:
    """Follow the end of the present credential; None where nothing tells it.

    An end that moves by less than a day is the same one, as clocks and roundings differ. One that moves on
    further is that of a credential whose life begins anew with its use: what is left is all of its life.

    :param expires_at: what the last answer told, an aware moment
    :param replaced: the present credential was put in while the plugin was there to see it
    """
    if expires_at is None:
        return None
    rolled_on = False
    if previous is not None and previous.credential_version == credential_version:
        moved = expires_at - previous.expires_at
        if abs(moved) < _DAY:
            # the lifetime stays, however often an end that rolls on has moved a little
            return previous.model_copy(update={"expires_at": expires_at, "seen_at": previous.seen_at + moved})
        rolled_on = moved >= _DAY
    return ExpiryWatch(
        credential_version=credential_version,
        expires_at=expires_at,
        seen_at=now,
        lifetime_known=replaced or rolled_on,
    )


def warning_due(watch: ExpiryWatch, *, now: datetime) -> int | None:
    """Tell which warning is due, in days before the end; None if none is, or the credential has ended.

    Of several that were missed, only the last one is due. A lifetime that is not known is taken for a year.
    """
    if now >= watch.expires_at:
        return None
    lifetime = watch.expires_at - watch.seen_at if watch.lifetime_known else _LONGEST
    left = watch.expires_at - now
    reached = min((days for days in thresholds(lifetime) if left <= days * _DAY), default=None)
    if reached is None or (watch.warned_days is not None and reached >= watch.warned_days):
        return None
    return reached


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
