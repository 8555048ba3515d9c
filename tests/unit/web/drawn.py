"""Pages to draw, one of each sort, and how to read what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

from mbi_reauth import catalogue
from mbi_reauth.api.datamodels import Notice
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import Facts, Reason
from mbi_reauth.core.reauthorization import FieldFault, Outcome, Result, Way
from mbi_reauth.core.verdict import Cause, Finding
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
from tests.unit.notifications.mails import (
    ADS,
    BOOKS,
    CONTACT,
    KEY_ROLLED,
    NOW,
    OWNER,
    SHOP,
    finding,
    notice,
    warning,
)

LINK = "/prod/mbi-reauth/reauthorize/eyJ.token"
FORM = "/prod/mbi-reauth/credential"
CONSENT = "https://appcenter.example.com/connect?client_id=abc&scope=a+b&state=s&code_challenge=c"
SECRET = "canary-of-a-secret"
LANGUAGES = ("en", "nl")

STRIPE: dict[str, Any] = {
    "id": "stripe",
    "type": "stripe",
    "conn_id": "stripe_shop",
    "name": "Card payments",
    "owner": OWNER,
}
LOST_KEY = finding(Cause.CREDENTIALS_REJECTED, rule="stripe.key", vendor_words="Invalid API Key: sk_…")
TUNNEL = finding(Cause.CREDENTIALS_REJECTED, rule="default_ssh.auth", vendor_words=None)


def frame(locale: str = "en", **changes: Any) -> Frame:
    others = {other: f"{LINK}?lang={other}" for other in LANGUAGES if other != locale}
    return replace(Frame(locale=locale, contact=CONTACT, now=NOW, other_languages=others), **changes)


def subject(entry: dict[str, Any] | None = None, about: Notice | None = None, **changes: Any) -> Subject:
    """Make one of the registry's ``entry``, about a loss if nothing else is said."""
    integration = Integration.model_validate(entry or BOOKS)
    given = Subject(
        integration=integration,
        integration_type=catalogue.load(integration.type).model,
        notice=about or notice(Reason.LOST, entry),
        conn_id=integration.conn_id,
    )
    return replace(given, **changes)


BOOKS_LOST = subject()
KEY_LOST = subject(STRIPE, notice(Reason.LOST, STRIPE, finding=LOST_KEY))
SHOP_LOST = subject(SHOP, notice(Reason.LOST, SHOP, finding=KEY_ROLLED))
SHOP_TUNNEL = subject(SHOP, notice(Reason.LOST, SHOP, finding=TUNNEL), conn_id="shop_ssh")
UNPAID = subject(about=notice(Reason.LOST, finding=finding(Cause.ACCOUNT_SUSPENDED)))
AT_MBI = subject(ADS, notice(Reason.LOST, ADS, finding=finding(Cause.GRANT_REVOKED)))
ELSEWHERE_FINDING = finding(Cause.ACCOUNT_UNLINKED, rule="quickbooks.account", account="9130350000000001")
WRONG_LOST = subject(about=notice(Reason.LOST, finding=ELSEWHERE_FINDING))

RESTRICTED_KEY = FormField(
    name="password", label="Restricted key", help="Of the account itself", secret=True, value=SECRET
)
LOGIN = FormField(
    name="login", label="Username", help="The read-only database user", example="rjmetric", value="magentobi"
)
PASSWORD = FormField(name="password", label="Password", secret=True, value=SECRET)
SSH_FIELDS = (
    FormField(name="login", label="Username", help="Of the SSH server", value="tunnel"),
    FormField(name="password", label="Password", secret=True, required=False, value=SECRET),
    FormField(
        name="private_key",
        label="Private key",
        help="As a whole, with its first and last line",
        secret=True,
        required=False,
        multiline=True,
        value=SECRET,
    ),
    FormField(
        name="private_key_passphrase",
        label="Passphrase of the private key",
        secret=True,
        required=False,
        value=SECRET,
    ),
)

View = Overview | Leaving | CredentialForm | OutcomePage | MessagePage
DRAW: dict[type[Any], Callable[[Any], str]] = {
    Overview: pages.overview,
    Leaving: pages.leaving,
    CredentialForm: pages.credential_form,
    OutcomePage: pages.outcome,
    MessagePage: pages.message,
}


def overview(about: Subject, *ways: Way, **changes: Any) -> Overview:
    return Overview(frame=frame(), subject=about, action=LINK, ways=ways, **changes)


def form(about: Subject, *fields: FormField, **changes: Any) -> CredentialForm:
    return CredentialForm(frame=frame(), subject=about, action=FORM, fields=fields, **changes)


def found(cause: Cause, **changes: Any) -> Finding:
    return finding(cause, **{"vendor_words": None, **changes})


_RESULTS: dict[Outcome, dict[str, Any]] = {
    Outcome.SAVED: {"finding": found(Cause.AUTHORIZED)},
    Outcome.DENIED: {"words": "The user denied your request"},
    Outcome.SCOPES_MISSING: {"missing": ("com.intuit.quickbooks.accounting", "openid")},
    Outcome.WRONG_ACCOUNT: {
        "finding": ELSEWHERE_FINDING,
        "found_account": "9130350000000001",
        "expected_account": "4620816365",
    },
    Outcome.REFUSED: {"finding": finding(Cause.INSUFFICIENT_SCOPE, vendor_words="Forbidden: no such right")},
    Outcome.UNAVAILABLE: {"finding": finding(Cause.PROVIDER_OUTAGE, vendor_words="Service Unavailable")},
    Outcome.UNVERIFIED: {"finding": finding(Cause.UNKNOWN, vendor_words="I am a teapot")},
    Outcome.MISCONFIGURED: {"finding": finding(Cause.PROBE_MISCONFIGURED, vendor_words="invalid_client")},
}


def result(outcome: Outcome, **changes: Any) -> Result:
    return Result(outcome=outcome, **{**_RESULTS.get(outcome, {}), **changes})


def ended(outcome: Outcome, way: Way = Way.CONSENT, **changes: Any) -> OutcomePage:
    without = (Outcome.SAVED, Outcome.WORKS, Outcome.ELSEWHERE, Outcome.MISCONFIGURED)
    retry = None if outcome in without else LINK
    given = {"subject": BOOKS_LOST, "result": result(outcome), "retry": retry, **changes}
    return OutcomePage(frame=frame(), way=way, **given)


EVERY_PAGE: dict[str, View] = {
    "overview_consent": overview(BOOKS_LOST, Way.CONSENT, Way.CHECK),
    "overview_key": overview(KEY_LOST, Way.FORM, Way.CHECK),
    "overview_password": overview(SHOP_LOST, Way.FORM, Way.CHECK),
    "overview_tunnel": overview(SHOP_TUNNEL, Way.CHECK, Way.FORM),
    "overview_unpaid": overview(UNPAID, Way.CHECK, Way.CONSENT),
    "overview_wrong_account": overview(WRONG_LOST, Way.CONSENT, Way.CHECK),
    "overview_at_mbi": overview(AT_MBI, Way.CHECK),
    "overview_elsewhere": overview(KEY_LOST, Way.CHECK, elsewhere=True),
    "overview_nothing_to_press": overview(BOOKS_LOST),
    "overview_expiring": overview(subject(about=warning()), Way.CONSENT),
    "overview_expiring_password": overview(subject(SHOP, warning(SHOP)), Way.FORM),
    "overview_expiring_some_day": overview(
        subject(about=warning().model_copy(update={"facts": Facts(reason=Reason.EXPIRES)})), Way.CONSENT
    ),
    "overview_working": overview(BOOKS_LOST, working=True),
    "overview_renewed": overview(
        subject(about=warning().model_copy(update={"facts": Facts(reason=Reason.EXPIRES)})), working=True
    ),
    "leaving": Leaving(frame=frame(), subject=BOOKS_LOST, address=CONSENT),
    "form_key": form(KEY_LOST, RESTRICTED_KEY),
    "form_login": form(SHOP_LOST, LOGIN, PASSWORD),
    "form_tunnel": form(SHOP_TUNNEL, *SSH_FIELDS),
    "form_refused": form(
        KEY_LOST,
        RESTRICTED_KEY,
        refusal=result(Outcome.REFUSED, finding=LOST_KEY),
    ),
    "form_wrong_account": form(SHOP_LOST, LOGIN, PASSWORD, refusal=result(Outcome.WRONG_ACCOUNT)),
    "form_faulty": form(
        SHOP_LOST,
        replace(LOGIN, fault=FieldFault.SEVERAL_LINES),
        replace(PASSWORD, fault=FieldFault.MISSING),
    ),
    "pending": OutcomePage(frame=frame(), subject=BOOKS_LOST, result=None),
    "check_refused": ended(
        Outcome.REFUSED, Way.CHECK, result=result(Outcome.REFUSED, finding=found(Cause.ACCOUNT_SUSPENDED))
    ),
    **{f"outcome_{each.value}": ended(each) for each in Outcome},
    **{f"message_{each.value}": MessagePage(frame=frame(), message=each) for each in Message},
}
"""Every page in its states; in English."""

IN_BOTH = [(name, locale) for name in EVERY_PAGE for locale in LANGUAGES]


def in_locale(view: View, locale: str) -> View:
    return replace(view, frame=frame(locale))


def draw(view: View) -> str:
    return DRAW[type(view)](view)


@cache
def drawn(name: str, locale: str = "en") -> str:
    """Draw one of :data:`EVERY_PAGE`."""
    return draw(in_locale(EVERY_PAGE[name], locale))


VOID = {"meta", "br", "hr", "input", "link"}


@dataclass
class Element:
    """An element with its attributes, and the text in it."""

    tag: str
    attributes: dict[str, str | None]
    within: tuple[str, ...]
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())

    def get(self, name: str) -> str | None:
        return self.attributes.get(name)


class Page(HTMLParser):
    """What a browser makes of a page; fails where a tag is closed that is not open, or none closes it."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        element = Element(tag, dict(attrs), tuple(each.tag for each in self._open))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.pieces.append(data)

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def one(self, tag: str) -> Element:
        (element,) = self.all(tag)
        return element

    def of_class(self, name: str) -> list[Element]:
        return [each for each in self.elements if name in (each.get("class") or "").split()]

    def by_id(self, name: str) -> Element:
        (element,) = [each for each in self.elements if each.get("id") == name]
        return element

    @property
    def text(self) -> str:
        """What is read on the page."""
        return self.one("body").text


def page(name: str, locale: str = "en") -> Page:
    return Page(drawn(name, locale))
