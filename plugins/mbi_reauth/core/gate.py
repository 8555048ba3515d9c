"""What a gate does about its findings: pure, so that sensor, trigger and tests decide alike."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from mbi_reauth.core.integration import Integration
from mbi_reauth.core.resume import A_WEEK, Owed, Resume, Seconds
from mbi_reauth.core.ticket import ADVICE, engineers_ticket
from mbi_reauth.core.verdict import CONFIRM_AFTER, Finding, Verdict

XCOM_KEY = "mbi_reauth"


class Outcome(str, Enum):
    """How one round of checks leaves the gate."""

    PROCEED = "proceed"
    SKIP = "skip"
    FAIL = "fail"
    WAIT = "wait"
    CONFIRM = "confirm"


_ENDS: Mapping[str, Literal["skipped", "failed", "waiting"]] = {
    "skip": "skipped",
    "wait": "waiting",
    "fail": "failed",
}


class GatePolicy(BaseModel):
    """What the gate does where nothing is certain; every default lets the extraction decide."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_blocked: Literal["skip", "wait", "fail"] = "skip"
    on_unavailable: Literal["proceed", "wait"] = "proceed"
    on_indeterminate: Literal["proceed", "wait", "fail"] = "proceed"
    on_misconfigured: Literal["fail", "proceed"] = "fail"
    shadow: bool = False
    resume: Resume = "all"
    resume_within: Seconds | None = A_WEEK

    @property
    def owed(self) -> Owed:
        """What a run is owed that this gate stops, or holds up."""
        return Owed(resume=self.resume, within=self.resume_within, ends=_ENDS[self.on_blocked])

    @property
    def waits(self) -> bool:
        """Whether there is anything that the gate waits for."""
        return "wait" in (self.on_blocked, self.on_unavailable, self.on_indeterminate)


class GateFinding(BaseModel):
    """One integration's finding as the gate publishes it; this is the XCom, and it holds no secret.

    ``confirmed`` is false for an ambiguous refusal that has been seen only once. ``reported`` is false when
    the plugin's app could not be told; the email branch then tells it, with the gate's ``try_number`` and
    what its run is ``owed``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    integration: Integration
    finding: Finding
    credential_version: int | None = None
    confirmed: bool = True
    reported: bool = True
    try_number: int | None = None
    owed: Owed = Owed()

    @property
    def blocks(self) -> bool:
        """Whether the owner has to act before an extraction makes sense."""
        return self.finding.verdict is Verdict.NEEDS_REAUTH and self.confirmed

    @property
    def sentence(self) -> str:
        """The finding in one line for a log or an error message."""
        finding = self.finding
        words = f' It said: "{finding.vendor_words}"' if finding.vendor_words else ""
        return f"{self.integration.full_label} is {finding.verdict.value}: {finding.explanation}{words}"

    @property
    def told(self) -> str:
        """The finding for who has to act on it: with the support ticket, where one is due."""
        ticket = engineers_ticket(self.integration, self.finding)
        return f"{self.sentence}\n{ADVICE}\n\n{ticket}" if ticket else self.sentence


_MEANING = {
    Outcome.PROCEED: "The extraction proceeds.",
    Outcome.SKIP: "The extraction is skipped until the owner has re-authorized.",
    Outcome.FAIL: "The gate fails; the extraction does not run.",
    Outcome.WAIT: "The gate waits.",
    Outcome.CONFIRM: f"The refusal gives no reason; a second check in {CONFIRM_AFTER:.0f} s decides.",
}


_MEANING_IN_SHADOW = {
    Outcome.PROCEED: "The extraction proceeds, as it would without shadow mode.",
    Outcome.SKIP: "Shadow mode: the extraction proceeds; otherwise it would be skipped until the owner has"
    " re-authorized.",
    Outcome.FAIL: "Shadow mode: the extraction proceeds; otherwise the gate would fail.",
    Outcome.WAIT: "Shadow mode: the extraction proceeds; otherwise the gate would wait.",
    Outcome.CONFIRM: "Shadow mode: the extraction proceeds; otherwise a second check in"
    f" {CONFIRM_AFTER:.0f} s would decide.",
}


class Decision(NamedTuple):
    """An outcome and the reason for it, one line an integration.

    ``otherwise`` is the outcome that a gate in shadow mode would have without it.
    """

    outcome: Outcome
    sentence: str
    otherwise: Outcome | None = None

    @property
    def meaning(self) -> str:
        """What happens now, in one line for a log that has the reason otherwise."""
        return _MEANING[self.outcome] if self.otherwise is None else _MEANING_IN_SHADOW[self.otherwise]

    @property
    def line(self) -> str:
        """What happens now and why, for a log that has nothing else of it."""
        undisturbed = (self.otherwise or self.outcome) is Outcome.PROCEED
        return self.meaning if undisturbed else f"{self.meaning} {self.sentence}"


def decide(findings: Mapping[str, GateFinding], policy: GatePolicy) -> Decision:
    """Weigh one round's findings; in shadow mode the extraction proceeds, whatever they are.

    A lost authorization outweighs everything, because its owner must hear of it; a second look at an
    ambiguous refusal comes next, because it may turn into one.
    """
    outcome, deciding = _weigh(findings, policy)
    sentence = "\n".join(found.sentence for found in deciding)
    if policy.shadow:
        return Decision(Outcome.PROCEED, sentence, otherwise=outcome)
    if outcome is Outcome.PROCEED:
        return Decision(outcome, sentence)
    return Decision(outcome, "\n".join(found.told for found in deciding))


def _weigh(findings: Mapping[str, GateFinding], policy: GatePolicy) -> tuple[Outcome, list[GateFinding]]:
    """Return what a gate without shadow mode comes to, and because of which findings."""
    outcomes = {key: _outcome(found, policy) for key, found in findings.items()}
    for outcome in (_BLOCKED[policy.on_blocked], Outcome.CONFIRM, Outcome.FAIL, Outcome.WAIT):
        deciding = [findings[key] for key, value in outcomes.items() if value is outcome]
        if deciding:
            return outcome, deciding
    return Outcome.PROCEED, list(findings.values())


_BLOCKED = {"skip": Outcome.SKIP, "wait": Outcome.WAIT, "fail": Outcome.FAIL}


def _outcome(found: GateFinding, policy: GatePolicy) -> Outcome:
    match found.finding.verdict:
        case Verdict.NEEDS_REAUTH:
            return _BLOCKED[policy.on_blocked] if found.confirmed else Outcome.CONFIRM
        case Verdict.MISCONFIGURED:
            return Outcome(policy.on_misconfigured)
        case Verdict.UNAVAILABLE:
            return Outcome(policy.on_unavailable)
        case Verdict.INDETERMINATE | Verdict.NEEDS_REFRESH:
            return Outcome(policy.on_indeterminate)
        case _:
            return Outcome.PROCEED


def unheeded(findings: Mapping[str, GateFinding], decision: Decision) -> list[str]:
    """Write what an engineer has to do where the gate ends without failing; one that fails says it itself."""
    if decision.outcome not in (Outcome.PROCEED, Outcome.SKIP):
        return []
    return [found.told for found in findings.values() if engineers_ticket(found.integration, found.finding)]


def confirmed_by(first: Finding, second: Finding) -> bool:
    """Tell whether two ambiguous refusals, seen by the same gate, are far enough apart to count."""
    if first.checked_at is None or second.checked_at is None:
        return False
    return (second.checked_at - first.checked_at).total_seconds() >= CONFIRM_AFTER


def released(sentence: str) -> dict[str, Any]:
    """Make what a waiting gate is woken with: nobody has found anything yet, so that it looks itself."""
    return {"outcome": Outcome.WAIT.value, "sentence": sentence, "findings": {}, "told": []}


def published(findings: Mapping[str, GateFinding]) -> dict[str, Any]:
    """Make the value of the gate's XCom, ready for JSON."""
    return {key: found.model_dump(mode="json") for key, found in findings.items()}
