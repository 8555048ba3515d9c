"""Airflow's MySQL hook with time limits.

The provider (apache-airflow-providers-mysql 6.7, 2026) passes no time limit to either client library and has
no public way to add one, so this overrides the two methods that gather a client's arguments. A test opens a
connection to a silent server and fails when the provider no longer calls them.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.mysql.hooks.mysql import MySqlHook  # type: ignore[import-not-found, unused-ignore]


class BoundedMySqlHook(MySqlHook):  # type: ignore[misc, unused-ignore]
    """Connects within ``connect_timeout`` seconds; waits for an answer at most ``read_timeout`` seconds."""

    def __init__(self, *, connection: Any, connect_timeout: int, read_timeout: int) -> None:
        super().__init__(mysql_conn_id=connection.conn_id, connection=connection)
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout

    def _get_conn_config_mysql_client(self, conn: Any) -> dict[str, Any]:
        config: dict[str, Any] = super()._get_conn_config_mysql_client(conn)
        return {**config, **self._limits("connect_timeout")}

    def _get_conn_config_mysql_connector_python(self, conn: Any) -> dict[str, Any]:
        config: dict[str, Any] = super()._get_conn_config_mysql_connector_python(conn)
        return {**config, **self._limits("connection_timeout")}

    def _limits(self, connecting: str) -> dict[str, int]:
        return {
            connecting: self._connect_timeout,
            "read_timeout": self._read_timeout,
            "write_timeout": self._read_timeout,
        }
