"""A real PostgreSQL that starts, stops or stands by: nobody's login is in question."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from mbi_reauth.core.evidence import Driver, Evidence
from mbi_reauth.core.verdict import Cause
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.sql import probe_sql
from tests.judging import cause_on
from tests.servers import PostgreSQL, postgresql_cluster

PASSWORD = "fake-reader-password"
# The server asks for a file of its archive and cannot go on before it has the answer; not for ever.
WAIT_FOR_ARCHIVE = "restore_command=for i in $(seq 600); do test -e go && break; sleep 0.1; done; false"


@pytest.fixture
def cluster() -> Iterator[PostgreSQL]:
    with postgresql_cluster() as made:
        with made.running():
            made.run(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
        yield made


def probe(cluster: PostgreSQL, password: str = PASSWORD) -> Evidence:
    credential = Credential(
        conn_id="shop_conn",
        conn_type="postgres",
        host="127.0.0.1",
        port=cluster.port,
        schema="postgres",
        login="reader",
        password=password,
    )
    return probe_sql(credential, ())


def first(ask: Callable[[], Evidence], words: str) -> Evidence:
    """Ask until the server has come so far that it says these words."""
    deadline = time.monotonic() + 20
    while True:
        evidence = ask()
        if words in (evidence.message or "") or time.monotonic() > deadline:
            assert words in (evidence.message or ""), evidence
            return evidence
        time.sleep(0.05)


def cause_of(evidence: Evidence) -> Cause:
    return cause_on(Driver.POSTGRESQL, evidence)


@pytest.mark.parametrize("password", [PASSWORD, "fake-wrong"])
def test_a_server_that_starts_is_an_outage_whatever_the_password(cluster: PostgreSQL, password: str) -> None:
    cluster.write("recovery.signal")
    with cluster.running(WAIT_FOR_ARCHIVE):
        try:
            evidence = first(lambda: probe(cluster, password), "the database system is starting up")
        finally:
            cluster.write("go")
    assert cause_of(evidence) is Cause.PROVIDER_OUTAGE


def test_a_standby_that_takes_no_questions_is_an_outage(cluster: PostgreSQL) -> None:
    cluster.write("standby.signal")
    with cluster.running("hot_standby=off"):
        evidence = first(lambda: probe(cluster), "not accepting connections")
    assert cause_of(evidence) is Cause.PROVIDER_OUTAGE


def test_a_standby_that_takes_questions_is_authorized(cluster: PostgreSQL) -> None:
    cluster.write("standby.signal")
    with cluster.running("hot_standby=on"):
        deadline = time.monotonic() + 20
        while cause_of(evidence := probe(cluster)) is Cause.PROVIDER_OUTAGE and time.monotonic() < deadline:
            time.sleep(0.05)
    assert cause_of(evidence) is Cause.AUTHORIZED


def test_a_server_that_stops_is_an_outage(cluster: PostgreSQL) -> None:
    address = f"postgresql://reader:{PASSWORD}@127.0.0.1:{cluster.port}/postgres"
    with cluster.running(), psycopg.connect(address):
        # It waits for the session that is open.
        os.kill(cluster.process, signal.SIGTERM)
        evidence = first(lambda: probe(cluster), "the database system is shutting down")
    assert cause_of(evidence) is Cause.PROVIDER_OUTAGE
