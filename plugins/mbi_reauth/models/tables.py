"""What the app remembers: a status per integration, incidents, emails, stopped runs, and who renewed what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Double, ForeignKey, Index, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from mbi_reauth.models.types import UtcDateTime, airflow_id

ERROR_LENGTH = 500
RECIPIENT_LENGTH = 2000
ACCOUNT_LENGTH = 200
ACTOR_LENGTH = 500
CLIENT_LENGTH = 45
"""Of an IPv6 address at its longest; proxies may add a port."""


class Base(DeclarativeBase):
    """The plugin's own metadata, apart from Airflow's; constraints have names that migrations can use."""

    metadata = MetaData(
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_uq",
            "fk": "%(table_name)s_%(column_0_name)s_fk",
            "pk": "%(table_name)s_pk",
        }
    )


class Status(Base):
    """One row an integration; updating it first is what makes transactions about the integration take turns.

    ``finding`` is the last accepted finding, made with ``finding_version``. ``credential_version`` is raised
    when ``credential_fingerprint``, a keyed hash of the Airflow connection, changes. ``first_refused_at`` is
    the first ambiguous refusal of ``first_refused_version``. ``refresh_lease`` is held by whoever is asking
    the token endpoint, or has the turn to ask a third party that wants few questions; until
    ``refresh_lease_expires_at`` nobody else asks that one, even after its answer. ``token_evidence`` is the
    token endpoint's last answer that brought no token, for those who waited. ``trouble`` is what engineers
    may have to hear of, and ``expiry`` the credential's end with the warnings given. ``proved_account`` is
    where the credential led when it last worked, and so where a new one must lead as well, but until
    ``any_account_until``.
    """

    __tablename__ = "mbi_reauth_status"

    integration_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    integration: Mapped[dict[str, Any]] = mapped_column(JSON)
    integration_type: Mapped[str] = mapped_column(String(100), index=True, server_default="")
    owner_email: Mapped[str] = mapped_column(String(320), index=True, server_default="")
    conn_id: Mapped[str] = mapped_column(String(250))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    credential_version: Mapped[int]
    credential_fingerprint: Mapped[str | None] = mapped_column(String(64))
    version_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finding: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    finding_version: Mapped[int | None]
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    proved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    first_refused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    first_refused_version: Mapped[int | None]
    refresh_lease: Mapped[str | None] = mapped_column(String(36))
    refresh_lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    token_evidence: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    token_evidence_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    trouble: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    expiry: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    proved_account: Mapped[str | None] = mapped_column(String(ACCOUNT_LENGTH))
    any_account_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Incident(Base):
    """One lost authorization; ``open_key`` is the integration's id until it is over, then null.

    ``credential_version`` is the last one that was refused for certain.
    """

    __tablename__ = "mbi_reauth_incident"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    integration_id: Mapped[str] = mapped_column(ForeignKey("mbi_reauth_status.integration_id"), index=True)
    open_key: Mapped[str | None] = mapped_column(String(100), unique=True)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reopened_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    credential_version: Mapped[int] = mapped_column(server_default="1")
    cause: Mapped[str] = mapped_column(String(50))
    finding: Mapped[dict[str, Any]] = mapped_column(JSON)

    @property
    def flipped_at(self) -> datetime:
        """When it was opened or last reopened."""
        return self.reopened_at or self.opened_at


class Notification(Base):
    """One email of the outbox; only the holder of ``lease`` may send it, until ``lease_expires_at``.

    ``key`` names what it is about, so that nothing is due twice. ``recipient`` is whom it was or is being
    sent to, several separated by commas. What is over before it was sent has ``cancelled_at``; what no mail
    server will ever take for that address has ``refused_at``. ``maybe_sent_at`` is when somebody who had it
    in hand failed to say whether it went out. Those with one ``message_id`` are one email.
    """

    __tablename__ = "mbi_reauth_notification"
    __table_args__ = (Index(None, "sent_at", "cancelled_at", "due_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(255), unique=True)
    incident_id: Mapped[str | None] = mapped_column(
        ForeignKey("mbi_reauth_incident.id", ondelete="CASCADE"), index=True
    )
    integration_id: Mapped[str | None] = mapped_column(
        ForeignKey("mbi_reauth_status.integration_id"), index=True
    )
    integration_type: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(20))
    ordinal: Mapped[int]
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recipient: Mapped[str | None] = mapped_column(String(RECIPIENT_LENGTH))
    message_id: Mapped[str] = mapped_column(String(320), index=True)
    lease: Mapped[str | None] = mapped_column(String(36), index=True)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    claimed_by: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    maybe_sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    refused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancelled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None] = mapped_column(String(ERROR_LENGTH))


class Outbox(Base):
    """The one row that claims take turns on; ``served_at`` is when a sweep last sent what was due."""

    __tablename__ = "mbi_reauth_outbox"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    served_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BlockedRun(Base):
    """A task instance that was stopped for an incident and is owed a resume.

    ``state`` is a :class:`mbi_reauth.core.resume.RunState`, ``reason`` says why in a sentence, and
    ``settled_at`` when it was decided. ``resume``, ``resume_within`` (seconds) and ``ends`` are what its gate
    says (:class:`mbi_reauth.core.resume.Owed`). Before ``look_at`` it is not looked at again.
    """

    __tablename__ = "mbi_reauth_blocked_run"
    __table_args__ = (
        UniqueConstraint(
            "incident_id", "dag_id", "run_id", "task_id", "map_index", name="mbi_reauth_blocked_run_uq"
        ),
        Index(None, "state", "look_at"),
        Index(None, "dag_id", "task_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[str] = mapped_column(ForeignKey("mbi_reauth_incident.id", ondelete="CASCADE"))
    dag_id: Mapped[str] = mapped_column(airflow_id())
    run_id: Mapped[str] = mapped_column(airflow_id())
    task_id: Mapped[str] = mapped_column(airflow_id())
    map_index: Mapped[int]
    try_number: Mapped[int]
    state: Mapped[str] = mapped_column(String(20))
    blocked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    resume: Mapped[str] = mapped_column(String(10), server_default="all")
    resume_within: Mapped[float | None] = mapped_column(Double)
    ends: Mapped[str] = mapped_column(String(10), server_default="skipped")
    look_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str | None] = mapped_column(String(ERROR_LENGTH))


class Resumption(Base):
    """The one row whose lease lets one process at a time resume runs.

    ``resumed`` counts the runs resumed since ``begun_at``.
    """

    __tablename__ = "mbi_reauth_resumption"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lease: Mapped[str | None] = mapped_column(String(36))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    begun_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resumed: Mapped[int] = mapped_column(default=0)


class WouldBlock(Base):
    """A task instance that a gate in shadow mode would have stopped."""

    __tablename__ = "mbi_reauth_would_block"
    __table_args__ = (
        UniqueConstraint(
            "integration_id", "dag_id", "run_id", "task_id", "map_index", name="mbi_reauth_would_block_uq"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    integration_id: Mapped[str] = mapped_column(String(100))
    dag_id: Mapped[str] = mapped_column(airflow_id())
    run_id: Mapped[str] = mapped_column(airflow_id())
    task_id: Mapped[str] = mapped_column(airflow_id())
    map_index: Mapped[int]
    cause: Mapped[str] = mapped_column(String(50))
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AuthorizationRequest(Base):
    """One attempt of a person to renew an authorization; good once, until ``expires_at``.

    ``session`` is the SHA-256 (hexadecimal) of the secret that only the person's browser has. ``link`` is
    what led here (:class:`mbi_reauth.api.services.links.Link`), ``conn_id`` the connection that would
    change. What it held at the beginning is known by the integration's ``credential_version``, or where it is
    that of an SSH server by its keyed ``fingerprint``. ``refusal`` is how the attempt before this one ended.
    Who takes the attempt up sets ``used_at``, and how it ended is in ``result``
    (:class:`mbi_reauth.core.reauthorization.Result`).
    """

    __tablename__ = "mbi_reauth_authorization_request"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    session: Mapped[str] = mapped_column(String(64), unique=True)
    integration_id: Mapped[str] = mapped_column(ForeignKey("mbi_reauth_status.integration_id"), index=True)
    link: Mapped[dict[str, Any]] = mapped_column(JSON)
    way: Mapped[str] = mapped_column(String(10))
    conn_id: Mapped[str] = mapped_column(String(250))
    credential_version: Mapped[int]
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    locale: Mapped[str] = mapped_column(String(10))
    actor: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    refusal: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Audit(Base):
    """Who did what to which integration, and when; never changed, and nothing in it is secret.

    ``actor`` is an Airflow user, or null for whoever held the link. ``client`` is the address they came from.
    """

    __tablename__ = "mbi_reauth_audit"
    __table_args__ = (Index(None, "integration_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    event: Mapped[str] = mapped_column(String(40))
    integration_id: Mapped[str | None] = mapped_column(String(100))
    incident_id: Mapped[str | None] = mapped_column(String(36))
    actor: Mapped[str | None] = mapped_column(String(ACTOR_LENGTH))
    client: Mapped[str | None] = mapped_column(String(CLIENT_LENGTH))
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
