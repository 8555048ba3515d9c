"""Make names and other people's words harmless: one line, of a length to read, without invisible signs.

What is HTML in them is the templates' matter, which escape it.
"""

from __future__ import annotations

import unicodedata

from mbi_reauth.api.datamodels import IncidentView, MailView, Notice
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import Facts, Retirement
from mbi_reauth.core.verdict import Finding

NAME = 100
SENTENCE = 400

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_JOINERS = "\u200c\u200d"
"""Invisible, but needed to write Persian, and some emoji."""


def inert(text: str, longest: int = NAME) -> str:
    """Return ``text`` on one line, without controls of the text's direction or others, and shortened."""
    seen = " ".join(text.split())[: 10 * longest]
    line = "".join(char for char in seen if char in _JOINERS or unicodedata.category(char) not in _INVISIBLE)
    line = " ".join(line.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def inert_mail(mail: MailView) -> MailView:
    """Return ``mail`` with nothing in it that could break a header, a line or a page."""
    return mail.model_copy(
        update={
            "addressee": _name(mail.addressee),
            "notices": [inert_notice(notice) for notice in mail.notices],
        }
    )


def inert_notice(notice: Notice) -> Notice:
    """Return ``notice`` with nothing in it that could break a line or a page."""
    runs = [run.model_copy(update={"dag_id": inert(run.dag_id)}) for run in notice.blocked_runs]
    return notice.model_copy(
        update={
            "integration": _integration(notice.integration) if notice.integration else None,
            "facts": _facts(notice.facts),
            "incident": _incident(notice.incident) if notice.incident else None,
            "blocked_runs": runs,
        }
    )


def _integration(integration: Integration) -> Integration:
    signal = integration.signal
    owner = integration.owner.model_copy(update={"name": inert(integration.owner.name)})
    return integration.model_copy(
        update={
            "name": _name(integration.name),
            "account": _name(integration.account),
            "owner": owner,
            "signal": _integration(signal) if signal else None,
        }
    )


def _incident(incident: IncidentView) -> IncidentView:
    return incident.model_copy(update={"finding": inert_finding(incident.finding)})


def _facts(facts: Facts) -> Facts:
    return facts.model_copy(
        update={
            "finding": inert_finding(facts.finding) if facts.finding else None,
            "affected": tuple(inert(label) for label in facts.affected),
            "retirement": _retirement(facts.retirement) if facts.retirement else None,
        }
    )


def inert_finding(finding: Finding) -> Finding:
    """Return ``finding`` with nothing in it that could break a line or a page."""
    return finding.model_copy(
        update={
            "explanation": inert(finding.explanation, SENTENCE),
            "vendor_words": inert(finding.vendor_words, SENTENCE) if finding.vendor_words else None,
            "account": _name(finding.account),
            "facts": {inert(name): inert(fact, SENTENCE) for name, fact in finding.facts.items()},
        }
    )


def _retirement(retirement: Retirement) -> Retirement:
    source = inert(retirement.source, SENTENCE) if retirement.source else None
    return retirement.model_copy(update={"what": inert(retirement.what, SENTENCE), "source": source})


def _name(name: str | None) -> str | None:
    return (inert(name) or None) if name else None
