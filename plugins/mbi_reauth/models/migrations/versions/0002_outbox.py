"""The outbox for every kind of email, incidents that reopen, what shadow mode would block.

Revision ID: 7c2e9d40b852
Revises: 4b1f0a6c2d01
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mbi_reauth.models.types import UtcDateTime, airflow_id

revision = "7c2e9d40b852"
down_revision = "4b1f0a6c2d01"
branch_labels = None
depends_on = None

_STATUS, _INCIDENT, _NOTIFICATION = (f"mbi_reauth_{name}" for name in ("status", "incident", "notification"))
_OLD_UNIQUE = "mbi_reauth_notification_incident_id_kind_ordinal_uq"
_OLD_INDEX = "mbi_reauth_notification_sent_at_due_at_idx"
_INDEX_OF_INCIDENT = "mbi_reauth_notification_incident_id_idx"
_INDEXES = {
    _STATUS: [["integration_type"], ["owner_email"]],
    _INCIDENT: [["opened_at"], ["reopened_at"]],
    _NOTIFICATION: [
        ["sent_at", "cancelled_at", "due_at"],
        ["integration_id"],
        ["message_id"],
        ["lease"],
    ],
}

_statuses = sa.table(
    _STATUS, sa.column("integration_id", sa.String), sa.column("integration", sa.JSON),
    sa.column("integration_type", sa.String), sa.column("owner_email", sa.String),
)  # fmt: skip
_incidents = sa.table(_INCIDENT, sa.column("id", sa.String), sa.column("integration_id", sa.String))
_notifications = sa.table(
    _NOTIFICATION, sa.column("key", sa.String), sa.column("incident_id", sa.String),
    sa.column("kind", sa.String), sa.column("ordinal", sa.Integer), sa.column("facts", sa.JSON),
    sa.column("integration_id", sa.String), sa.column("integration_type", sa.String),
)  # fmt: skip


def upgrade() -> None:
    """Add what is new, fill it from what is there, and only then forbid an email to lack it."""
    _add_columns()
    _fill()
    _constrain()
    for table, indexes in _INDEXES.items():
        for columns in indexes:
            op.create_index(f"{table}_{'_'.join(columns)}_idx", table, columns)
    _create_outbox()
    _create_would_block()


def _add_columns() -> None:
    # Never recreated: on SQLite that would drop a table that others refer to.
    with op.batch_alter_table(_STATUS, recreate="never") as batch:
        batch.add_column(sa.Column("integration_type", sa.String(100), nullable=False, server_default=""))
        batch.add_column(sa.Column("owner_email", sa.String(320), nullable=False, server_default=""))
        batch.add_column(sa.Column("trouble", sa.JSON()))
        batch.add_column(sa.Column("expiry", sa.JSON()))
    with op.batch_alter_table(_INCIDENT, recreate="never") as batch:
        batch.add_column(sa.Column("reopened_at", UtcDateTime()))
        batch.add_column(sa.Column("credential_version", sa.Integer(), nullable=False, server_default="1"))
    op.drop_index(_OLD_INDEX, _NOTIFICATION)
    # MySQL lets the old unique index go only when another one serves the foreign key.
    op.create_index(_INDEX_OF_INCIDENT, _NOTIFICATION, ["incident_id"])
    with op.batch_alter_table(_NOTIFICATION) as batch:
        batch.drop_constraint(_OLD_UNIQUE, type_="unique")
        batch.add_column(sa.Column("key", sa.String(255)))
        batch.add_column(sa.Column("integration_id", sa.String(100)))
        batch.add_column(sa.Column("integration_type", sa.String(100)))
        batch.add_column(sa.Column("facts", sa.JSON()))
        batch.add_column(sa.Column("maybe_sent_at", UtcDateTime()))
        batch.add_column(sa.Column("refused_at", UtcDateTime()))
        batch.add_column(sa.Column("cancelled_at", UtcDateTime()))
        batch.alter_column("incident_id", existing_type=sa.String(36), nullable=True)
        batch.alter_column(
            "recipient", existing_type=sa.String(320), type_=sa.String(2000), existing_nullable=True
        )


def _fill() -> None:
    connection = op.get_bind()
    for integration_id, integration in connection.execute(
        sa.select(_statuses.c.integration_id, _statuses.c.integration)
    ).all():
        connection.execute(
            _statuses.update()
            .where(_statuses.c.integration_id == integration_id)
            .values(integration_type=integration["type"], owner_email=integration["owner"]["email"])
        )
    of_incident = (
        sa.select(_incidents.c.integration_id)
        .where(_incidents.c.id == _notifications.c.incident_id)
        .scalar_subquery()
    )
    connection.execute(_notifications.update().values(integration_id=of_incident, facts={"reason": "lost"}))
    of_integration = (
        sa.select(_statuses.c.integration_type)
        .where(_statuses.c.integration_id == _notifications.c.integration_id)
        .scalar_subquery()
    )
    ordinal = sa.cast(_notifications.c.ordinal, sa.String(20))
    key = _notifications.c.incident_id + ":" + _notifications.c.kind + ":" + ordinal
    connection.execute(_notifications.update().values(integration_type=of_integration, key=key))


def _constrain() -> None:
    with op.batch_alter_table(_NOTIFICATION) as batch:
        batch.alter_column("key", existing_type=sa.String(255), nullable=False)
        batch.alter_column("integration_type", existing_type=sa.String(100), nullable=False)
        batch.alter_column("facts", existing_type=sa.JSON(), nullable=False)
        batch.create_unique_constraint("mbi_reauth_notification_key_uq", ["key"])
        batch.create_foreign_key(
            "mbi_reauth_notification_integration_id_fk", _STATUS, ["integration_id"], ["integration_id"]
        )


def _create_outbox() -> None:
    op.create_table(
        "mbi_reauth_outbox",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("served_at", UtcDateTime()),
        sa.Column("claimed_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id", name="mbi_reauth_outbox_pk"),
    )


def _create_would_block() -> None:
    op.create_table(
        "mbi_reauth_would_block",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("integration_id", sa.String(100), nullable=False),
        sa.Column("dag_id", airflow_id(), nullable=False),
        sa.Column("run_id", airflow_id(), nullable=False),
        sa.Column("task_id", airflow_id(), nullable=False),
        sa.Column("map_index", sa.Integer(), nullable=False),
        sa.Column("cause", sa.String(50), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="mbi_reauth_would_block_pk"),
        sa.UniqueConstraint(
            "integration_id", "dag_id", "run_id", "task_id", "map_index", name="mbi_reauth_would_block_uq"
        ),
    )


def downgrade() -> None:
    """Take away what is new; of the emails only the opening ones were known before."""
    op.drop_table("mbi_reauth_would_block")
    op.drop_table("mbi_reauth_outbox")
    unknown = (_notifications.c.kind != "opened") | (_notifications.c.ordinal != 0)
    op.execute(_notifications.delete().where(unknown | _notifications.c.incident_id.is_(None)))
    with op.batch_alter_table(_NOTIFICATION) as batch:
        batch.drop_constraint("mbi_reauth_notification_integration_id_fk", type_="foreignkey")
    for table, indexes in _INDEXES.items():
        for columns in indexes:
            op.drop_index(f"{table}_{'_'.join(columns)}_idx", table)
    with op.batch_alter_table(_NOTIFICATION) as batch:
        batch.drop_constraint("mbi_reauth_notification_key_uq", type_="unique")
        for column in ("key", "integration_id", "integration_type", "facts"):
            batch.drop_column(column)
        for column in ("maybe_sent_at", "refused_at", "cancelled_at"):
            batch.drop_column(column)
        batch.alter_column("incident_id", existing_type=sa.String(36), nullable=False)
        batch.alter_column(
            "recipient", existing_type=sa.String(2000), type_=sa.String(320), existing_nullable=True
        )
        batch.create_unique_constraint(_OLD_UNIQUE, ["incident_id", "kind", "ordinal"])
    op.drop_index(_INDEX_OF_INCIDENT, _NOTIFICATION)
    op.create_index(_OLD_INDEX, _NOTIFICATION, ["sent_at", "due_at"])
    with op.batch_alter_table(_INCIDENT, recreate="never") as batch:
        for column in ("reopened_at", "credential_version"):
            batch.drop_column(column)
    with op.batch_alter_table(_STATUS, recreate="never") as batch:
        for column in ("integration_type", "owner_email", "trouble", "expiry"):
            batch.drop_column(column)
