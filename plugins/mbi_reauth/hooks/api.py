"""The client of the plugin's app, for tasks and triggers."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import httpx
from airflow.sdk import BaseHook
from pydantic import BaseModel, ValidationError

from mbi_reauth import settings
from mbi_reauth.api.datamodels import (
    CheckRequest,
    CheckResponse,
    ClaimRequest,
    ClaimResponse,
    FindingReceipt,
    FindingReport,
    Nothing,
    SettleRequest,
    WouldBlockResponse,
)
from mbi_reauth.hooks.connections import (
    AirflowConnections,
    ConnectionNotFoundError,
    Connections,
    mask,
)
from mbi_reauth.probes.credential import MisconfiguredError
from mbi_reauth.probes.http import tls_context
from mbi_reauth.probes.transport import failure_of

TIMEOUT = 10.0
"""Seconds; reports about one integration take turns, fifty at once on SQLite too."""
CLAIM_TIMEOUT = 20.0
"""Seconds; claims take turns."""
PREPARE_TIMEOUT = 45.0
"""Seconds; the app may be waiting for a token endpoint, or for another asker's refresh."""

_TRY_LATER = (408, 425, 429)
_MAX_WORDS = 300

Answer = TypeVar("Answer", bound=BaseModel)


class ApiError(Exception):
    """The plugin's app did not do what it was asked."""


class ApiUnavailableError(ApiError):
    """It gave no usable answer; the same request may succeed later."""


class ApiRefusedError(ApiError):
    """It refused the request, which would be refused again."""

    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


class ReauthApiHook(BaseHook):
    """Talk to the plugin's app in Airflow's API server.

    :param api_conn_id: the connection whose password is the key; the app makes it at its first start. Its
        host, if filled in, is the app's address instead of the one in Airflow's configuration.
    """

    conn_name_attr = "api_conn_id"
    default_conn_name = settings.API_CONN_ID
    hook_name = "MBI re-authorization app"

    def __init__(
        self,
        api_conn_id: str = settings.API_CONN_ID,
        *,
        connections: Connections | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__()
        self._connections = connections or AirflowConnections()
        self.api_conn_id = api_conn_id
        self._transport = transport

    async def prepare(self, request: CheckRequest) -> CheckResponse:
        """Ask for what the app knows of an integration, and for a fresh access token.

        :raises ApiUnavailableError: no usable answer within 45 s
        :raises ApiRefusedError: refused
        """
        answer = await self._post("/api/checks", request, CheckResponse, timeout=PREPARE_TIMEOUT)
        if answer.access_token:
            await mask(answer.access_token)
        return answer

    async def report(self, report: FindingReport) -> FindingReceipt:
        """Tell the app a finding; raises as :meth:`prepare` does, after 10 s."""
        return await self._post("/api/findings", report, FindingReceipt)

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        """Ask for an email that is due; raises as :meth:`prepare` does, after 20 s.

        The links in it are kept out of the logs, as whoever has one may open the owner's page.
        """
        answer = await self._post("/api/notifications/claim", request, ClaimResponse, timeout=CLAIM_TIMEOUT)
        for notice in answer.mail.notices if answer.mail else ():
            if notice.link:
                await mask(notice.link.rpartition("/")[2])
        return answer

    async def settle(self, request: SettleRequest) -> None:
        """Tell how a claimed email ended; raises as :meth:`prepare` does, after 10 s."""
        await self._send("/api/notifications/settle", request, TIMEOUT)

    async def would_block(self) -> WouldBlockResponse:
        """Ask what shadow mode would have done; raises as :meth:`prepare` does, after 20 s."""
        return await self._post("/api/would-block", Nothing(), WouldBlockResponse, timeout=CLAIM_TIMEOUT)

    async def _post(
        self, path: str, request: BaseModel, answer: type[Answer], *, timeout: float = TIMEOUT
    ) -> Answer:
        response = await self._send(path, request, timeout)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError:
            raise ApiUnavailableError(
                f"{path} answered {response.status_code} with something else than the plugin's app would; "
                f"is {settings.API_PREFIX} of the API server what {settings.app_url()} leads to?"
            ) from None

    async def _send(self, path: str, request: BaseModel, timeout: float) -> httpx.Response:
        try:
            response = await asyncio.wait_for(self._exchange(path, request, timeout), timeout)
        except asyncio.TimeoutError:
            raise ApiUnavailableError(f"The plugin's app gave no answer within {timeout:g} s") from None
        if response.is_success:
            return response
        message = f"The plugin's app answered {response.status_code} to {path}: {_words_of(response)}"
        if response.is_client_error and response.status_code not in _TRY_LATER:
            raise ApiRefusedError(message, response.status_code)
        raise ApiUnavailableError(message)

    async def _exchange(self, path: str, request: BaseModel, timeout: float) -> httpx.Response:
        address, key = await self._access()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        client = httpx.AsyncClient(transport=self._transport, verify=tls_context(), timeout=timeout)
        try:
            async with client:
                return await client.post(address + path, content=request.model_dump_json(), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Not the error's own text, which may quote a header.
            raise ApiUnavailableError(
                f"The plugin's app cannot be reached at {address}: {_reason(error)}"
            ) from None

    async def _access(self) -> tuple[str, str]:
        try:
            connection = await self._connections.get(self.api_conn_id)
        except ConnectionNotFoundError:
            raise ApiUnavailableError(
                f"There is no Airflow connection {self.api_conn_id!r} yet; the plugin's app makes it when "
                "the API server starts"
            ) from None
        except MisconfiguredError as error:
            raise ApiUnavailableError(str(error)) from None
        return (connection.host or settings.app_url()).rstrip("/"), connection.password.strip()


def _words_of(response: httpx.Response) -> str:
    try:
        detail: Any = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase
    return str(detail)[:_MAX_WORDS]


def _reason(error: Exception) -> str:
    if not isinstance(error, httpx.HTTPError):
        return "its address is not a URL"
    return failure_of(error).value.replace("_", " ")
