"""Opening a database through the official provider's hook and, where the connection asks, an SSH tunnel."""

from __future__ import annotations

import importlib
import math
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from mbi_reauth.core.evidence import Driver
from mbi_reauth.probes.credential import Credential, MisconfiguredError

TUNNEL_EXTRA = "ssh_conn_id"
_LOCAL = "127.0.0.1"  # not "localhost", for which MySQL's clients take a socket file
_DRIVERS = ("psycopg", "psycopg2", "MySQLdb", "mysql.connector", "pymysql", "pymssql")
_HOOKS = {
    Driver.POSTGRESQL: "airflow.providers.postgres.hooks.postgres",
    Driver.MYSQL: "airflow.providers.mysql.hooks.mysql",
    Driver.MSSQL: "airflow.providers.microsoft.mssql.hooks.mssql",
    Driver.MONGODB: "airflow.providers.mongo.hooks.mongo",
}
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


@dataclass(frozen=True)
class Engine:
    """What a connection type of Airflow means here; ``quotes`` stand around names, where they are quoted."""

    driver: Driver
    port: int
    extra: str
    quotes: str = ""

    def quoted(self, name: str) -> str:
        """Quote a table's name, part by part."""
        return ".".join(map(self.quoted_part, name.split(".")))

    def quoted_part(self, name: str) -> str:
        """Quote a name that has no parts, as a column's."""
        opening, closing = self.quotes[0], self.quotes[1]
        return f"{opening}{name.replace(closing, 2 * closing)}{closing}"


ENGINES = {
    "postgres": Engine(Driver.POSTGRESQL, 5432, "postgres", '""'),
    "mysql": Engine(Driver.MYSQL, 3306, "mysql", "``"),
    "mssql": Engine(Driver.MSSQL, 1433, "mssql", "[]"),
    "mongo": Engine(Driver.MONGODB, 27017, "mongo"),
}


def engine_of(credential: Credential) -> Engine:
    """Find what kind of database a connection leads to.

    :raises MisconfiguredError: no kind that this version knows
    """
    engine = ENGINES.get(credential.conn_type)
    if engine is None:
        raise MisconfiguredError(
            f"The Airflow connection {credential.conn_id!r} is of type {credential.conn_type!r}; for a "
            f"database it must be {' or '.join(ENGINES)}"
        )
    return engine


@contextmanager
def open_database(
    credential: Credential,
    *,
    ssh: Credential | None = None,
    timeout: float = 10,
    read_timeout: float = 600,
) -> Iterator[Any]:
    """Log in once; yield the driver's connection, and close it and the tunnel afterwards.

    MongoDB's is PyMongo's ``Database``, which logs in with its first question.

    :param ssh: the connection of the SSH server to go through
    :param timeout: seconds for connecting, on each leg
    :param read_timeout: seconds that the database may take for one answer; PostgreSQL has no such limit
    :raises MisconfiguredError: the connection lacks something, or a package is missing
    :raises TunnelError: the tunnel failed
    """
    engine = engine_of(credential)
    _refuse_incomplete(credential, engine)
    require_packages(credential)
    with nullcontext(None) if ssh is None else _tunnel(ssh, credential, engine, timeout) as port:
        target = credential if port is None else _through(credential, engine, port)
        own = {name: value for name, value in target.extra.items() if name != TUNNEL_EXTRA}
        seconds, read_seconds = (max(1, math.ceil(limit)) for limit in (timeout, read_timeout))
        connect = _CONNECT[engine.driver]
        with connect(replace(target, extra=own), seconds, read_seconds) as connection:
            yield connection


def _refuse_incomplete(credential: Credential, engine: Engine) -> None:
    # A MongoDB may run without authorization, and then needs no login.
    needed = ("host", "schema") if engine.driver is Driver.MONGODB else ("host", "login")
    for name in needed:
        if not credential.has(name):
            raise MisconfiguredError(
                f"The Airflow connection {credential.conn_id!r} has no {name}; fill it in"
            )


def _tunnel(ssh: Credential, credential: Credential, engine: Engine, timeout: float) -> Any:
    from mbi_reauth.probes.ssh import tunnel

    if engine.driver is Driver.MONGODB:
        from mbi_reauth.probes.mongodb import refuse_what_no_tunnel_carries

        refuse_what_no_tunnel_carries(credential)
    return tunnel(ssh, host=credential.host, port=credential.port or engine.port, timeout=timeout)


def _through(credential: Credential, engine: Engine, port: int) -> Credential:
    if engine.driver is Driver.POSTGRESQL:
        # The host stays, because the server's certificate is verified against it.
        return replace(credential, port=port, extra={**credential.extra, "hostaddr": _LOCAL})
    if engine.driver is Driver.MONGODB:
        from mbi_reauth.probes.mongodb import through_tunnel

        return through_tunnel(credential, port)
    return replace(credential, host=_LOCAL, port=port)


def _connect_sql_server(
    credential: Credential, timeout: int, read_timeout: int
) -> AbstractContextManager[Any]:
    from mbi_reauth.probes.sql_server import log_in

    # The hook would give the driver the port "None".
    target = replace(credential, port=credential.port or ENGINES["mssql"].port)
    return closing(log_in(target, timeout=timeout, read_timeout=read_timeout))


def _connect_mongodb(credential: Credential, timeout: int, read_timeout: int) -> AbstractContextManager[Any]:
    from mbi_reauth.probes.mongodb import opened

    return opened(credential, timeout=timeout, read_timeout=read_timeout)


def _connect_mysql(credential: Credential, timeout: int, read_timeout: int) -> AbstractContextManager[Any]:
    from mbi_reauth.probes.airflow_value import as_connection
    from mbi_reauth.probes.mysql_hook import BoundedMySqlHook

    hook = BoundedMySqlHook(
        connection=as_connection(credential), connect_timeout=timeout, read_timeout=read_timeout
    )
    return closing(hook.get_conn())


def _connect_postgresql(credential: Credential, timeout: int, _: int) -> AbstractContextManager[Any]:
    # What the connection says itself goes before; libpq then gives up on a peer that vanished.
    limits = {"connect_timeout": timeout, "tcp_user_timeout": timeout * 1000, **_KEEPALIVES}
    given = {**limits, **_one_address(credential, timeout), **credential.extra}
    return closing(_log_in_once(replace(credential, extra=given)))


def _one_address(credential: Credential, timeout: int) -> dict[str, str]:
    """Choose the first address of the host that answers, else the last.

    psycopg 3 would send a password that was refused to each other address, too; it would count as often.
    """
    if "hostaddr" in credential.extra or "/" in credential.host or "," in credential.host:
        return {}
    port = credential.port or ENGINES["postgres"].port
    try:
        found = socket.getaddrinfo(credential.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return {}  # the driver has the words for it
    *others, last = dict.fromkeys(str(each[4][0]) for each in found)
    for address in others:
        with suppress(OSError), socket.create_connection((address, port), timeout):
            return {"hostaddr": address}
    return {"hostaddr": last}


_CONNECT = {
    Driver.POSTGRESQL: _connect_postgresql,
    Driver.MYSQL: _connect_mysql,
    Driver.MSSQL: _connect_sql_server,
    Driver.MONGODB: _connect_mongodb,
}


def _log_in_once(credential: Credential) -> Any:
    """Connect encrypted where the server can, as libpq prefers by itself.

    But libpq repeats a login that was refused, without encryption; a wrong password would count twice.
    """
    if "sslmode" in credential.extra or "PGSSLMODE" in os.environ:
        return _log_in(credential)
    try:
        return _log_in(replace(credential, extra={**credential.extra, "sslmode": "require"}))
    except driver_errors() as error:
        if not _was_before_login(str(error)):
            raise
    return _log_in(replace(credential, extra={**credential.extra, "sslmode": "disable"}))


def _log_in(credential: Credential) -> Any:
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    from mbi_reauth.probes.airflow_value import as_connection

    hook = PostgresHook(postgres_conn_id=credential.conn_id, connection=as_connection(credential))
    return hook.get_conn()


def _was_before_login(message: str) -> bool:
    """Tell whether the server refused the encryption, before any password was looked at.

    Not a handshake that broke: the password would go in the clear, to whoever broke it.
    """
    return "pg_hba.conf" in message or "server does not support SSL" in message


def driver_errors() -> tuple[type[Exception], ...]:
    """Name the base error of each driver that is loaded; the one in use is."""
    return tuple(sys.modules[name].Error for name in _DRIVERS if name in sys.modules)


def _mysql_client(credential: Credential) -> str:
    client = credential.get("client") or "mysqlclient"
    modules = {"mysqlclient": "MySQLdb", "mysql-connector-python": "mysql.connector"}
    if client not in modules:
        raise MisconfiguredError(
            f"The extra 'client' of the Airflow connection {credential.conn_id!r} must be "
            f"{' or '.join(modules)}, not {client!r}"
        )
    return modules[client]


def require_packages(credential: Credential) -> None:
    """Import what the connection's type of database needs.

    :raises MisconfiguredError: it is not installed; the message has the line to type
    """
    engine = engine_of(credential)
    modules = [_HOOKS[engine.driver]]
    if engine.driver is Driver.MYSQL:
        modules.insert(0, _mysql_client(credential))
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        # Its words, since a package may be there and lack a library of the system.
        raise MisconfiguredError(
            f"A {engine.driver.value} source needs a package ({error}): "
            f"pip install 'mbi-reauth[{engine.extra}]'"
        ) from None
