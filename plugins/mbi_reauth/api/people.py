"""Who is signed in to Airflow, and what they may change.

Written against Airflow 3.3.2: its documentation names these functions for the apps of plugins, but not as
part of the public interface; ``tests/integration/test_login_required.py`` fails when Airflow changes them.
"""

from __future__ import annotations

from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails
from airflow.api_fastapi.core_api.security import get_user
from fastapi import HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials

from mbi_reauth import settings
from mbi_reauth.models.metadata_db import team_of


async def user_of(request: Request, bearer: HTTPAuthorizationCredentials | None = None) -> BaseUser | None:
    """Return who is signed in to Airflow, by a token or by its cookie; None where nobody is."""
    try:
        return await get_user(request, None, bearer)
    except HTTPException:
        return None


def may_change(user: BaseUser, conn_id: str) -> bool:
    """Ask Airflow's auth manager whether they may edit the connection."""
    details = ConnectionDetails(conn_id=conn_id, team_name=team_of(conn_id))
    return bool(get_auth_manager().is_authorized_connection(method="PUT", details=details, user=user))


def login_url(back_to: str) -> str:
    """Give the address where one signs in to Airflow and comes back from."""
    return f"{settings.base_url()}/api/v2/auth/login?{urlencode({'next': back_to})}"
