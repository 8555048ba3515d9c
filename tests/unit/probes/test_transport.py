from __future__ import annotations

import socket
import ssl

import httpx
import pytest

from mbi_reauth.core.evidence import TransportFailure
from mbi_reauth.probes.transport import failure_of

EXPECTED = {
    httpx.ConnectTimeout: TransportFailure.TIMEOUT,
    httpx.ReadTimeout: TransportFailure.TIMEOUT,
    httpx.WriteTimeout: TransportFailure.TIMEOUT,
    httpx.PoolTimeout: TransportFailure.TIMEOUT,
    httpx.ConnectError: TransportFailure.CONNECTION_REFUSED,
    httpx.ProxyError: TransportFailure.CONNECTION_REFUSED,
    httpx.UnsupportedProtocol: TransportFailure.CONNECTION_REFUSED,
    httpx.ReadError: TransportFailure.CONNECTION_RESET,
    httpx.WriteError: TransportFailure.CONNECTION_RESET,
    httpx.CloseError: TransportFailure.CONNECTION_RESET,
    httpx.LocalProtocolError: TransportFailure.CONNECTION_RESET,
    httpx.RemoteProtocolError: TransportFailure.CONNECTION_RESET,
    httpx.DecodingError: TransportFailure.CONNECTION_RESET,
    httpx.TooManyRedirects: TransportFailure.TOO_MANY_REDIRECTS,
}


def leaves(cls: type[httpx.RequestError]) -> set[type[httpx.RequestError]]:
    return {leaf for child in cls.__subclasses__() for leaf in leaves(child)} or {cls}


def test_every_exception_that_httpx_raises_without_an_answer_is_mapped() -> None:
    assert leaves(httpx.RequestError) == set(EXPECTED)


@pytest.mark.parametrize(("cls", "failure"), EXPECTED.items(), ids=str)
def test_the_class_names_the_failure(cls: type[httpx.RequestError], failure: TransportFailure) -> None:
    assert failure_of(cls("-")) is failure


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        (ssl.SSLCertVerificationError("self-signed"), TransportFailure.TLS),
        (socket.gaierror(-2, "Name or service not known"), TransportFailure.DNS),
        (ConnectionResetError(), TransportFailure.CONNECTION_RESET),
        (ConnectionRefusedError(), TransportFailure.CONNECTION_REFUSED),
        (OSError("No route to host"), TransportFailure.CONNECTION_REFUSED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.value,
)
def test_the_reason_behind_a_failed_connection_names_it(reason: Exception, failure: TransportFailure) -> None:
    wrapped = RuntimeError("as httpcore wraps it")
    wrapped.__cause__ = reason
    error = httpx.ConnectError("-")
    error.__cause__ = wrapped
    assert failure_of(error) is failure


def test_a_refused_connection_on_loopback_is_recognised() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(httpx.ConnectError) as raised:
        httpx.get(f"http://127.0.0.1:{port}")
    assert failure_of(raised.value) is TransportFailure.CONNECTION_REFUSED


def test_an_unknown_name_is_a_failure_of_dns() -> None:
    with pytest.raises(httpx.ConnectError) as raised:
        httpx.get("http://nowhere.invalid")
    assert failure_of(raised.value) is TransportFailure.DNS
