"""Where a check reads Airflow's connections from."""

from __future__ import annotations

import asyncio
import threading
from typing import Protocol

from mbi_reauth.probes.credential import Credential, MisconfiguredError

_ASKING = threading.Lock()
"""One question to Airflow's supervisor at a time: that of ``dag.test()`` mixes up answers (Airflow 3.3.2)."""


class ConnectionNotFoundError(LookupError):
    """Airflow knows no connection of this id, or cannot read it just now: it does not tell the two apart."""


class Connections(Protocol):
    """Reads connections; nothing more is needed to check an integration."""

    async def get(self, conn_id: str) -> Credential:
        """Read one.

        :raises ConnectionNotFoundError: there is none
        :raises MisconfiguredError: its extra is not a JSON object
        """


class AirflowConnections:
    """Reads them as Airflow gives them to this process: task, triggerer, API server or command line.

    In a thread, since the synchronous call works in all four. Airflow's asynchronous one takes a lock in a
    task that belongs to the first event loop; a sensor's second round has another (Airflow 3.3.2).
    """

    async def get(self, conn_id: str) -> Credential:
        """Read one afresh, and keep its secrets out of the logs of this process and of its supervisor."""
        return await asyncio.to_thread(read_connection, conn_id)


def read_connection(conn_id: str) -> Credential:
    """Read a connection as :meth:`AirflowConnections.get` does; from code that has no event loop."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException
    from airflow.sdk.log import mask_secret

    try:
        with _ASKING:
            connection = BaseHook.get_connection(conn_id)
        credential = Credential.of(connection)
    except AirflowNotFoundException:
        raise ConnectionNotFoundError(conn_id) from None
    except PermissionError:
        raise MisconfiguredError(
            f"This DAG may not read the Airflow connection {conn_id!r}; let its team use it"
        ) from None
    # Airflow masks the extra as one text; a log line would show a single value of it.
    with _ASKING:
        mask_secret(dict(credential.extra))
    return credential


async def mask(secret: str) -> None:
    """Keep a secret out of the logs; in a thread for the same reason."""
    await asyncio.to_thread(_mask, secret)


def _mask(secret: str) -> None:
    from airflow.sdk.log import mask_secret

    with _ASKING:
        mask_secret(secret)
