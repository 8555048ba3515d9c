"""What the app remembers: a status per integration, incidents, emails due, runs that were stopped."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from mbi_reauth.models.types import UtcDateTime, airflow_id

ERROR_LENGTH = 500


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
    token endpoint's last answer that brought no token, for those who waited.
    """

    __tablename__ = "mbi_reauth_status"

    integration_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    integration: Mapped[dict[str, Any]] = mapped_column(JSON)
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


class Incident(Base):
    """One lost authorization; ``open_key`` is the integration's id until it is over, then null."""

    __tablename__ = "mbi_reauth_incident"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    integration_id: Mapped[str] = mapped_column(ForeignKey("mbi_reauth_status.integration_id"), index=True)
    open_key: Mapped[str | None] = mapped_column(String(100), unique=True)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cause: Mapped[str] = mapped_column(String(50))
    finding: Mapped[dict[str, Any]] = mapped_column(JSON)


class Notification(Base):
    """One email of the outbox; only the holder of ``lease`` may send it, until ``lease_expires_at``."""

    __tablename__ = "mbi_reauth_notification"
    __table_args__ = (
        UniqueConstraint("incident_id", "kind", "ordinal"),
        Index(None, "sent_at", "due_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[str] = mapped_column(ForeignKey("mbi_reauth_incident.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(20))
    ordinal: Mapped[int]
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recipient: Mapped[str | None] = mapped_column(String(320))
    message_id: Mapped[str] = mapped_column(String(320))
    lease: Mapped[str | None] = mapped_column(String(36))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    claimed_by: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None] = mapped_column(String(ERROR_LENGTH))


class BlockedRun(Base):
    """A task instance that was stopped for an incident and is owed a resume."""

    __tablename__ = "mbi_reauth_blocked_run"
    __table_args__ = (
        UniqueConstraint(
            "incident_id", "dag_id", "run_id", "task_id", "map_index", name="mbi_reauth_blocked_run_uq"
        ),
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
