"""What the owner's page is about: the integration behind a link, as it is now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial

from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import IncidentView, Notice, RunReference
from mbi_reauth.api.services.audit import Concerning
from mbi_reauth.api.services.fingerprint import fingerprints
from mbi_reauth.api.services.incidents import blocked_runs, open_incident, view
from mbi_reauth.api.services.links import Link
from mbi_reauth.api.services.requests import Beginning
from mbi_reauth.api.services.resuming import STILL_OWED
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.catalogue.model import ConnectionField, IntegrationType
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import Facts, Reason
from mbi_reauth.core.reauthorization import Result, Way
from mbi_reauth.core.verdict import Cause
from mbi_reauth.models.metadata_db import Stored, find_credential, fingerprint_keys, transact
from mbi_reauth.models.tables import BlockedRun, Incident, Status
from mbi_reauth.probes.consent import can_consent
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.database import TUNNEL_EXTRA

SSH_FIELDS = {
    "login": ConnectionField(title="Username", help="Of the SSH server"),
    "password": ConnectionField(title="Password", secret=True, required=False),
    "private_key": ConnectionField(
        title="Private key", help="As a whole, with its first and last line", secret=True, required=False
    ),
    "private_key_passphrase": ConnectionField(
        title="Passphrase of the private key", secret=True, required=False
    ),
}
"""What an owner may change of an SSH server's connection; one of the two secrets must be given."""


@dataclass(frozen=True, kw_only=True)
class _Recorded:
    """What the tables say; ``lost_anew``: the link is over, and by now another incident is open."""

    integration: Integration
    incident: IncidentView | None
    waiting: list[RunReference]
    credential_version: int
    proved_account: str | None
    any_account: bool
    is_open: bool
    lost_anew: bool
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Case:
    """An integration whose authorization somebody may renew.

    ``expected_account`` is the account that must stay the same: the registry's, else the one that was proved
    last or that the connection names, unless an engineer has allowed another. ``is_open``: there is something
    to renew by this link; ``lost_anew``: there is not, but an incident that has an email of its own.
    ``stored`` and ``ssh`` are the connections of the integration and of the SSH server in front of
    it.
    """

    link: Link
    integration: Integration
    integration_type: IntegrationType
    notice: Notice
    credential_version: int
    expected_account: str | None
    is_open: bool
    lost_anew: bool
    stored: Stored | None
    ssh: Stored | None = None

    @property
    def concerning(self) -> Concerning:
        """What the audit names."""
        incident = self.notice.incident.id if self.notice.incident else None
        return Concerning(
            integration_id=self.integration.id, incident_id=incident, conn_id=self.target_conn_id
        )

    @property
    def at_tunnel(self) -> bool:
        """Whether it is the SSH server's login that was lost."""
        incident = self.notice.incident
        return incident is not None and incident.finding.at_tunnel and self.ssh is not None

    @property
    def target(self) -> Stored | None:
        """The connection that a renewal changes."""
        return self.ssh if self.at_tunnel else self.stored

    @property
    def target_conn_id(self) -> str:
        """Its id."""
        return self.target.credential.conn_id if self.target is not None else self.integration.conn_id

    @property
    def elsewhere(self) -> bool:
        """Whether an environment variable or a secrets backend holds it, so that saving would do nothing."""
        return self.target is not None and not self.target.in_database

    @property
    def own_elsewhere(self) -> Credential | None:
        """The integration's own credential, where it is held so; the SSH server's may be in the database."""
        return None if self.stored is None or self.stored.in_database else self.stored.credential

    @property
    def fields(self) -> dict[str, ConnectionField]:
        """What the owner may change, by name."""
        return SSH_FIELDS if self.at_tunnel else self.integration_type.owner_fields()

    @property
    def in_header(self) -> bool:
        """Whether what is secret is sent in a header of HTTP as it is."""
        return not self.at_tunnel and self.integration_type.auth.method in ("bearer", "header")

    @property
    def cause(self) -> Cause | None:
        """Why it was lost."""
        return self.notice.incident.finding.cause if self.notice.incident else None

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """What the owner can do; the first is the one to offer first."""
        again = self._enters_again()
        if again is None:
            return (Way.CHECK,)
        reconnects = self.cause is None or self.integration_type.owner_steps.reconnects(
            self.cause, at_tunnel=self.at_tunnel
        )
        if self.cause is None:
            return (again,)
        return (again, Way.CHECK) if reconnects else (Way.CHECK, again)

    def _enters_again(self) -> Way | None:
        if self.target is None or self.elsewhere or self.integration.held_by == "mbi":
            return None
        if not self.at_tunnel and can_consent(self.integration_type, self.target.credential):
            return Way.CONSENT
        return Way.FORM if self.fields else None

    def beginning(self, way: Way, *, locale: str, refusal: Result | None = None) -> Beginning:
        """Describe an attempt, with what the connection holds now."""
        return Beginning(
            link=self.link,
            integration_id=self.integration.id,
            way=way,
            conn_id=self.target_conn_id,
            credential_version=self.credential_version,
            fingerprint=tunnel_fingerprint(self.ssh.credential) if self.at_tunnel and self.ssh else None,
            locale=locale,
            refusal=refusal,
        )


def find_case(link: Link, surroundings: Surroundings) -> Case | None:
    """Look up what a link is about; None where that is not there any more.

    :raises MisconfiguredError: the catalogue does not have the type, or a connection cannot be read
    """
    recorded = transact(partial(_recorded, link=link, now=surroundings.now()))
    if recorded is None:
        return None
    integration = recorded.integration
    integration_type = surroundings.type_of(integration.type)
    stored = find_credential(integration.conn_id)
    is_database = integration_type.kind == "database"
    ssh_conn_id = stored.credential.get(TUNNEL_EXTRA) if stored is not None and is_database else ""
    return Case(
        link=link,
        integration=integration,
        integration_type=integration_type,
        notice=_notice(recorded),
        credential_version=recorded.credential_version,
        expected_account=_expected_account(recorded, stored),
        is_open=recorded.is_open,
        lost_anew=recorded.lost_anew,
        stored=stored,
        ssh=find_credential(ssh_conn_id) if ssh_conn_id else None,
    )


def _expected_account(recorded: _Recorded, stored: Stored | None) -> str | None:
    if recorded.integration.account or recorded.any_account:
        return recorded.integration.account
    named = stored.credential.get("account") if stored is not None else ""
    return recorded.proved_account or named or None


def is_open(status: Status, incident: Incident | None, link: Link) -> bool:
    """Whether there is something to renew: the incident goes on, or the credential is still the old one."""
    return incident.closed_at is None if incident is not None else status.credential_version == link.version


def tunnel_fingerprint(credential: Credential) -> str:
    """Recognise a change of an SSH server's connection, which has no version of its own."""
    return fingerprints(credential, fingerprint_keys())[0]


def _recorded(session: Session, *, link: Link, now: datetime) -> _Recorded | None:
    incident = session.get(Incident, link.id) if link.about == "incident" else None
    integration_id = incident.integration_id if incident is not None else link.id
    if link.about == "incident" and incident is None:
        return None
    status = session.get(Status, integration_id)
    if status is None:
        return None
    present = open_incident(session, integration_id)
    if link.about == "expiry" and is_open(status, None, link):
        incident = present  # what was about to end is lost by now
    going_on = is_open(status, incident, link)
    integration = Integration.model_validate(status.integration)
    still = BlockedRun.state.in_(STILL_OWED)
    return _Recorded(
        integration=integration,
        incident=view(incident) if incident is not None else None,
        waiting=blocked_runs(session, incident.id, still) if incident is not None else [],
        credential_version=status.credential_version,
        proved_account=status.proved_account,
        any_account=status.any_account_until is not None and now < status.any_account_until,
        is_open=going_on,
        lost_anew=not going_on and present is not None,
        expires_at=status.expires_at,
    )


def _notice(recorded: _Recorded) -> Notice:
    """Tell of it as an email does."""
    reason = Reason.LOST if recorded.incident is not None else Reason.EXPIRES
    return Notice(
        id=0,
        integration=recorded.integration,
        integration_type=recorded.integration.type,
        facts=Facts(reason=reason, expires_at=recorded.expires_at if recorded.incident is None else None),
        incident=recorded.incident,
        blocked_runs=recorded.waiting,
    )
