"""What an exception of extraction code tells about a credential, whichever client library raised it.

Read without importing a client library, and for this process only: what it holds may quote a secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mbi_reauth.core.evidence import Driver, Endpoint, Evidence
from mbi_reauth.core.verdict import Finding
from mbi_reauth.probes.http import MAX_BODY
from mbi_reauth.probes.secret_values import SecretValues
from mbi_reauth.probes.transport import reasons

_DRIVERS = {
    "psycopg": Driver.POSTGRESQL,
    "psycopg2": Driver.POSTGRESQL,
    "MySQLdb": Driver.MYSQL,
    "mysql": Driver.MYSQL,  # mysql.connector
    "pymysql": Driver.MYSQL,
    "pymssql": Driver.MSSQL,
    "pymongo": Driver.MONGODB,
}
_BASES = ("Error", "PyMongoError")
"""How the drivers call the class that all their errors share."""


def told_by(exception: BaseException) -> Iterator[Evidence | Finding]:
    """Read an exception, and everything that it was raised from or while handling.

    Read are the answers that requests, httpx and aiohttp keep in their errors, the numbers of psycopg,
    psycopg2, MySQLdb, mysql.connector, PyMySQL, pymssql and PyMongo, and what this package's own errors
    found. That no answer came tells nothing of a credential, and is left out.
    """
    for error in (exception, *reasons(exception)):
        told = _own(error) or _answer(error) or _driver_error(error)
        if told is not None:
            yield told


def _own(error: BaseException) -> Evidence | Finding | None:
    found = (getattr(error, name, None) for name in ("finding", "evidence"))
    return next((each for each in found if isinstance(each, Evidence | Finding)), None)


def _answer(error: BaseException) -> Evidence | None:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(status, int):
        return _http(status, getattr(response, "headers", None), _body(response))
    if "aiohttp" in _libraries(error) and isinstance(status := getattr(error, "status", None), int):
        return _http(status, getattr(error, "headers", None), None)
    return None


def _http(status: int, headers: Any, body: bytes | None) -> Evidence:
    return Evidence(
        endpoint=Endpoint.PROBE,
        status_code=status,
        headers={str(name): str(value) for name, value in dict(headers or {}).items()},
        body=None if body is None else body.decode(errors="replace"),
    )


def _body(response: Any) -> bytes | None:
    """Read as much as a probe would; one that was streamed past, or broke off, is not there any more."""
    with suppress(Exception):
        if hasattr(response, "iter_content"):
            return bytes(next(response.iter_content(MAX_BODY), b""))
        return bytes(response.content[:MAX_BODY])
    return None


def _driver_error(error: BaseException) -> Evidence | None:
    named = _libraries(error, _BASES)
    driver = next((driver for library, driver in _DRIVERS.items() if library in named), None)
    if driver is None or not isinstance(error, Exception):
        return None
    nothing_to_hide = SecretValues(())
    if driver is Driver.MONGODB:
        from mbi_reauth.probes import mongodb

        return mongodb.evidence_of(error, nothing_to_hide)  # type: ignore[arg-type]
    from mbi_reauth.probes import sql
    from mbi_reauth.probes.database import ENGINES

    engine = next(each for each in ENGINES.values() if each.driver is driver)
    return sql.evidence_of(_unwrapped(error), engine, nothing_to_hide)


def _unwrapped(error: Exception) -> Exception:
    """Take the pair of number and words out of the tuple in which pymssql raises it from ``connect``."""
    match error.args:
        case ((int(), _) as pair,):
            return type(error)(*pair)
    return error


def _libraries(error: BaseException, names: tuple[str, ...] = ()) -> set[str]:
    """Name the libraries that an error's classes are from; with ``names``, of classes called so."""
    classes = (cls for cls in type(error).__mro__ if not names or cls.__name__ in names)
    return {cls.__module__.partition(".")[0] for cls in classes}
