"""How alembic reaches Airflow's metadata database; run by ``airflow db migrate``."""

from __future__ import annotations

from typing import Any

from alembic import context

from mbi_reauth.models.db_manager import MbiReauthDBManager
from mbi_reauth.models.metadata_db import engine

_OPTIONS: dict[str, Any] = {
    "target_metadata": MbiReauthDBManager.metadata,
    "version_table": MbiReauthDBManager.version_table_name,
    "include_object": lambda thing, name, kind, reflected, compare_to: (  # noqa: ARG005
        kind != "table" or name in MbiReauthDBManager.metadata.tables
    ),
    "render_as_batch": True,
}


def _offline() -> None:
    """Print the statements instead of executing them."""
    url = context.config.get_main_option("sqlalchemy.url")
    context.configure(url=url, literal_binds=True, **_OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def _online() -> None:
    with engine().connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True, **_OPTIONS)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    _offline()
else:
    _online()
