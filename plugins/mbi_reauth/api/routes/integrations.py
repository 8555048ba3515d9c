"""What engineers may do to one integration, with their own Airflow login."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, HTTPException, Request, status
from pydantic import Field

from mbi_reauth.api import people
from mbi_reauth.api.datamodels import ApiModel
from mbi_reauth.api.dependencies import Bearer, Outside
from mbi_reauth.api.services import accounts
from mbi_reauth.api.services.audit import Visitor
from mbi_reauth.api.visitors import is_ours

router = APIRouter(prefix="/api/integrations")


class AnyAccount(ApiModel):
    """Until when the owner may choose another account."""

    until: datetime


class AllowAnyAccount(ApiModel):
    """For how many hours; up to a week."""

    hours: Annotated[float, Field(gt=0, le=168)] = 24


async def engineer(integration_id: str, request: Request, bearer: Bearer) -> Visitor:
    """Say who asks.

    Airflow's cookie alone is taken only from Airflow's own pages.

    :raises HTTPException: 401 for nobody, 404 for an unknown integration, 403 for who may not edit its
        connection
    """
    user = await people.user_of(request, bearer)
    if user is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Sign in to Airflow, or send its API token")
    if bearer is None and not is_ours(request):
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, "Send Airflow's API token, or call it from Airflow's page"
        )
    conn_id = await accounts.conn_id_of(integration_id)
    if conn_id is None:
        raise HTTPException(
            status.HTTP_404_NOT_FOUND, f"Nothing is known of an integration {integration_id!r}"
        )
    if not await to_thread.run_sync(people.may_change, user, conn_id):
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"You may not edit the connection {conn_id!r}")
    return Visitor(client=request.client.host if request.client else None, user=user.get_name())


@router.post("/{integration_id}/change-of-account")
def change_of_account(
    integration_id: str,
    asked: AllowAnyAccount,
    visitor: Annotated[Visitor, Depends(engineer)],
    outside: Outside,
) -> AnyAccount:
    """Let the next re-authorization lead to another account than the last one."""
    return AnyAccount(until=accounts.allow_any(integration_id, asked.hours, visitor, outside))
