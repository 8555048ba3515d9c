"""Ask a token endpoint (RFC 6749 section 3.2), and trade a refresh token for an access token (section 6)."""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote_plus

import httpx

from mbi_reauth.core.evidence import Endpoint, Evidence, TransportFailure
from mbi_reauth.probes.secret_values import HIDDEN, SecretValues
from mbi_reauth.probes.transport import failure_of, text_of

TIMEOUT = 10.0
"""Seconds to connect, and between two pieces of the answer."""
TOTAL_TIMEOUT = 20.0
"""Seconds for the whole exchange."""
MAX_BODY = 64 * 1024

_SAFE_IN_SUCCESS = ("token_type", "expires_in", "scope", "x_refresh_token_expires_in")
_SECRET_NAME = re.compile(r"token$|secret|password|assertion", re.IGNORECASE)
_SECRET_IN_TEXT = re.compile(
    r"""((?:token|secret|password)["']?\s*[=:]\s*["']?)[^\s"'&,}<]+""", re.IGNORECASE
)
_WITHHELD_HEADERS = frozenset({"set-cookie", "set-cookie2", "authorization", "proxy-authorization"})


_BETWEEN_SCOPES = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest(ABC):
    """What a token endpoint is asked with, by any grant; ``client_auth`` as in RFC 6749 section 2.3.1."""

    token_url: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    client_auth: Literal["basic", "body"] = "body"

    @abstractmethod
    def parameters(self) -> dict[str, str]:
        """Give the grant's own parameters."""

    @abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """List which of them must not come back in evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshRequest(TokenRequest):
    """Trade a refresh token (RFC 6749 section 6)."""

    refresh_token: str = field(repr=False)

    def parameters(self) -> dict[str, str]:
        """Give the parameters of RFC 6749 section 6."""
        return {"grant_type": "refresh_token", "refresh_token": self.refresh_token}

    def secrets(self) -> tuple[str, ...]:
        """List the refresh token."""
        return (self.refresh_token,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenResponse:
    """What the token endpoint granted (RFC 6749 section 5.1); ``expires_in`` is in seconds.

    ``scope`` is None where the endpoint named none, which means what was asked for.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_in: float | None = None
    scope: tuple[str, ...] | None = None


class InvalidTokenUrlError(ValueError):
    """The token endpoint's address is not one that can be asked."""


def refresh(
    request: RefreshRequest,
    *,
    transport: httpx.BaseTransport | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Evidence, TokenResponse | None]:
    """Ask once, without retrying: a rotating refresh token may be sent only once.

    The evidence holds no token and no client secret, whatever the endpoint says.

    :raises InvalidTokenUrlError: nothing was sent
    """
    return ask(request, transport=transport, clock=clock)


def ask(
    request: TokenRequest,
    *,
    transport: httpx.BaseTransport | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Evidence, TokenResponse | None]:
    """Send one request to a token endpoint, once, within TOTAL_TIMEOUT seconds; follow no redirect.

    The evidence holds none of the request's secrets, its client secret or what was granted.

    :raises InvalidTokenUrlError: nothing was sent
    """
    started = clock()
    with httpx.Client(timeout=TIMEOUT, follow_redirects=False, transport=transport) as client:
        try:
            with client.stream("POST", request.token_url, **_form(request)) as response:
                body = _read(response, until=started + TOTAL_TIMEOUT, clock=clock)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InvalidTokenUrlError(f"The token endpoint's address is not usable: {error}") from error
        except httpx.HTTPError as error:
            return Evidence(endpoint=Endpoint.TOKEN, failure=failure_of(error)), None
    if body is None:
        return Evidence(endpoint=Endpoint.TOKEN, failure=TransportFailure.TIMEOUT), None
    return _judged(request, response, text_of(response, body))


def set_up_fault(description: str) -> Evidence:
    """Stand in for the token endpoint where our own set-up leaves nothing to ask it with.

    ``invalid_request`` (RFC 6749 section 5.2) is what the endpoint would say; it is the engineer's to mend.
    """
    body = {"error": "invalid_request", "error_description": description}
    return Evidence(endpoint=Endpoint.TOKEN, status_code=400, body=body)


def _form(request: TokenRequest) -> dict[str, Any]:
    data = request.parameters()
    headers = {"Accept": "application/json"}
    if request.client_auth == "basic":
        # Section 2.3.1: both are form-encoded before they are put into the header, which Authlib leaves out.
        user, password = quote_plus(request.client_id), quote_plus(request.client_secret or "")
        return {"data": data, "headers": headers, "auth": httpx.BasicAuth(user, password)}
    data["client_id"] = request.client_id
    if request.client_secret is not None:
        data["client_secret"] = request.client_secret
    return {"data": data, "headers": headers}


def _read(response: httpx.Response, *, until: float, clock: Callable[[], float]) -> bytes | None:
    """Read at most MAX_BODY bytes; None when the time is over before the answer is."""
    body = b""
    for piece in response.iter_bytes():
        body += piece
        if len(body) >= MAX_BODY:
            break
        if clock() > until:
            return None
    return body[:MAX_BODY]


def _judged(
    request: TokenRequest, response: httpx.Response, text: str
) -> tuple[Evidence, TokenResponse | None]:
    try:
        body: Any = json.loads(text)
    except ValueError:
        body = text
    secrets = SecretValues((*request.secrets(), request.client_secret or ""))
    token = _token(body) if response.is_success else None
    if token is not None:
        body = {name: body[name] for name in _SAFE_IN_SUCCESS if name in body}
    else:
        body = _scrubbed(body, secrets)
    headers = {
        name: secrets.hide(value) for name, value in response.headers.items() if name not in _WITHHELD_HEADERS
    }
    return Evidence(
        endpoint=Endpoint.TOKEN, status_code=response.status_code, headers=headers, body=body
    ), token


def _token(body: Any) -> TokenResponse | None:
    if not isinstance(body, Mapping):
        return None
    access_token, refresh_token = body.get("access_token"), body.get("refresh_token")
    if not (isinstance(access_token, str) and access_token):
        return None
    return TokenResponse(
        access_token=access_token,
        refresh_token=refresh_token if isinstance(refresh_token, str) and refresh_token else None,
        expires_in=_seconds(body.get("expires_in")),
        scope=_scopes(body.get("scope")),
    )


def _scopes(value: Any) -> tuple[str, ...] | None:
    """Read ``scope``: separated by spaces (RFC 6749 section 3.3), by commas as some do, or a list."""
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        return None
    return tuple(scope for text in texts for scope in _BETWEEN_SCOPES.split(text) if scope) or None


def _seconds(value: Any) -> float | None:
    """Read ``expires_in``, which some endpoints send as text; None for what is no length of time."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds < 10 * 366 * 86_400 else None


def _scrubbed(value: Any, secrets: SecretValues) -> Any:
    """Take out what was sent and what is named like a secret: endpoints echo, and grant in odd shapes."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if isinstance(item, str) and _names_a_secret(key) else _scrubbed(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_scrubbed(item, secrets) for item in value]
    return _SECRET_IN_TEXT.sub(rf"\1{HIDDEN}", secrets.hide(value)) if isinstance(value, str) else value


def _names_a_secret(key: str) -> bool:
    return _SECRET_NAME.search(key) is not None and key not in _SAFE_IN_SUCCESS
