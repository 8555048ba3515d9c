"""Composes the app that Airflow's API server mounts at /mbi-reauth."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from mbi_reauth.api.bodies import LimitedBodies
from mbi_reauth.api.errors import HANDLERS
from mbi_reauth.api.resumer import Resumer
from mbi_reauth.api.routes import (
    checks,
    findings,
    health,
    integrations,
    notifications,
    reauthorize,
    shadow,
)
from mbi_reauth.api.services.keys import ensure_key
from mbi_reauth.api.visitors import Rates

log = logging.getLogger(__name__)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make the key at start-up, so that the first task finds it; without it Airflow starts all the same.

    Until its end, runs are resumed in a thread.
    """
    try:
        await to_thread.run_sync(ensure_key)
    except SQLAlchemyError:
        log.exception("The app's key could not be made now; the first call tries again")
    if not app.state.resumes:
        yield
        return
    app.state.resumer = resumer = Resumer()
    resumer.start()
    try:
        yield
    finally:
        app.state.resumer = None
        await to_thread.run_sync(resumer.stop)


def create_app(*, resumes: bool = True) -> FastAPI:
    """Compose routes and error answers; without documentation pages, which would be open to anybody.

    :param resumes: whether this app resumes blocked runs while it is served
    """
    app = FastAPI(
        title="mbi_reauth",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # It would send the browser on to whatever the Host header says.
        redirect_slashes=False,
        exception_handlers=HANDLERS,
    )
    app.add_middleware(LimitedBodies)
    app.state.resumes, app.state.resumer, app.state.rates = resumes, None, Rates()
    for module in (health, checks, findings, notifications, shadow, integrations, reauthorize):
        app.include_router(module.router)
    return app
