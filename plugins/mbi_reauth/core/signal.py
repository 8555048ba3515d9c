"""What MBI's own state means for an integration whose third party is fine.

A data engineer who names a signal asks one question of it: the third party accepts the credential, so why are
the data in MBI old? Hence:

* A lost authorization outranks everything, and the signal is not even asked: its owner has to act first.
* If MBI's last update failed, or is too old, or updates are paused, that is the integration's finding. It is
  misconfigured, so that an engineer hears of it, never the owner, who could do nothing about it.
* Whatever else the signal says is about the signal: MBI does not answer, our Export API key is refused, the
  answer is one that nobody knows. A healthy third party stays healthy, and its explanation mentions it.
* Where there is nothing to check but the signal (a file that people upload), what it says is the finding,
  except that it never sends anybody to an owner.

The proof is the third party's all the time: ``proved_at`` is when it last accepted the credential.
"""

from __future__ import annotations

from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import MBI_FAULTS, Cause, Finding, Verdict

PREFIX = "mbi_signal."
"""Begins the rule of every finding that a signal decided; the signal's id follows."""

_UNHEARD = " How MBI itself fares is not known"


def with_signal(finding: Finding, said: Finding, signal: Integration) -> Finding:
    """Weigh what a signal says against the finding about a third party that accepted the credential."""
    if said.verdict is Verdict.AUTHORIZED:
        return finding
    if said.cause not in MBI_FAULTS:
        unheard = f"{_UNHEARD} ({signal.label} is {said.verdict.value}): {said.explanation}"
        return finding.model_copy(update={"explanation": finding.explanation + unheard})
    behind = f"The third party accepts the credential, but MBI does not keep up ({signal.label})"
    return said.model_copy(
        update={
            "rule": PREFIX + signal.id,
            "explanation": f"{behind}: {said.explanation}",
            "account": finding.account,
            "checked_at": finding.checked_at,
            "proved_at": finding.proved_at,
            "expires_at": finding.expires_at,
        }
    )


def by_signal(said: Finding, signal: Integration) -> Finding:
    """Judge an integration that has nothing to check but its signal."""
    because = f"There is nothing to authorize; MBI says ({signal.label}): {said.explanation}"
    told = said.model_copy(update={"rule": PREFIX + signal.id, "explanation": because, "account": None})
    if said.verdict in (Verdict.NEEDS_REAUTH, Verdict.NEEDS_REFRESH):
        return told.model_copy(update={"cause": Cause.UNKNOWN})
    return told


def proof_in(last: Finding) -> Finding:
    """Take from the last finding what it says of the third party alone, without any signal."""
    if not last.rule.startswith(PREFIX):
        return last.model_copy(update={"explanation": last.explanation.partition(_UNHEARD)[0]})
    return Finding(
        cause=Cause.AUTHORIZED,
        rule="check.proved",
        explanation="The third party accepted the credential at its last check.",
        account=last.account,
        checked_at=last.proved_at,
        proved_at=last.proved_at,
        expires_at=last.expires_at,
    )
