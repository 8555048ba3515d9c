"""What became of blocked runs, and whose turn it is to resume them.

Revision ID: b58d1e6f3a94
Revises: 7c2e9d40b852
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mbi_reauth.models.types import UtcDateTime

revision = "b58d1e6f3a94"
down_revision = "7c2e9d40b852"
branch_labels = None
depends_on = None

_BLOCKED_RUN, _RESUMPTION = "mbi_reauth_blocked_run", "mbi_reauth_resumption"
_INDEXES = [["state", "look_at"], ["dag_id", "task_id"]]
_A_WEEK = 7 * 24 * 3600.0

_blocked_runs = sa.table(_BLOCKED_RUN, sa.column("resume_within", sa.Double), sa.column("state", sa.String))


def upgrade() -> None:
    """Add what is new; runs that are blocked now are owed what the gates' defaults say."""
    with op.batch_alter_table(_BLOCKED_RUN, recreate="never") as batch:
        batch.add_column(sa.Column("resume", sa.String(10), nullable=False, server_default="all"))
        batch.add_column(sa.Column("resume_within", sa.Double()))
        batch.add_column(sa.Column("ends", sa.String(10), nullable=False, server_default="skipped"))
        batch.add_column(sa.Column("look_at", UtcDateTime()))
        batch.add_column(sa.Column("settled_at", UtcDateTime()))
        batch.add_column(sa.Column("reason", sa.String(500)))
    op.execute(_blocked_runs.update().values(resume_within=_A_WEEK))
    for columns in _INDEXES:
        op.create_index(f"{_BLOCKED_RUN}_{'_'.join(columns)}_idx", _BLOCKED_RUN, columns)
    op.create_table(
        _RESUMPTION,
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("lease", sa.String(36)),
        sa.Column("lease_expires_at", UtcDateTime()),
        sa.Column("begun_at", UtcDateTime()),
        sa.Column("resumed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"{_RESUMPTION}_pk"),
    )


def downgrade() -> None:
    """Take away what is new; before, every run that was ever stopped counted as blocked."""
    op.drop_table(_RESUMPTION)
    for columns in _INDEXES:
        op.drop_index(f"{_BLOCKED_RUN}_{'_'.join(columns)}_idx", _BLOCKED_RUN)
    op.execute(_blocked_runs.update().values(state="blocked"))
    with op.batch_alter_table(_BLOCKED_RUN, recreate="never") as batch:
        for column in ("resume", "resume_within", "ends", "look_at", "settled_at", "reason"):
            batch.drop_column(column)
