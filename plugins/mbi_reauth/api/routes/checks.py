"""The first step of a check."""

from __future__ import annotations

from fastapi import APIRouter

from mbi_reauth.api.datamodels import CheckRequest, CheckResponse
from mbi_reauth.api.dependencies import ApiKey, Outside
from mbi_reauth.api.services import checks

router = APIRouter(prefix="/api/checks", dependencies=[ApiKey])


@router.post("")
async def prepare(request: CheckRequest, outside: Outside) -> CheckResponse:
    """Tell a check what is known, and for OAuth types what to probe with."""
    return await checks.prepare(request, outside)
