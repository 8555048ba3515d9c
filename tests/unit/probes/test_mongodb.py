"""What PyMongo's errors become."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import errors

from mbi_reauth.core.evidence import TransportFailure
from mbi_reauth.probes.mongodb import evidence_of
from mbi_reauth.probes.secret_values import SecretValues

SETTINGS = " (configured timeouts: socketTimeoutMS: 2000.0ms, connectTimeoutMS: 2000.0ms)"
TOPOLOGY = ", Timeout: 3.0s, Topology Description: <TopologyDescription id: 1, topology_type: Unknown>"
NO_PRIMARY = {"ok": 0.0, "errmsg": "not primary", "code": 10107, "codeName": "NotWritablePrimary"}


@pytest.mark.parametrize(
    ("error", "code", "message", "failure"),
    [
        (errors.OperationFailure("denied, full error: {}", 13, {"errmsg": "denied"}), 13, "denied", None),
        (errors.OperationFailure("no details", 18), 18, "no details", None),
        (errors.NotPrimaryError("not primary, full error: {}", NO_PRIMARY), 10107, "not primary", None),
        (
            errors.AutoReconnect(f"db:27017: connection closed{SETTINGS}"),
            "AutoReconnect",
            "db:27017: connection closed",
            TransportFailure.CONNECTION_RESET,
        ),
        (errors.NetworkTimeout("db:27017: timed out"), "NetworkTimeout", None, TransportFailure.TIMEOUT),
        (
            errors.ServerSelectionTimeoutError(f"db:1: [Errno 111] Connection refused{SETTINGS}{TOPOLOGY}"),
            "ServerSelectionTimeoutError",
            "db:1: [Errno 111] Connection refused",
            TransportFailure.CONNECTION_REFUSED,
        ),
        (
            errors.ServerSelectionTimeoutError("db: SSL handshake failed: certificate verify failed"),
            "ServerSelectionTimeoutError",
            None,
            TransportFailure.TLS,
        ),
        (
            errors.ServerSelectionTimeoutError("No replica set members match selector"),
            "ServerSelectionTimeoutError",
            None,
            TransportFailure.TIMEOUT,
        ),
        (
            errors.ConfigurationError("The resolution lifetime expired after 10.0 seconds"),
            "ConfigurationError",
            None,
            TransportFailure.DNS,
        ),
        (errors.ConfigurationError("The DNS query name does not exist"), "ConfigurationError", None, None),
        (
            errors.ConnectionFailure("something new"),
            "ConnectionFailure",
            None,
            TransportFailure.CONNECTION_RESET,
        ),
        (errors.OperationFailure("Server returned an invalid nonce."), "OperationFailure", None, None),
    ],
)
def test_an_error_gives_the_servers_code_or_else_its_own_name(
    error: errors.PyMongoError, code: Any, message: str | None, failure: TransportFailure | None
) -> None:
    found = evidence_of(error, SecretValues(["fake-secret"]))
    assert (found.error_code, found.failure) == (code, failure)
    assert found.message == (message or str(error))


def test_a_secret_in_a_drivers_message_is_hidden() -> None:
    found = evidence_of(errors.OperationFailure("near fake-secret", 59), SecretValues(["fake-secret"]))
    assert found.message == "near ***"
