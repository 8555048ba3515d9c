"""Shopdemo's memory: accounts, clients, grants and tokens."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, list_to_scope, scope_to_list

SCOPES = ("orders.read", "profile.read")
SECRETS = r"sd(?:at|rt|ac|cs)_[A-Za-z0-9_-]{32,}"
"""Finds every secret of Shopdemo's by its prefix, as scanners for leaked secrets find those of vendors."""
_CODE_LIFETIME = 300.0


def new_secret(kind: str) -> str:
    """Make an access token (``at``), refresh token (``rt``), code (``ac``) or client secret (``cs``)."""
    return f"sd{kind}_{secrets.token_urlsafe(32)}"


@dataclass(frozen=True)
class Account:
    """A shop and the person who signs in for it."""

    id: str
    name: str
    email: str


ACCOUNTS = {
    account.id: account
    for account in (
        Account("shop-north", "Northside Goods", "dana@example.com"),
        Account("shop-south", "Southside Goods", "robin@example.com"),
    )
}


@dataclass(frozen=True)
class Client(ClientMixin):
    """A registered application, always confidential (RFC 6749 section 2.1)."""

    id: str
    secret: str = field(repr=False)
    name: str
    redirect_uris: tuple[str, ...]

    def get_client_id(self) -> str:
        """As registered."""
        return self.id

    def get_default_redirect_uri(self) -> str:
        """Take the first registered one."""
        return self.redirect_uris[0]

    def get_allowed_scope(self, scope: Collection[str] | str | None) -> str:
        """Grant what was asked for, as far as it exists; everything when nothing was asked for."""
        asked = scope_to_list(scope) if scope else SCOPES
        return str(list_to_scope([name for name in SCOPES if name in asked]))

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Exact comparison (RFC 9700 section 2.1)."""
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        """In constant time."""
        return secrets.compare_digest(self.secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002
        """Either place for the secret that RFC 6749 section 2.3.1 allows."""
        return method in {"client_secret_basic", "client_secret_post"}

    def check_response_type(self, response_type: str) -> bool:
        """No implicit grant."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """Both grants that the server knows."""
        return grant_type in {"authorization_code", "refresh_token"}


@dataclass
class Grant:
    """One consent; all tokens that come from it are one family. ``ended`` says why it is over."""

    account: Account
    client_id: str
    scope: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    ended: str | None = None


@dataclass
class Token(TokenMixin):
    """An access token, or a refresh token (which is spent once used)."""

    value: str = field(repr=False)
    kind: str
    grant: Grant
    issued_at: float
    lifetime: float
    clock: Callable[[], float] = field(repr=False)
    spent: bool = False
    revoked: bool = False

    def check_client(self, client: Client) -> bool:
        """Tokens belong to the client they were issued to."""
        return self.grant.client_id == client.id

    def get_scope(self) -> str:
        """Read the grant's scope as it is now."""
        return self.grant.scope

    def get_expires_in(self) -> int:
        """Lifetime in seconds."""
        return int(self.lifetime)

    def is_expired(self) -> bool:
        """By the server's clock."""
        return self.clock() >= self.issued_at + self.lifetime

    def is_revoked(self) -> bool:
        """Itself, by use, or with its family."""
        return self.revoked or self.spent or self.grant.ended is not None


@dataclass
class AuthorizationCode:
    """RFC 6749 section 4.1.2, with its PKCE challenge (RFC 7636). ``grant`` is set once it was exchanged."""

    value: str = field(repr=False)
    account: Account
    client_id: str
    redirect_uri: str | None
    scope: str
    code_challenge: str
    code_challenge_method: str
    expires_at: float
    grant: Grant | None = None

    def get_redirect_uri(self) -> str | None:
        """As asked for at the authorization endpoint."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """As consented to."""
        return self.scope


class Store:
    """All of it in memory; hold :attr:`lock` around whatever must be seen as one step."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.clients: dict[str, Client] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.tokens: dict[str, Token] = {}

    def new_code(self, **facts: object) -> AuthorizationCode:
        """Remember an authorization code for five minutes."""
        code = AuthorizationCode(expires_at=self.clock() + _CODE_LIFETIME, **facts)  # type: ignore[arg-type]
        self.codes[code.value] = code
        return code

    def new_token(self, value: str, kind: str, grant: Grant, lifetime: float) -> Token:
        """Remember a token of a grant."""
        token = Token(value, kind, grant, self.clock(), lifetime, self.clock)
        self.tokens[value] = token
        return token

    def find_token(self, value: str, kind: str | None = None) -> Token | None:
        """Find the token of that value, spent and ended ones included."""
        token = self.tokens.get(value)
        return token if token and kind in {None, token.kind} else None

    def living_grants(self, account_id: str | None = None) -> Iterator[Grant]:
        """Grants that have not ended, of one account or of all."""
        grants = {token.grant.id: token.grant for token in self.tokens.values()}
        for grant in grants.values():
            if grant.ended is None and account_id in {None, grant.account.id}:
                yield grant
