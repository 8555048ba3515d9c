"""Whether an accepted credential leads to the account that the registry names."""

from __future__ import annotations

import re

from mbi_reauth.core.answer import Answer
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Cause, Certainty, Finding

_SHOWN = 3
_LONGEST = 100
_IGNORED = re.compile(r"[\s\-]")


def accounts_in(evidence: Evidence, path: str, form: str = "{account}") -> list[str]:
    """Find the accounts that an answer proves, without what ``form`` writes around one.

    >>> accounts_in(evidence, "resourceNames.*", "customers/{account}")  # doctest: +SKIP
    ['1234567890']
    """
    before, _, after = form.partition("{account}")
    texts = Answer.of(evidence).texts(path)
    return [text.removeprefix(before).removesuffix(after)[:_LONGEST] for text in texts if text]


def with_account(finding: Finding, found: list[str], *, expected: str | None, type_id: str) -> Finding:
    """Add the proved account to a finding; if it is provably another than ``expected``, that is the finding.

    Blanks, hyphens and the case of letters do not count: 123-456-7890 is 1234567890.
    """
    if not found:
        return finding
    if expected is None:
        return finding.model_copy(update={"account": found[0]}) if len(found) == 1 else finding
    if any(_key(account) == _key(expected) for account in found):
        return finding.model_copy(update={"account": expected})
    others = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    return Finding(
        cause=Cause.ACCOUNT_UNLINKED,
        rule=f"{type_id}.account",
        certainty=Certainty.EXPLICIT,
        account=found[0] if len(found) == 1 else None,
        explanation=f"The login works, but it leads to {others}, not to {expected} as the registry says.",
    )


def _key(account: str) -> str:
    return _IGNORED.sub("", account).casefold()
