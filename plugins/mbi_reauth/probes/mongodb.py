"""A MongoDB login and the right to read, turned into evidence, through Airflow's hook and PyMongo."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

from airflow.exceptions import AirflowConfigException
from airflow.providers.mongo.hooks.mongo import MongoHook
from pymongo import MongoClient, errors
from pymongo.database import Database

from mbi_reauth.core.evidence import Driver, Endpoint, Evidence, TransportFailure
from mbi_reauth.core.integration import Table
from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.database import open_database
from mbi_reauth.probes.secret_values import SecretValues
from mbi_reauth.probes.ssh import TunnelError

Document: TypeAlias = Mapping[str, Any]

_LOCAL = "127.0.0.1"
_NOWHERE = "mbi_reauth.no_such_collection"
_NO_PASSWORD = frozenset({"MONGODB-X509", "MONGODB-AWS", "MONGODB-OIDC", "GSSAPI"})
"""Mechanisms that log in without a password of their own."""

_SETTINGS = re.compile(r" \(configured timeouts: [^)]*\)")
# PyMongo has no numbers for what happens before a server answers; these are its own and Python's words.
_FAILURES = (
    (re.compile(r"SSL handshake failed|certificate verify failed|CERTIFICATE_VERIFY"), TransportFailure.TLS),
    (re.compile(r"Name or service not known|getaddrinfo|failure in name resolution"), TransportFailure.DNS),
    (re.compile(r"resolution lifetime expired|DNS operation timed out"), TransportFailure.DNS),
    (re.compile(r"nameservers failed"), TransportFailure.DNS),
    (re.compile(r"Connection refused|No route to host|unreachable"), TransportFailure.CONNECTION_REFUSED),
    (re.compile(r"connection closed|Connection reset|Broken pipe"), TransportFailure.CONNECTION_RESET),
    (re.compile(r"timed out|No servers found yet|No replica set members"), TransportFailure.TIMEOUT),
)


def probe_mongodb(
    credential: Credential, tables: Sequence[Table], *, ssh: Credential | None = None, timeout: float = 10
) -> Evidence:
    """Log in once and read the ``_id`` of one document of each collection; without collections, list them.

    Not ``ping`` or ``hello``, which answer everybody. Blocks; connecting and each question may take
    ``timeout`` seconds. Where the connection has no login, the evidence says ``authenticated: false``: the
    server admits everybody, and nothing is proved of a credential.

    :raises MisconfiguredError: the connection lacks something, a package is missing, or a collection is
    """
    try:
        with open_database(credential, ssh=ssh, timeout=timeout, read_timeout=timeout) as database:
            _read(database, tables)
    except TunnelError as error:
        return error.evidence
    except errors.PyMongoError as error:
        return evidence_of(error, SecretValues.of(credential))
    body = {"readable": True} if _logs_in(credential) else {"readable": True, "authenticated": False}
    return Evidence(endpoint=Endpoint.PROBE, driver=Driver.MONGODB, body=body)


def _read(database: Database[Any], tables: Sequence[Table]) -> None:
    if not tables and not _collections(database):
        # Those that a login may not read are left out of the list, so an empty one can be a refusal.
        database[_NOWHERE].find_one(projection=("_id",))
    for table in tables:
        if database[table.name].find_one(projection=("_id",)) is None:
            refuse_missing(database, table)


def refuse_missing(database: Database[Any], table: Table) -> None:
    """Tell an empty collection from none, which MongoDB reads as well.

    :raises MisconfiguredError: there is none of that name
    """
    if not _collections(database, {"name": table.name}):
        raise MisconfiguredError(
            f"The database {database.name!r} has no collection {table.name!r}; put the registry right"
        )


def _collections(database: Database[Any], wanted: Document | None = None) -> list[str]:
    return database.list_collection_names(filter=wanted, authorizedCollections=True)


@contextmanager
def opened(credential: Credential, *, timeout: int, read_timeout: int) -> Iterator[Database[Any]]:
    """Make a client that gives up in time and never tries a login twice; yield the connection's database.

    :raises MisconfiguredError: the connection has a login and no password, or options that PyMongo refuses
    """
    without = credential.get("authMechanism") in _NO_PASSWORD
    if credential.has("login") and not (credential.password or without):
        raise MisconfiguredError(
            f"The Airflow connection {credential.conn_id!r} has no password; fill it in, or the hook would "
            "not log in at all"
        )
    client = _client(credential, timeout, read_timeout)
    try:
        yield client[credential.schema]
    finally:
        client.close()


def _client(credential: Credential, timeout: int, read_timeout: int) -> MongoClient[Any]:
    # What the connection says itself goes before. PyMongo would send a question again, and with it the login,
    # where a server hangs up on a password that it does not like.
    extra = {
        "connectTimeoutMS": timeout * 1000,
        "serverSelectionTimeoutMS": timeout * 1000,
        "socketTimeoutMS": read_timeout * 1000,
        "appname": "mbi_reauth",
        **credential.extra,
        "retryReads": False,
    }
    target = replace(credential, extra=extra)

    class GivenMongoHook(MongoHook):
        """The provider's hook over a connection that has been read already (a thread cannot read one)."""

        @classmethod
        def get_connection(cls, conn_id: str) -> Any:  # noqa: ARG003
            return as_connection(target)

    try:
        return GivenMongoHook(mongo_conn_id=credential.conn_id).get_conn()
    except errors.ConfigurationError as error:
        if _failure_of(str(error)) is not None:
            raise
        raise _unusable(credential, error) from None
    except (AirflowConfigException, errors.InvalidURI, errors.InvalidName, TypeError, ValueError) as error:
        raise _unusable(credential, error) from None


def _unusable(credential: Credential, error: Exception) -> MisconfiguredError:
    words = SecretValues.of(credential).hide(str(error))
    return MisconfiguredError(
        f"PyMongo does not take the Airflow connection {credential.conn_id!r}; see host and extra: {words}"
    )


def refuse_what_no_tunnel_carries(credential: Credential) -> None:
    """Refuse what cannot work through one local port.

    :raises MisconfiguredError: several servers, or a certificate's name that PyMongo could not check
    """
    if "," in credential.host or _says_yes(credential, "srv"):
        raise MisconfiguredError(
            f"The Airflow connection {credential.conn_id!r} names several servers, and a tunnel leads to "
            "one: give one server's name as the host, and no srv"
        )
    checked = _says_yes(credential, "tls", "ssl") and not _says_yes(
        credential, "tlsAllowInvalidHostnames", "allow_insecure", "tlsInsecure"
    )
    if checked and credential.host not in ("localhost", _LOCAL):
        raise MisconfiguredError(
            f"The Airflow connection {credential.conn_id!r} wants TLS through a tunnel, whose end here is "
            f"not called {credential.host!r}, and PyMongo checks a certificate against no other name than "
            "that of the end. Set the extra tlsAllowInvalidHostnames to true: who issued it is still checked"
        )


def through_tunnel(credential: Credential, port: int) -> Credential:
    """Lead to the tunnel's end, and to no member of a replica set that the server may name."""
    extra = {name: value for name, value in credential.extra.items() if name.lower() != "replicaset"}
    host = credential.host if credential.host == "localhost" else _LOCAL
    return replace(credential, host=host, port=port, extra={**extra, "directConnection": True})


def _says_yes(credential: Credential, *names: str) -> bool:
    given = {name.lower(): str(value).lower() for name, value in credential.extra.items()}
    return any(given.get(name.lower()) == "true" for name in names)


def _logs_in(credential: Credential) -> bool:
    return credential.has("login") or credential.has("authMechanism")


def evidence_of(error: errors.PyMongoError, secrets: SecretValues) -> Evidence:
    """Read an error of PyMongo: the server's code where a server answered, else the exception's name."""
    details = getattr(error, "details", None)
    answer: Document = details if isinstance(details, Mapping) else {}
    code = answer.get("code", getattr(error, "code", None))
    words = str(answer.get("errmsg") or _own_words(error))
    return Evidence(
        endpoint=Endpoint.PROBE,
        driver=Driver.MONGODB,
        error_code=code if isinstance(code, int) else type(error).__name__,
        failure=None if isinstance(code, int) else _failure(error),
        message=secrets.hide(words.strip()),
    )


def _failure(error: errors.PyMongoError) -> TransportFailure | None:
    if isinstance(error, errors.NetworkTimeout):
        return TransportFailure.TIMEOUT
    found = _failure_of(_own_words(error))
    if found is None and isinstance(error, errors.ServerSelectionTimeoutError):
        return TransportFailure.TIMEOUT
    if found is None and isinstance(error, errors.ConnectionFailure):
        return TransportFailure.CONNECTION_RESET
    return found


def _own_words(error: errors.PyMongoError) -> str:
    """Read a message without what PyMongo appends, its settings and the topology."""
    return _SETTINGS.sub("", str(error).partition(", Timeout: ")[0])


def _failure_of(words: str) -> TransportFailure | None:
    return next((failure for pattern, failure in _FAILURES if pattern.search(words)), None)
