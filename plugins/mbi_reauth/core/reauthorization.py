"""How a lost authorization is renewed by its owner: by which way, and how an attempt ended."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from pydantic import BaseModel, ConfigDict

from mbi_reauth.core.verdict import Finding, Verdict


class Way(str, Enum):
    """What the owner can do on the page."""

    CONSENT = "consent"
    """Consent at the third party's authorization server (RFC 6749 section 4.1)."""
    FORM = "form"
    """Enter another key, token or login."""
    CHECK = "check"
    """Say that it has been put right elsewhere: the present credential is checked again."""


class FieldFault(str, Enum):
    """What is wrong with a value that the owner has entered."""

    MISSING = "missing"
    TOO_LONG = "too_long"
    SEVERAL_LINES = "several_lines"
    FOREIGN_CHARACTER = "foreign_character"
    """It cannot be sent, as no key of an HTTP service is written so; a phone may have changed it."""
    ONE_OF_BOTH = "one_of_both"
    """Neither a password nor a private key was given."""
    UNREADABLE = "unreadable"
    """It is no private key, or not all of it, or another passphrase opens it."""


class Outcome(str, Enum):
    """How an attempt ended; all but the first two leave the credential as it was."""

    SAVED = "saved"
    """Verified and saved; the integration works."""
    WORKS = "works"
    """It works already: the present credential, or one that somebody else has saved meanwhile."""
    DENIED = "denied"
    """The owner, or the third party on their behalf, did not consent."""
    SCOPES_MISSING = "scopes_missing"
    """Less was permitted than is needed."""
    NO_LASTING_GRANT = "no_lasting_grant"
    """The third party gave no refresh token, so the permission would be over within hours."""
    WRONG_ACCOUNT = "wrong_account"
    """It leads to another account."""
    REFUSED = "refused"
    """The third party does not accept it."""
    UNAVAILABLE = "unavailable"
    """It could not be verified now, since the third party is away, slow or asks for fewer requests."""
    UNVERIFIED = "unverified"
    """The third party answered with something that tells neither way."""
    MISCONFIGURED = "misconfigured"
    """An engineer has to put something right first."""
    REPLACED = "replaced"
    """Somebody else has changed the credential while this attempt was under way."""
    ELSEWHERE = "elsewhere"
    """The credential is not in Airflow's database any more."""
    INTERRUPTED = "interrupted"
    """Our own side stopped in the middle of it; nothing was saved."""

    @property
    def is_success(self) -> bool:
        """Whether the integration works now."""
        return self in (Outcome.SAVED, Outcome.WORKS)


class Result(BaseModel):
    """How an attempt ended, for the owner's page and the audit; nothing in it is secret.

    ``finding`` is what the verification found. ``missing`` are the scopes that were not granted.
    ``found_account`` is where it leads, ``expected_account`` where it must. ``words`` are the authorization
    server's own, redacted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Outcome
    finding: Finding | None = None
    missing: tuple[str, ...] = ()
    found_account: str | None = None
    expected_account: str | None = None
    words: str | None = None


_OF_VERDICT = {
    Verdict.AUTHORIZED: Outcome.SAVED,
    Verdict.NEEDS_REAUTH: Outcome.REFUSED,
    # a token that was issued a moment ago and is refused already is no permission
    Verdict.NEEDS_REFRESH: Outcome.REFUSED,
    Verdict.UNAVAILABLE: Outcome.UNAVAILABLE,
    Verdict.MISCONFIGURED: Outcome.MISCONFIGURED,
    Verdict.INDETERMINATE: Outcome.UNVERIFIED,
}


_BY_US = frozenset({"check.fault", "check.not_verified", "check.unfit"})
"""The rules of findings that say that the verification itself came to nothing."""


def verified(finding: Finding, *, expected_account: str | None) -> Result:
    """Say what a verification's finding means for an attempt; only an accepted credential is saved."""
    outcome = _OF_VERDICT[finding.verdict]
    if finding.verdict is Verdict.NEEDS_REAUTH and finding.rule.endswith(".account"):
        outcome = Outcome.WRONG_ACCOUNT
    if finding.rule in _BY_US:
        outcome = Outcome.INTERRUPTED
    return Result(
        outcome=outcome,
        finding=finding,
        found_account=finding.account,
        expected_account=expected_account,
    )


_FOR_A_REFRESH_TOKEN = frozenset({"offline_access", "refresh_token"})
"""OpenID Connect Core section 11, and Salesforce's own name for it."""


def missing_scopes(
    wanted: Collection[str], granted: Collection[str] | None, *, lasting: bool = False
) -> tuple[str, ...]:
    """List what was asked for and not granted.

    An authorization server that names no scopes has granted what it was asked for (RFC 6749 section 5.1).

    :param lasting: a refresh token came; then the scope that asks for one was granted, be it named or not
    """
    if granted is None:
        return ()
    shown = _FOR_A_REFRESH_TOKEN if lasting else frozenset()
    return tuple(scope for scope in wanted if scope not in granted and scope not in shown)
