"""Who comes to the owner's pages, and what they may send: not too much, nor from elsewhere, nor too often."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from functools import partial
from ipaddress import IPv6Address, IPv6Network
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect

from mbi_reauth import settings
from mbi_reauth.api import pages, people
from mbi_reauth.api.services.audit import Visitor
from mbi_reauth.api.services.reauthorization import NotAllowedError, NotOfferedError, SessionOverError
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.probes.credential import MisconfiguredError
from mbi_reauth.web.views import Message

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024
"""Bytes; a form with the largest private key is a quarter of it."""
MOST_FIELDS = 30

_PORTS = {"http": 80, "https": 443}
_FORM = "application/x-www-form-urlencoded"
_LOOKING, _ACTING = parse("120/minute"), parse("20/minute")


class Rates:
    """How often one address may look and act; each process of the API server counts for itself."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def admit(self, request: Request) -> None:
        """Count a request.

        :raises PageError: it is one too many
        """
        acts = request.method == "POST"
        limit: RateLimitItem = _ACTING if acts else _LOOKING
        if not self._limiter.hit(limit, "acting" if acts else "looking", _household(request)):
            raise PageError(Message.TOO_MANY)


def _household(request: Request) -> str:
    """Give an IPv4 address, or the 64 bits of an IPv6 one that a household shares (RFC 6177)."""
    client = request.client.host if request.client else "unknown"
    try:
        address = IPv6Address(client)
    except ValueError:
        return client
    return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))


class PageError(Exception):
    """The request is answered by a page that says nothing of any integration."""

    def __init__(self, message: Message) -> None:
        super().__init__(message.value)
        self.message = message


class LoginRequiredError(Exception):
    """Nobody is signed in to Airflow."""


_ANSWERS: dict[type[Exception], Message] = {
    SessionOverError: Message.SESSION_OVER,
    NotOfferedError: Message.REFUSED,
    NotAllowedError: Message.NOT_ALLOWED,
    RequestValidationError: Message.REFUSED,
    ClientDisconnect: Message.REFUSED,
    MisconfiguredError: Message.TROUBLE,
    SQLAlchemyError: Message.TROUBLE,
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """Answers by a page whatever happens, for people read it."""

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's own."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                request.app.state.rates.admit(request)
                return await handle(request)
            except LoginRequiredError:
                return _to_login(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, its reader is told what to do
                return pages.message(_message_of(error, request), request, Surroundings())
            finally:
                _keep_from_logs(request)

        return answer


def _keep_from_logs(request: Request) -> None:
    """Take a link's token, a code and a state out of the address that the server logs afterwards."""
    scope, token = request.scope, request.path_params.get("token")
    scope["query_string"] = b""
    if token:
        scope["path"] = scope["path"].removesuffix(token) + "***"
        scope["raw_path"] = scope["path"].encode()


def _message_of(error: Exception, request: Request) -> Message:
    if isinstance(error, PageError):
        return error.message
    known = next((message for kind, message in _ANSWERS.items() if isinstance(error, kind)), None)
    if known is None:
        log.error("%s of the owner's page failed by a fault of ours", request.method, exc_info=error)
    elif known is Message.TROUBLE:
        # A database's own text would have the statement's values in it.
        reason = error if isinstance(error, MisconfiguredError) else type(error).__name__
        log.error("%s of the owner's page failed: %s", request.method, reason)
    return known or Message.TROUBLE


def _to_login(request: Request) -> Response:
    """Let the visitor sign in and come back; what was posted is not repeated, nor a code in that address."""
    if request.method == "POST":
        return pages.message(Message.NOT_ALLOWED, request, Surroundings())
    chosen = pages.chosen_language(request)
    query = f"?{pages.LANGUAGE}={chosen}" if chosen else ""
    path = request.scope["root_path"] + request.scope["path"].removeprefix(request.scope["root_path"])
    server = settings.base_url().removesuffix(urlsplit(settings.base_url()).path)
    return RedirectResponse(people.login_url(f"{server}{path}{query}"), 303, pages.HEADERS)


async def visitor(request: Request) -> Visitor:
    """Say who asks; where the configuration wants it, an Airflow user.

    :raises LoginRequiredError: nobody is signed in
    """
    user = await people.user_of(request) if settings.require_login() else None
    if user is None and settings.require_login():
        raise LoginRequiredError
    return Visitor(
        client=request.client.host if request.client else None,
        user=user.get_name() if user is not None else None,
        secret=request.cookies.get(pages.COOKIE),
        locale=pages.chosen_language(request),
        may_change=partial(people.may_change, user) if user is not None else lambda _: True,
    )


async def posted(request: Request) -> dict[str, str]:
    """Read a form that one of our own pages has sent.

    Browsers name the page that a form comes from in ``Origin`` (Fetch standard, section 3.2); one without is
    taken only if ``Sec-Fetch-Site`` says that it is ours.

    :raises PageError: it comes from elsewhere, or is no form, or too large
    """
    if not is_ours(request) or request.headers.get("content-type", "").partition(";")[0].strip() != _FORM:
        raise PageError(Message.REFUSED)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise PageError(Message.REFUSED)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise PageError(Message.REFUSED) from None
    values = dict(pairs)
    if len(values) < len(pairs):
        raise PageError(Message.REFUSED)
    return values


def is_ours(request: Request) -> bool:
    """Whether a page of ours, and no other site's, has sent the request."""
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site") == "same-origin"
    known = _origin(origin)
    return known is not None and known == _origin(settings.base_url())


def _origin(address: str) -> tuple[str, str, int | None] | None:
    """Split an origin into its three parts (RFC 6454 section 4), of which a usual port may be left out."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port or _PORTS.get(parts.scheme)) if parts.hostname else None


AVisitor = Annotated[Visitor, Depends(visitor)]
"""Who asks."""

Posted = Annotated[dict[str, str], Depends(posted)]
"""The values of the form."""
