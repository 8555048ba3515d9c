"""One request and its answer: paced as the third party asks, bounded, and silent about addresses.

An address may hold a token (``?access_token=…``), so no log line and no error message names more than the
resource and the page.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)
from urllib3 import Retry
from urllib3.exceptions import InvalidHeader

from mbi_reauth.extraction.errors import ExtractionError

log = logging.getLogger(__name__)

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and seconds of silence while reading."""
ATTEMPTS = 6
MAX_BODY = 64 * 1024 * 1024
"""Bytes of one page after decompression."""
MAX_PAUSE = 300.0
"""Seconds to wait at most with a worker's slot in hand; Airflow's own retry is for longer."""
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})

POSITION = "{position}"

_backoff = wait_exponential_jitter(initial=1, max=60, jitter=1)


class TryAgainError(ExtractionError):
    """No usable answer this time; the same request may succeed later, after ``pause`` seconds if given."""

    def __init__(self, message: str, *, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask; ``json`` is sent as the body of a POST."""

    method: str
    url: str
    params: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    json: dict[str, Any] | None = None

    def with_value(self, name: str, value: str | int) -> Request:
        """Set a parameter: in the body where there is one, in the query otherwise."""
        if self.json is not None:
            return replace(self, json={**self.json, name: value})
        return replace(self, params={**self.params, name: str(value)})

    def at_position(self, position: int) -> Request:
        """Fill in ``{position}``: the number of a page, or of a record."""
        params = {name: value.replace(POSITION, str(position)) for name, value in self.params.items()}
        return replace(self, params=params, json=_positioned(self.json, position))

    def at_url(self, url: str) -> Request:
        """Follow an address that the third party gave, relative or whole.

        :raises ExtractionError: when it is on another origin, which must not receive the credential
        """
        target = urljoin(self.url, url)
        if _origin(target) != _origin(self.url):
            raise ExtractionError(
                f"the next page is said to be at {_origin(target)}, but the credential is for "
                f"{_origin(self.url)}: refused"
            )
        return replace(self, url=target, params={})


@dataclass(frozen=True, slots=True)
class Answer:
    """A page as received: its JSON, and the address of the next one from its Link header (RFC 8288)."""

    body: Any
    link: str | None


class Transfer:
    """Asks through one authenticated session, and asks again where that may help."""

    def __init__(
        self, session: requests.Session, *, what: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._session = session
        self._what = what
        self._retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=_pause,
            retry=retry_if_exception_type(TryAgainError),
            before_sleep=_tell,
            sleep=sleep,
            reraise=True,
        )

    def ask(self, request: Request) -> Answer:
        """Send a request and read the answer.

        :raises ExtractionError: when it is refused, is no JSON, is too large, or never comes
        """
        answer: Answer = self._retrying.copy()(self._ask_once, request)
        return answer

    def _ask_once(self, request: Request) -> Answer:
        try:
            with self._session.request(
                request.method,
                request.url,
                params=request.params,
                headers=request.headers,
                json=request.json,
                timeout=TIMEOUT,
                allow_redirects=False,
                stream=True,
            ) as response:
                self._refuse(response)
                return Answer(self._json(response), response.links.get("next", {}).get("url"))
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            # Without its cause: the message of that names the address.
            raise TryAgainError(f"{self._what}: no answer ({type(error).__name__})") from None
        except requests.RequestException as error:
            raise ExtractionError(f"{self._what}: the request failed ({type(error).__name__})") from None

    def _refuse(self, response: requests.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        if status in TRY_AGAIN:
            pause = _retry_after(response.headers.get("Retry-After"))
            if pause is not None and pause > MAX_PAUSE:
                raise ExtractionError(
                    f"{self._what}: HTTP {status}, and it asks to wait {pause:.0f} s: leave that to a retry"
                )
            raise TryAgainError(f"{self._what}: HTTP {status}", pause=pause)
        if status in (401, 403):
            raise ExtractionError(
                f"{self._what}: HTTP {status}, the credential was refused while extracting. Nothing was "
                "landed; the next run's gate finds out what that means."
            )
        raise ExtractionError(f"{self._what}: HTTP {status}, where 200 was expected")

    def _json(self, response: requests.Response) -> Any:
        body = bytearray()
        for chunk in response.iter_content(1 << 16):
            body += chunk
            if len(body) > MAX_BODY:
                raise ExtractionError(
                    f"{self._what}: a page of more than {MAX_BODY >> 20} MiB; ask for smaller pages"
                )
        try:
            return json.loads(body)
        except ValueError:
            kind = response.headers.get("Content-Type", "no content type").split(";")[0]
            raise TryAgainError(
                f"{self._what}: the answer is {kind}, not the JSON that was expected"
            ) from None


def _positioned(value: Any, position: int) -> Any:
    if value == POSITION:
        return position
    if isinstance(value, str):
        return value.replace(POSITION, str(position))
    if isinstance(value, dict):
        return {name: _positioned(item, position) for name, item in value.items()}
    return value


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _retry_after(value: str | None) -> float | None:
    """Read a Retry-After, in seconds or as a date (RFC 9110 section 10.2.3); an unreadable one is none."""
    if not value:
        return None
    try:
        return Retry().parse_retry_after(value)
    except InvalidHeader:
        return None


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.pause if isinstance(error, TryAgainError) else None
    return _backoff(state) if asked is None else asked


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("%s; asking again in %.1f s", error, state.next_action.sleep if state.next_action else 0)
