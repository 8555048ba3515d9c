"""How ``airflow db migrate`` creates and upgrades the plugin's tables.

Airflow finds the class through the provider info; an installation in the plugins folder names it in
``[database] external_db_managers``.
"""

from __future__ import annotations

from pathlib import Path

from airflow.utils.db_manager import BaseDBManager
from alembic import command

from mbi_reauth.models.tables import Base

_FOLDER = Path(__file__).resolve().parent


class MbiReauthDBManager(BaseDBManager):
    """The plugin's tables, with a version table of their own."""

    metadata = Base.metadata
    migration_dir = str(_FOLDER / "migrations")
    alembic_file = str(_FOLDER / "alembic.ini")
    version_table_name = "alembic_version_mbi_reauth"
    supports_table_dropping = True

    def downgrade(
        self, to_revision: str, from_revision: str | None = None, show_sql_only: bool = False
    ) -> None:
        """Take migrations back to ``to_revision``; ``base`` drops the tables and what they hold."""
        revision = f"{from_revision}:{to_revision}" if from_revision else to_revision
        command.downgrade(
            self.get_alembic_config(),  # type: ignore[no-untyped-call]
            revision=revision,
            sql=show_sql_only,
        )
