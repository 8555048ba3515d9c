"""An Airflow connection made from a value, for the providers' hooks."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk import Connection

from mbi_reauth.probes.credential import Credential


class ReadConnection(Connection):
    """A connection whose secrets are masked already.

    Reading the extra of an ordinary one masks them once more, by a message to the supervisor of the task; a
    thread beside a triggerer's event loop must not wait for that.
    """

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The extra, parsed."""
        return json.loads(self.extra) if self.extra else {}


def as_connection(credential: Credential) -> Connection:
    """Make the connection that a provider's hook expects."""
    return ReadConnection(
        conn_id=credential.conn_id,
        conn_type=credential.conn_type,
        host=credential.host or None,
        port=credential.port,
        schema=credential.schema or None,
        login=credential.login or None,
        password=credential.password or None,
        extra=json.dumps(dict(credential.extra)),
    )
