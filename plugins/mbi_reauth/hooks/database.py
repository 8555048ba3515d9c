"""A database integration's source, for extraction code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mbi_reauth.core.integration import Integration
from mbi_reauth.hooks.connections import read_connection
from mbi_reauth.probes.credential import AirflowConnection, Credential
from mbi_reauth.probes.database import TUNNEL_EXTRA, open_database


@contextmanager
def database(
    integration: Integration,
    connection: AirflowConnection | None = None,
    *,
    timeout: float = 10,
    read_timeout: float = 3600,
) -> Iterator[Any]:
    """Log in as the integration's check does, through its SSH tunnel where it has one.

    Yields the driver's own connection (psycopg, psycopg2, MySQLdb, mysql.connector or pymssql), which
    streams: ask for a named cursor, an ``SSCursor`` or an unbuffered cursor; pymssql always does. Of MongoDB
    it is PyMongo's ``Database``. Closes it and the tunnel afterwards.

    :param connection: the integration's Airflow connection, if it has been read already
    :param timeout: seconds for connecting, on each leg
    :param read_timeout: seconds that the database may take between two answers; PostgreSQL has no such limit
    :raises MisconfiguredError: the connection lacks something, or a package is missing
    :raises ConnectionNotFoundError: Airflow has no such connection
    :raises TunnelError: the SSH server was not reached, refused the login or could not reach the database
    """
    credential = Credential.of(connection) if connection else read_connection(integration.conn_id)
    ssh_conn_id = credential.get(TUNNEL_EXTRA)
    ssh = read_connection(ssh_conn_id) if ssh_conn_id else None
    with open_database(credential, ssh=ssh, timeout=timeout, read_timeout=read_timeout) as opened:
        yield opened
