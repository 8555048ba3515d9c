"""Shopdemo's API: who am I, and the orders."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2.rfc6749 import scope_to_list
from authlib.oauth2.rfc6750 import BearerTokenValidator, InsufficientScopeError, InvalidTokenError
from flask import Blueprint, Response, jsonify, request

from demo.third_party.orders import Order, decode_cursor, encode_cursor, orders_between
from demo.third_party.store import Store, Token
from demo.third_party.switches import Switch

MOST_PER_PAGE = 200


class _ScopeError(InsufficientScopeError):
    """Authlib's, with the challenge that RFC 6750 section 3.1 describes."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__()
        self.missing = " ".join(missing)

    def get_headers(self) -> list[tuple[str, str]]:
        challenge = f'Bearer realm="shopdemo", error="{self.error}", scope="{self.missing}"'
        return [*super().get_headers(), ("WWW-Authenticate", challenge)]


class _Validator(BearerTokenValidator):
    def __init__(self, store: Store) -> None:
        super().__init__(realm="shopdemo")
        self._store = store

    def authenticate_token(self, token_string: str) -> Token | None:
        return self._store.find_token(token_string, "access_token")

    def validate_token(self, token: Token | None, scopes: list[str], request: object) -> None:  # noqa: ARG002
        if token is None or token.is_expired() or token.is_revoked():
            raise InvalidTokenError("The access token expired or was revoked.", realm=self.realm)
        if not set(scopes) <= set(scope_to_list(token.get_scope())):
            raise _ScopeError(scopes)


def create_api(store: Store, switches: set[Switch], *, opened_at: float) -> Blueprint:
    """Build the routes under ``/api``; the shops took their first order at ``opened_at`` (Unix seconds)."""
    api = Blueprint("api", __name__, url_prefix="/api")
    protected = ResourceProtector()
    protected.register_token_validator(_Validator(store))

    @api.get("/me")
    def me() -> Any:
        with protected.acquire(["profile.read"]) as token:
            account = token.grant.account
        if Switch.SUSPEND_ACCOUNT in switches:
            return _suspended()
        return jsonify(
            account=account.id,
            name=account.name,
            email=account.email,
            scope=token.get_scope(),
            token_expires_in=int(token.issued_at + token.lifetime - store.clock()),
        )

    @api.get("/orders")
    def orders() -> Any:
        with protected.acquire(["orders.read"]):
            pass
        if Switch.SUSPEND_ACCOUNT in switches:
            return _suspended()
        try:
            return jsonify(_page(orders_between(opened_at, store.clock())))
        except ValueError as error:
            return jsonify(error="invalid_request", error_description=str(error)), 400

    return api


def _suspended() -> tuple[Response, int]:
    words = "This account is suspended. Its owner can reactivate it under Settings, Billing."
    return jsonify(error="account_suspended", error_description=words), 403


def _page(listing: list[Order]) -> dict[str, object]:
    """One page of the listing, as asked for in the query; ValueError says what is wrong with the query."""
    size = _page_size(request.args.get("limit", "100"))
    since, cursor = request.args.get("updated_since"), request.args.get("cursor")
    if since:
        listing = [order for order in listing if order.updated_at >= _seconds(since)]
    if cursor:
        after = decode_cursor(cursor)
        listing = [order for order in listing if order.position > after]
    page = listing[:size]
    following = encode_cursor(page[-1]) if len(listing) > size else None
    return {
        "orders": [order.as_json() for order in page],
        "next_cursor": following,
        "next": _next_url(following) if following else None,
    }


def _next_url(cursor: str) -> str:
    query = {**request.args.to_dict(), "cursor": cursor}
    return f"{request.base_url}?{urlencode(query)}"


def _page_size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PER_PAGE:
        raise ValueError(f"limit must be a number from 1 to {MOST_PER_PAGE}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ValueError("updated_since must be a time such as 2026-01-31T12:00:00Z") from error
    if when.tzinfo is None:
        raise ValueError("updated_since must name its time zone, such as 2026-01-31T12:00:00Z")
    return when.timestamp()
