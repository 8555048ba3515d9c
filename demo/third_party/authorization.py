"""Shopdemo's authorization server, on Authlib: code grant with PKCE, rotating refresh tokens, revocation."""

from __future__ import annotations

from typing import Any, cast

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Request
from authlib.oauth2.rfc6749 import ClientMixin, InvalidGrantError, InvalidRequestError, OAuth2Payload, grants
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import Flask
from flask import request as flask_request

from demo.third_party.store import (
    SCOPES,
    Account,
    AuthorizationCode,
    Client,
    Grant,
    Store,
    Token,
    new_secret,
)

REFRESH_TOKEN_LIFETIME = 90 * 24 * 3600.0
REUSED = "A refresh token was used twice, so the whole authorization was withdrawn."


def issuer() -> str:
    """Name the server as this request's sender knows it (RFC 8414 section 2)."""
    return flask_request.host_url.rstrip("/")


class ShopdemoServer(AuthorizationServer):
    """Authlib's server over our store."""

    def __init__(self, app: Flask, store: Store, access_token_lifetime: int) -> None:
        self.store = store
        self.access_token_lifetime = access_token_lifetime
        app.config["OAUTH2_SCOPES_SUPPORTED"] = list(SCOPES)
        app.config["OAUTH2_ACCESS_TOKEN_GENERATOR"] = lambda **_: new_secret("at")
        app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = lambda **_: new_secret("rt")
        app.config["OAUTH2_TOKEN_EXPIRES_IN"] = dict.fromkeys(
            ("authorization_code", "refresh_token"), access_token_lifetime
        )
        super().__init__(app)
        self.register_grant(_CodeGrant, [_RequiredS256()])
        self.register_grant(_RefreshGrant)
        self.register_endpoint(_Revocation)
        self.register_endpoint(_Introspection)
        self.register_extension(_Issuer())

    def query_client(self, client_id: str) -> Client | None:  # type: ignore[override]
        """None for an unknown client: Authlib answers ``invalid_client``."""
        return self.store.clients.get(client_id)

    def save_token(self, token: dict[str, Any], request: OAuth2Request) -> None:
        """Remember the tokens that Authlib has just made, in the family they belong to."""
        code, refresh = request.authorization_code, request.refresh_token
        if code:
            code.grant = Grant(code.account, code.client_id, code.scope)
        grant: Grant = code.grant if code else refresh.grant  # type: ignore[union-attr]
        self.remember(token, grant)

    def remember(self, token: dict[str, Any], grant: Grant) -> None:
        """Store a token response's two tokens."""
        self.store.new_token(token["access_token"], "access_token", grant, self.access_token_lifetime)
        self.store.new_token(token["refresh_token"], "refresh_token", grant, REFRESH_TOKEN_LIFETIME)


class _CodeGrant(grants.AuthorizationCodeGrant):
    server: ShopdemoServer

    def generate_authorization_code(self) -> str:
        return new_secret("ac")

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        payload = cast("OAuth2Payload", request.payload)
        self.server.store.new_code(
            value=code,
            account=request.user,
            client_id=payload.client_id,
            redirect_uri=payload.redirect_uri,
            scope=request.scope,
            code_challenge=payload.data["code_challenge"],
            code_challenge_method=payload.data["code_challenge_method"],
        )

    def query_authorization_code(self, code: str, client: ClientMixin) -> AuthorizationCode | None:
        found = self.server.store.codes.get(code)
        if not found or found.client_id != client.get_client_id():
            return None
        if found.grant:  # used twice: RFC 6749 section 4.1.2 wants its tokens revoked
            found.grant.ended = "An authorization code was used twice."
        return found if not found.grant and self.server.store.clock() < found.expires_at else None

    def delete_authorization_code(self, authorization_code: AuthorizationCode) -> None:
        """Kept, with its grant, so that a second use is noticed."""

    def authenticate_user(self, authorization_code: AuthorizationCode) -> Account:
        return authorization_code.account


class _RequiredS256(CodeChallenge):
    """PKCE for every client, S256 only (RFC 9700 section 2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012  (Authlib's own attribute)

    def validate_code_challenge(self, grant: grants.AuthorizationCodeGrant, redirect_uri: str) -> None:
        payload = cast("OAuth2Payload", grant.request.payload)
        if payload.data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE with code_challenge_method S256 is required.")
        super().validate_code_challenge(grant, redirect_uri)


class _Issuer(IssuerParameter):
    """Every answer to the browser says who answers (RFC 9207)."""

    def get_issuer(self) -> str:
        return issuer()


class _RefreshGrant(grants.RefreshTokenGrant):
    """Each refresh token works once (RFC 9700 section 4.14.2)."""

    INCLUDE_NEW_REFRESH_TOKEN = True
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")
    server: ShopdemoServer

    def authenticate_refresh_token(self, refresh_token: str) -> Token:
        token = self.server.store.find_token(refresh_token, "refresh_token")
        if token is None:
            raise InvalidGrantError("The refresh token is unknown.")
        if token.spent and token.grant.ended is None:
            token.grant.ended = REUSED
        if token.grant.ended:
            raise InvalidGrantError(token.grant.ended)
        if token.is_revoked() or token.is_expired():
            raise InvalidGrantError("The refresh token has expired or was revoked.")
        return token

    def authenticate_user(self, refresh_token: Token) -> Account:
        return refresh_token.grant.account

    def revoke_old_credential(self, refresh_token: Token) -> None:  # type: ignore[override]
        refresh_token.spent = True


class _Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")
    server: ShopdemoServer

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:  # noqa: ARG002
        """By value alone: the hint only speeds up a search (RFC 7009 section 2.1)."""
        return self.server.store.find_token(token_string)

    def revoke_token(self, token: Token, request: OAuth2Request) -> None:  # noqa: ARG002
        """Revoke the token; a refresh token takes its family with it (RFC 7009 section 2.1)."""
        token.revoked = True
        if token.kind == "refresh_token":
            token.grant.ended = "The application revoked its own authorization."


class _Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")
    server: ShopdemoServer

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:  # noqa: ARG002
        return self.server.store.find_token(token_string)

    def check_permission(self, token: Token, client: Client, request: OAuth2Request) -> bool:  # noqa: ARG002
        return token.check_client(client)

    def introspect_token(self, token: Token) -> dict[str, object]:
        return {
            "active": True,
            "client_id": token.grant.client_id,
            "token_type": "Bearer" if token.kind == "access_token" else "refresh_token",
            "username": token.grant.account.email,
            "sub": token.grant.account.id,
            "scope": token.grant.scope,
            "iat": int(token.issued_at),
            "exp": int(token.issued_at + token.lifetime),
        }
