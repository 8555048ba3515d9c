"""Errors as databases, their poolers and SSH clients are known to write them, with and without numbers."""

from __future__ import annotations

from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Finding

TYPES = catalogue.load_all()


def _judge(type_id: str, **evidence: Any) -> Finding:
    return TYPES[type_id].classify(Evidence.model_validate({"endpoint": "probe", **evidence}))


DENIED = "Access denied for user 'fed'@'192.0.2.7' (using password: YES)"
MYSQL: list[tuple[dict[str, Any], str]] = [
    # FEDERATED, CONNECT and replication quote another server's refusal of another login.
    ({"error_code": 1218, "message": f"Error connecting to source: {DENIED}"}, "unknown"),
    ({"error_code": 1296, "message": f"Got error 174 '(1045) {DENIED}' from CONNECT"}, "unknown"),
    ({"error_code": 1429, "message": f"Unable to connect to foreign data source: {DENIED}"}, "unknown"),
    ({"error_code": 1430, "message": f"Data source error: : 1045 : {DENIED}"}, "unknown"),
    ({"message": f"Data source error: : 1045 : {DENIED}"}, "unknown"),
    ({"error_code": 1064, "message": DENIED}, "probe_misconfigured"),
    ({"error_code": 1146, "message": DENIED}, "probe_misconfigured"),
    ({"error_code": 2003, "message": DENIED}, "provider_outage"),
    ({"sqlstate": "53300", "message": DENIED}, "unknown"),
    ({"error_code": 1040, "message": "Host 'x' is blocked because"}, "rate_limited"),
    ({"error_code": 1045, "sqlstate": "08S01", "message": "Server shutdown"}, "provider_outage"),
    ({"error_code": 1045, "status_code": 401}, "unknown"),
    ({"error_code": 1045, "message": "for user 'password has expired'@'h'"}, "credentials_rejected"),
    ({"error_code": 1045, "message": "for user 'x' to database 'y'@'h'"}, "credentials_rejected"),
    ({"error_code": 1275}, "credentials_rejected"),
    ({"error_code": 1873}, "credentials_rejected"),
    # Numbers that are no refusal, though a neighbour of theirs is.
    *(({"error_code": number}, "unknown") for number in (3941, 4004, 1132, 1396, 3162, 3891, 4087)),
    (
        {"error_code": 1047, "message": "WSREP has not yet prepared node for application use"},
        "provider_outage",
    ),
    ({"error_code": 1297, "message": f"Got temporary error 245 '{DENIED}' from NDB"}, "provider_outage"),
    ({"error_code": 1105, "message": "vttablet: rpc error: Access denied for user 'a'@'b'"}, "unknown"),
    # What stands in front: ProxySQL, TiDB, Amazon RDS Proxy, Azure.
    (
        {"error_code": 9001, "message": "Max connect timeout reached while reaching hostgroup 0"},
        "provider_outage",
    ),
    ({"error_code": 9005, "message": "Region is unavailable"}, "provider_outage"),
    ({"error_code": 1040, "message": "IAM authentication rate limit exceeded"}, "rate_limited"),
    ({"error_code": 9501, "message": "Timed-out waiting to acquire database connection"}, "rate_limited"),
    ({"error_code": 3159, "message": "This RDS Proxy requires TLS connections."}, "probe_misconfigured"),
    (
        {"error_code": 9000, "message": "Client with IP address '192.0.2.7' is not allowed to connect"},
        "network_denied",
    ),
    ({"error_code": 9000, "message": DENIED}, "unknown"),
    ({"error_code": 2067, "message": "SSO user not found"}, "probe_misconfigured"),
    ({"error_code": 2070, "message": "Unable to locate any hosts for db.example.com"}, "provider_outage"),
    ({"error_code": 4150}, "user_deactivated"),
    ({"error_code": "x.1045"}, "unknown"),
    ({"error_code": "1045.0"}, "unknown"),
    ({"error_code": 1045, "sqlstate": "28000", "message": "Max connect timeout reached"}, "provider_outage"),
    ({"error_code": 1045, "sqlstate": "08004", "message": DENIED}, "credentials_rejected"),
    ({"error_code": 1862, "sqlstate": "08001", "message": "Your password has expired."}, "password_expired"),
    ({"sqlstate": "28000"}, "credentials_rejected"),
    *(({"sqlstate": wrong}, "unknown") for wrong in ("28", "2800", "280000", "28P01")),
    ({"message": f"Can't connect to MySQL server on '{DENIED}' (111)"}, "provider_outage"),
    ({"message": "Access denied for user 'root'@'localhost'"}, "credentials_rejected"),
    ({"message": f"ProxySQL Error: {DENIED}"}, "credentials_rejected"),
    ({"message": f"java.sql.SQLException: {DENIED}\n\tat com.example"}, "credentials_rejected"),
    ({"message": "Access denied for user 'a'@'%' to database 'shop'"}, "insufficient_scope"),
    (
        {"sqlstate": "42000", "message": "Access denied for user 'a'@'%' to database 'b'"},
        "insufficient_scope",
    ),
    ({"message": "SELECT command denied to user 'a'@'%' for table 'b'"}, "insufficient_scope"),
    ({"body": [{"readable": True}]}, "unknown"),
]


@pytest.mark.parametrize(("evidence", "cause"), MYSQL, ids=str)
def test_mysql(evidence: dict[str, Any], cause: str) -> None:
    assert _judge("mysql_direct", driver="mysql", **evidence).cause.value == cause


@pytest.mark.parametrize("words", ["authentication failed", "Something that nobody mapped", None])
@pytest.mark.parametrize(("type_id", "driver"), [("mysql_direct", "mysql"), ("postgresql_ssh", "postgresql")])
def test_a_refusal_by_its_sqlstate_alone_counts_only_when_it_comes_twice(
    type_id: str, driver: str, words: str | None
) -> None:
    found = _judge(type_id, driver=driver, sqlstate="28000", message=words)
    assert (found.cause.value, found.certainty.value) == ("credentials_rejected", "ambiguous")


@pytest.mark.parametrize("sqlstate", ["08001", "08004", "42000", "28000", None])
@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (911, "account_unlinked"),
        (916, "insufficient_scope"),
        (4060, "account_unlinked"),
        (4064, "account_unlinked"),
        (18456, "credentials_rejected"),
        (18487, "password_expired"),
        (40615, "network_denied"),
        (40852, "probe_misconfigured"),
    ],
)
def test_sql_servers_number_outranks_the_sqlstate_that_came_with_it(
    number: int, cause: str, sqlstate: str | None
) -> None:
    found = _judge("microsoft_sql_server", driver="mssql", error_code=number, sqlstate=sqlstate, message="x")
    assert found.cause.value == cause


FAILED = 'connection to server at "db.example.com" (192.0.2.7), port 5432 failed: '
REFUSED = 'FATAL:  password authentication failed for user "fdw"'
SOCKET = "failed: No such file or directory\n\tIs the server running locally and accepting connections on it?"
POSTGRESQL = [
    # postgres_fdw and dblink quote another server's refusal of another login.
    ("08001", f'could not connect to server "remote"\nDETAIL:  {FAILED}{REFUSED}', "unknown"),
    ("08001", f"could not establish connection\nDETAIL:  {FAILED}{REFUSED}", "unknown"),
    ("08006", REFUSED, "credentials_rejected"),
    ("53300", REFUSED, "rate_limited"),
    ("57P03", 'role "x" does not exist', "provider_outage"),
    ("25P03", "FATAL:  terminating connection due to idle-in-transaction timeout", "provider_outage"),
    # PostgreSQL calls it a missing privilege that only a superuser is let in while it stops or is upgraded.
    ("42501", "must be superuser to connect during database shutdown", "provider_outage"),
    ("42501", "must be superuser to connect in binary upgrade mode", "provider_outage"),
    (None, f"{FAILED}FATAL:  must be superuser to connect in binary upgrade mode", "provider_outage"),
    ("55000", 'database "shop" is not currently accepting connections', "provider_outage"),
    ("28000", 'authentication failed for user "mbi": host rejected', "network_denied"),
    # A role that a view or a setting names is not the one that logged in.
    ("42704", 'role "auditor" does not exist', "probe_misconfigured"),
    ("0P000", 'role "auditor" does not exist', "unknown"),
    ("28", "x", "unknown"),
    ("2800", "x", "unknown"),
    ("280000", "x", "unknown"),
    # Under 28000 servers and poolers tell of other things than a login as well.
    ("28000", "SSL connection is required. Please specify SSL options and retry.", "probe_misconfigured"),
    ("28000", "connection requires SSL", "probe_misconfigured"),
    ("28000", "too many connections", "rate_limited"),
    ("28000", "the database system is starting up", "provider_outage"),
    ("28000", "The server is stopped", "provider_outage"),
    # Whoever got as far has satisfied the pooler; the password that is refused is the pooler's.
    ("08P01", 'server login failed: FATAL password authentication failed for user "mbi"', "unknown"),
    ("08P01", "server login failed: FATAL the database system is starting up", "provider_outage"),
    ("08P01", "unsupported startup parameter: extra_float_digits", "probe_misconfigured"),
    ("08P01", "SSL required", "probe_misconfigured"),
    ("08P01", "bouncer config error", "probe_misconfigured"),
    ("08P01", "Endpoint ID is not specified. Either please upgrade", "probe_misconfigured"),
    ("XX000", "The requested endpoint could not be found, or you don't have access.", "account_unlinked"),
    # PgBouncer gives 08P01 with whatever it says.
    ("08P01", "ERROR:  no such user: mbi", "credentials_rejected"),
    ("08P01", "FATAL:  SASL authentication failed", "credentials_rejected"),
    ("08P01", "ERROR:  no such database: shop", "account_unlinked"),
    (None, "ERROR:  no such user: mbi", "credentials_rejected"),
    (None, "FATAL:  no such database: shop", "account_unlinked"),
    (None, f"{FAILED}ERROR:  client_login_timeout (server down)", "provider_outage"),
    (None, 'FATAL:  Cloud SQL IAM user authentication failed for user "a"', "credentials_rejected"),
    (None, f'{FAILED}FATAL:  OAuth bearer authentication failed for user "a"', "credentials_rejected"),
    (None, f"{FAILED}FATAL:  canceling authentication due to timeout", "provider_outage"),
    # Amazon RDS Proxy has words of its own.
    (
        None,
        f"{FAILED}FATAL:  The password that was provided for the role mbi is wrong.",
        "credentials_rejected",
    ),
    (None, f"{FAILED}FATAL:  The IAM authentication failed for the role mbi. Check", "credentials_rejected"),
    (None, f"{FAILED}FATAL:  IAM authentication failed for user mbi. Check", "credentials_rejected"),
    (None, "FATAL:  The IAM authentication failed because of too many competing requests.", "rate_limited"),
    (None, "FATAL:  This RDS proxy has no credentials for the role mbi. Check", "account_unlinked"),
    (None, "FATAL:  This RDS Proxy requires TLS connections.", "probe_misconfigured"),
    (None, "FATAL:  IAM authentication is allowed only with SSL connections.", "probe_misconfigured"),
    (None, "FATAL:  RDS supports only IAM or MD5 authentication.", "probe_misconfigured"),
    (None, "FATAL:  The maximum number of client connections to the proxy exceeded 10", "rate_limited"),
    (None, "FATAL:  Rate of connection to proxy exceeded 10", "rate_limited"),
    (None, "FATAL:  Timed-out waiting to acquire database connection.", "rate_limited"),
    (None, 'FATAL:  Request returned an error: database "shop" does not exist', "account_unlinked"),
    (None, "FATAL:  must be superuser to connect during database shutdown", "provider_outage"),
    (None, "connection already closed", "provider_outage"),
    # libpq's own words, about our set-up and about a server that is not well.
    (None, f"{FAILED}received invalid response to SSL negotiation: H", "unknown"),
    (None, f"{FAILED}expected authentication request from server, but received H", "unknown"),
    (
        None,
        f"{FAILED}none of the server's SASL authentication mechanisms are supported",
        "probe_misconfigured",
    ),
    (None, f'{FAILED}could not open certificate file "/c": No such file or directory', "probe_misconfigured"),
    (None, 'invalid integer value "x" for connection option "port"', "probe_misconfigured"),
    (None, f"{FAILED}FATAL:  empty password returned by client", "probe_misconfigured"),
    (None, f'{FAILED}FATAL:  permission denied to set parameter "log_statement"', "probe_misconfigured"),
    (None, f"{FAILED}could not fork new process for connection: Resource temporarily", "provider_outage"),
    (None, f"{FAILED}server is not in hot standby mode", "provider_outage"),
    (None, f'{FAILED}FATAL:  cannot connect to invalid database "shop"', "account_unlinked"),
    # Words in another language than English say nothing certain.
    (None, f"{FAILED}FATAL:  Passwort-Authentifizierung für Benutzer »mbi« fehlgeschlagen", "unknown"),
    (
        None,
        f'{FAILED}FATAL:  password authentication failed for user "mbi"\npassword retrieved from file "/p"',
        "credentials_rejected",
    ),
    (None, SOCKET, "provider_outage"),
    (None, f'{FAILED}server certificate for "x" does not match host name "y"', "probe_misconfigured"),
    (None, 'private key file "/k" has group or world access; file must have', "probe_misconfigured"),
]


@pytest.mark.parametrize(("state", "message", "cause"), POSTGRESQL, ids=str)
def test_postgresql(state: str | None, message: str, cause: str) -> None:
    found = _judge("postgresql_ssh", driver="postgresql", sqlstate=state, message=message)
    assert found.cause.value == cause


SSH = [
    ("Authentication failed.", "credentials_rejected"),
    ("Permission denied for user mbi on host bastion", "credentials_rejected"),
    ("mbi@bastion: Permission denied (publickey).", "credentials_rejected"),
    ("Error reading SSH protocol banner: Authentication failed.", "provider_outage"),
    ("Unable to connect to port 22 on Permission denied (publickey)", "provider_outage"),
    ("[Errno 2] No such file or directory: '/keys/Permission denied (publickey)'", "unknown"),
    ("[Errno None] Unable to connect to port 22 on 192.0.2.7", "provider_outage"),
    ("ChannelException(2, 'Connect failed')", "provider_outage"),
    ("ChannelException(1, 'Administratively prohibited')", "network_denied"),
    ("ChannelException(3, 'Unknown channel type')", "network_denied"),
    ("Unable to agree on a pubkey algorithm for signing a 'ssh-rsa' key!", "probe_misconfigured"),
    ("Bad password or corrupt private key file", "probe_misconfigured"),
    ("Negotiation failed.", "unknown"),
    ("SSH session not active", "provider_outage"),
    ("Server connection dropped: ", "provider_outage"),
    ("ssh: connect to host bastion port 22: Operation timed out", "provider_outage"),
]


@pytest.mark.parametrize(("message", "cause"), SSH)
def test_ssh(message: str, cause: str) -> None:
    assert _judge("postgresql_ssh", driver="ssh", message=message).cause.value == cause


@pytest.mark.parametrize(
    ("error_code", "message", "cause"),
    [
        (
            "AuthenticationException",
            "Unable to agree on a pubkey algorithm for signing a 'ssh-rsa' key!",
            "probe_misconfigured",
        ),
        ("UnableToAuthenticate", "", "credentials_rejected"),
        ("ChannelException", "ChannelException(4, 'Resource shortage')", "rate_limited"),
        ("ChannelException", "ChannelException(2, 'Connect failed')", "provider_outage"),
        ("SSHException", "Negotiation failed.", "provider_outage"),
        ("SSHException", "Disconnect (code 14): no more auth methods available", "unknown"),
        ("SSHException", "Disconnect (code 2): protocol error", "provider_outage"),
        ("SSHException", "rsa key not parseable", "probe_misconfigured"),
        ("MessageOrderError", "Expected an unknown message", "provider_outage"),
    ],
)
def test_ssh_by_the_exceptions_class(error_code: str, message: str, cause: str) -> None:
    found = _judge("mysql_ssh", driver="ssh", error_code=error_code, message=message)
    assert found.cause.value == cause
