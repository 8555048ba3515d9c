"""Shopdemo as a whole: start it, switch it, look at what it was asked."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from flask import Flask, Response, jsonify, request
from typing_extensions import Self

from demo.third_party.api import create_api
from demo.third_party.authorization import ShopdemoServer
from demo.third_party.oauth_routes import create_metadata, create_oauth
from demo.third_party.store import ACCOUNTS, SCOPES, Client, Grant, Store, new_secret
from demo.third_party.switches import GRANT_SWITCHES, Switch
from demo.webserver import WebServer

CLIENT_ID = "mbi-demo"
GRANT_LIVES = "grant lives"
RETRY_AFTER = 30
HISTORY = 2 * 3600
"""Seconds of orders that exist when the shop opens."""

_FIREWALL_PAGE = """<!doctype html><html><head><title>Request blocked</title></head>
<body><h1>Request blocked</h1>
<p>The site's firewall blocked this request. Incident 0000-DEMO.</p></body></html>"""


class ThirdParty:
    """A real OAuth 2 authorization server with an API, on a loopback port.

    Tests use it as a context manager. ``hang_seconds`` is how long a request waits while
    :attr:`Switch.HANG` is on; a switch back lets the waiting ones go at once.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        access_token_lifetime: int = 60,
        redirect_uris: Iterable[str] = ("http://127.0.0.1:8080/mbi-reauth/oauth/shopdemo/callback",),
        hang_seconds: float = 60,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.requests: Counter[str] = Counter()
        self.switches: set[Switch] = set()
        self.client = Client(CLIENT_ID, new_secret("cs"), "MBI extraction", tuple(redirect_uris))
        self._hang_seconds = hang_seconds
        self._released = threading.Event()
        self._store = Store(clock=clock)
        self._store.clients[CLIENT_ID] = self.client
        self._app = Flask(__name__)
        self._app.secret_key = secrets.token_bytes(32)
        self._app.config["SESSION_COOKIE_NAME"] = "shopdemo"  # cookies do not know ports: not Airflow's name
        self._app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
        self._app.before_request(self._answer_instead)
        self._authorization = ShopdemoServer(self._app, self._store, access_token_lifetime)
        self._app.register_blueprint(create_oauth(self._authorization, self.switches))
        self._app.register_blueprint(create_metadata())
        self._app.register_blueprint(create_api(self._store, self.switches, opened_at=clock() - HISTORY))
        self._server = WebServer(self._app, port)
        self.url = self._server.url

    def start(self) -> Self:
        """Answer requests from now on."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Let waiting requests go and free the port."""
        self._released.set()
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def issue_grant(self, account: str) -> dict[str, Any]:
        """Consent for an account as its owner would, and return the token response with ``expires_at``."""
        grant = Grant(ACCOUNTS[account], CLIENT_ID, " ".join(SCOPES))
        token: dict[str, Any] = {
            "token_type": "Bearer",
            "access_token": new_secret("at"),
            "refresh_token": new_secret("rt"),
            "expires_in": self._authorization.access_token_lifetime,
            "expires_at": int(self._store.clock() + self._authorization.access_token_lifetime),
            "scope": grant.scope,
        }
        with self._store.lock:
            self._authorization.remember(token, grant)
        return token

    def switch(self, name: Switch | str, *, on: bool = True, account: str | None = None) -> None:
        """Let something go wrong; ``account`` limits the switches that act on grants."""
        switch = Switch(name)
        if switch in GRANT_SWITCHES:
            self._end_grants(switch, account)
        elif on:
            self.switches.add(switch)
        else:
            self.switches.discard(switch)
        if Switch.HANG in self.switches:
            self._released.clear()
        else:
            self._released.set()

    def normal(self) -> None:
        """Switch everything back; grants that have ended stay so, as in life."""
        self.switches.clear()
        self._released.set()

    def grant_state(self, account: str) -> str:
        """One sentence on the grants of an account, for people."""
        with self._store.lock:
            scopes = [grant.scope for grant in self._store.living_grants(account)]
        if not scopes:
            return "no living grant"
        return GRANT_LIVES if "orders.read" in scopes[-1] else "grant without orders.read"

    def _end_grants(self, switch: Switch, account: str | None) -> None:
        with self._store.lock:
            for grant in list(self._store.living_grants(account)):
                if switch is Switch.NARROW_SCOPES:
                    grant.scope = "profile.read"
                elif switch is Switch.EXPIRE_GRANT:
                    grant.ended = "The authorization has expired."
                else:
                    grant.ended = "The shop owner withdrew the authorization."

    def _answer_instead(self) -> Response | None:
        """Count the request, and answer it here while a switch stands in front of everything."""
        with self._store.lock:
            self.requests[request.path] += 1
        if Switch.HANG in self.switches:
            self._released.wait(self._hang_seconds)
        if Switch.GO_DOWN in self.switches:
            return _refusal(503, "service_unavailable", "Shopdemo is down for maintenance.")
        if Switch.ANSWER_HTML in self.switches:
            return Response(_FIREWALL_PAGE, status=403, mimetype="text/html")
        if Switch.THROTTLE in self.switches:
            return _refusal(429, "rate_limited", "Too many requests.")
        return None


def _refusal(status: int, error: str, words: str) -> Response:
    response = jsonify(error=error, error_description=words)
    response.status_code = status
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response
