"""Compose an email: HTML and plain text from one set of facts, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from email.header import Header
from email.headerregistry import HeaderRegistry, MessageIDHeader, UniqueUnstructuredHeader
from email.message import EmailMessage
from email.policy import EmailPolicy, Policy
from typing import Any, Literal

from mbi_reauth.api.datamodels import MailView
from mbi_reauth.catalogue import CatalogueError
from mbi_reauth.catalogue.model import IntegrationType
from mbi_reauth.core.notice import NotificationKind
from mbi_reauth.notifications import engineers, owners
from mbi_reauth.notifications.inert import SENTENCE, inert, inert_mail
from mbi_reauth.notifications.language import ENGLISH, Language, _, language
from mbi_reauth.notifications.rendering import render
from mbi_reauth.notifications.surroundings import Surroundings

TypeOf = Callable[[str], IntegrationType]

_NOBODY_IN_PARTICULAR = _("your data team")
"""Whom one may ask where the configuration names nobody."""

_DIGESTS = {
    NotificationKind.REMINDER: _("Reminder: we still cannot read %(count)s of your integrations"),
    NotificationKind.ESCALATION: _("Action needed: nobody has restored %(count)s integrations yet"),
    NotificationKind.RECOVERED: _("%(count)s integrations work again"),
}
"""The subjects of digests that continue no single thread."""


class _Subject(UniqueUnstructuredHeader):
    """Folds as the standard library's older ``Header`` does.

    The newer way leaves the first line empty where a long one begins, and encodes a sentence word by word.
    """

    def fold(self, *, policy: Policy) -> str:
        name, text = "Subject", str(self)
        folded = Header(text, maxlinelen=policy.max_line_length or None, header_name=name)
        return f"{name}: {folded.encode(linesep=policy.linesep)}{policy.linesep}"


def _policy() -> EmailPolicy[Any]:
    """Write subjects so that every program reads them, and the ids of a thread as they are.

    In an unstructured header a long id would be encoded (RFC 2047), and be no id any more.
    """
    headers: Any = HeaderRegistry()
    headers.map_to_type("Subject", _Subject)
    headers.map_to_type("In-Reply-To", MessageIDHeader)
    headers.map_to_type("References", MessageIDHeader)
    return EmailPolicy(header_factory=headers)


_POLICY = _policy()


def compose(
    mail: MailView,
    *,
    type_of: TypeOf,
    contact: str,
    airflow_url: str,
    now: datetime | None = None,
) -> EmailMessage:
    """Write one email; ``From`` is left to whoever sends it.

    Its Message-ID is that of the mail for every attempt, and the subject the same for every mail of an
    incident, so that mail programs recognise a repeat and make one thread of the others (RFC 5322, 3.6.4).

    :param type_of: gives an integration type by its id; what it raises is passed on, but not to engineers
    :param contact: whom a reader may ask
    :param airflow_url: Airflow's own address as people reach it
    """
    mail = inert_mail(mail)
    words = language(ENGLISH if mail.kind is NotificationKind.ENGINEER else mail.locale)
    surroundings = Surroundings(
        airflow_url=airflow_url,
        contact=words.gettext(inert(contact, SENTENCE)),
        now=now or datetime.now(timezone.utc),
    )
    if mail.kind is NotificationKind.ENGINEER:
        subject, values = _to_engineers(mail, type_of, surroundings)
    else:
        subject, values = _to_people(mail, type_of, words, surroundings)
    message = _addressed(mail, subject, surroundings.now)
    template, values = f"{mail.kind.value}.jinja", values | {"subject": subject}
    message.set_content(render("text", template, words.code, values), cte="quoted-printable")
    html = render("html", template, words.code, values)
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = words.code
    return message


def _addressed(mail: MailView, subject: str, now: datetime) -> EmailMessage:
    message = EmailMessage(policy=_POLICY)
    # An encoded word (RFC 2047) in a name would be decoded here, line breaks and all (CVE-2024-6923).
    message["Subject"] = subject.replace("=?", "= ?")
    message["To"] = ", ".join(" ".join(recipient.split()) for recipient in mail.recipients)
    message["Message-ID"] = mail.message_id
    if mail.in_reply_to:
        message["In-Reply-To"] = message["References"] = mail.in_reply_to
    message["Date"] = now
    message["Auto-Submitted"] = "auto-generated"
    return message


def _to_engineers(mail: MailView, type_of: TypeOf, surroundings: Surroundings) -> tuple[str, dict[str, Any]]:
    matters = [
        engineers.matter(notice, _third_party(notice.integration_type, type_of), surroundings)
        for notice in mail.notices
    ]
    subject = matters[0].title if len(matters) == 1 else f"{len(matters)} notices about integrations"
    return subject, {"matters": matters}


def _third_party(type_id: str, type_of: TypeOf) -> str:
    """Name it for engineers, who may have to read that the type's own file has faults."""
    try:
        return inert(type_of(type_id).display_name)
    except CatalogueError:
        return inert(type_id)


def _to_people(
    mail: MailView, type_of: TypeOf, words: Language, surroundings: Surroundings
) -> tuple[str, dict[str, Any]]:
    sections = [
        owners.section(notice, type_of(notice.integration_type), words, surroundings)
        for notice in mail.notices
    ]
    values = {
        "sections": sections,
        "addressee": mail.addressee,
        "reader": _reader(mail, sections),
        "contact": surroundings.contact,
    }
    return _subject(mail, sections, words), values


def _reader(
    mail: MailView, sections: Sequence[owners.Section]
) -> Literal["told", "owner", "backup", "engineer"]:
    """Tell as what the reader gets it: having been told of the loss, or as one of those who can act."""
    if mail.kind is NotificationKind.RECOVERED:
        return "told"
    owner, recipients = sections[0].integration.owner, set(mail.recipients)
    if mail.addressee or owner.email in recipients:
        return "owner"
    return "backup" if owner.backup in recipients else "engineer"


def _subject(mail: MailView, sections: Sequence[owners.Section], words: Language) -> str:
    count = len(sections)
    if mail.kind is NotificationKind.EXPIRING:
        return _subject_of_warning(sections, words)
    if count == 1:
        opening = words.gettext("Action needed: we can no longer read %(label)s (%(third_party)s)")
        opening %= {"label": sections[0].label, "third_party": sections[0].third_party}
    else:
        opening = words.gettext("Action needed: we can no longer read %(count)s of your integrations")
        opening %= {"count": count}
    if mail.kind is NotificationKind.OPENED:
        return opening
    if count == 1 or mail.in_reply_to:
        return f"Re: {opening}"
    return words.gettext(_DIGESTS[mail.kind]) % {"count": count}


def _subject_of_warning(sections: Sequence[owners.Section], words: Language) -> str:
    first = sections[0]
    if len(sections) > 1:
        return words.gettext("%(count)s of your integrations stop working soon") % {"count": len(sections)}
    return words.gettext("%(label)s (%(third_party)s) stops working on %(date)s") % {
        "label": first.label,
        "third_party": first.third_party,
        "date": first.ends.on,
    }
