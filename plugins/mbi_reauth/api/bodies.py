"""How much one may send: a body is read before who sends it is known."""

from __future__ import annotations

from fastapi import HTTPException, status
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 1024 * 1024
"""Bytes; a report of thousands of blocked runs is smaller."""


class LimitedBodies:
    """Stops reading a body that is too large, whether or not it says beforehand how large it is."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST) -> None:
        self._app, self._largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on (ASGI 3)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._largest:
                raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, "The body is too large")
            return message

        await self._app(scope, limited, send)
