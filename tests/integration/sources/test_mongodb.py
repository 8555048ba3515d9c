"""What Airflow's MongoDB hook and PyMongo make of a server's words, over a real socket.

The server is a fake (tests/mongodb.py): what it says is MongoDB's by its documentation, and what PyMongo and
the hook do with it, logging in with SCRAM and all, is their own.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mbi_reauth.check import Checker
from mbi_reauth.core.evidence import Driver, Evidence, TransportFailure
from mbi_reauth.core.integration import Table
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Verdict
from mbi_reauth.hooks.database import database
from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.mongodb import probe_mongodb
from tests.checking import FakeConnections, an_integration
from tests.judging import cause_on
from tests.mongodb import AUTHENTICATION_FAILED, BAD_AUTH, Document, FakeMongo, failure, mongo_server
from tests.servers import ssh_server
from tests.tls import self_signed_chain

PASSWORD = "fake-reader-password"
ORDERS = (Table(name="orders"), Table(name="web-shop.2024.visits"))
REPLICA_SET = {
    "setName": "rs0",
    "hosts": ["db1.invalid:27017", "db2.invalid:27017"],
    "me": "db1.invalid:27017",
}


def filled(server: FakeMongo) -> FakeMongo:
    """Put a document into each declared collection."""
    for table in ORDERS:
        server.shop[table.name].insert_one({"total": 10})
    return server


def login(server: FakeMongo | int, **fields: Any) -> Credential:
    defaults: dict[str, Any] = {
        "conn_id": "shop_conn",
        "conn_type": "mongo",
        "host": "127.0.0.1",
        "port": server if isinstance(server, int) else server.port,
        "schema": "shop",
        "login": "reader",
        "password": PASSWORD,
        "extra": {"authSource": "admin"},
    }
    return Credential(**(defaults | fields))


def cause_of(evidence: Evidence) -> Cause:
    return cause_on(Driver.MONGODB, evidence)


@pytest.mark.parametrize("tables", [(), ORDERS], ids=["list", "two collections"])
def test_a_good_login_is_authorized(tables: tuple[Table, ...]) -> None:
    with mongo_server() as server:
        evidence = probe_mongodb(login(filled(server)), tables)
    assert evidence.body == {"readable": True}, evidence
    assert (cause_of(evidence), server.logins) == (Cause.AUTHORIZED, 1)


def test_the_probe_reads_the_id_of_one_document_of_each_collection() -> None:
    with mongo_server() as server:
        probe_mongodb(login(filled(server)), ORDERS)
    asked = [(each["find"], each["limit"], each["projection"]) for each in server.asked("find")]
    assert asked == [(table.name, 1, {"_id": 1}) for table in ORDERS]


@pytest.mark.parametrize(
    ("login_fields", "server_fields", "code", "cause"),
    [
        ({"password": "fake-wrong"}, {}, 18, Cause.CREDENTIALS_REJECTED),
        ({"login": "never_was"}, {}, 18, Cause.CREDENTIALS_REJECTED),
        ({}, {"troubles": {"saslStart": BAD_AUTH}}, 8000, Cause.CREDENTIALS_REJECTED),
        ({}, {"troubles": {"saslStart": AUTHENTICATION_FAILED}}, 18, Cause.CREDENTIALS_REJECTED),
        (
            {},
            {"troubles": {"saslStart": failure(11, "UserNotFound", 'Could not find user "reader"')}},
            11,
            Cause.USER_DEACTIVATED,
        ),
        (
            {},
            {"troubles": {"saslStart": failure(334, "MechanismUnavailable", "Unsupported mechanism")}},
            334,
            Cause.PROBE_MISCONFIGURED,
        ),
        (
            {},
            {"troubles": {"saslStart": failure(214, "AuthenticationRestrictionUnmet", "unmet")}},
            214,
            Cause.NETWORK_DENIED,
        ),
        ({}, {"rights": {"reader": ["orders"]}}, 13, Cause.INSUFFICIENT_SCOPE),
        ({"login": "", "password": ""}, {}, 13, Cause.PROBE_MISCONFIGURED),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_every_lost_login_has_its_cause_and_is_tried_once(
    login_fields: dict[str, Any], server_fields: dict[str, Any], code: int, cause: Cause
) -> None:
    with mongo_server(**server_fields) as server:
        evidence = probe_mongodb(login(filled(server), **login_fields), ORDERS)
    assert (evidence.error_code, evidence.failure, cause_of(evidence)) == (code, None, cause), evidence
    assert server.logins == (1 if login_fields.get("login", "reader") else 0)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (failure(91, "ShutdownInProgress", "The server is in quiesce mode"), Cause.PROVIDER_OUTAGE),
        (failure(10107, "NotWritablePrimary", "not primary"), Cause.PROVIDER_OUTAGE),
        (failure(11600, "InterruptedAtShutdown", "interrupted at shutdown"), Cause.PROVIDER_OUTAGE),
        (
            failure(13435, "NotPrimaryNoSecondaryOk", "not primary and secondaryOk=false"),
            Cause.PROVIDER_OUTAGE,
        ),
        (failure(50, "MaxTimeMSExpired", "operation exceeded time limit"), Cause.PROVIDER_OUTAGE),
        (failure(462, "IngressRequestRateLimitExceeded", "too many requests"), Cause.RATE_LIMITED),
        (failure(16500, "", "Request rate is large"), Cause.RATE_LIMITED),
        (failure(8000, "AtlasError", "$where is not allowed in this atlas tier"), Cause.PROBE_MISCONFIGURED),
        (failure(8000, "AtlasError", "something that nobody has seen"), Cause.UNKNOWN),
    ],
    ids=lambda value: str(value["code"]) if isinstance(value, dict) else "",
)
def test_what_the_server_says_of_itself_accuses_nobody(answer: Document, cause: Cause) -> None:
    with mongo_server(troubles={"find": answer}) as server:
        evidence = probe_mongodb(login(filled(server)), ORDERS)
    assert (evidence.error_code, evidence.message) == (answer["code"], answer["errmsg"])
    assert (cause_of(evidence), server.logins) == (cause, 1)


def test_a_server_without_authorization_proves_nothing_of_a_login_and_says_so() -> None:
    with mongo_server(users=None) as server:
        connections = FakeConnections({"shop_conn": [login(filled(server), login="", password="")]})
        checker = Checker(api=None, connections=connections)
        checked = asyncio.run(checker.check(an_integration(type="mongodb_ssh", tables=ORDERS)))
    assert checked.finding.verdict is Verdict.AUTHORIZED
    assert "without any login" in checked.finding.explanation


def test_a_server_without_authorization_still_refuses_a_login_that_it_does_not_know() -> None:
    with mongo_server(users=None) as server:
        evidence = probe_mongodb(login(filled(server)), ORDERS)
    assert cause_of(evidence) is Cause.CREDENTIALS_REJECTED


def test_an_empty_list_of_collections_is_told_apart_from_a_right_that_was_taken() -> None:
    with mongo_server() as server:
        assert cause_of(probe_mongodb(login(server), ())) is Cause.AUTHORIZED
        server.rights = {"reader": []}
        assert cause_of(probe_mongodb(login(filled(server)), ())) is Cause.INSUFFICIENT_SCOPE


def test_a_collection_that_is_not_there_is_for_the_engineer() -> None:
    with mongo_server() as server, pytest.raises(MisconfiguredError, match="no collection 'ordrs'"):
        probe_mongodb(login(filled(server)), (Table(name="ordrs"),))


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({"port": 1}, TransportFailure.CONNECTION_REFUSED),
        ({"host": "nowhere.invalid"}, TransportFailure.DNS),
    ],
)
def test_a_server_that_is_not_there_blames_nobody(fields: dict[str, Any], failure: TransportFailure) -> None:
    evidence = probe_mongodb(login(1, **fields), ORDERS, timeout=1)
    assert (evidence.failure, cause_of(evidence)) == (failure, Cause.PROVIDER_OUTAGE)


def test_a_server_that_hangs_up_on_a_password_is_not_asked_again() -> None:
    with mongo_server(hangs_up_on="saslContinue") as server:
        evidence = probe_mongodb(login(server), ORDERS, timeout=5)
    assert (evidence.failure, server.logins) == (TransportFailure.CONNECTION_RESET, 1)


_ALONE = """
import sys, pymongo
client = pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=5000)
try:
    client["shop"]["orders"].find_one()
except pymongo.errors.PyMongoError as error:
    print(type(error).__name__)
"""


def test_the_driver_alone_sends_a_password_twice() -> None:
    """When this fails, PyMongo does not, and ``retryReads`` may be what it is by itself."""
    with mongo_server(hangs_up_on="saslContinue") as server:
        address = f"mongodb://reader:{PASSWORD}@127.0.0.1:{server.port}/shop"
        subprocess.run([sys.executable, "-c", _ALONE, address], capture_output=True, check=True)
    assert server.logins == 2


@pytest.mark.parametrize("silent_on", ["ismaster", "saslContinue", "find"])
def test_a_server_that_says_nothing_is_given_up(silent_on: str) -> None:
    with mongo_server(silent_on=silent_on) as server:
        evidence = probe_mongodb(login(filled(server)), ORDERS, timeout=1)
    assert (evidence.failure, cause_of(evidence)) == (TransportFailure.TIMEOUT, Cause.PROVIDER_OUTAGE)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schema": ""}, "has no schema"),
        ({"password": ""}, "has no password"),
        ({"extra": {"nonsense": 1}}, "nonsense"),
        ({"extra": {"readPreference": "sideways"}}, "valid read preference"),
        ({"host": "a:b:c"}, "host and extra"),
        ({"host": "nowhere.invalid", "port": None, "extra": {"srv": True}}, "_mongodb._tcp.nowhere.invalid"),
        ({"extra": {"srv": True}}, "srv"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_connection_that_cannot_work_is_for_the_engineer(fields: dict[str, Any], words: str) -> None:
    with mongo_server() as server, pytest.raises(MisconfiguredError, match="'shop_conn'") as raised:
        probe_mongodb(login(server, **fields), ())
    assert words in str(raised.value)
    assert PASSWORD not in str(raised.value)
    assert server.logins == 0


def test_no_password_is_in_evidence_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with mongo_server() as server:
        for fields in ({}, {"login": "never_was"}, {"port": 1}):
            evidence = probe_mongodb(login(filled(server), **fields), ORDERS, timeout=1)
            assert PASSWORD not in evidence.model_dump_json()
    assert PASSWORD not in caplog.text


def test_a_password_that_the_server_repeats_is_hidden() -> None:
    echo = failure(18, "AuthenticationFailed", f"reader with {PASSWORD} is not welcome")
    with mongo_server(troubles={"saslStart": echo}) as server:
        evidence = probe_mongodb(login(server), ORDERS)
    assert evidence.message == "reader with *** is not welcome"


def ssh_login(bastion: Any) -> Credential:
    extra = {"private_key": bastion.private_key, "host_key": bastion.host_key}
    return Credential("bastion", "ssh", host="127.0.0.1", port=bastion.port, login=bastion.user, extra=extra)


def test_through_a_tunnel_a_replica_set_is_one_server() -> None:
    extra = {"authSource": "admin", "replicaSet": "rs0", "ssh_conn_id": "bastion"}
    with ssh_server() as bastion, mongo_server(hello=REPLICA_SET) as server:
        credential = login(filled(server), extra=extra)
        good = probe_mongodb(credential, ORDERS, ssh=ssh_login(bastion))
        server.users = {"reader": "fake-changed"}
        bad = probe_mongodb(credential, ORDERS, ssh=ssh_login(bastion))
    assert (cause_of(good), cause_of(bad)) == (Cause.AUTHORIZED, Cause.CREDENTIALS_REJECTED)


def test_without_a_tunnel_the_members_of_a_replica_set_are_looked_for() -> None:
    with mongo_server(hello=REPLICA_SET) as server:
        evidence = probe_mongodb(login(server), ORDERS, timeout=1)
    assert VERDICT_OF[cause_of(evidence)] is Verdict.UNAVAILABLE


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": "db1.example.com,db2.example.com"}, "several servers"),
        ({"extra": {"srv": True}}, "several servers"),
        ({"host": "db1.example.com", "extra": {"tls": True}}, "tlsAllowInvalidHostnames"),
    ],
)
def test_what_a_tunnel_does_not_carry_is_for_the_engineer(fields: dict[str, Any], words: str) -> None:
    with ssh_server() as bastion, pytest.raises(MisconfiguredError, match=words):
        probe_mongodb(login(27017, **fields), (), ssh=ssh_login(bastion))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "chain.pem"
    path.write_bytes(self_signed_chain())
    return path


def tls_of(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize(
    ("extra", "failure"),
    [
        ({}, TransportFailure.TLS),
        ({"allow_insecure": True}, None),
        ({"tlsCAFile": "{file}", "tlsAllowInvalidHostnames": True}, None),
        ({"tlsCAFile": "{file}"}, TransportFailure.TLS),
    ],
    ids=["nobody vouches", "unchecked", "issuer only", "another name"],
)
def test_a_certificate_is_checked_as_the_connection_asks(
    certificate: Path, extra: dict[str, Any], failure: TransportFailure | None
) -> None:
    filled_in = {name: str(certificate) if value == "{file}" else value for name, value in extra.items()}
    with mongo_server(tls=tls_of(certificate)) as server:
        credential = login(filled(server), extra={"authSource": "admin", "tls": True, **filled_in})
        evidence = probe_mongodb(credential, ORDERS, timeout=2)
    assert evidence.failure is failure, evidence
    assert VERDICT_OF[cause_of(evidence)] in (Verdict.AUTHORIZED, Verdict.UNAVAILABLE)


def test_extraction_reads_documents() -> None:
    with mongo_server() as server:
        server.shop["orders"].insert_many([{"_id": 1}, {"_id": 2}])
        with database(an_integration(), as_connection(login(server))) as opened:
            assert list(opened["orders"].find()) == [{"_id": 1}, {"_id": 2}]
