"""How what goes wrong in a service is answered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, status
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mbi_reauth.api.services.notifications import LeaseLostError
from mbi_reauth.models.metadata_db import has_tables
from mbi_reauth.probes.credential import MisconfiguredError

log = logging.getLogger(__name__)

Handler = Callable[[Request, Exception], Coroutine[Any, Any, Response]]


def _answer(status_code: int) -> Handler:
    async def handler(_: Request, exc: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(exc.args[0]) if exc.args else str(exc)}, status_code)

    return handler


async def _database_busy(request: Request, exc: Exception) -> JSONResponse:
    # The driver's own words only: SQLAlchemy's would put the statement's values into the log.
    reason = exc.orig if isinstance(exc, DBAPIError) else type(exc).__name__
    log.error("%s %s: the database refused: %s", request.method, request.url.path, reason)
    detail = "The database could not do it now; try again"
    if await run_in_threadpool(_tables_are_missing):
        detail = "The plugin's tables are missing; run `airflow db migrate`"
    return JSONResponse({"detail": detail}, 503, {"Retry-After": "5"})


async def _invalid(_: Request, exc: Exception) -> JSONResponse:
    """Say what is wrong with a request, without what was sent, which may be secret or no JSON (NaN)."""
    faults = exc.errors() if isinstance(exc, RequestValidationError) else ()
    detail = [{name: fault[name] for name in ("loc", "msg", "type")} for fault in faults]
    return JSONResponse({"detail": detail}, status.HTTP_422_UNPROCESSABLE_CONTENT)


def _tables_are_missing() -> bool:
    try:
        return not has_tables()
    except SQLAlchemyError:
        return False  # the database itself is away


HANDLERS: dict[int | type[Exception], Handler] = {
    LeaseLostError: _answer(status.HTTP_409_CONFLICT),
    RequestValidationError: _invalid,
    MisconfiguredError: _answer(status.HTTP_422_UNPROCESSABLE_CONTENT),
    SQLAlchemyError: _database_busy,
}
