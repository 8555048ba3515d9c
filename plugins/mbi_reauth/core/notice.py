"""What an email is about: its kind, its reason, and the facts that nobody can look up later."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum

from pydantic import BaseModel, ConfigDict

from mbi_reauth.core.verdict import Finding


class NotificationKind(str, Enum):
    """Which email; the words of the design."""

    OPENED = "opened"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    RECOVERED = "recovered"
    EXPIRING = "expiring"
    ENGINEER = "engineer"


OF_INCIDENTS = (
    NotificationKind.OPENED,
    NotificationKind.REMINDER,
    NotificationKind.ESCALATION,
    NotificationKind.RECOVERED,
)
"""The kinds that belong to an incident, and to one thread of emails."""

TO_PEOPLE = (NotificationKind.OPENED, NotificationKind.REMINDER, NotificationKind.ESCALATION)
"""The kinds that tell of a loss."""

IN_WAKING_HOURS = (NotificationKind.REMINDER, NotificationKind.EXPIRING)
"""The kinds that wait for the end of the owner's quiet hours."""


class Reason(str, Enum):
    """Why the email of its kind is due."""

    LOST = "lost"
    STILL_LOST = "still_lost"
    LOST_AGAIN = "lost_again"
    REPLACEMENT_REFUSED = "replacement_refused"
    OWNER_SILENT = "owner_silent"
    ADDRESS_REFUSED = "address_refused"
    WORKS_AGAIN = "works_again"
    EXPIRES = "expires"
    MISCONFIGURED = "misconfigured"
    LASTING = "lasting"
    SUNSET = "sunset"
    MANY_AT_ONCE = "many_at_once"


class Retirement(BaseModel):
    """A sunset of the catalogue, with its date."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: date
    what: str
    source: str | None = None


class Facts(BaseModel):
    """What was so when the notification became due; what does not apply is None or empty.

    ``since``: when the trouble, or the loss, began, and ``until`` when it was over. ``expires_at``: when the
    credential stops working. ``checks``: how many saw a lasting trouble. ``affected``: what people call the
    integrations that were lost at once, or that use what is retired. ``held_until``: when owners hear of such
    a loss if it lasts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason
    finding: Finding | None = None
    since: datetime | None = None
    until: datetime | None = None
    expires_at: datetime | None = None
    checks: int | None = None
    affected: tuple[str, ...] = ()
    held_until: datetime | None = None
    retirement: Retirement | None = None
