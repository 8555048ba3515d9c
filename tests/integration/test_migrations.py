from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from mbi_reauth.models.db_manager import MbiReauthDBManager
from mbi_reauth.models.metadata_db import engine, has_tables, transact
from mbi_reauth.models.tables import Base
from tests.metadata_db import connected_to
from tests.postgresql import create_database

TABLES = set(Base.metadata.tables)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    if request.param == "postgresql":
        name = f"empty_{uuid4().hex}"
        url = create_database(request.getfixturevalue("postgresql"), name)
    with connected_to(url):
        yield


def manage(work: Callable[[Any], None]) -> None:
    """Let Airflow's database manager, which has no annotations, do something to the tables."""
    manager: Any = MbiReauthDBManager
    transact(lambda session: work(manager(session)))


def upgrade() -> None:
    manage(lambda manager: manager.upgradedb(use_migration_files=True))


def schema() -> dict[str, object]:
    """Everything the database knows of the tables, as comparable text."""
    engine().dispose()  # SQLite answers PRAGMA index_list from what a connection remembers of the schema
    inspector = inspect(engine())

    def told(things: object) -> list[str]:
        assert isinstance(things, list)
        return sorted(str(sorted((key, str(value)) for key, value in thing.items())) for thing in things)

    return {
        table: [
            told(inspector.get_columns(table)),
            told(inspector.get_indexes(table)),
            told(inspector.get_unique_constraints(table)),
            told(inspector.get_foreign_keys(table)),
            str(inspector.get_pk_constraint(table)),
        ]
        for table in TABLES
    }


def test_airflow_db_migrate_creates_the_tables(migrated: str) -> None:
    assert has_tables()
    with engine().connect() as connection:
        options = {"version_table": MbiReauthDBManager.version_table_name}
        assert MigrationContext.configure(connection, opts=options).get_current_revision()


@pytest.mark.usefixtures("empty_database")
def test_the_migrations_and_the_models_give_the_same_schema() -> None:
    upgrade()
    by_migrations = schema()
    with engine().connect() as connection:
        options = {
            "version_table": MbiReauthDBManager.version_table_name,
            "compare_type": True,
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
    Base.metadata.drop_all(engine())
    Base.metadata.create_all(engine())
    assert schema() == by_migrations


@pytest.mark.usefixtures("empty_database")
def test_a_downgrade_to_the_base_takes_every_table_away_and_an_upgrade_brings_them_back() -> None:
    upgrade()
    manage(lambda manager: manager.downgrade("base"))
    assert not TABLES & set(inspect(engine()).get_table_names())
    upgrade()
    assert has_tables()


@pytest.mark.usefixtures("empty_database")
def test_dropping_leaves_nothing_behind() -> None:
    upgrade()
    with engine().begin() as connection:
        manage(lambda manager: manager.drop_tables(connection))
    assert inspect(engine()).get_table_names() == []
