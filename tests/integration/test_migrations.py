from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, Table, inspect, select

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


FIRST = "4b1f0a6c2d01"
AT = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - as a column without a zone gives it
SHOP = {
    "id": "shop",
    "type": "zendesk",
    "conn_id": "shop",
    "owner": {"name": "Dana Example", "email": "dana@example.com"},
}


def put(name: str, **values: object) -> None:
    """Insert a row into a table as the database has it now, whatever the models say."""
    table = Table(f"mbi_reauth_{name}", MetaData(), autoload_with=engine())
    with engine().begin() as connection:
        connection.execute(table.insert().values(**values))


def rows(name: str, *columns: str) -> list[tuple[Any, ...]]:
    table = Table(f"mbi_reauth_{name}", MetaData(), autoload_with=engine())
    with engine().connect() as connection:
        return [tuple(row) for row in connection.execute(select(*(table.c[column] for column in columns)))]


@pytest.mark.usefixtures("empty_database")
def test_an_open_incident_outlives_the_upgrade_and_the_downgrade() -> None:
    manage(lambda manager: command.upgrade(manager.get_alembic_config(), FIRST))
    put(
        "status", integration_id="shop", integration=SHOP, conn_id="shop", updated_at=AT, credential_version=1
    )
    incident = {"id": "i-1", "integration_id": "shop", "open_key": "shop", "cause": "grant_revoked"}
    put("incident", **incident, opened_at=AT, confirmed_at=AT, finding={})
    opened = {"incident_id": "i-1", "kind": "opened", "ordinal": 0, "message_id": "<m-1@localhost>"}
    put("notification", **opened, due_at=AT, attempts=1, sent_at=AT, recipient="dana@example.com")
    stopped = {"incident_id": "i-1", "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    put("blocked_run", **stopped, try_number=1, state="blocked", blocked_at=AT)
    upgrade()
    assert rows("blocked_run", "state", "resume", "resume_within", "ends") == [
        ("blocked", "all", 604800.0, "skipped")
    ]
    kept = ("key", "integration_id", "integration_type", "message_id", "recipient")
    after = [("i-1:opened:0", "shop", "zendesk", "<m-1@localhost>", "dana@example.com")]
    assert rows("notification", *kept) == after
    assert rows("status", "integration_type", "owner_email") == [("zendesk", "dana@example.com")]
    assert rows("incident", "reopened_at", "credential_version") == [(None, 1)]
    engineers = {
        "key": "k",
        "integration_type": "zendesk",
        "kind": "engineer",
        "message_id": "<m-2@localhost>",
    }
    put("notification", **engineers, ordinal=0, facts={}, due_at=AT, attempts=0)
    manage(lambda manager: manager.downgrade(FIRST))
    before = ("incident_id", "kind", "ordinal", "message_id")
    assert rows("notification", *before) == [("i-1", "opened", 0, "<m-1@localhost>")]
    assert rows("blocked_run", "run_id", "state") == [("r", "blocked")]
    upgrade()
    assert rows("notification", *kept) == after
