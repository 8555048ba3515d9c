"""What routes depend on, as typed aliases."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mbi_reauth.api.resumer import Resumer
from mbi_reauth.api.services import keys
from mbi_reauth.api.services.surroundings import Surroundings

_bearer = HTTPBearer(auto_error=False, description="The password of the Airflow connection mbi_reauth_api.")

Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def require_key(credentials: Bearer) -> None:
    """Refuse who does not hold the app's key."""
    if credentials is None or not keys.is_key(credentials.credentials):
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            "Send the password of the Airflow connection mbi_reauth_api as the bearer token",
            headers={"WWW-Authenticate": "Bearer"},
        )


ApiKey = Depends(require_key)
"""On every router but the health check's."""


def surroundings(request: Request) -> Surroundings:
    """Return the real clock, token endpoints and catalogue, and the thread of this app that resumes runs."""
    resumer: Resumer | None = request.app.state.resumer
    return Surroundings() if resumer is None else Surroundings(recovered=resumer.wake)


Outside = Annotated[Surroundings, Depends(surroundings)]
"""The clock, waiting, the token endpoints and the catalogue."""
