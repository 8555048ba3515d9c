"""The accounts' connections as Airflow reads them from a secrets backend."""

from __future__ import annotations

import json

from airflow.secrets import BaseSecretsBackend

from benchmarks.accounts import Accounts


class AccountsBackend(BaseSecretsBackend):
    """For a process without Airflow's supervisor, which would ask the API server.

    Not the environment: the more variables there are, the longer httpx takes to make a client.
    """

    def __init__(self, accounts: str) -> None:
        self._accounts = Accounts.of_json(accounts)
        self._ids = frozenset(self._accounts.ids)

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:  # noqa: ARG002
        """Give a connection as JSON."""
        return json.dumps(self._accounts.connection(conn_id)) if conn_id in self._ids else None
