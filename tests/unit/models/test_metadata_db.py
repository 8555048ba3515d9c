from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from airflow import settings
from airflow._shared.secrets_masker import mask_secret
from airflow.models.connection import Connection
from airflow.models.team import Team
from airflow.utils.db_manager import BaseDBManager
from airflow.utils.session import create_session
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

import mbi_reauth
from mbi_reauth.models.metadata_db import (
    engine,
    find_credential,
    fingerprint_keys,
    has_tables,
    save_credential,
    save_extra,
    stored_credential,
    transact,
)
from mbi_reauth.models.tables import Status
from tests.metadata_db import connected_to, create_tables, empty, put_connection


@pytest.fixture(autouse=True, scope="module")
def _database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with connected_to(f"sqlite:///{tmp_path_factory.mktemp('metadata') / 'airflow.db'}"):
        create_tables()
        yield


# what is used of Airflow 3.3 beyond its public interface


def test_airflow_has_the_engine_and_the_sessions_that_are_used() -> None:
    assert settings.engine is engine()
    assert list(inspect.signature(create_session).parameters) == ["scoped"]
    with create_session(scoped=False) as session:
        assert isinstance(session, Session)
        assert session.bind is engine()
        assert not session.autoflush


def test_airflows_connection_has_the_columns_and_ways_that_are_used() -> None:
    columns = set(Connection.__table__.columns.keys())
    assert {"id", "conn_id", "conn_type", "host", "port", "schema", "login", "password", "extra"} <= columns
    assert Connection.__table__.columns["conn_id"].unique
    assert list(inspect.signature(Connection.set_extra).parameters) == ["self", "value"]
    assert list(inspect.signature(Connection.set_password).parameters) == ["self", "value"]
    look_up = inspect.signature(Connection.get_connection_from_secrets)
    assert list(look_up.parameters) == ["conn_id", "team_name"]
    assert next(iter(inspect.signature(Connection.get_team_name).parameters)) == "connection_id"
    assert next(iter(inspect.signature(mask_secret).parameters)) == "secret"


def test_airflows_database_manager_calls_what_ours_defines() -> None:
    assert list(inspect.signature(BaseDBManager.downgrade).parameters) == [
        "self",
        "to_revision",
        "from_revision",
        "show_sql_only",
    ]


def test_nothing_else_of_the_package_imports_airflows_database() -> None:
    package = Path(mbi_reauth.__file__).parent
    private = ("airflow.settings", "from airflow import settings", "airflow.utils.session", "airflow.models")
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if "import" in line and any(name in line for name in private)
    }
    assert users == {"models/metadata_db.py", "models/airflow_runs.py", "models/connection_tests.py"}


# transactions


def failing(times: int, error: Exception) -> tuple[list[int], Callable[[Session], str]]:
    runs: list[int] = []

    def work(_: Session) -> str:
        runs.append(1)
        if len(runs) <= times:
            raise error
        return "done"

    return runs, work


LOCKED = OperationalError("UPDATE", {}, Exception("database is locked"))
DEADLOCK = OperationalError("UPDATE", {}, Exception(1213, "Deadlock found; try restarting transaction"))
TAKEN = IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed"))


@pytest.mark.parametrize("error", [LOCKED, DEADLOCK, TAKEN])
def test_work_that_lost_a_race_is_done_again_from_the_start(error: Exception) -> None:
    runs, work = failing(2, error)
    assert transact(work) == "done"
    assert len(runs) == 3


def test_it_gives_up_in_the_end() -> None:
    runs, work = failing(99, LOCKED)
    with pytest.raises(OperationalError):
        transact(work, attempts=3)
    assert len(runs) == 3


@pytest.mark.parametrize("error", [ValueError(), OperationalError("SELECT", {}, Exception("no such table"))])
def test_any_other_error_is_raised_at_once(error: Exception) -> None:
    runs, work = failing(1, error)
    with pytest.raises(type(error)):
        transact(work)
    assert len(runs) == 1


def test_what_failed_leaves_nothing_behind() -> None:
    def work(session: Session) -> None:
        put = {"integration": {}, "conn_id": "c", "credential_version": 1}
        session.add(Status(integration_id="half", updated_at=datetime.now(timezone.utc), **put))
        session.flush()
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        transact(work)
    assert transact(lambda session: session.get(Status, "half")) is None


# connections


def test_saving_changes_only_the_named_values() -> None:
    empty()
    put_connection(
        "shop", password="fake-password", extra={"keep": "1", "access_token": "fake-old", "gone": "1"}
    )
    transact(lambda session: save_extra(session, "shop", {"access_token": "fake-new", "gone": None}))
    credential = transact(lambda session: stored_credential(session, "shop"))
    assert credential is not None
    assert credential.extra == {"keep": "1", "access_token": "fake-new"}
    assert credential.password == "fake-password"


def test_saving_into_a_missing_connection_is_an_error() -> None:
    empty()
    with pytest.raises(LookupError, match="'shop'"):
        transact(lambda session: save_extra(session, "shop", {"access_token": "fake"}))


def test_saving_a_credential_changes_the_login_and_the_password_too() -> None:
    empty()
    put_connection("shop", login="old", password="fake-old", host="kept.example", extra={"keep": "1"})
    changes = {"login": "new", "password": "fake-new", "private_key": "fake-key"}
    transact(lambda session: save_credential(session, "shop", changes))
    credential = transact(lambda session: stored_credential(session, "shop"))
    assert credential is not None
    assert (credential.login, credential.password, credential.host) == ("new", "fake-new", "kept.example")
    assert credential.extra == {"keep": "1", "private_key": "fake-key"}


def test_saving_nothing_as_the_password_removes_it() -> None:
    empty()
    put_connection("bastion", login="tunnel", password="fake-old")
    transact(lambda session: save_credential(session, "bastion", {"password": None}))
    credential = transact(lambda session: stored_credential(session, "bastion"))
    assert credential is not None
    assert (credential.login, credential.password) == ("tunnel", "")


def test_a_connection_of_a_team_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    empty()
    transact(lambda session: session.merge(Team(name="sales")))
    put_connection("shop", password="fake-password", team_name="sales")
    found = find_credential("shop")
    assert found is not None
    assert found.in_database
    assert found.credential.password == "fake-password"


def test_the_tables_are_seen() -> None:
    assert has_tables()


@pytest.mark.parametrize(
    ("fernet_key", "keys"), [("new,old", ["new", "old"]), (" one ", ["one"]), ("", ["of-the-server"])]
)
def test_fingerprints_are_keyed_by_the_fernet_keys_or_the_servers_key(
    monkeypatch: pytest.MonkeyPatch, fernet_key: str, keys: list[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", fernet_key)
    monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "of-the-server")
    assert fingerprint_keys() == keys


GONE = OperationalError("UPDATE", {}, Exception("server closed the connection unexpectedly"))


def test_what_must_not_be_lost_outlasts_a_database_that_went_away() -> None:
    errors = [GONE, GONE]

    def work(_: Session) -> str:
        if errors:
            raise errors.pop()
        return "saved"

    assert transact(work, attempts=3, outlast=True) == "saved"


def test_anything_else_is_told_at_once_that_the_database_went_away() -> None:
    asked: list[Session] = []

    def work(session: Session) -> None:
        asked.append(session)
        raise GONE

    with pytest.raises(OperationalError):
        transact(work)
    assert len(asked) == 1
