"""What an answer means: pure, and bounded by what an answer of its kind can mean at all.

Rules come from the catalogue and from sites' own files, and some will be wrong. So a rule decides only what
:func:`_may_say` lets it: no rule can turn silence, an outage, a throttle, a web page or a broken body into a
refusal of a credential, or into its proof. Nor can JSON of a shape that the rule does not name, an answer
that something on the way gave, or one that contradicts itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from mbi_reauth.core.answer import Answer, BodyKind
from mbi_reauth.core.evidence import Driver, Endpoint, Evidence
from mbi_reauth.core.redact import redact
from mbi_reauth.core.rule import Rule
from mbi_reauth.core.verdict import MEANING_OF, VERDICT_OF, Cause, Certainty, Finding, Verdict

UNMAPPED = "unmapped"
"""What :attr:`Finding.rule` says when no rule spoke."""

CLIENT_FAULTS = frozenset({
    "invalid_client", "unauthorized_client", "unsupported_grant_type", "unsupported_response_type",
    "invalid_client_id", "invalid_client_secret", "invalid_client_credentials", "deleted_client",
    "disabled_client", "restricted_client", "org_internal", "redirect_uri_mismatch", "invalid_redirect_uri",
})  # fmt: skip
"""Errors about our own client registration (RFC 6749 sections 4.1.2.1 and 5.2, and Google's additions)."""

_ERROR_NAMES = ("error", "error.code", "error.type", "error.status", "error_code", "errorCode", "code")
_MAX_RETRY_AFTER = 31 * 24 * 3600

_WORDS = (
    "Fault|fault.Error|error.*.Detail|detail",
    "error.details.*.errors.*.message",
    "error_description",
    "error.error_user_msg",
    "error.message",
    "error.title",
    "errors.*.message",
    "Fault|fault.Error|error.*.Message|message",
    "message",
    "description",
    "detail",
    "data.error.message",
)


_ABOUT_THE_CREDENTIAL = frozenset({Verdict.AUTHORIZED, Verdict.NEEDS_REFRESH, Verdict.NEEDS_REAUTH})


class Table(NamedTuple):
    """A default table: its name, as findings show it, and its rules."""

    name: str
    rules: Sequence[Rule]


def classify(
    evidence: Evidence,
    rules: Sequence[Rule],
    *,
    type_id: str,
    tables: Sequence[Table] = (),
    driver: Driver | None = None,
) -> Finding:
    """Judge one answer: by the type's own rules, else by the default tables, else not at all.

    :param driver: whose error numbers they are, where the evidence does not name its driver
    """
    answer = Answer.of(evidence, driver=driver)
    for name, table in (Table(type_id, rules), *tables):
        for rule in table:
            if rule.fits(answer) and _may_say(rule, answer):
                return _finding(
                    answer,
                    cause=rule.cause,
                    rule=f"{name}.{rule.id}",
                    because=rule.because,
                    certainty=_certainty(rule, answer),
                )
    cause, name, because = _default(answer)
    return _finding(answer, cause=cause, rule=name, because=because)


def _may_say(rule: Rule, answer: Answer) -> bool:
    """Tell whether an answer of this kind can mean what the rule says at all."""
    verdict = VERDICT_OF[rule.cause]
    if _asks_to_wait(answer):
        return verdict is Verdict.UNAVAILABLE
    if answer.status == 407:
        return rule.cause is Cause.PROBE_MISCONFIGURED
    if not answer.readable:
        return verdict is Verdict.UNAVAILABLE or _names_what_it_cannot_read(rule, answer)
    if verdict not in _ABOUT_THE_CREDENTIAL:
        return rule.cause is not Cause.MBI_KEY_REJECTED or not answer.from_middlebox
    if _is_about_our_client(answer) or answer.from_middlebox or answer.contradicts_itself:
        return False
    return _driver_tells(verdict, answer) if answer.driver is not None else _http_tells(rule, answer)


def _asks_to_wait(answer: Answer) -> bool:
    if answer.failure is not None:
        return True
    status = answer.status
    return status is not None and (status in (408, 425, 429) or 500 <= status <= 599)


def _names_what_it_cannot_read(rule: Rule, answer: Answer) -> bool:
    """Tell whether the rule expects a page or a text, and finds no more in it than such an answer can mean.

    That is no refusal and no proof. To refresh is neither, but needs the rule to know the very words.
    """
    verdict = VERDICT_OF[rule.cause]
    if verdict is Verdict.NEEDS_REFRESH:
        refused = answer.status in (401, 403) and not answer.from_middlebox
        return refused and bool(rule.when.body and rule.when.text)
    return bool(rule.when.body) and verdict in (Verdict.MISCONFIGURED, Verdict.INDETERMINATE)


def _is_about_our_client(answer: Answer) -> bool:
    return any(text.casefold() in CLIENT_FAULTS for path in _ERROR_NAMES for text in answer.texts(path))


def _driver_tells(verdict: Verdict, answer: Answer) -> bool:
    """Tell whether a driver's answer is about a login at all; the proof of one are rows."""
    if answer.endpoint is not Endpoint.PROBE:
        return False
    rows = isinstance(answer.body, dict) and answer.body.get("readable") is True
    return rows if verdict is Verdict.AUTHORIZED else answer.kind is BodyKind.EMPTY


def _http_tells(rule: Rule, answer: Answer) -> bool:
    """Tell whether an answer of this status and shape can be about a credential."""
    verdict, status = VERDICT_OF[rule.cause], answer.status or 0
    accepted, refused = 200 <= status <= 299, 400 <= status <= 499
    if answer.kind is BodyKind.EMPTY:
        promised = verdict is Verdict.AUTHORIZED and BodyKind.EMPTY in (rule.when.body or ())
        return promised if accepted else refused and verdict is not Verdict.AUTHORIZED
    if status in (204, 205):
        return False  # neither has a body (RFC 9110 sections 15.3.5 and 15.3.6)
    if verdict is Verdict.AUTHORIZED and False in answer.values("ok"):
        return False  # what fails at HTTP 200, as Slack's API does, whatever else the answer has
    # To refresh needs no more than a 401; to accuse or to clear needs the third party's own words.
    named = rule.when.names_words(answer) or (verdict is Verdict.NEEDS_REFRESH and status == 401)
    return named and (accepted or (refused and verdict is not Verdict.AUTHORIZED))


def _certainty(rule: Rule, answer: Answer) -> Certainty:
    """A status alone is never an explicit refusal, whatever the rule claims."""
    if VERDICT_OF[rule.cause] is Verdict.NEEDS_REAUTH and not rule.when.names_words(answer):
        return Certainty.AMBIGUOUS
    return rule.certainty


def _default(answer: Answer) -> tuple[Cause, str, str]:
    """What holds for every third party where no rule has spoken."""
    if answer.failure is not None:
        how = answer.failure.value.replace("_", " ")
        because = f"No answer came ({how}), which says nothing about the credential."
        return Cause.PROVIDER_OUTAGE, "core.no_answer", because
    if answer.status == 429:
        return Cause.RATE_LIMITED, "core.throttled", "The third party asks for fewer requests (HTTP 429)."
    if _asks_to_wait(answer):
        because = f"The third party cannot answer now (HTTP {answer.status})."
        return Cause.PROVIDER_OUTAGE, "core.out_of_order", because
    if answer.status == 407:
        because = "The proxy between Airflow and the third party wants a login of its own (HTTP 407)."
        return Cause.PROBE_MISCONFIGURED, "core.proxy_login", because
    if answer.readable and _is_about_our_client(answer):
        because = "The third party refuses our own client id or secret, not the owner's permission."
        return Cause.PROBE_MISCONFIGURED, "core.client_refused", because
    if answer.from_middlebox:
        name, because = "core.middlebox", "A proxy or a firewall on the way gave this answer."
    else:
        name, because = UNMAPPED, _unmapped(answer)
    return Cause.UNKNOWN, name, because


def _unmapped(answer: Answer) -> str:
    status = f" (HTTP {answer.status})" if answer.status is not None else ""
    if answer.kind is BodyKind.HTML:
        return f"The answer{status} is a web page, as proxies and firewalls send them; it proves nothing."
    if answer.kind is BodyKind.TEXT:
        return f"The answer{status} is not what an API sends, so it says nothing about the credential."
    return MEANING_OF[Cause.UNKNOWN].replace("this answer", f"this answer{status}")


def _finding(
    answer: Answer, *, cause: Cause, rule: str, because: str, certainty: Certainty = Certainty.EXPLICIT
) -> Finding:
    return Finding(
        cause=cause,
        rule=rule,
        explanation=because,
        certainty=certainty,
        vendor_words=_vendor_words(answer),
        retry_after=_retry_after(answer),
    )


def _vendor_words(answer: Answer) -> str | None:
    if answer.kind is BodyKind.TEXT and answer.text:
        return redact(answer.text) or None
    said = [*answer.texts("error")[:1], *_first_words(answer)]
    if answer.message:
        said.append(answer.message)
    words = ": ".join(dict.fromkeys(text.strip() for text in said if text.strip()))
    return redact(words) or None


def _first_words(answer: Answer) -> list[str]:
    for path in _WORDS:
        if found := answer.texts(path):
            return found[:2]
    return []


def _retry_after(answer: Answer) -> float | None:
    """Read Retry-After in seconds (RFC 9110 section 10.2.3); a date would need a clock."""
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds <= _MAX_RETRY_AFTER else None
