"""What an Airflow connection holds, read once and kept as a value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

WEB_SCHEMES = ("http", "https")


class MisconfiguredError(Exception):
    """A probe cannot even be sent; the message names the connection, the field and what to do, no secret."""


class AirflowConnection(Protocol):
    """The fields that Airflow's two ``Connection`` classes share (task SDK and metadata database)."""

    conn_id: Any
    conn_type: Any
    host: Any
    port: Any
    schema: Any
    login: Any
    password: Any
    extra: Any


@dataclass(frozen=True)
class Credential:
    """One connection's fields; equal credentials are the same login with the same secrets."""

    conn_id: str
    conn_type: str
    host: str = ""
    port: int | None = None
    schema: str = ""
    login: str = ""
    password: str = field(default="", repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, connection: AirflowConnection) -> Credential:
        """Read a connection.

        :raises MisconfiguredError: its extra is not a JSON object
        """
        return cls(
            conn_id=connection.conn_id,
            conn_type=connection.conn_type or "",
            host=connection.host or "",
            port=connection.port,
            schema=connection.schema or "",
            login=connection.login or "",
            password=connection.password or "",
            extra=_extra_of(connection),
        )

    @property
    def base_url(self) -> str:
        """The host as an address, ``https`` unless it says otherwise; empty without a host."""
        if not self.host:
            return ""
        if "://" in self.host:
            address = self.host
        else:
            scheme = self.schema if self.schema in WEB_SCHEMES else "https"
            address = f"{scheme}://{self.host}"
        return (f"{address}:{self.port}" if self.port else address).rstrip("/")

    def has(self, name: str) -> bool:
        """Whether a field of the connection's form, or an extra of that name, is filled in."""
        return bool(self.get(name))

    def get(self, name: str) -> str:
        """Read a field of the form, or the extra of that name (``extra.`` in front is allowed), as text."""
        if name in ("host", "login", "password", "schema", "port"):
            value = getattr(self, name)
        else:
            value = self.extra.get(name.removeprefix("extra."))
        return "" if value is None else str(value)


def _extra_of(connection: AirflowConnection) -> dict[str, Any]:
    if not connection.extra:
        return {}
    try:
        extra = json.loads(connection.extra)
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise MisconfiguredError(
            f"The extra of the Airflow connection {connection.conn_id!r} is not a JSON object; edit it"
        )
    return extra
