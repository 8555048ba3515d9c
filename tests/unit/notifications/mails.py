"""Mails to write, one of each sort, and how to read what was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from email.message import EmailMessage
from functools import cache
from html.parser import HTMLParser
from typing import Any

from mbi_reauth import catalogue
from mbi_reauth.api.datamodels import IncidentView, MailView, Notice, RunReference
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import Facts, NotificationKind, Reason, Retirement
from mbi_reauth.core.verdict import MEANING_OF, Cause, Finding
from mbi_reauth.notifications.message import compose

OPENED = datetime(2026, 11, 24, 2, 15, tzinfo=timezone.utc)
NOW = OPENED + timedelta(days=3, hours=7)
AIRFLOW = "https://airflow.example.com/prod"
CONTACT = "the data team, data@example.com"
PAGE = f"{AIRFLOW}/mbi-reauth/reauthorize/WyJpIiwiNDIiXQ.fake-signature"
OPENING_ID = "<mbi-reauth.42.opened@airflow.example.com>"

OWNER = {
    "name": "Dana Example",
    "email": "dana@example.com",
    "backup": "team@example.com",
    "time_zone": "Europe/Amsterdam",
}
BOOKS: dict[str, Any] = {
    "id": "quickbooks",
    "type": "quickbooks",
    "conn_id": "quickbooks_acme",
    "name": "Acme Europe books",
    "account": "4620816365",
    "owner": OWNER,
}
SHOP: dict[str, Any] = {
    "id": "shop_database",
    "type": "mysql_ssh",
    "conn_id": "shop_database",
    "name": "Web shop",
    "account": "shop",
    "owner": OWNER,
}
ADS: dict[str, Any] = {
    "id": "google_ads",
    "type": "google_adwords",
    "conn_id": "google_ads",
    "account": "123-456-7890",
    "held_by": "mbi",
    "owner": OWNER,
}


def finding(cause: Cause = Cause.GRANT_INVALID, **changes: Any) -> Finding:
    told = {
        "rule": "default_token.invalid_grant",
        "explanation": MEANING_OF[cause],
        "vendor_words": "Token revoked",
        "checked_at": OPENED,
    }
    return Finding.model_validate({"cause": cause, **told, **changes})


def runs(*names: str) -> list[RunReference]:
    """Name stopped gates as ``dag/run`` or ``dag/run/map index``."""
    parts = [(*name.split("/"), "-1")[:3] for name in names]
    return [
        RunReference(dag_id=dag, run_id=run, task_id="quickbooks.check_authorization", map_index=int(index))
        for dag, run, index in parts
    ]


def notice(reason: Reason, entry: dict[str, Any] | None = None, **changes: Any) -> Notice:
    """Make one about an incident; ``entry`` is the registry's."""
    integration = Integration.model_validate(entry or BOOKS)
    found = changes.pop("finding", finding())
    facts = {"reason": reason, "finding": found, "since": OPENED}
    return Notice(
        id=1,
        integration=integration,
        integration_type=integration.type,
        facts=Facts.model_validate({**facts, **changes.pop("facts", {})}),
        incident=IncidentView(
            id="42", opened_at=OPENED, confirmed_at=OPENED + timedelta(minutes=2), finding=found
        ),
        blocked_runs=changes.pop("runs", runs("extract_books/r1", "extract_tax/r1")),
        link=changes.pop("link", None if reason is Reason.WORKS_AGAIN else PAGE),
    )


def warning(entry: dict[str, Any] | None = None, *, days: int = 14) -> Notice:
    integration = Integration.model_validate(entry or BOOKS)
    facts = Facts(reason=Reason.EXPIRES, expires_at=NOW + timedelta(days=days, hours=1))
    return Notice(id=1, integration=integration, integration_type=integration.type, facts=facts, link=PAGE)


def for_engineers(
    reason: Reason, entry: dict[str, Any] | None = BOOKS, type_id: str = "quickbooks", **facts: Any
) -> Notice:
    """Make one about an integration, or about the type ``type_id`` where ``entry`` is None."""
    integration = Integration.model_validate(entry) if entry else None
    return Notice(
        id=1,
        integration=integration,
        integration_type=integration.type if integration else type_id,
        facts=Facts(reason=reason, **facts),
    )


def mail(kind: NotificationKind, *notices: Notice, **changes: Any) -> MailView:
    entry: dict[str, Any] = {
        "lease": "lease",
        "kind": kind,
        "recipients": ["dana@example.com"],
        "addressee": "Dana Example",
        "message_id": f"<mbi-reauth.42.{kind.value}.0@airflow.example.com>",
        "notices": list(notices),
    }
    return MailView.model_validate({**entry, **changes})


def composed(view: MailView, **changes: Any) -> EmailMessage:
    given: dict[str, Any] = {
        "type_of": lambda type_id: catalogue.load(type_id).model,
        "contact": CONTACT,
        "airflow_url": AIRFLOW,
        "now": NOW,
    }
    return compose(view, **(given | changes))


def text_of(message: EmailMessage, subtype: str = "plain") -> str:
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content())


def in_a_line(text: str) -> str:
    """Undo the breaks that make a plain text fit a window."""
    return " ".join(text.split())


@dataclass
class Page(HTMLParser):
    """What a browser makes of a mail's HTML."""

    html: str
    texts: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    language: str | None = None
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._href: str | None = None
        self._button = False
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in ("meta", "br", "hr"):
            self._open.append(tag)
        if tag == "html":
            self.language = given.get("lang")
        if tag == "a":
            self._href, self._button = given.get("href"), given.get("class") == "button"

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes nothing"
        self._href = None if tag == "a" else self._href

    def handle_data(self, data: str) -> None:
        text = in_a_line(data)
        if not text or {"style", "title"} & set(self._open):
            return
        self.texts.append(text)
        if self._href:
            self.links[text] = self._href
            self.buttons += [text] * self._button


def page_of(message: EmailMessage) -> Page:
    return Page(text_of(message, "html"))


KEY_ROLLED = finding(
    Cause.CREDENTIALS_REJECTED,
    rule="default_mysql.login_refused",
    vendor_words="Access denied for user 'magentobi'@'192.0.2.7' (using password: YES)",
)
BROKEN = finding(
    Cause.HOST_KEY_CHANGED,
    rule="default_ssh.host_key",
    vendor_words=None,
    proved_at=OPENED - timedelta(hours=1),
)
_UPDATE = finding(
    Cause.MBI_UPDATE_FAILED,
    rule="mbi_update_cycle.failed",
    vendor_words="Completed with errors",
    proved_at=OPENED,
    facts={"last update": "Completed with errors"},
)
_SILENT = finding(Cause.UNKNOWN, rule="default_http.unknown", vendor_words="I am a teapot")
_OVER = {"until": NOW - timedelta(minutes=10), "finding": finding(Cause.AUTHORIZED, vendor_words=None)}
_LATE = {"recipients": ["team@example.com"], "addressee": None}
_THREAD = {"in_reply_to": OPENING_ID}
_RETIREMENT = Retirement(
    on=date(2027, 3, 3),
    what="Mixpanel ends project secrets; a service account must be used by then.",
    source="https://docs.mixpanel.com/reference/project-secret",
)

_O, _R, _E = NotificationKind.OPENED, NotificationKind.REMINDER, NotificationKind.ESCALATION
_G, _X, _N = NotificationKind.RECOVERED, NotificationKind.EXPIRING, NotificationKind.ENGINEER

TO_OWNERS: dict[str, MailView] = {
    "opened": mail(_O, notice(Reason.LOST)),
    "opened_database": mail(_O, notice(Reason.LOST, SHOP, finding=KEY_ROLLED)),
    "opened_at_mbi": mail(_O, notice(Reason.LOST, ADS, finding=finding(Cause.GRANT_REVOKED))),
    "opened_unpaid": mail(_O, notice(Reason.LOST, finding=finding(Cause.ACCOUNT_SUSPENDED))),
    "opened_digest": mail(
        _O,
        notice(Reason.LOST),
        notice(Reason.LOST, SHOP, finding=KEY_ROLLED, runs=runs("extract_shop/r1", "extract_shop/r2")),
        notice(Reason.LOST, ADS, finding=finding(Cause.ACCOUNT_SUSPENDED, vendor_words=None), runs=[]),
    ),
    "reminder": mail(_R, notice(Reason.STILL_LOST), **_THREAD),
    "reminder_lost_again": mail(_R, notice(Reason.LOST_AGAIN), **_THREAD),
    "reminder_replacement_refused": mail(
        _R, notice(Reason.REPLACEMENT_REFUSED, SHOP, finding=KEY_ROLLED), **_THREAD
    ),
    "reminder_to_backup": mail(_R, notice(Reason.STILL_LOST), **_LATE),
    "reminder_digest": mail(
        _R, notice(Reason.STILL_LOST), notice(Reason.LOST_AGAIN, SHOP, finding=KEY_ROLLED)
    ),
    "escalation": mail(_E, notice(Reason.OWNER_SILENT), **_LATE, **_THREAD),
    "escalation_address_refused": mail(_E, notice(Reason.ADDRESS_REFUSED), **_LATE),
    "escalation_to_engineers": mail(
        _E, notice(Reason.OWNER_SILENT), recipients=["data@example.com"], addressee=None
    ),
    "escalation_digest": mail(
        _E, notice(Reason.OWNER_SILENT), notice(Reason.ADDRESS_REFUSED, SHOP, finding=KEY_ROLLED), **_LATE
    ),
    "recovered": mail(_G, notice(Reason.WORKS_AGAIN, facts=_OVER), **_THREAD),
    "recovered_digest": mail(
        _G,
        notice(Reason.WORKS_AGAIN, facts=_OVER),
        notice(Reason.WORKS_AGAIN, SHOP, facts=_OVER, finding=KEY_ROLLED),
        recipients=["dana@example.com", "team@example.com"],
        addressee=None,
    ),
    "expiring": mail(_X, warning()),
    "expiring_password": mail(_X, warning(SHOP, days=1)),
    "expiring_digest": mail(_X, warning(), warning(SHOP), warning(ADS)),
}
"""Every kind and reason, alone and several at once; all in English."""

TO_ENGINEERS: dict[str, MailView] = {
    name: mail(_N, *notices, recipients=["data@example.com"], addressee=None)
    for name, notices in {
        "engineer_misconfigured": [for_engineers(Reason.MISCONFIGURED, SHOP, finding=BROKEN, since=OPENED)],
        "engineer_update_failed": [for_engineers(Reason.MISCONFIGURED, SHOP, finding=_UPDATE, since=OPENED)],
        "engineer_lasting": [for_engineers(Reason.LASTING, finding=_SILENT, since=OPENED, checks=3)],
        "engineer_sunset": [
            for_engineers(Reason.SUNSET, None, "mixpanel", retirement=_RETIREMENT, affected=("Web events",))
        ],
        "engineer_many_at_once": [
            for_engineers(
                Reason.MANY_AT_ONCE,
                None,
                "stripe",
                affected=("Shop north", "Shop south", "Shop west"),
                since=OPENED,
                held_until=OPENED + timedelta(hours=1),
            )
        ],
        "engineer_works_again": [
            for_engineers(Reason.WORKS_AGAIN, since=OPENED, until=NOW, finding=finding(Cause.AUTHORIZED))
        ],
        "engineer_digest": [
            for_engineers(Reason.MISCONFIGURED, SHOP, finding=BROKEN, since=OPENED),
            for_engineers(Reason.LASTING, finding=_SILENT, since=OPENED, checks=3),
            for_engineers(Reason.SUNSET, None, "mixpanel", retirement=_RETIREMENT, affected=("Web events",)),
        ],
    }.items()
}
"""Every reason, and several at once."""

EVERY_MAIL = TO_OWNERS | TO_ENGINEERS


LANGUAGES = ("en", "nl")
IN_BOTH = [(name, locale) for name in TO_OWNERS for locale in LANGUAGES]


def in_locale(view: MailView, locale: str) -> MailView:
    return view.model_copy(update={"locale": locale})


@cache
def written(name: str, locale: str = "en") -> EmailMessage:
    """Write one of :data:`EVERY_MAIL`."""
    return composed(in_locale(EVERY_MAIL[name], locale))
