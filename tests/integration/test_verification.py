"""A verification and its row in Airflow's real table, with this test in the place of scheduler and worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.api_fastapi.execution_api.datamodels.connection_test import ConnectionTestResultBody
from airflow.api_fastapi.execution_api.routes.connection_tests import (
    get_connection_test_connection,
    patch_connection_test,
)
from airflow.models.connection import Connection
from airflow.models.connection_test import ConnectionTestRequest, ConnectionTestState
from airflow.models.crypto import get_fernet
from airflow.sdk import Connection as WorkersConnection
from cryptography.fernet import Fernet
from fastapi import HTTPException

from mbi_reauth.api.services.verification import Candidate, Waiting, verify
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.models.connection_tests import AirflowConnectionTests
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.probes.credential import Credential
from tests.checking import an_integration
from tests.loopback import reply, serving

SECRET = "fake-canary-of-a-candidate"


@pytest.fixture(autouse=True)
def _encrypted(metadata_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER", "demo/integration_types")
    get_fernet.cache_clear()
    yield
    get_fernet.cache_clear()


class Tests(AirflowConnectionTests):
    """Airflow's real table, whatever executor these tests are configured with."""

    def supported(self) -> bool:
        return True


def rows() -> list[dict[str, Any]]:
    """Read the table as it stands."""
    table = ConnectionTestRequest.__table__
    return transact(lambda session: [dict(row._mapping) for row in session.execute(table.select())])


class Worker:
    """Does in the middle of a verification's sleep what scheduler, API server and worker do."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, _: float) -> None:
        (row,) = rows()
        self.seen.append(row)
        if len(self.seen) == 1:
            transact(
                lambda session: setattr(session.get(ConnectionTestRequest, row["id"]), "state", "queued")
            )
        elif len(self.seen) == 2:
            self.work(row["id"])

    def work(self, test_id: Any) -> None:
        got = transact(lambda session: get_connection_test_connection(test_id, session))
        connection = WorkersConnection(conn_id=got.conn_id, conn_type=got.conn_type, extra=got.extra)
        good, message = connection.test_connection()
        state = ConnectionTestState.SUCCESS if good else ConnectionTestState.FAILED
        body = ConnectionTestResultBody(state=state, result_message=message)
        transact(lambda session: patch_connection_test(test_id, body, session))


def verified(url: str, sleep: Callable[[float], None], **clock: Any) -> Finding:
    candidate = Candidate(
        integration=an_integration(type="shopdemo"),
        credential=Credential("shop_conn", "mbireauth", host=url, extra={"refresh_token": SECRET}),
        access_token=SECRET,
        account="shop-north",
    )
    return verify(candidate, tests=Tests(), waiting=Waiting(sleep=sleep, **clock))


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ("200 OK", Cause.AUTHORIZED),
        ("401 No", Cause.ACCESS_TOKEN_EXPIRED),
        ("503 Down", Cause.PROVIDER_OUTAGE),
    ],
)
def test_what_the_worker_finds_comes_back_and_no_row_and_no_secret_stays(status: str, cause: Cause) -> None:
    worker = Worker()
    with serving(reply(status, body=b'{"account": "shop-north", "scope": "orders.read"}')) as server:
        finding = verified(server.url, worker)
    assert finding.cause is cause, finding
    assert [row["state"] for row in worker.seen] == ["pending", "queued"]
    assert SECRET not in repr(worker.seen)
    assert worker.seen[0]["is_extra_encrypted"]
    assert rows() == []
    assert transact(lambda session: session.query(Connection).filter_by(conn_type="mbireauth").count()) == 0


def test_two_verifications_of_one_integration_do_not_hinder_each_other() -> None:
    first, second = Tests().put({"a": 1}), Tests().put({"a": 1})
    assert len(rows()) == 2
    for test_id in (first, second):
        Tests().drop(test_id)
    assert rows() == []


def test_what_nobody_takes_up_is_deleted() -> None:
    seconds: list[float] = []
    finding = verified("http://127.0.0.1:9", seconds.append, elapsed=lambda: sum(seconds))
    assert finding.rule == "check.not_verified"
    assert rows() == []


def test_a_worker_that_comes_too_late_finds_nothing() -> None:
    test_id = Tests().put({"mbi_reauth_candidate": SECRET})
    Tests().drop(test_id)
    with pytest.raises(HTTPException) as refused:
        transact(lambda session: get_connection_test_connection(test_id, session))
    assert refused.value.status_code == 404
