"""What an answer about a credential means: verdicts, causes, and who must act.

The causes are the taxonomy of the catalogue. Each belongs to one of the four families that Magento Business
Intelligence's re-authentication article names, or to a fifth, our own side.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from pydantic import BaseModel, ConfigDict, Field


class Verdict(str, Enum):
    """What to do about an integration; the six words of the design."""

    AUTHORIZED = "authorized"
    NEEDS_REFRESH = "needs_refresh"
    NEEDS_REAUTH = "needs_reauth"
    UNAVAILABLE = "unavailable"
    MISCONFIGURED = "misconfigured"
    INDETERMINATE = "indeterminate"


class Actor(str, Enum):
    """Who must act on a verdict."""

    NOBODY = "nobody"
    OWNER = "owner"
    DATA_ENGINEER = "data_engineer"


class Family(str, Enum):
    """Where the cause lies."""

    NONE = "none"
    THIRD_PARTY = "third_party"
    EXPIRED_TOKEN = "expired_token"
    ACCOUNT_CHANGE = "account_change"
    MBI = "mbi"
    OUR_SIDE = "our_side"


class Certainty(str, Enum):
    """How sure a refusal is: an explicit one counts at once, an ambiguous one needs a second check."""

    EXPLICIT = "explicit"
    AMBIGUOUS = "ambiguous"


CONFIRM_AFTER = 60.0
"""Seconds between two ambiguous refusals of one credential before they count as one certain refusal."""


class Cause(str, Enum):
    """Why; every cause implies one verdict (see :data:`VERDICT_OF`)."""

    AUTHORIZED = "authorized"
    ACCESS_TOKEN_EXPIRED = "access_token_expired"
    GRANT_EXPIRED = "grant_expired"
    GRANT_INVALID = "grant_invalid"
    GRANT_REVOKED = "grant_revoked"
    PASSWORD_EXPIRED = "password_expired"
    CREDENTIALS_REJECTED = "credentials_rejected"
    USER_DEACTIVATED = "user_deactivated"
    USER_CHECKPOINT = "user_checkpoint"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    ACCOUNT_UNLINKED = "account_unlinked"
    ACCOUNT_SUSPENDED = "account_suspended"
    PROVIDER_OUTAGE = "provider_outage"
    RATE_LIMITED = "rate_limited"
    PROVIDER_SUNSET = "provider_sunset"
    NETWORK_DENIED = "network_denied"
    HOST_KEY_CHANGED = "host_key_changed"
    MBI_OUTAGE = "mbi_outage"
    MBI_UPDATE_FAILED = "mbi_update_failed"
    MBI_STALE = "mbi_stale"
    MBI_PAUSED = "mbi_paused"
    MBI_KEY_REJECTED = "mbi_key_rejected"
    PROBE_MISCONFIGURED = "probe_misconfigured"
    UNKNOWN = "unknown"


_REAUTH = Verdict.NEEDS_REAUTH
_WAIT = Verdict.UNAVAILABLE
_ENGINEER = Verdict.MISCONFIGURED

_CAUSES: dict[Cause, tuple[Verdict, Family, str]] = {
    Cause.AUTHORIZED: (Verdict.AUTHORIZED, Family.NONE, "The credential was accepted."),
    Cause.ACCESS_TOKEN_EXPIRED: (
        Verdict.NEEDS_REFRESH,
        Family.EXPIRED_TOKEN,
        "The short-lived access token was refused; a refresh decides.",
    ),
    Cause.GRANT_EXPIRED: (_REAUTH, Family.EXPIRED_TOKEN, "The authorization has expired."),
    Cause.GRANT_INVALID: (
        _REAUTH,
        Family.EXPIRED_TOKEN,
        "The authorization is no longer accepted: it expired, was withdrawn, or the password changed.",
    ),
    Cause.PASSWORD_EXPIRED: (_REAUTH, Family.EXPIRED_TOKEN, "The password has expired."),
    Cause.GRANT_REVOKED: (_REAUTH, Family.ACCOUNT_CHANGE, "The access was withdrawn."),
    Cause.CREDENTIALS_REJECTED: (
        _REAUTH,
        Family.ACCOUNT_CHANGE,
        "The saved password, key or token is not accepted.",
    ),
    Cause.USER_DEACTIVATED: (_REAUTH, Family.ACCOUNT_CHANGE, "The login is disabled, locked or deleted."),
    Cause.USER_CHECKPOINT: (
        _REAUTH,
        Family.ACCOUNT_CHANGE,
        "The third party wants the person to sign in and confirm something first.",
    ),
    Cause.INSUFFICIENT_SCOPE: (
        _REAUTH,
        Family.ACCOUNT_CHANGE,
        "The login works but may no longer read the data.",
    ),
    Cause.ACCOUNT_UNLINKED: (
        _REAUTH,
        Family.ACCOUNT_CHANGE,
        "The account or database is gone, or no longer shared with this login.",
    ),
    Cause.ACCOUNT_SUSPENDED: (
        _REAUTH,
        Family.ACCOUNT_CHANGE,
        "The account is suspended, unpaid or closed, or its plan has no API.",
    ),
    Cause.PROVIDER_OUTAGE: (_WAIT, Family.THIRD_PARTY, "The third party did not give a usable answer."),
    Cause.RATE_LIMITED: (_WAIT, Family.THIRD_PARTY, "The third party is throttling requests."),
    Cause.PROVIDER_SUNSET: (
        _ENGINEER,
        Family.THIRD_PARTY,
        "The third party has retired this API or this kind of credential.",
    ),
    Cause.NETWORK_DENIED: (
        _ENGINEER,
        Family.ACCOUNT_CHANGE,
        "A firewall or allow-list refuses the address that Airflow connects from.",
    ),
    Cause.HOST_KEY_CHANGED: (
        _ENGINEER,
        Family.ACCOUNT_CHANGE,
        "The SSH server's host key is not the enrolled one.",
    ),
    Cause.MBI_OUTAGE: (_WAIT, Family.MBI, "MBI itself did not give a usable answer."),
    Cause.MBI_UPDATE_FAILED: (_ENGINEER, Family.MBI, "MBI's last update did not complete successfully."),
    Cause.MBI_STALE: (_ENGINEER, Family.MBI, "MBI's last completed update is too old."),
    Cause.MBI_PAUSED: (_ENGINEER, Family.MBI, "Updates are paused in MBI."),
    Cause.MBI_KEY_REJECTED: (_ENGINEER, Family.MBI, "MBI does not accept our own API key."),
    Cause.PROBE_MISCONFIGURED: (
        _ENGINEER,
        Family.OUR_SIDE,
        "The set-up on the Airflow side is wrong: the connection, the client registration or a package.",
    ),
    Cause.UNKNOWN: (
        Verdict.INDETERMINATE,
        Family.OUR_SIDE,
        "Nobody has mapped this answer; it says nothing certain about the credential.",
    ),
}

MBI_FAULTS = frozenset({Cause.MBI_UPDATE_FAILED, Cause.MBI_STALE, Cause.MBI_PAUSED})
"""What is amiss in MBI itself although every credential was accepted."""

VERDICT_OF: dict[Cause, Verdict] = {cause: facts[0] for cause, facts in _CAUSES.items()}
FAMILY_OF: dict[Cause, Family] = {cause: facts[1] for cause, facts in _CAUSES.items()}
MEANING_OF: dict[Cause, str] = {cause: facts[2] for cause, facts in _CAUSES.items()}

ACTOR_OF: dict[Verdict, Actor] = {
    Verdict.AUTHORIZED: Actor.NOBODY,
    Verdict.NEEDS_REFRESH: Actor.NOBODY,
    Verdict.NEEDS_REAUTH: Actor.OWNER,
    Verdict.UNAVAILABLE: Actor.NOBODY,
    Verdict.MISCONFIGURED: Actor.DATA_ENGINEER,
    Verdict.INDETERMINATE: Actor.DATA_ENGINEER,
}


class Finding(BaseModel):
    """One judged check; safe to log, to store and to publish as an XCom (it holds no secret).

    ``rule`` names what decided, as ``<type or table>.<rule id>``. ``vendor_words`` are the third party's own,
    redacted and shortened. ``checked_at`` is when the evidence was taken, ``proved_at`` when the credential
    last worked, ``expires_at`` when it will stop working if that is known; all are aware. ``retry_after`` is
    in seconds. ``facts`` are what else the answer tells to those who act, by what people call it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cause: Cause
    rule: str
    explanation: str
    certainty: Certainty = Certainty.EXPLICIT
    vendor_words: str | None = None
    retry_after: float | None = None
    account: str | None = None
    checked_at: datetime | None = None
    proved_at: datetime | None = None
    expires_at: datetime | None = None
    facts: dict[str, str] = Field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """What the cause implies."""
        return VERDICT_OF[self.cause]

    @property
    def actor(self) -> Actor:
        """Who must act."""
        return ACTOR_OF[self.verdict]

    @property
    def at_tunnel(self) -> bool:
        """Whether the SSH server in front of a database decided, by the table of SSH's errors."""
        return self.rule.startswith("default_ssh.")

    @property
    def proves(self) -> bool:
        """Whether the third party accepted the credential, whatever MBI's own state is."""
        return self.verdict is Verdict.AUTHORIZED or self.cause in MBI_FAULTS
