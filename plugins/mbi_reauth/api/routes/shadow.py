"""What shadow mode would have done."""

from __future__ import annotations

from fastapi import APIRouter

from mbi_reauth.api.datamodels import WouldBlockResponse
from mbi_reauth.api.dependencies import ApiKey, Outside
from mbi_reauth.api.services import shadow

router = APIRouter(prefix="/api/would-block", dependencies=[ApiKey])


@router.post("")
def would_block(outside: Outside) -> WouldBlockResponse:
    """Count the runs that gates in shadow mode would have stopped, and the emails that nobody was sent."""
    return shadow.would_block(outside)
