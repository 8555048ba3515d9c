"""What an answer says about an integration: by the rules, by the account, by the age of what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from mbi_reauth.catalogue.model import Fresh, HttpProbe, IntegrationType
from mbi_reauth.core.account import accounts_in, with_account
from mbi_reauth.core.answer import Answer
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.expiry import with_expiry
from mbi_reauth.core.freshness import Limit, times_in, with_freshness
from mbi_reauth.core.redact import redact
from mbi_reauth.core.table import in_shape
from mbi_reauth.core.verdict import Finding, Verdict
from mbi_reauth.probes.credential import MisconfiguredError
from mbi_reauth.probes.integration import Subject
from mbi_reauth.probes.template import Templates

_MAX_FACT = 200
_MAX_TEXTS = 10


class Classifier(Protocol):
    """An integration type that judges by its rules (:class:`mbi_reauth.catalogue.loader.LoadedType`)."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def model(self) -> IntegrationType:
        """What its file says."""

    def classify(self, evidence: Evidence) -> Finding:
        """Judge by the rules alone."""


def judge(
    loaded: Classifier, subject: Subject, evidence: Evidence, *, account: str | None, now: datetime
) -> Finding:
    """Judge the answer to a probe in full.

    :param account: the account that must be the one, if any must
    :param now: what the age of an answer's times is measured from
    :raises MisconfiguredError: the connection does not say how old they may be, or in which time zone
    """
    finding = loaded.classify(evidence)
    question = loaded.model.probe
    if not isinstance(question, HttpProbe):
        return with_expiry(finding, evidence)
    seen = in_shape(evidence, question.body)
    if question.facts and finding.proves:
        finding = finding.model_copy(update={"facts": _facts_in(seen, question.facts)})
    if finding.verdict is Verdict.AUTHORIZED and question.account:
        found = accounts_in(seen, question.account, question.account_format)
        finding = with_account(finding, found, expected=account, type_id=loaded.id)
    if finding.verdict is Verdict.AUTHORIZED and question.fresh is not None:
        finding = _aged(finding, seen, question.fresh, loaded, subject, now)
    return finding


def limit_of(fresh: Fresh, subject: Subject) -> Limit:
    """Read from the connection how old an answer's times may be.

    :raises MisconfiguredError: it does not say, or what it says cannot be
    """
    templates = Templates(subject.model, subject.credential, integration=subject.integration)
    zone, hours = templates.text(fresh.zone), templates.text(fresh.max_age_hours)
    try:
        return Limit.of(zone=zone, max_age_hours=hours, format=fresh.format)
    except ValueError as error:
        raise MisconfiguredError(f"The Airflow connection {templates.conn_id!r}: {error}") from None


def _aged(
    finding: Finding, seen: Evidence, fresh: Fresh, loaded: Classifier, subject: Subject, now: datetime
) -> Finding:
    called = Answer.of(seen).texts(fresh.abbreviation) if fresh.abbreviation else []
    return with_freshness(
        finding,
        times_in(seen, fresh.path),
        limit_of(fresh, subject),
        what=fresh.what,
        type_id=loaded.id,
        now=now,
        abbreviation=called[0] if called else "",
    )


def _facts_in(seen: Evidence, paths: Mapping[str, str]) -> dict[str, str]:
    answer = Answer.of(seen)
    told = {name: ", ".join(answer.texts(path)[:_MAX_TEXTS]) for name, path in paths.items()}
    return {name: redact(text, limit=_MAX_FACT) for name, text in told.items() if text}
