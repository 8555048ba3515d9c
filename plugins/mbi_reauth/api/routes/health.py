"""Whether the app can serve; the only route for anonymous callers."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, status
from sqlalchemy.exc import SQLAlchemyError

from mbi_reauth.models.metadata_db import has_tables

router = APIRouter()


@router.get("/health")
def health() -> dict[str, str]:
    """Say whether the plugin's tables are there."""
    try:
        ready = has_tables()
    except SQLAlchemyError:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "The database does not answer") from None
    if not ready:
        raise HTTPException(
            status.HTTP_503_SERVICE_UNAVAILABLE, "The tables are missing; run `airflow db migrate`"
        )
    return {"status": "healthy"}
