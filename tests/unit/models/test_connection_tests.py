"""What is used of Airflow 3.3's connection tests; ``tests/e2e/test_verification.py`` runs one on a worker."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from airflow import settings
from airflow.executors.base_executor import BaseExecutor
from airflow.executors.executor_loader import ExecutorLoader
from airflow.executors.local_executor import LocalExecutor
from airflow.models.base import Base as AirflowBase
from airflow.models.connection_test import (
    ACTIVE_STATES,
    TERMINAL_STATES,
    ConnectionTestRequest,
    ConnectionTestState,
)
from airflow.models.crypto import get_fernet
from airflow.sdk.api.client import ConnectionTestOperations
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
from cryptography.fernet import Fernet

from mbi_reauth.hooks.integration import IntegrationHook
from mbi_reauth.models import connection_tests
from mbi_reauth.models.connection_tests import CONN_TYPE, PREFIX, AirflowConnectionTests, Progress
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.probes.candidate import LONGEST_MESSAGE
from tests.metadata_db import connected_to

SECRET = "fake-secret-of-a-candidate"
EXTRA = {"mbi_reauth_candidate": {"password": SECRET}}


@pytest.fixture(autouse=True)
def _database(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    get_fernet.cache_clear()
    with connected_to(f"sqlite:///{tmp_path_factory.mktemp('metadata') / 'airflow.db'}"):
        tables: Any = [ConnectionTestRequest.__table__]
        AirflowBase.metadata.create_all(settings.engine, tables=tables)
        yield
    get_fernet.cache_clear()


@pytest.fixture
def tests() -> AirflowConnectionTests:
    return AirflowConnectionTests()


def row(test_id: UUID) -> dict[str, Any]:
    """Read a row as it stands in the database."""
    table = ConnectionTestRequest.__table__
    found = transact(lambda session: session.execute(table.select().where(table.c.id == test_id)).one())
    return dict(found._mapping)


def change(test_id: UUID, **fields: Any) -> None:
    def work(session: Any) -> None:
        request = session.get(ConnectionTestRequest, test_id)
        for name, value in fields.items():
            setattr(request, name, value)

    transact(work)


# what is used of Airflow 3.3 beyond its public interface


def test_airflow_takes_what_a_test_is_asked_with() -> None:
    parameters = inspect.signature(ConnectionTestRequest).parameters
    assert {"connection_id", "conn_type", "extra", "commit_on_success"} <= set(parameters)
    assert parameters["commit_on_success"].default is False
    columns = ConnectionTestRequest.__table__.columns
    assert {"id", "connection_id", "state", "result_message", "created_at", "extra"} <= set(columns.keys())
    assert columns["result_message"].type.length == LONGEST_MESSAGE


def test_airflow_has_the_states_that_are_told_apart() -> None:
    assert {state.value for state in ACTIVE_STATES} == {"pending", "queued", "running"}
    assert {state.value for state in TERMINAL_STATES} == {"success", "failed"}


def test_airflow_tells_whether_the_executor_can_do_it() -> None:
    assert BaseExecutor.supports_connection_test is False
    assert LocalExecutor.supports_connection_test is True
    executor, _ = ExecutorLoader.import_default_executor_cls()
    assert isinstance(executor.supports_connection_test, bool)
    assert isinstance(get_fernet().is_encrypted, bool)


def test_airflows_worker_cuts_off_what_is_longer_than_a_message_may_be() -> None:
    assert f"[:{LONGEST_MESSAGE}]" in inspect.getsource(ConnectionTestOperations.update_state)


def test_airflow_knows_our_connection_type() -> None:
    assert IntegrationHook.conn_type == CONN_TYPE
    assert CONN_TYPE in ProvidersManagerTaskRuntime().hooks  # type: ignore[no-untyped-call]


# what it does with them


def test_a_new_test_is_pending_under_an_id_of_its_own_and_changes_no_connection(
    tests: AirflowConnectionTests,
) -> None:
    first, second = tests.put(EXTRA), tests.put(EXTRA)
    assert tests.look(first) == Progress(taken=False, ended=False)
    assert row(first)["connection_id"].startswith(PREFIX)
    assert row(first)["connection_id"] != row(second)["connection_id"]
    assert row(first)["conn_type"] == CONN_TYPE
    assert not row(first)["commit_on_success"]


def test_a_worker_gets_the_whole_extra_and_no_column_shows_it(tests: AirflowConnectionTests) -> None:
    test_id = tests.put(EXTRA)
    assert SECRET not in repr(row(test_id))
    given = transact(lambda session: session.get_one(ConnectionTestRequest, test_id).extra)
    assert json.loads(str(given)) == EXTRA


@pytest.mark.parametrize(
    ("state", "progress"),
    [
        (ConnectionTestState.QUEUED, Progress(taken=True, ended=False)),
        (ConnectionTestState.RUNNING, Progress(taken=True, ended=False)),
        (ConnectionTestState.SUCCESS, Progress(taken=True, ended=True, message="as told")),
        (ConnectionTestState.FAILED, Progress(taken=True, ended=True, message="as told")),
    ],
)
def test_it_tells_how_far_a_test_is(
    state: ConnectionTestState, progress: Progress, tests: AirflowConnectionTests
) -> None:
    test_id = tests.put(EXTRA)
    change(test_id, state=state, result_message="as told")
    assert tests.look(test_id) == progress


def test_a_dropped_test_is_gone_and_can_be_dropped_again(tests: AirflowConnectionTests) -> None:
    test_id = tests.put(EXTRA)
    tests.drop(test_id)
    tests.drop(test_id)
    assert tests.look(test_id) is None


def test_only_old_tests_of_ours_are_swept_away(tests: AirflowConnectionTests) -> None:
    now = datetime.now(timezone.utc)
    young, old, anothers = tests.put(EXTRA), tests.put(EXTRA), tests.put(EXTRA)
    change(old, created_at=now - timedelta(hours=2))
    # Not ours, although LIKE's _ would match.
    change(anothers, created_at=now - timedelta(hours=2), connection_id="mbi-reauth-verification-1")
    tests.drop_older(now - timedelta(hours=1))
    assert [tests.look(test_id) is None for test_id in (young, old, anothers)] == [False, True, False]


@pytest.fixture
def _asked_anew() -> Iterator[None]:
    for answer in (connection_tests._executor_supports_them, connection_tests._hook_is_registered):
        answer.cache_clear()
    yield
    for answer in (connection_tests._executor_supports_them, connection_tests._hook_is_registered):
        answer.cache_clear()


def use_executor(monkeypatch: pytest.MonkeyPatch, executor: type | Exception) -> None:
    def imported() -> Any:
        if isinstance(executor, Exception):
            raise executor
        return executor, None

    monkeypatch.setattr(ExecutorLoader, "import_default_executor_cls", imported)


@pytest.mark.usefixtures("_asked_anew")
@pytest.mark.parametrize(
    ("executor", "supported"),
    [(LocalExecutor, True), (BaseExecutor, False), (ImportError("no Celery here"), False)],
    ids=["LocalExecutor", "an executor without", "an executor that is not installed"],
)
def test_the_default_executor_decides(
    executor: type | Exception,
    supported: bool,
    tests: AirflowConnectionTests,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_executor(monkeypatch, executor)
    assert tests.supported() is supported


@pytest.mark.usefixtures("_asked_anew")
def test_without_our_hook_no_worker_is_asked(
    tests: AirflowConnectionTests, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_executor(monkeypatch, LocalExecutor)
    manager = SimpleNamespace(hooks={"http": None})
    monkeypatch.setattr(connection_tests, "ProvidersManagerTaskRuntime", lambda: manager)
    assert tests.supported() is False


@pytest.mark.usefixtures("_asked_anew")
def test_without_a_fernet_key_no_candidate_is_written_down(
    tests: AirflowConnectionTests, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_executor(monkeypatch, LocalExecutor)
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
    get_fernet.cache_clear()
    assert tests.supported() is False
