"""Opening a database through the official provider's hook and, where the connection asks, an SSH tunnel."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from mbi_reauth.core.evidence import Driver
from mbi_reauth.probes.credential import Credential, MisconfiguredError

TUNNEL_EXTRA = "ssh_conn_id"
_LOCAL = "127.0.0.1"  # not "localhost", for which MySQL's clients take a socket file
_DRIVERS = ("psycopg", "psycopg2", "MySQLdb", "mysql.connector", "pymysql")
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


@dataclass(frozen=True)
class Engine:
    """What a connection type of Airflow means here."""

    driver: Driver
    port: int
    extra: str
    quote: str

    def quoted(self, name: str) -> str:
        """Quote a table's name, part by part."""
        return ".".join(f"{self.quote}{part}{self.quote}" for part in name.split("."))


ENGINES = {
    "postgres": Engine(Driver.POSTGRESQL, 5432, "postgres", '"'),
    "mysql": Engine(Driver.MYSQL, 3306, "mysql", "`"),
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

    :param ssh: the connection of the SSH server to go through
    :param timeout: seconds for connecting, on each leg
    :param read_timeout: seconds that MySQL may take for one answer; PostgreSQL has no such limit
    :raises MisconfiguredError: the connection lacks something, or a package is missing
    :raises TunnelError: the tunnel failed
    """
    engine = engine_of(credential)
    for name in ("host", "login"):
        if not credential.has(name):
            raise MisconfiguredError(
                f"The Airflow connection {credential.conn_id!r} has no {name}; fill it in"
            )
    with nullcontext(None) if ssh is None else _tunnel(ssh, credential, engine, timeout) as port:
        target = credential if port is None else _through(credential, engine, port)
        seconds, read_seconds = (max(1, math.ceil(limit)) for limit in (timeout, read_timeout))
        with closing(_connect(target, engine, seconds, read_seconds)) as connection:
            yield connection


def _tunnel(ssh: Credential, credential: Credential, engine: Engine, timeout: float) -> Any:
    from mbi_reauth.probes.ssh import tunnel

    return tunnel(ssh, host=credential.host, port=credential.port or engine.port, timeout=timeout)


def _through(credential: Credential, engine: Engine, port: int) -> Credential:
    if engine.driver is Driver.POSTGRESQL:
        # The host stays, because the server's certificate is verified against it.
        return replace(credential, port=port, extra={**credential.extra, "hostaddr": _LOCAL})
    return replace(credential, host=_LOCAL, port=port)


def _connect(credential: Credential, engine: Engine, timeout: int, read_timeout: int) -> Any:
    own = {name: value for name, value in credential.extra.items() if name != TUNNEL_EXTRA}
    if engine.driver is Driver.MYSQL:
        return _connect_mysql(replace(credential, extra=own), engine, timeout, read_timeout)
    # What the connection says itself goes before; libpq then gives up on a peer that vanished.
    limits = {"connect_timeout": timeout, "tcp_user_timeout": timeout * 1000, **_KEEPALIVES}
    return _connect_postgresql(replace(credential, extra={**limits, **own}), engine)


def _connect_mysql(credential: Credential, engine: Engine, timeout: int, read_timeout: int) -> Any:
    _require(_mysql_client(credential), engine)
    _require("airflow.providers.mysql.hooks.mysql", engine)
    from mbi_reauth.probes.airflow_value import as_connection
    from mbi_reauth.probes.mysql_hook import BoundedMySqlHook

    hook = BoundedMySqlHook(
        connection=as_connection(credential), connect_timeout=timeout, read_timeout=read_timeout
    )
    return hook.get_conn()


def _connect_postgresql(credential: Credential, engine: Engine) -> Any:
    """Connect encrypted where the server can, as libpq prefers by itself.

    But libpq repeats a login that was refused, without encryption; a wrong password would count twice.
    """
    _require("airflow.providers.postgres.hooks.postgres", engine)
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
    """Tell whether the encryption was refused, before any password was looked at."""
    if "pg_hba.conf" in message:
        return True
    return "SSL" in message and not any(word in message for word in ("FATAL", "certificate"))


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


def _require(module: str, engine: Engine) -> None:
    try:
        importlib.import_module(module)
    except ImportError:
        raise MisconfiguredError(
            f"A {engine.driver.value} source needs a package: pip install 'mbi-reauth[{engine.extra}]'"
        ) from None
