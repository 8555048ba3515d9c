"""What the owner's pages say, for readers who know neither Airflow nor OAuth.

Texts may name ``label`` (what people call the integration), ``third_party`` and ``contact``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mbi_reauth.core.reauthorization import FieldFault, Outcome, Way
from mbi_reauth.core.verdict import Cause
from mbi_reauth.notifications.language import Language, _
from mbi_reauth.notifications.owners import WHAT_HAPPENED
from mbi_reauth.web.views import Message

NOBODY_IN_PARTICULAR = _("your data team")
"""Whom one may ask where the configuration names nobody."""


class Asked(str, Enum):
    """What the owner enters, by what the third party calls it."""

    PASSWORD = "password"
    TOKEN = "token"
    KEY = "key"
    SECRET = "secret"
    LOGIN = "login"


@dataclass(frozen=True, kw_only=True)
class Entering:
    """How it is put to the owner: on the button that leads to the form, and above the form."""

    button: str
    heading: str


ENTERING = {
    Asked.PASSWORD: Entering(
        button=_("Enter the new password"), heading=_("Enter the new password for %(label)s")
    ),
    Asked.TOKEN: Entering(button=_("Enter the new token"), heading=_("Enter the new token for %(label)s")),
    Asked.KEY: Entering(button=_("Enter the new key"), heading=_("Enter the new key for %(label)s")),
    Asked.SECRET: Entering(button=_("Enter the new secret"), heading=_("Enter the new secret for %(label)s")),
    Asked.LOGIN: Entering(
        button=_("Enter the new login details"), heading=_("Enter the new login details for %(label)s")
    ),
}


def asked(titles: Iterable[str]) -> Asked:
    """Tell by the (English) titles of the secret fields what is entered; of several sorts, login details."""
    found = {kind for title in titles for kind in Asked if kind.value in title.lower()}
    return found.pop() if len(found) == 1 else Asked.LOGIN


FAULTS = {
    FieldFault.MISSING: _("Fill this in."),
    FieldFault.TOO_LONG: _("This is too long. Look whether more was pasted than belongs here."),
    FieldFault.SEVERAL_LINES: _("This must be one line. Look whether more was pasted than belongs here."),
    FieldFault.FOREIGN_CHARACTER: _(
        "There is a character in it that cannot be right. Copy it once more, and paste it as it is."
    ),
    FieldFault.ONE_OF_BOTH: _("Fill in a password or a private key."),
    FieldFault.UNREADABLE: _(
        "This private key cannot be read. Look whether all of it was pasted, and whether the passphrase is"
        " right."
    ),
}
"""What is wrong with what was entered in one field."""


OF_SSH_SERVERS = (
    _("Of the SSH server"),
    _("Private key"),
    _("As a whole, with its first and last line"),
    _("Passphrase of the private key"),
)
"""What the form says of an SSH server's fields, which are in no catalogue file."""


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What happened, in a heading and a sentence or two, and what the reader does ``next``."""

    heading: str
    said: str
    next: str = ""
    next_without_retry: str = ""

    def put(self, words: Language, values: Mapping[str, Any], *, retry: bool = True) -> Wording:
        """Translate it, and fill in ``values``."""
        after = self.next if retry or not self.next_without_retry else self.next_without_retry
        return Wording(
            heading=words.gettext(self.heading) % values,
            said=words.gettext(self.said) % values,
            next=words.gettext(after) % values,
        )


_THE_LINK_AGAIN = _("To try again, open the link in the email once more.")

OUTCOMES = {
    Outcome.SAVED: Wording(
        heading=_("%(label)s works again"),
        said=_("We have checked it with %(third_party)s and saved it."),
        next=_("There is nothing left to do. You may close this page."),
    ),
    Outcome.WORKS: Wording(
        heading=_("%(label)s works"),
        said=_("We have just checked it: %(third_party)s lets us read it."),
        next=_("There is nothing left to do. You may close this page."),
    ),
    Outcome.DENIED: Wording(
        heading=_("The permission was not given"),
        said=_("Somebody pressed Cancel at %(third_party)s, or %(third_party)s declined by itself."),
        next=_("Try again, and allow what is asked. If that is not yours to decide, forward the email."),
        next_without_retry=_THE_LINK_AGAIN,
    ),
    Outcome.SCOPES_MISSING: Wording(
        heading=_("Not everything was allowed"),
        said=_("%(third_party)s let us in, but we need more than was allowed."),
        next=_("Try again, and leave every box on the page of %(third_party)s ticked."),
        next_without_retry=_THE_LINK_AGAIN,
    ),
    Outcome.NO_LASTING_GRANT: Wording(
        heading=_("The permission would soon end"),
        said=_("%(third_party)s let us in for a few hours only. After that, this would stop working again."),
        next=_(
            "In your account at %(third_party)s, remove our app from the list of connected apps."
            " Then try again. If the same happens, ask %(contact)s."
        ),
        next_without_retry=_THE_LINK_AGAIN,
    ),
    Outcome.WRONG_ACCOUNT: Wording(
        heading=_("That is another account"),
        said=_("It works, but it leads to another account than the one that we read."),
        next=_(
            "Try again with the right account. You may have to sign out of %(third_party)s first. If another"
            " account is right from now on, tell %(contact)s: only they can change that."
        ),
        next_without_retry=_THE_LINK_AGAIN,
    ),
    Outcome.REFUSED: Wording(
        heading=_("%(third_party)s does not accept it"),
        said=_("We have tried it just now: %(what_happened)s."),
        next=_("Follow the steps, and try again."),
        next_without_retry=_THE_LINK_AGAIN,
    ),
    Outcome.UNAVAILABLE: Wording(
        heading=_("We could not check it now"),
        said=_("%(third_party)s is out of reach, slow or too busy. That says nothing about what you did."),
        next=_("Try again in a few minutes. The link in the email keeps working."),
        next_without_retry=_("Try again in a few minutes, with the link in the email."),
    ),
    Outcome.UNVERIFIED: Wording(
        heading=_("We cannot tell whether it works"),
        said=_("%(third_party)s gave an answer that we do not know."),
        next=_("Try again. If the same happens, pass the text below on to %(contact)s."),
        next_without_retry=_("Pass the text below on to %(contact)s."),
    ),
    Outcome.MISCONFIGURED: Wording(
        heading=_("We have to put something right first"),
        said=_("It is not about what you did. Something in our own set-up is wrong."),
        next=_("Pass the text below on to %(contact)s. Trying again does not help before that."),
    ),
    Outcome.REPLACED: Wording(
        heading=_("Somebody else was just before you"),
        said=_("Somebody else changed it while you were at it. What you did was not saved, so theirs stays."),
        next=_("See whether it works now. If not, try again."),
        next_without_retry=_("To see whether it works now, open the link in the email once more."),
    ),
    Outcome.ELSEWHERE: Wording(
        heading=_("This cannot be changed here any more"),
        said=_("What we sign in with is kept in another place now, where this page cannot change it."),
        next=_("Pass the text below on to %(contact)s."),
    ),
    Outcome.INTERRUPTED: Wording(
        heading=_("Something went wrong on our side"),
        said=_("We were interrupted while we were checking it."),
        next=_("Try again. If the same happens, ask %(contact)s."),
        next_without_retry=_THE_LINK_AGAIN,
    ),
}
"""How each outcome is put."""

NEEDS_ENGINEER = frozenset({Outcome.UNVERIFIED, Outcome.MISCONFIGURED, Outcome.ELSEWHERE})
"""The outcomes of which the reader tells somebody else."""

STILL_REFUSED = Wording(
    heading=_("%(label)s does not work yet"),
    said=_("We have tried it just now: %(what_happened)s."),
    next=_("Follow the steps, and check again."),
    next_without_retry=_THE_LINK_AGAIN,
)
"""In place of ``refused`` where nothing new was entered."""

_NOW_REFUSED = {
    Cause.GRANT_EXPIRED: _("the permission that was just given is not accepted"),
    Cause.GRANT_INVALID: _("the permission that was just given is not accepted"),
    Cause.GRANT_REVOKED: _("the permission that was just given is not accepted"),
    Cause.ACCESS_TOKEN_EXPIRED: _("the permission that was just given is not accepted"),
    Cause.PASSWORD_EXPIRED: _("this password has expired"),
    Cause.CREDENTIALS_REJECTED: _("this password or key is wrong, or was not copied as a whole"),
    Cause.USER_DEACTIVATED: _("this login is locked or switched off"),
    Cause.INSUFFICIENT_SCOPE: _("we can sign in with it, but may not read the data"),
    Cause.ACCOUNT_UNLINKED: _("the account is not shared with this login"),
}
_REFUSED_SOMEHOW = _("it is not accepted")


def refused_since(cause: Cause | None, way: Way | None) -> str:
    """Say why it is refused: what was just given, or what there was already."""
    if cause is None:
        return _REFUSED_SOMEHOW
    said = WHAT_HAPPENED.get(cause, _REFUSED_SOMEHOW)
    return said if way is Way.CHECK else _NOW_REFUSED.get(cause, said)


MESSAGES = {
    Message.NO_SUCH_LINK: Wording(
        heading=_("This link does not work"),
        said=_("It may be incomplete or too old. It works until all is well again, and for 30 days at most."),
        next=_("Use the button in the newest email. If that does not help, ask %(contact)s."),
    ),
    Message.SESSION_OVER: Wording(
        heading=_("Please begin again"),
        said=_(
            "To be safe, you have 15 minutes, in one browser, and each try counts once. This one is over;"
            " nothing was changed by it."
        ),
        next=_("Open the link in the email once more."),
    ),
    Message.TOO_MANY: Wording(
        heading=_("Please wait a minute"),
        said=_("Too many pages were asked for in a short time."),
        next=_("Wait a minute, and load this page again."),
    ),
    Message.REFUSED: Wording(
        heading=_("We could not accept that"),
        said=_("What arrived here did not come from our own page, or was too long. Nothing was changed."),
        next=_("Open the link in the email once more. If the same happens, ask %(contact)s."),
    ),
    Message.NOT_ALLOWED: Wording(
        heading=_("You may not change this"),
        said=_("You are signed in, but your user may not change what we sign in with. Nothing was changed."),
        next=_("To get the right to do it, ask %(contact)s."),
    ),
    Message.TROUBLE: Wording(
        heading=_("Something went wrong on our side"),
        said=_("It is not about what you did, and nothing was changed."),
        next=_("Try again in a few minutes. If the same happens, ask %(contact)s."),
    ),
}
"""How the pages are put that name no integration."""
