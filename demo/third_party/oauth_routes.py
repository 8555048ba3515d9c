"""Shopdemo's OAuth endpoints: consent page, token, revocation, introspection, metadata (RFC 8414)."""

from __future__ import annotations

import secrets
from typing import Any

from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, abort, jsonify, render_template, request, session, url_for

from demo.third_party.authorization import ShopdemoServer, issuer
from demo.third_party.store import ACCOUNTS, SCOPES
from demo.third_party.switches import Switch

SCOPE_MEANING = {
    "orders.read": "See the shop's orders",
    "profile.read": "See the shop's name and address",
}


def create_oauth(server: ShopdemoServer, switches: set[Switch]) -> Blueprint:
    """Build the routes under ``/oauth``."""
    oauth = Blueprint("oauth", __name__, url_prefix="/oauth", template_folder="templates")
    oauth.add_url_rule(
        "/authorize", view_func=lambda: _authorize(server), methods=["GET", "POST"], endpoint="authorize"
    )
    for name in ("introspection", "revocation"):
        path = {"introspection": "/introspect", "revocation": "/revoke"}[name]
        oauth.add_url_rule(path, view_func=_endpoint(server, name), methods=["POST"], endpoint=name)

    @oauth.post("/token")
    def token() -> Any:
        if Switch.BREAK_CLIENT in switches:
            return jsonify(error="invalid_client", error_description="Unknown client or wrong secret."), 401
        with server.store.lock:  # looking a refresh token up and spending it are one step
            return server.create_token_response()

    return oauth


def create_metadata() -> Blueprint:
    """Build the route of the authorization server's metadata (RFC 8414)."""
    metadata = Blueprint("metadata", __name__)

    @metadata.get("/.well-known/oauth-authorization-server")
    def document() -> Response:
        return jsonify(
            issuer=issuer(),
            authorization_response_iss_parameter_supported=True,
            authorization_endpoint=url_for("oauth.authorize", _external=True),
            token_endpoint=url_for("oauth.token", _external=True),
            revocation_endpoint=url_for("oauth.revocation", _external=True),
            introspection_endpoint=url_for("oauth.introspection", _external=True),
            scopes_supported=SCOPES,
            response_types_supported=["code"],
            grant_types_supported=["authorization_code", "refresh_token"],
            code_challenge_methods_supported=["S256"],
            token_endpoint_auth_methods_supported=["client_secret_basic", "client_secret_post"],
        )

    return metadata


def _endpoint(server: ShopdemoServer, name: str) -> Any:
    def view() -> Any:
        with server.store.lock:
            return server.create_endpoint_response(name)  # type: ignore[no-untyped-call]

    return view


def _authorize(server: ShopdemoServer) -> Any:
    """Show the consent page, and act on the decision that comes from it.

    The page's form carries a secret of the browser's session: no other site can consent for the person.
    """
    try:
        grant = server.get_consent_grant()  # type: ignore[no-untyped-call]
    except OAuth2Error as error:
        return server.handle_error_response(None, error)  # type: ignore[arg-type]
    if request.method == "GET":
        session.setdefault("consent", secrets.token_urlsafe(16))
        return render_template(
            "consent.html",
            client=grant.client,
            scopes=[SCOPE_MEANING[scope] for scope in grant.request.scope.split()],
            accounts=ACCOUNTS.values(),
            consent=session["consent"],
        )
    if not secrets.compare_digest(
        request.form.get("consent", ""), session.get("consent") or secrets.token_hex()
    ):
        abort(403)
    account = (
        ACCOUNTS.get(request.form.get("account", "")) if request.form.get("decision") == "allow" else None
    )
    with server.store.lock:
        return server.create_authorization_response(grant_user=account, grant=grant)
