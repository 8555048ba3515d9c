"""Attempts to renew an authorization, who did what, and the account that a credential must lead to.

Revision ID: 2f6a90c7d1e3
Revises: b58d1e6f3a94
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mbi_reauth.models.types import UtcDateTime

revision = "2f6a90c7d1e3"
down_revision = "b58d1e6f3a94"
branch_labels = None
depends_on = None

_STATUS, _REQUEST, _AUDIT = "mbi_reauth_status", "mbi_reauth_authorization_request", "mbi_reauth_audit"


def upgrade() -> None:
    """Add what is new."""
    with op.batch_alter_table(_STATUS, recreate="never") as batch:
        batch.add_column(sa.Column("proved_account", sa.String(200)))
        batch.add_column(sa.Column("any_account_until", UtcDateTime()))
    op.create_table(
        _REQUEST,
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("integration_id", sa.String(100), nullable=False),
        sa.Column("link", sa.JSON(), nullable=False),
        sa.Column("way", sa.String(10), nullable=False),
        sa.Column("conn_id", sa.String(250), nullable=False),
        sa.Column("credential_version", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("locale", sa.String(10), nullable=False),
        sa.Column("actor", sa.String(500)),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("refusal", sa.JSON()),
        sa.Column("used_at", UtcDateTime()),
        sa.Column("result", sa.JSON()),
        sa.Column("finished_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id", name=f"{_REQUEST}_pk"),
        sa.UniqueConstraint("session", name=f"{_REQUEST}_session_uq"),
        sa.ForeignKeyConstraint(
            ["integration_id"], [f"{_STATUS}.integration_id"], name=f"{_REQUEST}_integration_id_fk"
        ),
    )
    op.create_index(f"{_REQUEST}_integration_id_idx", _REQUEST, ["integration_id"])
    op.create_index(f"{_REQUEST}_expires_at_idx", _REQUEST, ["expires_at"])
    op.create_table(
        _AUDIT,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("integration_id", sa.String(100)),
        sa.Column("incident_id", sa.String(36)),
        sa.Column("actor", sa.String(500)),
        sa.Column("client", sa.String(45)),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"{_AUDIT}_pk"),
    )
    op.create_index(f"{_AUDIT}_integration_id_at_idx", _AUDIT, ["integration_id", "at"])


def downgrade() -> None:
    """Take away what is new, the record of who did what with it."""
    op.drop_table(_AUDIT)
    op.drop_table(_REQUEST)
    with op.batch_alter_table(_STATUS, recreate="never") as batch:
        for column in ("proved_account", "any_account_until"):
            batch.drop_column(column)
