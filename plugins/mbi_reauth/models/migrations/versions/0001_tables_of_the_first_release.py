"""Statuses, incidents, notifications, blocked runs.

Revision ID: 4b1f0a6c2d01
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mbi_reauth.models.types import UtcDateTime, airflow_id

revision = "4b1f0a6c2d01"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _create_status()
    _create_incident()
    _create_notification()
    _create_blocked_run()


def _create_status() -> None:
    op.create_table(
        "mbi_reauth_status",
        sa.Column("integration_id", sa.String(100), nullable=False),
        sa.Column("integration", sa.JSON(), nullable=False),
        sa.Column("conn_id", sa.String(250), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("credential_version", sa.Integer(), nullable=False),
        sa.Column("credential_fingerprint", sa.String(64)),
        sa.Column("version_since", UtcDateTime()),
        sa.Column("finding", sa.JSON()),
        sa.Column("finding_version", sa.Integer()),
        sa.Column("checked_at", UtcDateTime()),
        sa.Column("proved_at", UtcDateTime()),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("first_refused_at", UtcDateTime()),
        sa.Column("first_refused_version", sa.Integer()),
        sa.Column("refresh_lease", sa.String(36)),
        sa.Column("refresh_lease_expires_at", UtcDateTime()),
        sa.Column("token_evidence", sa.JSON()),
        sa.Column("token_evidence_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("integration_id", name="mbi_reauth_status_pk"),
    )


def _create_incident() -> None:
    op.create_table(
        "mbi_reauth_incident",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("integration_id", sa.String(100), nullable=False),
        sa.Column("open_key", sa.String(100)),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("confirmed_at", UtcDateTime()),
        sa.Column("closed_at", UtcDateTime()),
        sa.Column("cause", sa.String(50), nullable=False),
        sa.Column("finding", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="mbi_reauth_incident_pk"),
        sa.ForeignKeyConstraint(
            ["integration_id"],
            ["mbi_reauth_status.integration_id"],
            name="mbi_reauth_incident_integration_id_fk",
        ),
        sa.UniqueConstraint("open_key", name="mbi_reauth_incident_open_key_uq"),
    )
    op.create_index("mbi_reauth_incident_integration_id_idx", "mbi_reauth_incident", ["integration_id"])


def _create_notification() -> None:
    op.create_table(
        "mbi_reauth_notification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("recipient", sa.String(320)),
        sa.Column("message_id", sa.String(320), nullable=False),
        sa.Column("lease", sa.String(36)),
        sa.Column("lease_expires_at", UtcDateTime()),
        sa.Column("claimed_by", sa.JSON()),
        sa.Column("sent_at", UtcDateTime()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(500)),
        sa.PrimaryKeyConstraint("id", name="mbi_reauth_notification_pk"),
        _belongs_to_incident("mbi_reauth_notification"),
        sa.UniqueConstraint(
            "incident_id", "kind", "ordinal", name="mbi_reauth_notification_incident_id_kind_ordinal_uq"
        ),
    )
    op.create_index(
        "mbi_reauth_notification_sent_at_due_at_idx", "mbi_reauth_notification", ["sent_at", "due_at"]
    )


def _create_blocked_run() -> None:
    op.create_table(
        "mbi_reauth_blocked_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.String(36), nullable=False),
        sa.Column("dag_id", airflow_id(), nullable=False),
        sa.Column("run_id", airflow_id(), nullable=False),
        sa.Column("task_id", airflow_id(), nullable=False),
        sa.Column("map_index", sa.Integer(), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("blocked_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="mbi_reauth_blocked_run_pk"),
        _belongs_to_incident("mbi_reauth_blocked_run"),
        sa.UniqueConstraint(
            "incident_id", "dag_id", "run_id", "task_id", "map_index", name="mbi_reauth_blocked_run_uq"
        ),
    )


def _belongs_to_incident(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["incident_id"], ["mbi_reauth_incident.id"], name=f"{table}_incident_id_fk", ondelete="CASCADE"
    )


def downgrade() -> None:
    """Drop the tables and what they hold."""
    for table in ("blocked_run", "notification", "incident", "status"):
        op.drop_table(f"mbi_reauth_{table}")
