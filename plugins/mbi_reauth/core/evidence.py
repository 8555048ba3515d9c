"""What came back from a probe or from a token endpoint, as a value."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict


class Endpoint(str, Enum):
    """Which question was asked: the same status means different things at the two (RFC 6749 section 5.2)."""

    PROBE = "probe"
    TOKEN = "token"


class TransportFailure(str, Enum):
    """No answer came; says nothing about the credential."""

    TIMEOUT = "timeout"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_RESET = "connection_reset"
    DNS = "dns"
    TLS = "tls"
    TOO_MANY_REDIRECTS = "too_many_redirects"


class Driver(str, Enum):
    """Whose error numbers ``error_code`` and ``sqlstate`` are."""

    MYSQL = "mysql"
    POSTGRESQL = "postgresql"
    MSSQL = "mssql"
    MONGODB = "mongodb"
    SSH = "ssh"


class Evidence(BaseModel):
    """One answer, or the lack of one.

    ``body`` is the text as received (bounded), or a value already parsed from JSON. ``error_code`` is a
    driver's error number, or the name of an exception class where the driver has no numbers (SSH).
    A successful SQL probe has ``driver`` and ``body == {"readable": true}``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: Endpoint
    status_code: int | None = None
    headers: dict[str, str] = {}
    body: Any = None
    failure: TransportFailure | None = None
    driver: Driver | None = None
    error_code: int | str | None = None
    sqlstate: str | None = None
    message: str | None = None
