"""What an HTTP exchange gave: its text, or what failed, in the words of evidence."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx

from mbi_reauth.core.evidence import TransportFailure

_BY_CLASS: dict[type[httpx.HTTPError], TransportFailure] = {
    httpx.TimeoutException: TransportFailure.TIMEOUT,
    httpx.TooManyRedirects: TransportFailure.TOO_MANY_REDIRECTS,
    httpx.ConnectError: TransportFailure.CONNECTION_REFUSED,
    httpx.ProxyError: TransportFailure.CONNECTION_REFUSED,
    httpx.UnsupportedProtocol: TransportFailure.CONNECTION_REFUSED,
    httpx.NetworkError: TransportFailure.CONNECTION_RESET,
    httpx.ProtocolError: TransportFailure.CONNECTION_RESET,
    httpx.DecodingError: TransportFailure.CONNECTION_RESET,
}

_BY_REASON: tuple[tuple[type[BaseException], TransportFailure], ...] = (
    (ssl.SSLError, TransportFailure.TLS),
    (socket.gaierror, TransportFailure.DNS),
    (ConnectionResetError, TransportFailure.CONNECTION_RESET),
    (BrokenPipeError, TransportFailure.CONNECTION_RESET),
)


def text_of(response: httpx.Response, content: bytes | bytearray) -> str:
    """Decode a body by the charset that the answer names, if that is one of text."""
    charset = response.charset_encoding or "utf-8"
    try:
        return content.decode(charset, errors="replace")
    except LookupError:
        return content.decode("utf-8", errors="replace")


def failure_of(exc: httpx.HTTPError) -> TransportFailure:
    """Name a failure, which says nothing about the credential.

    By the socket's or TLS's own error where there is one, else by httpx's class.
    """
    found = list(reasons(exc))
    for reason_class, failure in _BY_REASON:
        if any(isinstance(reason, reason_class) for reason in found):
            return failure
    for cls in type(exc).__mro__:
        if cls in _BY_CLASS:
            return _BY_CLASS[cls]
    return TransportFailure.CONNECTION_RESET


def reasons(exc: BaseException) -> Iterator[BaseException]:
    """Walk what led to an exception; httpx wraps httpcore, which wraps the operating system's error."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [exc.__cause__, exc.__context__, *getattr(exc, "exceptions", ())]
    while pending:
        reason = pending.pop()
        if reason is None or id(reason) in seen:
            continue
        seen.add(id(reason))
        yield reason
        # anyio gathers the attempts at several addresses in an exception group
        pending += [reason.__cause__, reason.__context__, *getattr(reason, "exceptions", ())]
