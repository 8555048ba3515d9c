"""A real PostgreSQL behind a real SSH server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from demo.source_database import DATABASE, SourceDatabase
from mbi_reauth.check import Checker
from mbi_reauth.core.evidence import Driver, Evidence
from mbi_reauth.core.verdict import Cause, Verdict
from mbi_reauth.hooks.database import database
from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.sql import probe_sql
from mbi_reauth.probes.ssh import TunnelError, tunnel
from tests.checking import FakeConnections, an_integration
from tests.judging import cause_on
from tests.servers import Sshd, new_key, ssh_server

pytest.importorskip("airflow.providers.ssh.hooks.ssh", reason="apache-airflow-providers-ssh is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SourceDatabase]:
    folder = tmp_path_factory.mktemp("source") / "cluster"
    with SourceDatabase(folder, admin_password="fake-admin", reader_password="fake-reader") as started:
        yield started


@pytest.fixture(scope="module")
def bastion() -> Iterator[Sshd]:
    with ssh_server() as started:
        yield started


def login(server: SourceDatabase, **fields: Any) -> Credential:
    defaults: dict[str, Any] = {
        "conn_id": "shop_conn",
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": server.port,
        "schema": DATABASE,
        "login": "reader",
        "password": "fake-reader",
        "extra": {"ssh_conn_id": "bastion"},
    }
    return Credential(**(defaults | fields))


def ssh_login(
    bastion: Sshd, *, port: int | None = None, login: str | None = None, **extra: Any
) -> Credential:
    return Credential(
        conn_id="bastion",
        conn_type="ssh",
        host="127.0.0.1",
        port=port or bastion.port,
        login=login or bastion.user,
        extra={"private_key": bastion.private_key, "host_key": bastion.host_key, **extra},
    )


def cause_of(evidence: Evidence) -> Cause:
    """Have the types on the database's engine judge it; those on all engines, where the way failed."""
    engines = set(Driver) - {Driver.SSH} if evidence.driver is Driver.SSH else {Driver.POSTGRESQL}
    (cause,) = {cause_on(engine, evidence) for engine in engines}
    return cause


def test_a_login_through_the_tunnel_is_authorized(server: SourceDatabase, bastion: Sshd) -> None:
    evidence = probe_sql(login(server), (), ssh=ssh_login(bastion))
    assert cause_of(evidence) is Cause.AUTHORIZED, evidence


def test_the_databases_own_refusal_comes_through(server: SourceDatabase, bastion: Sshd) -> None:
    evidence = probe_sql(login(server, password="fake-wrong"), (), ssh=ssh_login(bastion))
    assert evidence.driver is Driver.POSTGRESQL
    assert cause_of(evidence) is Cause.CREDENTIALS_REJECTED


@pytest.mark.parametrize(
    ("options", "code", "cause"),
    [
        ({"private_key": new_key()[0]}, "AuthenticationException", Cause.CREDENTIALS_REJECTED),
        ({"login": "never_was"}, "AuthenticationException", Cause.CREDENTIALS_REJECTED),
        ({"host_key": new_key()[1]}, "BadHostKeyException", Cause.HOST_KEY_CHANGED),
        ({"host_key": None}, "SSHException", Cause.HOST_KEY_CHANGED),
        ({"port": 1}, "NoValidConnectionsError", Cause.PROVIDER_OUTAGE),
    ],
    ids=["key refused", "user refused", "host key changed", "host key unknown", "closed port"],
)
def test_what_fails_on_the_way_is_the_tunnels(
    server: SourceDatabase, bastion: Sshd, options: dict[str, Any], code: str, cause: Cause
) -> None:
    evidence = probe_sql(login(server), (), ssh=ssh_login(bastion, **options))
    assert (evidence.driver, evidence.error_code, cause_of(evidence)) == (Driver.SSH, code, cause), evidence


def test_a_database_that_the_ssh_server_cannot_reach_is_out_of_order(
    server: SourceDatabase, bastion: Sshd
) -> None:
    evidence = probe_sql(login(server, port=1), (), ssh=ssh_login(bastion))
    assert (evidence.driver, evidence.error_code) == (Driver.SSH, "ChannelException")
    assert cause_of(evidence) is Cause.PROVIDER_OUTAGE


def test_an_ssh_server_that_forbids_tunnels_is_for_the_engineer(server: SourceDatabase) -> None:
    with ssh_server("AllowTcpForwarding no\nDisableForwarding yes") as closed:
        evidence = probe_sql(login(server), (), ssh=ssh_login(closed))
    assert (evidence.driver, evidence.error_code) == (Driver.SSH, "ChannelException")
    assert cause_of(evidence) is Cause.NETWORK_DENIED


def test_an_ssh_server_that_opens_other_ports_only_is_for_the_engineer(server: SourceDatabase) -> None:
    with ssh_server("PermitOpen 127.0.0.1:1") as narrow:
        evidence = probe_sql(login(server), (), ssh=ssh_login(narrow))
    assert (evidence.driver, evidence.error_code) == (Driver.SSH, "ChannelException")
    assert cause_of(evidence) is Cause.NETWORK_DENIED


def test_an_ssh_server_with_too_many_visitors_is_an_outage(server: SourceDatabase) -> None:
    with ssh_server("MaxStartups 3") as crowded, contextlib.ExitStack() as visitors:
        greeting = b"SSH"
        while greeting.startswith(b"SSH"):
            visitor = visitors.enter_context(socket.create_connection(("127.0.0.1", crowded.port)))
            greeting = visitor.recv(100)
        evidence = probe_sql(login(server), (), ssh=ssh_login(crowded))
    assert evidence.driver is Driver.SSH
    assert cause_of(evidence) is Cause.PROVIDER_OUTAGE


@pytest.mark.parametrize("type_id", ["postgresql_ssh", "spree", "database_vpn"])
def test_a_whole_check_of_a_refused_key_is_one_login(
    server: SourceDatabase, bastion: Sshd, type_id: str
) -> None:
    ssh = ssh_login(bastion, private_key=new_key()[0])
    connections = FakeConnections({"shop_conn": [login(server)], "bastion": [ssh]})
    before = bastion.log.count("Failed publickey for ")
    checked = asyncio.run(Checker(api=None, connections=connections).check(an_integration(type=type_id)))
    assert checked.finding.cause is Cause.CREDENTIALS_REJECTED
    assert bastion.log.count("Failed publickey for ") - before == 1


def test_a_password_refused_behind_the_tunnel_is_one_login(server: SourceDatabase, bastion: Sshd) -> None:
    log = server._folder.with_suffix(".log")
    before = log.read_text().count("FATAL:")
    probe_sql(login(server, password="fake-wrong"), (), ssh=ssh_login(bastion))
    assert log.read_text().count("FATAL:") - before == 1


def test_an_ssh_server_that_says_nothing_is_given_up(server: SourceDatabase, bastion: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        evidence = probe_sql(
            login(server), (), ssh=ssh_login(bastion, port=silent.getsockname()[1]), timeout=1
        )
    assert time.monotonic() - began < 4
    assert evidence.driver is Driver.SSH
    assert cause_of(evidence) is Cause.PROVIDER_OUTAGE


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"no_host_key_check": True, "host_key": None}, "no_host_key_check"),
        ({"allow_host_key_change": "true"}, "allow_host_key_change"),
        ({"host_key": "ssh-foo AAAA"}, "ssh-foo"),
        ({"private_key": "no key at all"}, "not usable"),
        ({"private_key": None, "key_file": "/nowhere/key"}, "key_file"),
    ],
)
def test_a_tunnel_that_cannot_be_trusted_or_made_is_misconfigured(
    server: SourceDatabase, bastion: Sshd, extra: dict[str, Any], words: str
) -> None:
    with pytest.raises(MisconfiguredError, match="'bastion'") as raised:
        probe_sql(login(server), (), ssh=ssh_login(bastion, **extra))
    assert words in str(raised.value)
    assert "no key at all" not in str(raised.value)


def test_extraction_goes_through_the_tunnel(
    server: SourceDatabase, bastion: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = ssh_login(bastion)
    connection = {"conn_type": "ssh", "host": ssh.host, "port": ssh.port, "login": ssh.login}
    monkeypatch.setenv("AIRFLOW_CONN_BASTION", json.dumps({**connection, "extra": dict(ssh.extra)}))
    with database(an_integration(), as_connection(login(server))) as opened:
        assert opened.execute("SELECT count(*) FROM shop.customers").fetchone() == (80,)


def test_extraction_says_what_the_tunnel_lacked(
    server: SourceDatabase, bastion: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mbi_reauth.hooks.database.read_connection", lambda _: ssh_login(bastion, private_key=new_key()[0])
    )
    with (
        pytest.raises(TunnelError, match="AuthenticationException"),
        database(an_integration(), as_connection(login(server))),
    ):
        pass


def test_a_whole_check_finds_its_ssh_connection(server: SourceDatabase, bastion: Sshd) -> None:
    connections = FakeConnections({"shop_conn": [login(server)], "bastion": [ssh_login(bastion)]})
    checker = Checker(api=None, connections=connections)
    checked = asyncio.run(checker.check(an_integration(type="postgresql_ssh")))
    assert checked.finding.verdict is Verdict.AUTHORIZED, checked


def test_a_login_that_fails_leaves_no_connection_open(bastion: Sshd) -> None:
    before = threading.enumerate()
    stranger = ssh_login(bastion, private_key=new_key()[0])
    gc.disable()  # which would close it some time
    try:
        with pytest.raises(TunnelError), tunnel(stranger, host="127.0.0.1", port=1):
            pytest.fail("a stranger was let in")
        opened = [thread for thread in threading.enumerate() if thread not in before]
        for thread in opened:
            thread.join(10)
    finally:
        gc.enable()
    assert not any(thread.is_alive() for thread in opened)
