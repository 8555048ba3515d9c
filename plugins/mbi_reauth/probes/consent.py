"""Ask an owner for consent, and trade the code that it gives for tokens (RFC 6749 section 4.1, RFC 7636)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from mbi_reauth.catalogue.model import IntegrationType, LongLived, OAuth
from mbi_reauth.catalogue.placeholders import PLACEHOLDER
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.redact import redact
from mbi_reauth.probes.credential import WEB_SCHEMES, Credential, MisconfiguredError
from mbi_reauth.probes.oauth import TokenRequest, TokenResponse, ask
from mbi_reauth.probes.template import Templates

_BETWEEN_SCOPES = re.compile(r"[\s,]+")
_CLIENT = ("client_id", "client_secret")
_ERROR_LENGTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRequest(TokenRequest):
    """Trade an authorization code (RFC 6749 section 4.1.3) with its verifier (RFC 7636 section 4.5)."""

    code: str = field(repr=False)
    code_verifier: str = field(repr=False)
    redirect_uri: str
    long_lived: LongLived | None = None

    def parameters(self) -> dict[str, str]:
        """Give the parameters of RFC 6749 section 4.1.3 and RFC 7636 section 4.5."""
        return {
            "grant_type": "authorization_code",
            "code": self.code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.code_verifier,
        }

    def secrets(self) -> tuple[str, ...]:
        """List the code and its verifier."""
        return (self.code, self.code_verifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LongLivedRequest(TokenRequest):
    """Trade a short-lived access token for a long-lived one."""

    long_lived: LongLived
    access_token: str = field(repr=False)

    def parameters(self) -> dict[str, str]:
        return {"grant_type": self.long_lived.grant_type, self.long_lived.param: self.access_token}

    def secrets(self) -> tuple[str, ...]:
        return (self.access_token,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """What the authorization server sent the browser back with (RFC 6749 section 4.1.2).

    ``error`` and ``error_description`` are the server's words, redacted and short; whoever can make a link
    can write them. ``account`` is the account that the answer names, where the type knows its parameter.
    ``problem`` says why the answer cannot be believed, for engineers; then there is no ``code``.
    """

    code: str | None = field(default=None, repr=False)
    error: str | None = None
    error_description: str | None = None
    account: str | None = None
    problem: str | None = None


def can_consent(integration_type: IntegrationType, credential: Credential) -> bool:
    """Tell whether consent can be asked for: the type has OAuth, the connection a client."""
    return integration_type.oauth is not None and credential.has("client_id")


def wanted_scopes(integration_type: IntegrationType, credential: Credential) -> tuple[str, ...]:
    """List the scopes to ask for: the connection's extra ``scopes``, else the catalogue's."""
    own = credential.extra.get("scopes")
    if own:
        texts = own if isinstance(own, list) else [own]
        return tuple(scope for text in texts for scope in _BETWEEN_SCOPES.split(str(text)) if scope)
    return tuple(integration_type.oauth.scopes) if integration_type.oauth is not None else ()


def authorization_url(
    integration_type: IntegrationType,
    credential: Credential,
    integration: Integration,
    *,
    redirect_uri: str,
    state: str,
    code_verifier: str,
) -> str:
    """Write the address at which the owner consents (RFC 6749 section 4.1.1, RFC 7636 section 4.3).

    :raises MisconfiguredError: everything that is missing, and where to put it
    """
    oauth, templates = _start(integration_type, credential, integration)
    scopes = oauth.scope_separator.join(wanted_scopes(integration_type, credential))
    address = prepare_grant_uri(
        _endpoint("authorization_url", oauth.authorization_url, credential, templates),
        client_id=credential.get("client_id"),
        response_type="code",
        redirect_uri=redirect_uri,
        scope=scopes or None,
        state=state,
        code_challenge=create_s256_code_challenge(code_verifier),  # type: ignore[no-untyped-call]
        code_challenge_method="S256",
        **{name: templates.text(value) for name, value in oauth.authorization_params.items()},
    )
    return str(address)


def code_request(
    integration_type: IntegrationType,
    credential: Credential,
    integration: Integration,
    *,
    code: str,
    code_verifier: str,
    redirect_uri: str,
) -> CodeRequest:
    """Gather what the token endpoint wants to see; ``redirect_uri`` as it was in the authorization request.

    :raises MisconfiguredError: everything that is missing, and where to put it
    """
    oauth, templates = _start(integration_type, credential, integration)
    return CodeRequest(
        token_url=_endpoint("token_url", oauth.token_url, credential, templates),
        client_id=credential.get("client_id"),
        client_secret=credential.get("client_secret") or None,
        client_auth=oauth.client_auth,
        code=code,
        code_verifier=code_verifier,
        redirect_uri=redirect_uri,
        long_lived=oauth.long_lived,
    )


def exchange(
    request: CodeRequest,
    *,
    transport: httpx.BaseTransport | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Evidence, TokenResponse | None]:
    """Trade the code, once: a second use may end what the first one gave (RFC 6749 section 4.1.2).

    Where the type has a ``long_lived`` grant, the token is traded on, and a failure of that is the answer: a
    token of a few hours is no lasting permission. The evidence holds no secret, whatever the endpoint says.

    :raises InvalidTokenUrlError: nothing was sent
    """
    evidence, token = ask(request, transport=transport, clock=clock)
    if token is None or request.long_lived is None:
        return evidence, token
    further = _LongLivedRequest(
        token_url=request.token_url,
        client_id=request.client_id,
        client_secret=request.client_secret,
        client_auth=request.client_auth,
        long_lived=request.long_lived,
        access_token=token.access_token,
    )
    evidence, lasting = ask(further, transport=transport, clock=clock)
    if lasting is None or lasting.scope is not None:
        return evidence, lasting
    return evidence, TokenResponse(
        access_token=lasting.access_token,
        refresh_token=lasting.refresh_token,
        expires_in=lasting.expires_in,
        scope=token.scope,
    )


def expected_issuer(
    integration_type: IntegrationType, credential: Credential, integration: Integration
) -> str | None:
    """Say what the answer's ``iss`` must be: the connection's extra ``issuer``, else the catalogue's.

    A connection that names an authorization server of its own has only an issuer of its own.

    :raises MisconfiguredError: the connection lacks what the issuer is made of
    """
    if credential.has("extra.issuer"):
        return credential.get("extra.issuer")
    oauth = integration_type.oauth
    if oauth is None or oauth.issuer is None or credential.has("extra.authorization_url"):
        return None
    return Templates(integration_type, credential, integration=integration).url(oauth.issuer)


def read_callback(
    params: Mapping[str, str] | Iterable[tuple[str, str]], oauth: OAuth, *, issuer: str | None = None
) -> Callback:
    """Read the authorization server's answer, its ``state`` apart, which the caller has compared already.

    :param params: pairs, so that a parameter that comes twice is noticed (RFC 6749 section 3.1)
    :param issuer: see :func:`expected_issuer`; without it the catalogue's, where that is no template
    """
    pairs = list(params.items()) if isinstance(params, Mapping) else list(params)
    answer = dict(pairs)
    problem = next(_problems(pairs, oauth, issuer or _plain(oauth.issuer)), None)
    error = answer.get("error") or answer.get("error_code")
    description = answer.get("error_description") or answer.get("error_message")
    return Callback(
        code=answer.get("code") if problem is None and not error else None,
        error=redact(error, limit=_ERROR_LENGTH) if error else None,
        error_description=redact(description) if description else None,
        account=answer.get(oauth.account_param) or None if oauth.account_param else None,
        problem=problem,
    )


def _problems(pairs: Sequence[tuple[str, str]], oauth: OAuth, issuer: str | None) -> Iterator[str]:
    names = [name for name, _ in pairs]
    known = ("code", "state", "error", "iss", *filter(None, [oauth.account_param]))
    for name in known:
        if names.count(name) > 1:
            yield f"The answer has the parameter {name} more than once (RFC 6749 section 3.1)"
    answer = dict(pairs)
    if issuer is not None and answer.get("iss", issuer) != issuer:
        found = redact(answer["iss"], limit=_ERROR_LENGTH)
        yield f"The answer says that it comes from {found!r}, not from {issuer!r} (RFC 9207 section 2.4)"
    if not (answer.get("error") or answer.get("error_code")):
        needed = ("code", *filter(None, [oauth.account_param]))
        if missing := [name for name in needed if not answer.get(name)]:
            yield f"The answer has neither an error nor {' and '.join(missing)}"


def _plain(issuer: str | None) -> str | None:
    return None if issuer is None or PLACEHOLDER.search(issuer) else issuer


def _start(
    integration_type: IntegrationType, credential: Credential, integration: Integration
) -> tuple[OAuth, Templates]:
    """Find everything that is missing, before any of it is used."""
    oauth = integration_type.oauth
    if oauth is None:
        raise MisconfiguredError(f"{integration_type.display_name} has no authorization server to ask")
    templates = Templates(integration_type, credential, integration=integration)
    endpoints = (("authorization_url", oauth.authorization_url), ("token_url", oauth.token_url))
    faults = [
        *_lacking(integration_type, credential),
        *(fault for each in endpoints for fault in _faults_of(*each, credential, templates)),
    ]
    if faults:
        raise MisconfiguredError(". ".join(dict.fromkeys(faults)))
    return oauth, templates


def _lacking(integration_type: IntegrationType, credential: Credential) -> Iterator[str]:
    names = [name for name in _CLIENT if _is_needed(name, integration_type) and not credential.has(name)]
    if names:
        lacks = " and ".join(names)
        yield f"The extra of the Airflow connection {credential.conn_id!r} lacks {lacks}; fill it in"


def _faults_of(name: str, template: str, credential: Credential, templates: Templates) -> Iterator[str]:
    try:
        _endpoint(name, template, credential, templates)
    except MisconfiguredError as error:
        yield str(error)


def _is_needed(name: str, integration_type: IntegrationType) -> bool:
    """A client without a secret is a public one, where the type's form does not ask for it."""
    known = integration_type.connection.get(name)
    return name == "client_id" or (known is not None and known.required)


def _endpoint(name: str, template: str, credential: Credential, templates: Templates) -> str:
    address = credential.get(f"extra.{name}") or templates.url(template)
    if not _is_of_the_web(address):
        raise MisconfiguredError(
            f"The {name} of the Airflow connection {credential.conn_id!r} is not an address that starts with "
            "https:// and has no fragment; correct it"
        )
    return address


def _is_of_the_web(address: str) -> bool:
    """Section 3.1: an endpoint has no fragment. The browser is sent there, so no other scheme will do."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in WEB_SCHEMES and bool(parts.netloc) and not parts.fragment
