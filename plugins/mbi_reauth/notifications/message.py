"""Compose the email to an owner: HTML and plain text from one set of facts."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from mbi_reauth.api.datamodels import NotificationView
from mbi_reauth.catalogue.model import IntegrationType
from mbi_reauth.core.ticket import owners_ticket
from mbi_reauth.core.verdict import Cause

TEMPLATES = Environment(
    loader=PackageLoader("mbi_reauth.notifications"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

WHAT_HAPPENED: dict[Cause, str] = {
    Cause.GRANT_EXPIRED: "the permission that was given to us has expired",
    Cause.GRANT_INVALID: "the permission that was given to us is no longer accepted",
    Cause.GRANT_REVOKED: "the permission that was given to us has been withdrawn",
    Cause.PASSWORD_EXPIRED: "the saved password has expired",
    Cause.CREDENTIALS_REJECTED: "the saved password or key is no longer accepted",
    Cause.USER_DEACTIVATED: "the login we use is locked or switched off",
    Cause.USER_CHECKPOINT: "it wants you to sign in there and confirm something first",
    Cause.INSUFFICIENT_SCOPE: "we can still sign in, but may no longer read the data",
    Cause.ACCOUNT_UNLINKED: "the account is no longer shared with the login we use",
    Cause.ACCOUNT_SUSPENDED: "the account is suspended, unpaid or closed",
}
"""How each cause that needs an owner is put to somebody who knows nothing of Airflow or OAuth."""


def compose(
    notification: NotificationView, integration_type: IntegrationType, *, contact: str, airflow_url: str
) -> EmailMessage:
    """Write the email of one notification; ``From`` is left to whoever sends it.

    The subject is the same for every mail of an incident and the Message-ID the same for every attempt, so
    that mail programs thread the one and recognise a repeat of the other.
    """
    facts = _facts(notification, integration_type, contact=contact, airflow_url=airflow_url)
    message = EmailMessage()
    message["Subject"] = _subject(notification, integration_type)
    message["To"] = notification.recipient
    message["Message-ID"] = notification.message_id
    message["Date"] = datetime.now(timezone.utc)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(TEMPLATES.get_template("opened.txt").render(facts))
    message.add_alternative(TEMPLATES.get_template("opened.html").render(facts), subtype="html")
    return message


def _subject(notification: NotificationView, integration_type: IntegrationType) -> str:
    label = " ".join(notification.integration.label.split())
    return f"Action needed: re-authorize {label} ({integration_type.display_name})"


def _facts(
    notification: NotificationView, integration_type: IntegrationType, *, contact: str, airflow_url: str
) -> dict[str, Any]:
    integration = notification.integration
    finding = notification.incident.finding
    steps = integration_type.owner_steps
    runs = Counter(run.dag_id for run in _distinct_runs(notification))
    return {
        "owner": integration.owner.name,
        "label": integration.label,
        "third_party": integration_type.display_name,
        "what_happened": WHAT_HAPPENED.get(finding.cause, finding.explanation),
        "vendor_words": finding.vendor_words,
        "since": notification.incident.opened_at.astimezone(timezone.utc).strftime("%d %B %Y, %H:%M UTC"),
        "waiting": sorted(runs.items()),
        "account": integration.account,
        "steps": steps.for_cause(finding.cause, integration.held_by, at_tunnel=finding.at_tunnel),
        "minutes": steps.minutes_for(finding.cause, at_tunnel=finding.at_tunnel),
        "reconnects": steps.reconnects(finding.cause, at_tunnel=finding.at_tunnel),
        "held_by": integration.held_by,
        "button_url": _button_url(notification, integration_type, airflow_url),
        "contact": contact,
        "ticket": _ticket(notification, integration_type),
        "reference": notification.incident.id,
    }


def _distinct_runs(notification: NotificationView) -> list[Any]:
    return list({(run.dag_id, run.run_id): run for run in notification.blocked_runs}.values())


def _button_url(notification: NotificationView, integration_type: IntegrationType, airflow_url: str) -> str:
    integration = notification.integration
    if integration.held_by == "mbi":
        return integration_type.docs
    return f"{airflow_url}/connections?name_pattern={quote(integration.conn_id, safe='')}"


def _ticket(notification: NotificationView, integration_type: IntegrationType) -> str:
    return owners_ticket(
        notification.integration,
        notification.incident.finding,
        third_party=integration_type.display_name,
        since=notification.incident.opened_at,
        reference=notification.incident.id,
    )
