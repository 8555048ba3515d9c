"""One authenticated HTTP request, turned into evidence.

httpx, not the Airflow HTTP provider's hooks: those put every unknown extra of a connection into the request's
headers, have no time limit of their own, and turn a 401 into the text of an exception, where a probe needs
the status, the headers and the body (airflow.providers.http.hooks.http, provider 6.3).
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import zlib
from dataclasses import dataclass, field
from functools import cache

import httpx

from mbi_reauth.catalogue.model import Auth, HttpProbe
from mbi_reauth.core.evidence import Endpoint, Evidence, TransportFailure
from mbi_reauth.probes.credential import WEB_SCHEMES, MisconfiguredError
from mbi_reauth.probes.secret_values import SecretValues, hidden_from_logs
from mbi_reauth.probes.template import Templates
from mbi_reauth.probes.transport import failure_of, text_of

MAX_BODY = 256 * 1024
MAX_HEADERS = 64
MAX_HEADER_VALUE = 1024
MAX_REDIRECTS = 5
USER_AGENT = "mbi-reauth"
CUT = f"\n[cut at {MAX_BODY} bytes]"
_COMPRESSED = ("gzip", "x-gzip", "deflate")
_WITHHELD_HEADERS = ("set-cookie", "set-cookie2")


@dataclass(frozen=True)
class HttpCredential:
    """What makes a request an authenticated one: a header, or parameters of the query."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    params: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, auth: Auth, templates: Templates) -> HttpCredential:
        """Render the type's auth over a connection.

        :raises MisconfiguredError: the connection lacks a field that it needs
        """
        if auth.method == "basic":
            username, password = auth.username, auth.password
            if auth.key_alone and not templates.has("login"):
                username, password = password, ""
            pair = f"{templates.secret(username)}:{templates.secret(password)}"
            return cls(headers={"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"})
        if auth.method == "login":
            raise MisconfiguredError(
                f"The Airflow connection {templates.conn_id!r} is to a database, not an API"
            )
        if auth.method == "none":
            return cls()
        if auth.method == "query":
            return cls(params={auth.name or "": templates.secret(auth.value)})
        if auth.method == "bearer":
            return cls(headers={"Authorization": templates.header("Bearer {access_token}", secret=True)})
        return cls(headers={auth.name or "": templates.header(auth.value, secret=True)})

    @property
    def values(self) -> tuple[str, ...]:
        """Everything secret in it, without the scheme in front of it (``Bearer``)."""
        return (*(value.rpartition(" ")[2] for value in self.headers.values()), *self.params.values())


async def probe_http(
    probe: HttpProbe,
    auth: Auth,
    templates: Templates,
    *,
    secrets: SecretValues,
    timeout: float = 10,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Evidence:
    """Send the probe; connecting and each read may take ``timeout`` seconds, the whole twice that.

    Redirects are followed within the origin only: where another one is named, the redirect is the evidence.

    :param secrets: hidden from the evidence, beside the rendered credential
    :raises MisconfiguredError: the connection lacks something that the request needs
    """
    credential = HttpCredential.of(auth, templates)
    secrets = secrets.with_further(*credential.values)
    client = httpx.AsyncClient(transport=transport, verify=tls_context(), timeout=timeout)
    try:
        with hidden_from_logs(secrets):
            async with client:
                request = _request(client, probe, templates, credential)
                return await asyncio.wait_for(_exchange(client, request, credential, secrets), 2 * timeout)
    except asyncio.TimeoutError:
        return Evidence(endpoint=Endpoint.PROBE, failure=TransportFailure.TIMEOUT)
    except httpx.InvalidURL:
        # A redirect to what is no address; the first one was checked before it was sent.
        return Evidence(endpoint=Endpoint.PROBE, failure=TransportFailure.TOO_MANY_REDIRECTS)
    except httpx.HTTPError as error:
        return Evidence(endpoint=Endpoint.PROBE, failure=failure_of(error))


@cache
def tls_context() -> ssl.SSLContext:
    """Build the verifying context once; it costs tens of milliseconds, and a triggerer probes hundreds."""
    return httpx.create_ssl_context()


def _request(
    client: httpx.AsyncClient, probe: HttpProbe, templates: Templates, credential: HttpCredential
) -> httpx.Request:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",  # what _body can bound; httpx would also offer others
        "User-Agent": USER_AGENT,
        **{name: templates.header(value) for name, value in probe.headers.items()},
        **credential.headers,
    }
    params = {name: templates.text(value) for name, value in probe.params.items()} | credential.params
    body = templates.data(probe.json_body) if probe.json_body is not None else None
    form = templates.data(probe.form) if probe.form is not None else None
    try:
        url = httpx.URL(templates.url(probe.url))
        request = client.build_request(
            probe.method, url.copy_merge_params(params), headers=headers, json=body, data=form
        )
    except (httpx.InvalidURL, UnicodeError):
        request = None
    if request is None or request.url.scheme not in WEB_SCHEMES or not request.url.host:
        raise MisconfiguredError(
            f"The Airflow connection {templates.conn_id!r} does not give a usable web address; "
            "its host should look like https://shop.example.com"
        )
    return request


async def _exchange(
    client: httpx.AsyncClient, request: httpx.Request, credential: HttpCredential, secrets: SecretValues
) -> Evidence:
    origin = _origin(request.url)
    for _ in range(MAX_REDIRECTS + 1):
        response = await client.send(request, stream=True)
        try:
            following = response.next_request
            if following is None or _origin(following.url) != origin:
                return await _evidence(response, secrets)
        finally:
            await response.aclose()
        request = following
        request.url = request.url.copy_merge_params(credential.params)
    return Evidence(endpoint=Endpoint.PROBE, failure=TransportFailure.TOO_MANY_REDIRECTS)


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme, 0)


async def _evidence(response: httpx.Response, secrets: SecretValues) -> Evidence:
    headers = {
        name: secrets.hide(value)[:MAX_HEADER_VALUE]
        for name, value in list(response.headers.items())[:MAX_HEADERS]
        if name not in _WITHHELD_HEADERS
    }
    text = secrets.hide(await _body(response))
    return Evidence(endpoint=Endpoint.PROBE, status_code=response.status_code, headers=headers, body=text)


async def _body(response: httpx.Response) -> str:
    """Read at most MAX_BODY bytes, counted before and after decompression; what is cut cannot be parsed."""
    inflate = _inflate_of(response)
    content = bytearray()
    received = 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        room = MAX_BODY + 1 - len(content)
        try:
            content += inflate.decompress(chunk, room) if inflate else chunk[:room]
        except zlib.error:
            return text_of(response, content) + CUT
        if received > MAX_BODY or len(content) > MAX_BODY:
            return text_of(response, content[:MAX_BODY]) + CUT
    return text_of(response, content)


def _inflate_of(response: httpx.Response) -> zlib._Decompress | None:
    if response.headers.get("content-encoding", "").strip().lower() not in _COMPRESSED:
        return None
    return zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, as the data's own header says
