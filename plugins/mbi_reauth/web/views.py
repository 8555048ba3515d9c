"""What the pages are drawn from; none of it is a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from mbi_reauth.api.datamodels import Notice
from mbi_reauth.catalogue.model import IntegrationType
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.reauthorization import FieldFault, Result, Way


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What every page has: its language, whom a reader may ask, the time.

    ``other_languages`` maps a locale to the address of the same page in it.
    """

    locale: str
    contact: str
    now: datetime
    other_languages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The integration that a page is about, and what was lost of it, where something is.

    ``expected_account`` is the account that must stay the same, if it is known. ``elsewhere``: the connection
    of the Airflow id ``conn_id`` is not in Airflow's database but in an environment variable or a secrets
    backend.
    """

    integration: Integration
    integration_type: IntegrationType
    notice: Notice
    expected_account: str | None = None
    conn_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The page that an email leads to: what stopped, what waits, which account, who asks, what to do.

    ``ways`` are offered in this order; each is a form of its own that posts ``way`` to ``action``. Empty
    where there is nothing for the reader to press. ``working``: the incident is over. ``elsewhere``: the
    credential is not in Airflow's database, so that whoever put it there must change it there.
    """

    frame: Frame
    subject: Subject
    action: str
    ways: tuple[Way, ...] = ()
    working: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """On the way to the third party's consent page; ``address`` is followed at once, or by pressing it."""

    frame: Frame
    subject: Subject
    address: str


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One value that the owner may change; a secret's ``value`` is always empty."""

    name: str
    label: str
    help: str = ""
    example: str = ""
    value: str = ""
    secret: bool = False
    required: bool = True
    multiline: bool = False
    fault: FieldFault | None = None


@dataclass(frozen=True, kw_only=True)
class CredentialForm:
    """The form for keys, tokens and logins, posted to ``action``; ``refusal`` is why the last try failed."""

    frame: Frame
    subject: Subject
    action: str
    fields: tuple[FormField, ...]
    refusal: Result | None = None


@dataclass(frozen=True, kw_only=True)
class OutcomePage:
    """How an attempt ended. ``retry`` is where "Try again" posts ``way`` to; None: there is no trying again.

    ``pending``: it is not known yet, so the page loads itself again after some seconds.
    """

    frame: Frame
    subject: Subject
    result: Result | None
    way: Way | None = None
    retry: str | None = None

    @property
    def pending(self) -> bool:
        """Whether there is no result yet."""
        return self.result is None


class Message(str, Enum):
    """The pages that tell nothing about any integration."""

    NO_SUCH_LINK = "no_such_link"
    """Unknown, tampered or expired: one page for all."""
    SESSION_OVER = "session_over"
    """No session, a used one, or another browser's."""
    TOO_MANY = "too_many"
    """Too many requests; try again in a minute."""
    REFUSED = "refused"
    """The request did not come from this page, or was too large or malformed."""
    NOT_ALLOWED = "not_allowed"
    """The person who is signed in to Airflow may not change this connection."""
    TROUBLE = "trouble"
    """Our own side has a fault just now; nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class MessagePage:
    """A page that names no integration."""

    frame: Frame
    message: Message
