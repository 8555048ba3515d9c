"""The outbox, for those who send."""

from __future__ import annotations

from fastapi import APIRouter, status

from mbi_reauth.api.datamodels import ClaimRequest, ClaimResponse, SettleRequest
from mbi_reauth.api.dependencies import ApiKey, Outside
from mbi_reauth.api.services import notifications

router = APIRouter(prefix="/api/notifications", dependencies=[ApiKey])


@router.post("/claim")
def claim(request: ClaimRequest, outside: Outside) -> ClaimResponse:
    """Hand out an email that is due, to one asker only."""
    return notifications.claim(request, outside)


@router.post("/settle", status_code=status.HTTP_204_NO_CONTENT)
def settle(request: SettleRequest, outside: Outside) -> None:
    """Record how sending a claimed email ended."""
    notifications.settle(request, outside)
