"""How an extraction's requests carry the credential: at the last moment, and to the right origins only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlencode, urlsplit, urlunsplit

from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from mbi_reauth.probes.http import HttpCredential
from mbi_reauth.probes.secret_values import SecretValues, hidden_from_logs

_IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
_TRY_AGAIN = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Limits:
    """Seconds to connect, seconds of silence while reading, and what to do when a third party says "later".

    ``retries`` counts for requests that may be repeated; pauses begin at ``backoff`` seconds and double. A
    Retry-After longer than ``longest_pause`` seconds is cut to it.
    """

    connect: float = 10
    read: float = 60
    retries: int = 5
    backoff: float = 1
    longest_pause: int = 300


class CredentialAdapter(HTTPAdapter):
    """Adds the credential to a copy of each request.

    So neither the request that a response remembers, nor a redirect made from it, nor the message of an error
    has it. A 401 is answered once by a renewed credential, because an extraction may outlast an access token.
    """

    def __init__(
        self,
        credential: HttpCredential,
        *,
        origins: Iterable[str],
        renew: Callable[[HttpCredential], HttpCredential | None],
        limits: Limits,
    ) -> None:
        self._credential = credential
        self._origins = {_origin(address) for address in origins}
        self._renew = renew
        self._limits = limits
        retry = Retry(
            total=limits.retries,
            allowed_methods=_IDEMPOTENT,
            status_forcelist=_TRY_AGAIN,
            backoff_factor=limits.backoff,
            respect_retry_after_header=True,
            retry_after_max=limits.longest_pause,
            raise_on_status=False,
        )
        super().__init__(max_retries=retry)

    @property
    def secrets(self) -> SecretValues:
        """What requests carry at present, to be kept out of what is shown of their answers."""
        return SecretValues(self._credential.values)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a request; without a time limit of its own it gets the session's."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = (self._limits.connect, self._limits.read)
        if _origin(request.url or "") not in self._origins:
            return self._send_hiding(request, request, *args, **kwargs)
        response = self._send_authenticated(request, *args, **kwargs)
        if response.status_code != 401:
            return response
        renewed = self._renew(self._credential)
        if renewed is None:
            return response
        response.close()
        self._credential = renewed
        return self._send_authenticated(request, *args, **kwargs)

    def _send_authenticated(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        authenticated = request.copy()
        authenticated.headers.update(self._credential.headers)
        if self._credential.params:
            sign = "&" if urlsplit(request.url or "").query else "?"
            authenticated.url = f"{request.url}{sign}{urlencode(self._credential.params)}"
        response = self._send_hiding(authenticated, request, *args, **kwargs)
        response.request = request
        response.url = request.url or ""
        if "location" in response.headers:
            # Some echo the query; whoever follows gets the credential anew, if it is theirs at all.
            response.headers["location"] = _without(response.headers["location"], self._credential.params)
        return response

    def _send_hiding(
        self, request: PreparedRequest, shown: PreparedRequest, *args: Any, **kwargs: Any
    ) -> Response:
        """Send a request; neither the log of it nor an error, which names ``shown``, has the credential."""
        secrets = self.secrets
        with hidden_from_logs(secrets):
            try:
                return super().send(request, *args, **kwargs)
            except RequestException as error:
                # The client's own message has the address, and so may have the credential.
                failure = type(error)(secrets.hide(str(error)), request=shown)
        # Outside, so that the client's error does not hang on it as its context.
        raise failure


def _without(address: str, params: Mapping[str, str]) -> str:
    """Take parameters out of an address's query; the rest of it stays as it is written."""
    parts = urlsplit(address)
    kept = [pair for pair in parts.query.split("&") if unquote_plus(pair.partition("=")[0]) not in params]
    return urlunsplit(parts._replace(query="&".join(kept))) if params else address


def _origin(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
