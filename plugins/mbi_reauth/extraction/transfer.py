"""One request and its answer: paced as the third party asks, bounded, and silent about addresses.

An address may hold a token (``?access_token=…``), so no log line and no error message names more than the
resource and the page.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, Any, cast
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
from urllib3.exceptions import HTTPError, InvalidHeader

from mbi_reauth.catalogue.resource import POSITION
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.verdict import Finding, Verdict
from mbi_reauth.extraction.errors import ExtractionError, RefusedError

log = logging.getLogger(__name__)

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and seconds of silence while reading."""
STREAM_TIMEOUT = (10.0, 300.0)
"""The same for a stream: a third party may prepare a whole export before its first byte."""
ATTEMPTS = 6
CHUNK = 64 * 1024
"""Bytes that a read asks for."""
MAX_BODY = 64 * 1024 * 1024
"""Bytes of one page after decompression."""
MAX_REFUSAL = 256 * 1024
"""Bytes that are read of a refusal."""
MAX_PAUSE = 300.0
"""Seconds to wait at most with a worker's slot in hand; Airflow's own retry is for longer."""
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})

Judge = Callable[[Evidence], Finding]

_backoff = wait_exponential_jitter(initial=1, max=60, jitter=1)


class TryAgainError(ExtractionError):
    """No usable answer this time; the same request may succeed later, after ``pause`` seconds if given."""

    def __init__(self, message: str, *, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask; a POST sends ``json`` or ``form`` as its body."""

    method: str
    url: str
    params: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    json: dict[str, Any] | None = None
    form: dict[str, str] | None = None

    def with_value(self, name: str, value: Any) -> Request:
        """Set a parameter: at a dotted path of the JSON body where there is one, in the form or the query."""
        if self.json is not None:
            return replace(self, json=_with(self.json, name, value))
        if self.form is not None:
            return replace(self, form={**self.form, name: str(value)})
        return replace(self, params={**self.params, name: str(value)})

    def without(self, names: Iterable[str]) -> Request:
        """Leave parameters out, wherever they are."""
        return replace(
            self,
            params=_without(self.params, names),
            json=_without(self.json, names) if self.json is not None else None,
            form=_without(self.form, names) if self.form is not None else None,
        )

    def at_position(self, position: int) -> Request:
        """Fill in ``{position}``: the number of a page, or of a record."""
        return replace(
            self,
            params=_texts_at(self.params, position),
            json=_positioned(self.json, position),
            form=_texts_at(self.form, position) if self.form is not None else None,
        )

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
    """Asks through one authenticated session, and asks again where that may help.

    :param what: named in every message
    :param judge: knows which other answers than HTTP 429 and 503 mean "later" at this third party
    """

    def __init__(
        self,
        session: requests.Session,
        *,
        what: str,
        judge: Judge | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._session = session
        self._what = what
        self._judge = judge
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

    @contextmanager
    def stream(self, request: Request) -> Iterator[IO[bytes]]:
        """Send a request and give the answer as a file, decompressed as it is read.

        Asked again is only until it begins: what comes after that may have been used.

        :raises ExtractionError: when it is refused, never comes, or breaks off
        """
        with self._retrying.copy()(self._send, request, STREAM_TIMEOUT) as response:
            try:
                yield _decompressed(response)
            except (HTTPError, gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise ExtractionError(
                    f"{self._what}: the answer broke off ({type(error).__name__}). Nothing was landed; a "
                    "retry starts anew."
                ) from None

    def _ask_once(self, request: Request) -> Answer:
        with self._send(request, TIMEOUT) as response, self._awaited():
            return Answer(self._json(response), _next_link(response.headers.get("Link", "")))

    def _send(self, request: Request, timeout: tuple[float, float]) -> requests.Response:
        with self._awaited():
            response = self._session.request(
                request.method,
                request.url,
                params=request.params,
                headers=request.headers,
                json=request.json,
                data=request.form,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )
            try:
                self._refuse(response)
            except (ExtractionError, requests.RequestException):
                response.close()
                raise
        return response

    @contextmanager
    def _awaited(self) -> Iterator[None]:
        try:
            yield
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
        finding = self._finding(response)
        said = f"{self._what}: HTTP {status}"
        if finding:
            said += f", {finding.explanation.rstrip('.')}"
        if status in TRY_AGAIN or (finding and finding.verdict is Verdict.UNAVAILABLE):
            pause = _retry_after(response.headers.get("Retry-After"))
            if pause is not None and pause > MAX_PAUSE:
                raise ExtractionError(f"{said}. It asks to wait {pause:.0f} s: leave that to a retry.")
            raise TryAgainError(said, pause=pause)
        if status in (401, 403) or (finding and finding.verdict is Verdict.NEEDS_REAUTH):
            raise RefusedError(
                f"{said}. The credential was refused while extracting. Nothing was landed; a check finds out "
                "what that means.",
                finding,
            )
        raise ExtractionError(f"{said}. 200 was expected.")

    def _finding(self, response: requests.Response) -> Finding | None:
        """Judge a refusal as the gate does; of its words, which may quote the request, nothing is kept."""
        if self._judge is None:
            return None
        body = bytearray()
        for chunk in response.iter_content(CHUNK):
            body += chunk[: MAX_REFUSAL - len(body)]
            if len(body) == MAX_REFUSAL:
                break
        return self._judge(
            Evidence(
                endpoint=Endpoint.PROBE,
                status_code=response.status_code,
                headers=dict(response.headers),
                body=body.decode(errors="replace"),
            )
        )

    def _json(self, response: requests.Response) -> Any:
        body = bytearray()
        for chunk in response.iter_content(CHUNK):
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


def _decompressed(response: requests.Response) -> IO[bytes]:
    raw = response.raw
    packed = response.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip")
    # GzipFile insists on the end of the data, which urllib3 does not miss.
    raw.decode_content = not packed
    raw.auto_close = False
    plain = io.BufferedReader(raw, CHUNK)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=plain) if packed else plain)


def _next_link(header: str) -> str | None:
    """Find the link of relation ``next``; one link may have several relations (RFC 8288 section 3.3)."""
    for link in requests.utils.parse_header_links(header):
        if "next" in link.get("rel", "").lower().split():
            return str(link["url"])
    return None


def _with(body: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    return {**body, head: _with(body.get(head) or {}, rest, value) if rest else value}


def _without(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


def _texts_at(given: Mapping[str, str], position: int) -> dict[str, str]:
    return {name: value.replace(POSITION, str(position)) for name, value in given.items()}


def _positioned(value: Any, position: int) -> Any:
    if value == POSITION:
        return position
    if isinstance(value, str):
        return value.replace(POSITION, str(position))
    if isinstance(value, dict):
        return {name: _positioned(item, position) for name, item in value.items()}
    if isinstance(value, list):
        return [_positioned(item, position) for item in value]
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
    return asked or _backoff(state)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("%s; asking again in %.1f s", error, state.next_action.sleep if state.next_action else 0)
