"""What Airflow's SQL Server hook and its driver make of a server's words, over a real socket.

The server is a fake at the wire (tests/mssql.py): what it says is SQL Server's by its documentation, and what
FreeTDS, pymssql and the hook do with it is their own. One more server is pysqlbridge, which others wrote: it
speaks the protocol with TLS and parses Transact-SQL by itself.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pymssql
import pytest
from pysqlbridge.catalog import load as load_catalog  # type: ignore[import-untyped]
from pysqlbridge.logins import load as load_logins  # type: ignore[import-untyped]
from pysqlbridge.server import start_background  # type: ignore[import-untyped]

from mbi_reauth.check import Checker
from mbi_reauth.core.evidence import Driver, Evidence, TransportFailure
from mbi_reauth.core.integration import Table
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Verdict
from mbi_reauth.hooks.database import database
from mbi_reauth.probes import sql_server as sql_server_probe
from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.sql import probe_sql
from tests.checking import FakeConnections, an_integration
from tests.judging import cause_on
from tests.mssql import Answer, FakeSqlServer, refused, sql_server
from tests.servers import ssh_server
from tests.tds import Message, Rows

PASSWORD = "fake-reader-password"
ORDERS = (Table(name="dbo.orders"), Table(name="customers"))
NO_DATABASE = Message(
    4060, 'Cannot open database "shop" requested by the login. The login failed.', severity=11
)


def one_row(statement: str) -> Answer:
    """Answer every question with a row, but do not tell when the password ends."""
    return Rows([("one", "int")], [(1,)]) if "SELECT 1" in statement else Rows([("id", "int")])


def login(server: FakeSqlServer | int, **fields: Any) -> Credential:
    defaults: dict[str, Any] = {
        "conn_id": "shop_conn",
        "conn_type": "mssql",
        "host": "127.0.0.1",
        "port": server if isinstance(server, int) else server.port,
        "schema": "shop",
        "login": "reader",
        "password": PASSWORD,
    }
    return Credential(**(defaults | fields))


def cause_of(evidence: Evidence) -> Cause:
    return cause_on(Driver.MSSQL, evidence)


@pytest.mark.parametrize("tables", [(), ORDERS], ids=["SELECT 1", "two tables"])
def test_a_good_login_is_authorized(tables: tuple[Table, ...]) -> None:
    with sql_server(answer=one_row) as server:
        evidence = probe_sql(login(server), tables)
    assert evidence.body == {"readable": True}, evidence
    assert cause_of(evidence) is Cause.AUTHORIZED
    (came,) = server.logins
    assert (came.user, came.password, came.database) == ("reader", PASSWORD, "shop")


def test_every_declared_table_is_asked_for_all_its_columns_and_no_row() -> None:
    with sql_server(answer=one_row) as server:
        probe_sql(login(server), ORDERS)
    asked = [statement for statement in server.statements if statement.startswith("SELECT *")]
    assert asked == ["SELECT * FROM [dbo].[orders] WHERE 1 = 0", "SELECT * FROM [customers] WHERE 1 = 0"]


def test_a_probe_opens_no_transaction() -> None:
    with sql_server(answer=one_row) as server:
        probe_sql(login(server), ORDERS)
    assert not any("TRAN" in statement for statement in server.statements)


@pytest.mark.parametrize(
    ("said", "code", "cause"),
    [
        ([refused()], 18456, Cause.CREDENTIALS_REJECTED),
        ([NO_DATABASE, refused()], 4060, Cause.ACCOUNT_UNLINKED),
        (
            [Message(4064, "Cannot open user default database. Login failed.", 11), refused()],
            4064,
            Cause.ACCOUNT_UNLINKED,
        ),
        (
            [Message(18486, "Login failed for user 'reader' because the account is currently locked out.")],
            18486,
            Cause.USER_DEACTIVATED,
        ),
        (
            [Message(18470, "Login failed for user 'reader'. Reason: The account is disabled.")],
            18470,
            Cause.USER_DEACTIVATED,
        ),
        (
            [Message(18487, "Login failed for user 'reader'. Reason: The password has expired.")],
            18487,
            Cause.PASSWORD_EXPIRED,
        ),
        (
            [Message(18488, "Login failed for user 'reader'. Reason: The password must be changed.")],
            18488,
            Cause.PASSWORD_EXPIRED,
        ),
        ([Message(18461, "Server is in single user mode.")], 18461, Cause.PROVIDER_OUTAGE),
        ([Message(17142, "SQL Server service has been paused.")], 17142, Cause.PROVIDER_OUTAGE),
        ([Message(17809, "The maximum number of connections is reached.")], 17809, Cause.RATE_LIMITED),
        (
            [Message(40613, "Database 'shop' is not currently available.", 17)],
            40613,
            Cause.PROVIDER_OUTAGE,
        ),
        ([Message(10928, "Resource ID : 1. The request limit is 60.", 16)], 10928, Cause.RATE_LIMITED),
        (
            [Message(40615, "Client with IP address '192.0.2.7' is not allowed.")],
            40615,
            Cause.NETWORK_DENIED,
        ),
        (
            [Message(40532, "Cannot open server 'x' requested by the login.")],
            40532,
            Cause.PROBE_MISCONFIGURED,
        ),
        ([Message(18452, "The login is from an untrusted domain.")], 18452, Cause.PROBE_MISCONFIGURED),
        ([Message(17892, "Logon failed due to trigger execution.")], 17892, Cause.UNKNOWN),
    ],
    ids=lambda value: str(value[0].number) if isinstance(value, list) else "",
)
def test_every_refused_login_has_its_cause_and_is_tried_once(
    said: Sequence[Message], code: int, cause: Cause
) -> None:
    with sql_server(refusal=said) as server:
        evidence = probe_sql(login(server), ORDERS)
    assert (evidence.error_code, evidence.failure, cause_of(evidence)) == (code, None, cause), evidence
    assert evidence.message == " ".join(message.text for message in said)
    assert (len(server.logins), server.connections) == (1, 1)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (Message(229, "The SELECT permission was denied on the object 'orders'."), Cause.INSUFFICIENT_SCOPE),
        (Message(230, "The SELECT permission was denied on the column 'total'."), Cause.INSUFFICIENT_SCOPE),
        (Message(916, "The server principal is not able to access the database."), Cause.INSUFFICIENT_SCOPE),
        (Message(208, "Invalid object name 'dbo.orders'.", 16), Cause.PROBE_MISCONFIGURED),
        (Message(1205, "Transaction was deadlocked and chosen as the victim.", 13), Cause.PROVIDER_OUTAGE),
        (Message(40501, "The service is currently busy.", 20), Cause.RATE_LIMITED),
    ],
    ids=lambda value: str(value.number) if isinstance(value, Message) else "",
)
def test_a_right_that_was_taken_is_told_apart_from_other_refusals(said: Message, cause: Cause) -> None:
    with sql_server(answer=lambda statement: said if "orders" in statement else None) as server:
        evidence = probe_sql(login(server), ORDERS)
    assert (evidence.error_code, evidence.message, cause_of(evidence)) == (said.number, said.text, cause)


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({"port": 1}, TransportFailure.CONNECTION_REFUSED),
        ({"host": "nowhere.invalid"}, TransportFailure.DNS),
    ],
)
def test_a_server_that_is_not_there_blames_nobody(fields: dict[str, Any], failure: TransportFailure) -> None:
    evidence = probe_sql(login(1, **fields), ())
    assert (evidence.failure, cause_of(evidence)) == (failure, Cause.PROVIDER_OUTAGE)


@pytest.mark.parametrize(
    "fields", [{"port": 1}, {"host": "nowhere.invalid"}], ids=["closed port", "unknown host"]
)
def test_a_refusal_is_not_lent_to_another_server_that_fails_later(fields: dict[str, Any]) -> None:
    with sql_server(refusal=[refused()]) as server:
        assert probe_sql(login(server), ()).error_code == 18456
    assert VERDICT_OF[cause_of(probe_sql(login(1, **fields), ()))] is Verdict.UNAVAILABLE
    with sql_server(refusal=[NO_DATABASE, refused()]) as server:
        assert probe_sql(login(server), ()).error_code == 4060


def test_refusals_at_the_same_time_are_not_mixed_up() -> None:
    said = {
        18456: [refused()],
        18486: [Message(18486, "The account is currently locked out.")],
        40613: [Message(40613, "Database 'shop' is not currently available.", 17)],
        4060: [NO_DATABASE, refused()],
    }
    together = threading.Barrier(len(said))

    def ask(code: int) -> int | str | None:
        with sql_server(refusal=said[code]) as server:
            together.wait(timeout=30)
            return probe_sql(login(server), ()).error_code

    with ThreadPoolExecutor(len(said)) as pool:
        for _ in range(10):
            assert list(pool.map(ask, said)) == list(said)


class TimeIsUpError(BaseException):
    """What a task's timeout raises, in the main thread and wherever that may be."""


@pytest.fixture
def times_up() -> Iterator[Callable[[], None]]:
    def stop(*_: object) -> None:
        raise TimeIsUpError

    before = signal.signal(signal.SIGUSR1, stop)
    yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("until", ["SET ARITHABORT", "SELECT"], ids=["login", "statement"])
def test_a_tasks_timeout_is_not_lost_when_the_server_complains_at_that_moment(
    times_up: Callable[[], None], until: str
) -> None:
    def answer(statement: str) -> Answer:
        if not statement.startswith(until):
            return None
        times_up()
        return refused()

    with (
        sql_server(answer=answer) as server,
        pytest.raises(TimeIsUpError),
        suppress(pymssql.Error),
        database(an_integration(), as_connection(login(server))) as opened,
    ):
        opened.cursor().execute("SELECT 1")


def test_a_driver_that_cannot_be_listened_to_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymssql._mssql.__file__", sys.modules["_ctypes"].__file__)
    monkeypatch.setattr(sql_server_probe, "_installers", sql_server_probe._installers.__wrapped__)
    with sql_server() as server, pytest.raises(MisconfiguredError, match="hides DB-Library"):
        probe_sql(login(server), ())
    assert server.connections == 0


_ALONE = """
import sys, pymssql
for port in sys.argv[1:]:
    try:
        pymssql.connect(server="127.0.0.1", port=port, user="reader", password="fake", login_timeout=5)
    except pymssql.Error as error:
        print(error.args[0][0])
"""


def test_the_driver_alone_lends_numbers_and_loses_the_one_that_tells() -> None:
    """When this fails, pymssql is mended, and probes/sql_server.py has less to do."""
    with sql_server(refusal=[NO_DATABASE, refused()]) as server:
        ports = (str(server.port), "1")
        told = subprocess.run(
            [sys.executable, "-c", _ALONE, *ports], capture_output=True, text=True, check=True
        )
    assert told.stdout.split() == ["18456", "18456"]


def test_a_server_that_hangs_up_on_a_login_is_not_asked_again() -> None:
    with sql_server(hangs_up=True) as server:
        evidence = probe_sql(login(server), ())
    assert (len(server.logins), server.connections) == (1, 1)
    assert evidence.failure is TransportFailure.CONNECTION_RESET


def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    with sql_server(silent=True) as server:
        evidence = probe_sql(login(server), (), timeout=1)
    assert (evidence.failure, server.connections) == (TransportFailure.TIMEOUT, 1)


def test_a_locked_table_is_given_up_within_the_timeout() -> None:
    def slow(statement: str) -> Answer:
        if "orders" in statement:
            released.wait(timeout=30)
        return one_row(statement)

    released = threading.Event()
    with sql_server(answer=slow) as server:
        evidence = probe_sql(login(server), ORDERS, timeout=1)
        released.set()
    assert (evidence.failure, cause_of(evidence)) == (TransportFailure.TIMEOUT, Cause.PROVIDER_OUTAGE)


def test_the_day_on_which_the_password_ends_is_in_the_finding() -> None:
    def answer(statement: str) -> Answer:
        if "LOGINPROPERTY" in statement:
            return Rows([("expires_on", "varchar")], [("2026-12-24",)])
        return one_row(statement)

    with sql_server(answer=answer) as server:
        connections = FakeConnections({"shop_conn": [login(server)]})
        checker = Checker(api=None, connections=connections)
        checked = asyncio.run(checker.check(an_integration(type="microsoft_sql_server", tables=ORDERS)))
    assert checked.finding.verdict is Verdict.AUTHORIZED, checked
    assert checked.finding.expires_at is not None
    assert checked.finding.expires_at.isoformat() == "2026-12-24T00:00:00+00:00"


def test_a_whole_check_of_a_refused_login_is_one_login() -> None:
    with sql_server(refusal=[refused()]) as server:
        connections = FakeConnections({"shop_conn": [login(server)]})
        checker = Checker(api=None, connections=connections)
        checked = asyncio.run(checker.check(an_integration(type="microsoft_sql_server")))
    assert checked.finding.verdict is Verdict.NEEDS_REAUTH
    assert len(server.logins) == 1


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"driver": "ODBC Driver 18"}, "'driver'"),
        ({"tds_version": "9.9"}, "9.9"),
        ({"encryption": "yes"}, "encryption"),
    ],
)
def test_an_extra_that_the_driver_does_not_take_is_for_the_engineer(
    extra: dict[str, Any], words: str
) -> None:
    with sql_server() as server, pytest.raises(MisconfiguredError, match="'shop_conn'") as raised:
        probe_sql(login(server, extra=extra), ())
    assert words in str(raised.value)
    assert server.logins == []


def test_no_password_is_in_evidence_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = Message(18456, f"Login failed for user 'reader' with password {PASSWORD}.")
    with sql_server(refusal=[echo]) as server:
        for fields in ({}, {"port": 1}):
            assert PASSWORD not in probe_sql(login(server, **fields), ORDERS).model_dump_json()
    assert PASSWORD not in caplog.text


def test_a_login_goes_through_an_ssh_tunnel() -> None:
    with ssh_server() as bastion, sql_server(answer=one_row) as server:
        ssh = Credential(
            "bastion",
            "ssh",
            host="127.0.0.1",
            port=bastion.port,
            login=bastion.user,
            extra={"private_key": bastion.private_key, "host_key": bastion.host_key},
        )
        good = probe_sql(login(server, extra={"ssh_conn_id": "bastion"}), ORDERS, ssh=ssh)
        server.refusal = [refused()]
        bad = probe_sql(login(server, extra={"ssh_conn_id": "bastion"}), ORDERS, ssh=ssh)
    assert (cause_of(good), cause_of(bad)) == (Cause.AUTHORIZED, Cause.CREDENTIALS_REJECTED)
    assert len(server.logins) == 2


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that others wrote, with one table and one login."""
    folder: Path = tmp_path_factory.mktemp("bridge")
    (folder / "orders.csv").write_text("id,total\n1,10\n2,20\n")
    (folder / "config.json").write_text(
        '{"tables": [{"name": "orders", "csv": "orders.csv"}],'
        f'"logins": [{{"user": "reader", "password": "{PASSWORD}"}}]}}'
    )
    config = folder / "config.json"
    started, _ = start_background(query_handler=load_catalog(config).answer, logins=load_logins(config))
    try:
        yield started.address[1]
    finally:
        started.shutdown()
        started.server_close()


@pytest.mark.parametrize("encryption", ["request", "require"])
def test_another_server_accepts_the_login_with_tls_and_understands_the_question(
    bridge: int, encryption: str
) -> None:
    evidence = probe_sql(login(bridge, schema="", extra={"encryption": encryption}), ORDERS[:1])
    assert evidence.body == {"readable": True}, evidence


@pytest.mark.parametrize(
    ("fields", "tables", "code"),
    [
        ({"password": "fake-wrong"}, ORDERS[:1], 18456),
        ({"login": "never_was"}, ORDERS[:1], 18456),
        ({}, (Table(name="dbo.gone"),), 208),
    ],
)
def test_another_servers_refusals_are_read_alike(
    bridge: int, fields: dict[str, Any], tables: tuple[Table, ...], code: int
) -> None:
    assert probe_sql(login(bridge, schema="", **fields), tables).error_code == code


def test_extraction_reads_rows(bridge: int) -> None:
    with database(an_integration(), as_connection(login(bridge, schema=""))) as opened:
        cursor = opened.cursor()
        cursor.execute("SELECT id FROM orders ORDER BY id")
        assert cursor.fetchall() == [(1,), (2,)]
