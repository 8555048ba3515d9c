"""What the client libraries' own exceptions tell; each is raised by the library itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import httpx
import mysql.connector
import psycopg
import psycopg2  # type: ignore[import-untyped]
import pymssql
import pymysql  # type: ignore[import-untyped]
import pytest
import requests
from airflow.sdk.exceptions import AirflowException
from pymongo import errors as mongo_errors

from mbi_reauth.core.evidence import Driver, Endpoint, Evidence
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.extraction.errors import RefusedError
from mbi_reauth.probes.raised import told_by
from mbi_reauth.probes.ssh import TunnelError
from tests.judging import cause_on
from tests.loopback import reply, serving
from tests.mssql import refused, sql_server

BODY = {"error": {"code": 190, "message": "The session is invalid."}}
REFUSAL = reply("400 Bad Request", json.dumps(BODY).encode(), Content_Type="application/json")


class SeveralError(Exception):
    """As Python's own groups of exceptions, which 3.10 has not."""

    def __init__(self, exceptions: Sequence[Exception]) -> None:
        super().__init__("several")
        self.exceptions = exceptions


def with_requests(url: str) -> None:
    requests.get(url, timeout=5).raise_for_status()


def streamed_with_requests(url: str) -> None:
    requests.get(url, timeout=5, stream=True).raise_for_status()


def with_httpx(url: str) -> None:
    httpx.get(url, trust_env=False).raise_for_status()


def streamed_with_httpx(url: str) -> None:
    with httpx.Client(trust_env=False) as client, client.stream("GET", url) as response:
        response.raise_for_status()


def with_aiohttp(url: str) -> None:
    async def get() -> None:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            response.raise_for_status()

    asyncio.run(get())


def raised_by(work: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception, match=r".*") as raised:
        work()
    return raised.value


def evidence_of(error: BaseException) -> list[Evidence]:
    return [told for told in told_by(error) if isinstance(told, Evidence)]


@pytest.mark.parametrize(
    ("get", "told"),
    [
        (with_requests, BODY),
        (streamed_with_requests, BODY),
        (with_httpx, BODY),
        (streamed_with_httpx, None),
        (with_aiohttp, None),
    ],
)
def test_an_http_error_tells_the_answer_as_far_as_its_library_keeps_it(
    get: Callable[[str], None], told: object
) -> None:
    with serving(REFUSAL) as server:
        [evidence] = evidence_of(raised_by(lambda: get(server.url)))
    assert (evidence.endpoint, evidence.status_code) == (Endpoint.PROBE, 400)
    assert (json.loads(evidence.body) if evidence.body is not None else None) == told
    assert {name.lower() for name in evidence.headers} >= {"content-type"}


@pytest.mark.parametrize("get", [with_requests, with_httpx, with_aiohttp])
def test_that_no_answer_came_tells_nothing(get: Callable[[str], None]) -> None:
    with serving(REFUSAL) as server:
        url = server.url
    assert evidence_of(raised_by(lambda: get(url))) == []


def test_the_answer_is_found_below_what_was_raised_from_it_or_while_handling_it() -> None:
    def handled(url: str) -> None:
        try:
            with_requests(url)
        except requests.HTTPError:
            raise AirflowException("400:Bad Request")  # noqa: B904 - as many hooks do

    def wrapped(url: str) -> None:
        try:
            handled(url)
        except AirflowException as error:
            raise SeveralError([RuntimeError("wrapped")]) from error

    with serving(REFUSAL) as server:
        error = raised_by(lambda: wrapped(server.url))
        assert [each.status_code for each in evidence_of(error)] == [400]
        group = SeveralError([ValueError(), raised_by(lambda: with_requests(server.url))])
        assert [each.status_code for each in evidence_of(group)] == [400]


def mysqlclient_error() -> Exception:
    error: Exception = pytest.importorskip("MySQLdb").OperationalError(1045, "Access denied for user 'r'@'x'")
    return error


def a_refused_sql_server_login() -> Exception:
    with sql_server(refusal=[refused()]) as server:
        return raised_by(
            lambda: pymssql.connect(
                "127.0.0.1", "reader", "fake-password", "db", port=str(server.port), login_timeout=5
            )
        )


@pytest.mark.parametrize(
    ("raised", "driver"),
    [
        (lambda: psycopg.errors.InvalidPassword("no"), Driver.POSTGRESQL),
        (
            lambda: psycopg2.OperationalError('FATAL:  password authentication failed for user "reader"'),
            Driver.POSTGRESQL,
        ),
        (mysqlclient_error, Driver.MYSQL),
        (lambda: pymysql.err.OperationalError(1045, "Access denied for user 'reader'@'x'"), Driver.MYSQL),
        (
            lambda: mysql.connector.errors.ProgrammingError("Access denied", errno=1045, sqlstate="28000"),
            Driver.MYSQL,
        ),
        (a_refused_sql_server_login, Driver.MSSQL),
        (
            lambda: mongo_errors.OperationFailure("Authentication failed.", 18, {"code": 18}),
            Driver.MONGODB,
        ),
    ],
)
def test_each_driver_s_refused_login_is_judged_as_one(
    raised: Callable[[], Exception], driver: Driver
) -> None:
    [evidence] = evidence_of(raised())
    assert evidence.driver is driver
    assert cause_on(driver, evidence) is Cause.CREDENTIALS_REJECTED


@pytest.mark.parametrize(
    ("error", "driver"),
    [
        (pymysql.err.OperationalError(2003, "Can't connect to MySQL server"), Driver.MYSQL),
        (psycopg2.OperationalError("connection refused: Connection refused"), Driver.POSTGRESQL),
        (psycopg.errors.QueryCanceled("statement timeout"), Driver.POSTGRESQL),
        (mongo_errors.AutoReconnect("connection closed"), Driver.MONGODB),
        (pymssql.OperationalError((20009, b"Unable to connect: Connection refused")), Driver.MSSQL),
    ],
)
def test_a_driver_s_outage_is_no_refusal(error: Exception, driver: Driver) -> None:
    [evidence] = evidence_of(error)
    assert cause_on(driver, evidence) in (Cause.PROVIDER_OUTAGE, Cause.UNKNOWN)


def test_this_package_s_own_errors_tell_what_they_found() -> None:
    finding = Finding(cause=Cause.GRANT_REVOKED, rule="test", explanation="-")
    ssh = Evidence(endpoint=Endpoint.PROBE, driver=Driver.SSH, error_code="AuthenticationException")
    assert list(told_by(RefusedError("refused", finding))) == [finding]
    assert list(told_by(TunnelError(ssh))) == [ssh]
    assert list(told_by(RefusedError("nobody judged it"))) == []


@pytest.mark.parametrize(
    "error", [ValueError("401"), KeyboardInterrupt(), AirflowException("401:Unauthorized")]
)
def test_words_alone_tell_nothing(error: BaseException) -> None:
    assert list(told_by(error)) == []
