"""What an email to those who can re-authorize says of one integration."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from mbi_reauth.api.datamodels import IncidentView, Notice
from mbi_reauth.catalogue.model import IntegrationType
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.ticket import owners_ticket
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.notifications.inert import inert
from mbi_reauth.notifications.language import Language, _
from mbi_reauth.notifications.surroundings import Surroundings

SHOWN_DAGS = 10


WHAT_HAPPENED: dict[Cause, str] = {
    Cause.GRANT_EXPIRED: _("the permission that was given to us has expired"),
    Cause.GRANT_INVALID: _("the permission that was given to us is no longer accepted"),
    Cause.GRANT_REVOKED: _("the permission that was given to us has been withdrawn"),
    Cause.PASSWORD_EXPIRED: _("the saved password has expired"),
    Cause.CREDENTIALS_REJECTED: _("the saved password or key is no longer accepted"),
    Cause.USER_DEACTIVATED: _("the login we use is locked or switched off"),
    Cause.USER_CHECKPOINT: _("it wants you to sign in there and confirm something first"),
    Cause.INSUFFICIENT_SCOPE: _("we can still sign in, but may no longer read the data"),
    Cause.ACCOUNT_UNLINKED: _("the account is no longer shared with the login we use"),
    Cause.ACCOUNT_SUSPENDED: _("the account is suspended, unpaid or closed"),
}
"""How each cause that needs an owner is put to somebody who knows nothing of Airflow or OAuth."""

_ANOTHER_ACCOUNT = _("the login we use leads to another account")


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What was lost, since when, and what waits for it.

    ``found_account`` is where the login leads if that is the wrong place. ``asked_since`` is when the owner
    was first written to, ``lasts_days`` how many whole days it has been so. ``waiting`` are DAGs, each with
    the number of its runs that wait.
    """

    what_happened: str
    vendor_words: str | None
    found_account: str | None
    since: str
    asked_since: str
    lasts_days: int
    waiting: tuple[str, ...]
    ticket: str
    reference: str


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """When what still works will stop: the day, and in how many whole days; a password, or a permission."""

    on: str
    days_left: int
    password: bool


@dataclass(frozen=True, kw_only=True)
class Action:
    """What the reader does about it; ``reconnects``: a permission is given, or something entered, again.

    ``page`` is the address of our page for it, and ``mbi_page`` of MBI's own words on it, where MBI holds the
    credential.
    """

    steps: tuple[str, ...]
    minutes: int
    reconnects: bool
    page: str | None
    mbi_page: str | None


@dataclass(frozen=True, kw_only=True)
class Section:
    """One integration's part of an email, in the reader's words; ``until`` is when the loss was over."""

    reason: str
    integration: Integration
    third_party: str
    is_database: bool
    action: Action
    loss: Loss | None
    expiry: Expiry | None
    until: str | None

    @property
    def label(self) -> str:
        """What people call the integration."""
        return self.integration.label

    @property
    def title(self) -> str:
        """The same, with whose it is."""
        return f"{self.label} ({self.third_party})"

    @property
    def lost(self) -> Loss:
        """The loss, in an email about one."""
        if self.loss is None:
            raise ValueError(f"There is no incident of {self.label} to write about")
        return self.loss

    @property
    def ends(self) -> Expiry:
        """The end, in an email that warns of one."""
        if self.expiry is None:
            raise ValueError(f"It is not known when {self.label} stops working")
        return self.expiry


def section(
    notice: Notice, integration_type: IntegrationType, language: Language, surroundings: Surroundings
) -> Section:
    """Gather what is to be said; ``notice`` is about an integration, and has nothing harmful in it."""
    integration = _integration_of(notice)
    until = notice.facts.until
    third_party = inert(integration_type.display_name)
    return Section(
        reason=notice.facts.reason.value,
        integration=integration,
        third_party=third_party,
        is_database=integration_type.kind == "database",
        action=_action(notice, integration_type, language),
        loss=_loss(notice, notice.incident, third_party, language, surroundings) if notice.incident else None,
        expiry=_expiry(notice, integration_type, language, surroundings),
        until=language.moment(until, _zone_of(integration)) if until else None,
    )


def _integration_of(notice: Notice) -> Integration:
    """Return what the notice is about.

    :raises ValueError: it is about a whole type, and so nothing for an owner
    """
    if notice.integration is None:
        raise ValueError(f"Notification {notice.id} is about no single integration, so it has no owner")
    return notice.integration


def _zone_of(integration: Integration) -> str:
    """By whose clock the owner reads times."""
    return integration.owner.time_zone or "UTC"


def _loss(
    notice: Notice,
    incident: IncidentView,
    third_party: str,
    language: Language,
    surroundings: Surroundings,
) -> Loss:
    integration = _integration_of(notice)
    finding = notice.facts.finding or incident.finding
    since = notice.facts.since or incident.opened_at
    return Loss(
        what_happened=_what_happened(finding, language),
        vendor_words=finding.vendor_words,
        found_account=finding.account if _leads_elsewhere(finding) else None,
        since=language.moment(since, _zone_of(integration)),
        asked_since=language.moment(incident.confirmed_at or incident.opened_at, _zone_of(integration)),
        lasts_days=max((surroundings.now - since).days, 0),
        waiting=_waiting(notice, language),
        ticket=owners_ticket(
            integration, finding, third_party=third_party, since=incident.opened_at, reference=incident.id
        ),
        reference=incident.id,
    )


def _expiry(
    notice: Notice, integration_type: IntegrationType, language: Language, surroundings: Surroundings
) -> Expiry | None:
    ends = notice.facts.expires_at
    if ends is None:
        return None
    return Expiry(
        on=language.day(ends.astimezone(ZoneInfo(_zone_of(_integration_of(notice)))).date()),
        days_left=max((ends - surroundings.now).days, 0),
        password=_ending(integration_type) is Cause.PASSWORD_EXPIRED,
    )


def _action(notice: Notice, integration_type: IntegrationType, language: Language) -> Action:
    integration = _integration_of(notice)
    if notice.incident is not None:
        finding = notice.facts.finding or notice.incident.finding
        cause, at_tunnel = finding.cause, finding.at_tunnel
    else:
        cause, at_tunnel = _ending(integration_type), False
    steps = integration_type.owner_steps
    return Action(
        steps=tuple(
            language.gettext(step)
            for step in steps.for_cause(cause, integration.held_by, at_tunnel=at_tunnel)
        ),
        minutes=steps.minutes_for(cause, at_tunnel=at_tunnel),
        reconnects=steps.reconnects(cause, at_tunnel=at_tunnel),
        page=notice.link,
        mbi_page=integration_type.docs if integration.held_by == "mbi" else None,
    )


def _ending(integration_type: IntegrationType) -> Cause:
    """Name what an end that is known beforehand will be."""
    return Cause.PASSWORD_EXPIRED if integration_type.kind == "database" else Cause.GRANT_EXPIRED


def _leads_elsewhere(finding: Finding) -> bool:
    return finding.cause is Cause.ACCOUNT_UNLINKED and finding.rule.endswith(".account")


def _what_happened(finding: Finding, language: Language) -> str:
    if _leads_elsewhere(finding):
        return language.gettext(_ANOTHER_ACCOUNT)
    text = WHAT_HAPPENED.get(finding.cause)
    return language.gettext(text) if text else finding.explanation.rstrip(".")


def _waiting(notice: Notice, language: Language) -> tuple[str, ...]:
    """List the DAGs that wait, with their runs; several stopped tasks of one run are one run."""
    runs = Counter(dag_id for dag_id, _ in {(run.dag_id, run.run_id) for run in notice.blocked_runs})
    dags = [
        language.ngettext("%(dag)s (%(runs)s run)", "%(dag)s (%(runs)s runs)", count)
        % {"dag": dag_id, "runs": count}
        for dag_id, count in sorted(runs.items())
    ]
    more = len(dags) - SHOWN_DAGS
    if more <= 0:
        return tuple(dags)
    return (*dags[:SHOWN_DAGS], language.gettext("and %(count)s more") % {"count": more})
