"""The answers of the owner's pages: as HTML, and so that a browser does nothing with them but show them."""

from __future__ import annotations

from urllib.parse import urlsplit

from babel import negotiate_locale
from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from mbi_reauth import settings
from mbi_reauth.api.services import links
from mbi_reauth.api.services.cases import Case
from mbi_reauth.api.services.entering import PRIVATE_KEY
from mbi_reauth.api.services.reauthorization import Begun, Ended, Form
from mbi_reauth.api.services.requests import LIFETIME
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.core.reauthorization import Outcome, Result
from mbi_reauth.notifications.language import ENGLISH, locales
from mbi_reauth.web import pages
from mbi_reauth.web.views import (
    CredentialForm,
    FormField,
    Frame,
    Leaving,
    Message,
    MessagePage,
    OutcomePage,
    Overview,
    Subject,
)

COOKIE = "mbi_reauth_session"
LANGUAGE = "lang"

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {pages.STYLE_SOURCE}; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that a browser would send no Origin with the page's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
}

_STATUS = {
    Message.NO_SUCH_LINK: 404,
    Message.SESSION_OVER: 410,
    Message.TOO_MANY: 429,
    Message.REFUSED: 403,
    Message.NOT_ALLOWED: 403,
    Message.TROUBLE: 503,
}

_IN_VAIN = frozenset({Outcome.SAVED, Outcome.WORKS, Outcome.MISCONFIGURED})
"""The outcomes after which trying again changes nothing."""


def overview(case: Case, request: Request, outside: Surroundings) -> Response:
    """Show what a link is about."""
    locale = chosen_language(request) or case.integration.owner.locale
    view = Overview(
        frame=_frame(locale, outside, others=True),
        subject=_subject(case),
        action=_with_language(_path(links.path(case.link)), request),
        ways=case.ways if case.is_open else (),
        working=not case.is_open,
        elsewhere=case.elsewhere,
    )
    return _shown(pages.overview(view))


def leaving(begun: Begun, address: str, outside: Surroundings) -> Response:
    """Send the browser on to the third party's consent page.

    Not by a redirection: browsers hold a form to ``form-action`` through all of them.
    """
    view = Leaving(frame=_frame(begun.locale, outside), subject=_subject(begun.case), address=address)
    return with_secret(_shown(pages.leaving(view)), begun.secret)


def credential_form(form: Form, outside: Surroundings) -> Response:
    """Show the form; 422 where what was typed cannot be taken."""
    fields = tuple(
        FormField(
            name=name,
            label=field.title,
            help=field.help,
            example=field.example or "",
            value="" if field.secret else form.typed.get(name, ""),
            secret=field.secret,
            required=field.required,
            multiline=name == PRIVATE_KEY,
            fault=form.faults.get(name),
        )
        for name, field in form.case.fields.items()
    )
    view = CredentialForm(
        frame=_frame(form.locale, outside),
        subject=_subject(form.case),
        action=_path(f"{settings.API_PREFIX}/credential"),
        fields=fields,
        refusal=form.refusal,
    )
    return _shown(pages.credential_form(view), 422 if form.faults else 200)


def outcome(ended: Ended, outside: Surroundings) -> Response:
    """Show how an attempt ended."""
    view = OutcomePage(
        frame=_frame(ended.locale, outside),
        subject=_subject(ended.case),
        result=ended.result,
        way=ended.way,
        retry=_retry(ended, ended.result),
    )
    return _shown(pages.outcome(view))


def message(which: Message, request: Request, outside: Surroundings) -> Response:
    """Show a page that says nothing of any integration."""
    view = MessagePage(frame=_frame(_preferred(request), outside), message=which)
    response = _shown(pages.message(view), _STATUS[which])
    if which is Message.TOO_MANY:
        response.headers["Retry-After"] = "60"
    return response


def on_to(page: str, secret: str | None = None) -> Response:
    """Send the browser on to another of our pages."""
    response = RedirectResponse(_path(f"{settings.API_PREFIX}/{page}"), 303, HEADERS)
    return with_secret(response, secret) if secret is not None else response


def back_to(case_link: links.Link, request: Request) -> Response:
    """Send the browser back to the page that a link leads to."""
    return RedirectResponse(_with_language(_path(links.path(case_link)), request), 303, HEADERS)


def with_secret(response: Response, secret: str) -> Response:
    """Give the browser the secret of its attempt, which no script can read, nor another site have sent along.

    ``Lax``, so that it comes along when the third party sends the browser back (RFC 6265bis section 5.6.7).
    """
    base = urlsplit(settings.base_url())
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(LIFETIME.total_seconds()),
        path=f"{base.path}{settings.API_PREFIX}",
        secure=base.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


def chosen_language(request: Request) -> str | None:
    """Return the language that the reader chose on the page."""
    chosen = request.query_params.get(LANGUAGE)
    return chosen if chosen in locales() else None


def _preferred(request: Request) -> str:
    """Choose the language that the browser asks for, where no owner is known."""
    accepted = request.headers.get("accept-language", "")[:200].split(",")
    wanted = [each.partition(";")[0].strip().replace("-", "_") for each in accepted]
    return chosen_language(request) or negotiate_locale(wanted, locales()) or ENGLISH


def _frame(locale: str, outside: Surroundings, *, others: bool = False) -> Frame:
    other = {code: f"?{LANGUAGE}={code}" for code in locales() if others and code != locale}
    return Frame(locale=locale, contact=settings.contact(), now=outside.now(), other_languages=other)


def _subject(case: Case) -> Subject:
    return Subject(
        integration=case.integration,
        integration_type=case.integration_type,
        notice=case.notice,
        expected_account=case.expected_account,
        conn_id=case.target_conn_id,
    )


def _retry(ended: Ended, result: Result | None) -> str | None:
    if result is None or result.outcome in _IN_VAIN or not ended.case.is_open:
        return None
    if ended.way not in ended.case.ways:
        return None
    language = f"?{LANGUAGE}={ended.locale}" if ended.locale != ended.case.integration.owner.locale else ""
    return f"{_path(links.path(ended.case.link))}{language}"


def _with_language(path: str, request: Request) -> str:
    chosen = chosen_language(request)
    return f"{path}?{LANGUAGE}={chosen}" if chosen else path


def _path(below: str) -> str:
    """Give a path on the server, be Airflow below a path of its own."""
    return f"{urlsplit(settings.base_url()).path}{below}"


def _shown(html: str, status_code: int = 200) -> HTMLResponse:
    return HTMLResponse(html, status_code, HEADERS)
