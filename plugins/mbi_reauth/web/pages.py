"""The owner's pages, as HTML: what was lost, how it is renewed, and how that ended.

Each page is one function of its view model (:mod:`mbi_reauth.web.views`). No page has a script, an address of
Airflow or anything from elsewhere; the one stylesheet is in the page, and named by :data:`STYLE_SOURCE`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from babel import Locale

from mbi_reauth.core.reauthorization import Outcome, Result, Way
from mbi_reauth.core.verdict import Actor, Finding
from mbi_reauth.notifications.inert import SENTENCE, inert, inert_finding, inert_notice
from mbi_reauth.notifications.language import Language, _, language
from mbi_reauth.notifications.owners import Section, section
from mbi_reauth.notifications.surroundings import Surroundings
from mbi_reauth.web.rendering import STYLE, render, source_of
from mbi_reauth.web.views import (
    CredentialForm,
    FormField,
    Frame,
    Leaving,
    MessagePage,
    OutcomePage,
    Overview,
    Subject,
)
from mbi_reauth.web.wording import (
    ENTERING,
    FAULTS,
    MESSAGES,
    NEEDS_ENGINEER,
    NOBODY_IN_PARTICULAR,
    OUTCOMES,
    STILL_REFUSED,
    Asked,
    Wording,
    asked,
    refused_since,
)

__all__ = ["STYLE_SOURCE", "credential_form", "leaving", "message", "outcome", "overview"]

STYLE_SOURCE = source_of(STYLE)
"""The stylesheet, as ``style-src`` of a Content-Security-Policy names it."""

RELOAD_SECONDS = 2
"""After how long a page that knows no outcome yet asks again."""

_WAITS = frozenset({Outcome.UNAVAILABLE, Outcome.INTERRUPTED, Outcome.REPLACED})
_CONTINUE = _("Continue to %(third_party)s")
_CHECK = _("I have put it right: check now")
_AGAIN = {Way.CHECK: _("Check again")}
_TRY_AGAIN = _("Try again")


def overview(view: Overview) -> str:
    """Draw the page that an email leads to."""
    told = _Told(view.subject, view.frame)
    offered = tuple(way for way in view.ways if way is Way.CHECK or not view.elsewhere)
    reachable = bool(offered) and not view.elsewhere
    values = {
        "working": view.working,
        "elsewhere": view.elsewhere,
        "action": view.action,
        "buttons": [(way.value, _button(way, view.subject, told)) for way in offered],
        "acts_first": not reachable or offered[0] is not Way.CHECK,
        "steps": told.section.action.steps if reachable else _repair(view.subject, told),
        "ticket": _ticket(view.subject, told, "has to be changed where it is kept", None),
        "tone": "good" if view.working else "wait",
    }
    return _page("overview", view.frame, told, values)


def leaving(view: Leaving) -> str:
    """Draw the page on the way to the third party.

    :raises ValueError: the address is none of a web page
    """
    if not _leads_to_a_page(view.address):
        raise ValueError("The third party's consent page has no address of a web page")
    told = _Told(view.subject, view.frame)
    return _page("leaving", view.frame, told, {"address": view.address, "tone": "plain"})


def credential_form(view: CredentialForm) -> str:
    """Draw the form; a secret is never in it."""
    told = _Told(view.subject, view.frame)
    fields = [_drawn(field, f"field-{number}", told.words) for number, field in enumerate(view.fields)]
    kind = asked(field.label for field in view.fields if field.secret)
    refusal = view.refusal
    values = {
        "heading": told.words.gettext(ENTERING[kind].heading) % told.names,
        # Above the user name of a database it would be taken for that.
        "account": None if told.section.is_database else told.account,
        "action": view.action,
        "fields": fields,
        "faulty": [field for field in fields if field["fault"]],
        "refusal": _wording(refusal, Way.FORM, told, retry=True) if refusal else None,
        "said_by_them": _their_words(refusal),
        "found_account": _account(refusal.found_account) if refusal else None,
        "steps": _before_the_button(_steps_for(view.subject, told, refusal), told.words),
        "tone": "bad" if refusal or any(field["fault"] for field in fields) else "plain",
    }
    return _page("credential", view.frame, told, values)


def outcome(view: OutcomePage) -> str:
    """Draw how an attempt ended, or that it has not ended yet."""
    told = _Told(view.subject, view.frame)
    result = view.result
    if result is None:
        return _page("pending", view.frame, told, {"seconds": RELOAD_SECONDS, "tone": "plain"})
    again = _AGAIN.get(view.way, _TRY_AGAIN) if view.way else _TRY_AGAIN
    values = {
        "wording": _wording(result, view.way, told, retry=view.retry is not None),
        "success": result.outcome.is_success,
        "untouched": not result.outcome.is_success and result.outcome is not Outcome.REPLACED,
        "missing": [inert(scope) for scope in result.missing],
        "expected_account": _account(result.expected_account),
        "found_account": _account(result.found_account) if result.outcome is Outcome.WRONG_ACCOUNT else None,
        "said_by_them": _their_words(result),
        "steps": _steps_for(view.subject, told, result) if result.outcome is Outcome.REFUSED else (),
        "ticket": _engineers_text(view.subject, told, result),
        "retry": view.retry if view.way else None,
        "way": view.way.value if view.way else None,
        "again": told.words.gettext(again),
        "tone": _tone(result.outcome),
    }
    return _page("outcome", view.frame, told, values)


def message(view: MessagePage) -> str:
    """Draw a page that names no integration."""
    words = language(view.frame.locale)
    names = {"contact": _contact(view.frame, words)}
    values = {"wording": MESSAGES[view.message].put(words, names), "tone": "wait", "reference": None}
    return render("message.jinja", words.code, _furniture(view.frame, words) | values)


class _Told:
    """What every page about an integration may say, with nothing harmful in it."""

    def __init__(self, subject: Subject, frame: Frame) -> None:
        self.words = language(frame.locale)
        self.contact = _contact(frame, self.words)
        notice = subject.notice.model_copy(update={"integration": subject.integration})
        self.notice = inert_notice(notice)
        surroundings = Surroundings(airflow_url="", contact=self.contact, now=frame.now)
        self.section: Section = section(self.notice, subject.integration_type, self.words, surroundings)
        known = subject.expected_account or subject.integration.account
        self.account = _account(known) if not self.at_tunnel else None
        self.conn_id = inert(subject.conn_id or subject.integration.conn_id)

    @property
    def names(self) -> dict[str, str]:
        """What texts may name."""
        return {
            "label": self.section.label,
            "third_party": self.section.third_party,
            "contact": self.contact,
        }

    @property
    def reference(self) -> str | None:
        """The incident's id, where there is an incident."""
        return self.section.loss.reference if self.section.loss else None

    @property
    def at_tunnel(self) -> bool:
        """Whether it is the login of the SSH server in front of a database, which is no account of ours."""
        return self.lost is not None and self.lost.at_tunnel

    @property
    def lost(self) -> Finding | None:
        """What was found when it was lost."""
        return self.notice.facts.finding or (self.notice.incident.finding if self.notice.incident else None)


def _page(template: str, frame: Frame, told: _Told, values: Mapping[str, Any]) -> str:
    common = {
        "section": told.section,
        "account": told.account,
        "conn_id": told.conn_id,
        "reference": told.reference,
    }
    return render(f"{template}.jinja", told.words.code, _furniture(frame, told.words) | common | dict(values))


def _furniture(frame: Frame, words: Language) -> dict[str, Any]:
    """Gather what is around every page."""
    return {
        "contact": _contact(frame, words),
        "languages": [
            (code.replace("_", "-"), Locale.parse(code.replace("-", "_")).get_display_name(), address)
            for code, address in frame.other_languages.items()
        ],
    }


def _contact(frame: Frame, words: Language) -> str:
    return words.gettext(inert(frame.contact, SENTENCE) or NOBODY_IN_PARTICULAR)


def _account(account: str | None) -> str | None:
    return (inert(account) or None) if account else None


def _button(way: Way, subject: Subject, told: _Told) -> str:
    if way is Way.FORM:
        return told.words.gettext(ENTERING[_entered(subject, told)].button)
    return told.words.gettext(_CONTINUE if way is Way.CONSENT else _CHECK) % told.names


def _entered(subject: Subject, told: _Told) -> Asked:
    """Tell what is entered: for a database, or for the SSH server in front of it."""
    if told.at_tunnel:
        return Asked.LOGIN
    fields = subject.integration_type.owner_fields().values()
    return asked(field.title for field in fields if field.secret)


def _leads_to_a_page(address: str) -> bool:
    """Tell whether a browser follows it to a web page, and reads all of it as one address."""
    if any(char.isspace() or char == "\\" or unicodedata.category(char) == "Cc" for char in address):
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.hostname)


def _drawn(field: FormField, at: str, words: Language) -> dict[str, Any]:
    """Gather what the form needs of one field; of a secret, no value whatever the view says."""
    hints = {
        "help": inert(words.gettext(field.help), SENTENCE),
        "example": "" if field.secret else inert(field.example),
        "fault": words.gettext(FAULTS[field.fault]) if field.fault else "",
    }
    return {
        "id": at,
        "name": field.name,
        "label": inert(words.gettext(field.label)),
        **hints,
        "described_by": " ".join(f"{at}-{hint}" for hint, text in hints.items() if text),
        "value": "" if field.secret else field.value,
        "secret": field.secret,
        "required": field.required,
        "multiline": field.multiline,
        "inputmode": _inputmode(field),
    }


def _inputmode(field: FormField) -> str | None:
    """Choose a phone's keyboard by the example."""
    if "@" in field.example:
        return "email"
    return "numeric" if field.example.isdecimal() else None


def _wording(result: Result, way: Way | None, told: _Told, *, retry: bool) -> Wording:
    wording = OUTCOMES[result.outcome]
    if result.outcome is Outcome.REFUSED and way is Way.CHECK:
        wording = STILL_REFUSED
    cause = result.finding.cause if result.finding else None
    values = {**told.names, "what_happened": told.words.gettext(refused_since(cause, way))}
    return wording.put(told.words, values, retry=retry)


def _their_words(result: Result | None) -> str | None:
    """Return what the third party said, where it did not accept it."""
    if result is None or result.outcome.is_success:
        return None
    said = result.words or (result.finding.vendor_words if result.finding else None)
    return (inert(said, SENTENCE) or None) if said else None


def _steps_for(subject: Subject, told: _Told, result: Result | None) -> tuple[str, ...]:
    """List the steps for what was found now, else for what was lost."""
    finding = result.finding if result else None
    if finding is None or finding.actor is not Actor.OWNER:
        return told.section.action.steps
    steps = subject.integration_type.owner_steps.for_cause(
        finding.cause, subject.integration.held_by, at_tunnel=finding.at_tunnel
    )
    return tuple(told.words.gettext(step) for step in steps)


def _before_the_button(steps: tuple[str, ...], words: Language) -> tuple[str, ...]:
    """Leave out what leads to the form, in the words of the catalogue, for who is there already."""
    pressing = words.gettext(_("Press the button"))
    return tuple(step for step in steps if not step.startswith(pressing))


def _repair(subject: Subject, told: _Told) -> tuple[str, ...]:
    """List what is done at the third party only, as nothing can be entered here."""
    steps, lost = subject.integration_type.owner_steps, told.lost
    if lost is None:
        return ()
    first = (steps.tunnel_repair.get(lost.cause) if lost.at_tunnel else None) or steps.repair.get(lost.cause)
    return tuple(told.words.gettext(step) for step in first.steps) if first else ()


def _engineers_text(subject: Subject, told: _Told, result: Result) -> str | None:
    if result.outcome not in NEEDS_ENGINEER:
        return None
    finding = inert_finding(result.finding) if result.finding else None
    return _ticket(subject, told, result.outcome.value, finding, their_words=_their_words(result))


def _ticket(
    subject: Subject, told: _Told, what: str, finding: Finding | None, *, their_words: str | None = None
) -> str:
    """Write what the reader passes on to engineers; in English, as they read everything else."""
    lines = {
        "Integration": f"{told.section.label} ({told.section.third_party})",
        "Id": subject.integration.id,
        "Connection": told.conn_id,
        "Outcome": what,
        "Cause": finding.cause.value if finding else None,
        "Explanation": finding.explanation if finding else None,
        "Rule": inert(finding.rule) if finding else None,
        "It says": f'"{their_words}"' if their_words else None,
        "Reference": told.reference,
    }
    return "\n".join(f"{name}: {text}" for name, text in lines.items() if text)


def _tone(outcome: Outcome) -> str:
    if outcome.is_success:
        return "good"
    return "wait" if outcome in _WAITS else "bad"
