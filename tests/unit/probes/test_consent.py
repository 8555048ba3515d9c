from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from mbi_reauth import catalogue
from mbi_reauth.catalogue.model import IntegrationType, LongLived, OAuth
from mbi_reauth.core.evidence import Evidence, TransportFailure
from mbi_reauth.core.verdict import Cause, Verdict
from mbi_reauth.probes.consent import (
    Callback,
    CodeRequest,
    authorization_url,
    can_consent,
    code_request,
    exchange,
    expected_issuer,
    read_callback,
    wanted_scopes,
)
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.oauth import TOTAL_TIMEOUT, TokenResponse
from tests.checking import OAUTH, a_credential, a_type, an_integration

TYPES = catalogue.load_all()
INTEGRATION = an_integration()
REDIRECT = "https://airflow.example.com/etl/mbi-reauth/oauth/made_up/callback"
STATE = "fake-state"
CODE, SECRET, ACCESS, LASTING = "fake-code-1", "fake client/secret", "fake-access-1", "fake-lasting-1"
# RFC 7636 appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

Handler = Callable[[httpx.Request], httpx.Response]


def an_oauth(**fields: Any) -> OAuth:
    return OAuth.model_validate({**OAUTH, **fields})


def an_oauth_type(**fields: Any) -> IntegrationType:
    return a_type(
        oauth={**OAUTH, **fields},
        base_url="https://vendor.example",
        connection={
            "client_id": {"title": "Client id"},
            "client_secret": {"title": "Client secret", "secret": True},
        },
    )


def a_client(**extra: Any) -> Credential:
    return a_credential(extra={"client_id": "client:1", "client_secret": SECRET, **extra})


def address_of(integration_type: IntegrationType, credential: Credential | None = None) -> str:
    return authorization_url(
        integration_type,
        credential or a_client(),
        INTEGRATION,
        redirect_uri=REDIRECT,
        state=STATE,
        code_verifier=VERIFIER,
    )


def request_of(integration_type: IntegrationType, credential: Credential | None = None) -> CodeRequest:
    return code_request(
        integration_type,
        credential or a_client(),
        INTEGRATION,
        code=CODE,
        code_verifier=VERIFIER,
        redirect_uri=REDIRECT,
    )


def query_of(address: str) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(address).query, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_the_owner_is_sent_where_rfc_6749_and_rfc_7636_say() -> None:
    address = address_of(an_oauth_type(scopes=["orders.read", "profile.read"]))
    assert address.startswith("https://vendor.example/authorize?")
    assert query_of(address) == {
        "response_type": "code",
        "client_id": "client:1",
        "redirect_uri": REDIRECT,
        "scope": "orders.read profile.read",
        "state": STATE,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }


def test_neither_the_verifier_nor_the_client_secret_goes_through_the_browser() -> None:
    address = address_of(an_oauth_type())
    assert VERIFIER not in address
    assert "secret" not in address


def test_a_type_without_scopes_asks_for_none() -> None:
    assert "scope" not in query_of(address_of(an_oauth_type()))


def test_further_parameters_are_sent_and_may_name_the_account() -> None:
    oauth = {"authorization_params": {"prompt": "consent", "login_hint": "{account}"}}
    query = query_of(address_of(an_oauth_type(**oauth), a_client(account="north & south")))
    assert (query["prompt"], query["login_hint"]) == ("consent", "north & south")


def test_an_address_with_a_query_keeps_it() -> None:
    query = query_of(address_of(an_oauth_type(authorization_url="https://vendor.example/a?tenant=a%26b")))
    assert (query["tenant"], query["response_type"]) == ("a&b", "code")


def test_a_self_hosted_server_is_named_by_the_connection() -> None:
    own = {
        "authorization_url": "https://id.example.com/authorize",
        "token_url": "https://id.example.com/token",
        "scopes": "orders.read, more.read",
    }
    integration_type, credential = an_oauth_type(scopes=["profile.read"]), a_client(**own)
    address = address_of(integration_type, credential)
    assert address.startswith("https://id.example.com/authorize?")
    assert query_of(address)["scope"] == "orders.read more.read"
    assert request_of(integration_type, credential).token_url == "https://id.example.com/token"


@pytest.mark.parametrize("own", ["a b", "a,b", "a, b", ["a", "b"], ["a b"]])
def test_the_connections_scopes_are_read_however_they_are_written(own: object) -> None:
    assert wanted_scopes(an_oauth_type(scopes=["c"]), a_client(scopes=own)) == ("a", "b")


@pytest.mark.parametrize("own", ["", None, []])
def test_without_scopes_of_its_own_a_connection_wants_the_types(own: object) -> None:
    assert wanted_scopes(an_oauth_type(scopes=["c"]), a_client(scopes=own)) == ("c",)


def test_a_type_without_oauth_wants_no_scopes() -> None:
    assert wanted_scopes(a_type(), a_client()) == ()


def test_consent_needs_a_type_with_oauth_and_a_connection_with_a_client() -> None:
    assert can_consent(an_oauth_type(), a_client())
    assert not can_consent(a_type(), a_client())
    assert not can_consent(an_oauth_type(), a_credential())


def test_all_that_is_missing_is_said_at_once() -> None:
    integration_type = an_oauth_type(
        authorization_url="{extra.shop}/authorize", token_url="https://vendor.example/#token"
    )
    with pytest.raises(MisconfiguredError) as raised:
        address_of(integration_type, a_credential(extra={"client_secret": ""}))
    said = str(raised.value)
    assert "'shop_conn' lacks client_id and client_secret; fill it in" in said
    assert "has no extra.shop" in said
    assert "The token_url of the Airflow connection 'shop_conn' is not an address" in said


def test_a_public_client_has_no_secret() -> None:
    integration_type = an_oauth_type().model_copy(update={"connection": {}})
    request = request_of(integration_type, a_credential(extra={"client_id": "public"}))
    assert request.client_secret is None


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//vendor.example/a",
        "vendor.example/a",
        "https://",
        "https:a",
    ],
)
def test_the_browser_is_sent_to_the_web_and_nowhere_else(address: str) -> None:
    with pytest.raises(MisconfiguredError, match="is not an address"):
        address_of(an_oauth_type(), a_client(authorization_url=address))


def test_an_address_that_cannot_be_read_is_the_engineers() -> None:
    with pytest.raises(MisconfiguredError, match="authorization_url"):
        address_of(an_oauth_type(), a_client(authorization_url="https://[vendor.example/a"))


def test_a_type_without_oauth_has_nobody_to_ask() -> None:
    with pytest.raises(MisconfiguredError, match="no authorization server"):
        address_of(a_type())
    with pytest.raises(MisconfiguredError, match="no authorization server"):
        request_of(a_type())


def ask(handler: Handler, request: CodeRequest | None = None) -> tuple[Evidence, TokenResponse | None]:
    return exchange(request or request_of(an_oauth_type()), transport=httpx.MockTransport(handler))


def answer(status: int = 200, **response: Any) -> Handler:
    return lambda _: httpx.Response(status, **response)


class Endpoint:
    """A token endpoint that gives its answers in turn, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answers.pop(0)

    def forms(self) -> Iterator[dict[str, str]]:
        for request in self.asked:
            yield dict(parse_qsl(request.content.decode(), strict_parsing=True))


def test_the_code_is_traded_with_its_verifier_and_the_same_redirect_uri() -> None:
    endpoint = Endpoint(httpx.Response(200, json={"access_token": ACCESS, "expires_in": 60, "scope": "a b"}))
    evidence, token = ask(endpoint)
    assert token == TokenResponse(access_token=ACCESS, expires_in=60, scope=("a", "b"))
    assert evidence.status_code == 200
    assert list(endpoint.forms()) == [
        {
            "grant_type": "authorization_code",
            "code": CODE,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
            "client_id": "client:1",
            "client_secret": SECRET,
        }
    ]
    (request,) = endpoint.asked
    assert (request.method, str(request.url)) == ("POST", "https://vendor.example/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in request.headers


def test_a_client_that_names_itself_in_the_header_says_nothing_of_it_in_the_body() -> None:
    endpoint = Endpoint(httpx.Response(200, json={"access_token": ACCESS}))
    ask(endpoint, request_of(an_oauth_type(client_auth="basic")))
    (request,) = endpoint.asked
    _, _, encoded = request.headers["authorization"].partition(" ")
    assert base64.b64decode(encoded) == b"client%3A1:fake+client%2Fsecret"
    assert b"client" not in request.content


@pytest.mark.parametrize(
    "response",
    [
        {"json": {"access_token": ACCESS, "refresh_token": LASTING}},
        {
            "json": {
                "error": "invalid_grant",
                "error_description": f"The code {CODE} of {VERIFIER} is unknown",
            }
        },
        {"json": {"error": "invalid_client", "client_secret": SECRET}},
        {"text": f"<p>{CODE} {VERIFIER}</p>"},
        {"text": f"access_token={ACCESS}&refresh_token={LASTING}"},
        {"json": {}, "headers": {"x-echo": f"{CODE} {VERIFIER}", "set-cookie": f"t={ACCESS}"}},
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_evidence_never_holds_a_secret(status: int, response: dict[str, Any]) -> None:
    request = request_of(an_oauth_type())
    evidence, token = ask(answer(status, **response), request)
    shown = f"{evidence!r} {token!r} {request!r}"
    assert not any(secret in shown for secret in (CODE, VERIFIER, SECRET, ACCESS, LASTING))


def test_a_code_is_sent_once_and_no_redirect_is_followed() -> None:
    endpoint = Endpoint(httpx.Response(307, headers={"location": "https://elsewhere.example/token"}))
    evidence, token = ask(endpoint)
    assert (evidence.status_code, token, len(endpoint.asked)) == (307, None, 1)


def test_an_answer_that_trickles_is_a_timeout() -> None:
    class Trickle(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b" "

    moments = iter([0.0, TOTAL_TIMEOUT, TOTAL_TIMEOUT + 0.1])
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Trickle()))
    request = request_of(an_oauth_type())
    evidence, token = exchange(request, transport=transport, clock=lambda: next(moments))
    assert (evidence.failure, token) == (TransportFailure.TIMEOUT, None)


LONG_LIVED = {"grant_type": "fb_exchange_token", "param": "fb_exchange_token"}


def a_short_token() -> httpx.Response:
    return httpx.Response(200, json={"access_token": ACCESS, "expires_in": 5000, "scope": "ads_read"})


def test_a_short_lived_token_is_traded_on_for_a_long_lived_one() -> None:
    endpoint = Endpoint(
        a_short_token(), httpx.Response(200, json={"access_token": LASTING, "expires_in": 5_184_000})
    )
    request = request_of(an_oauth_type(refresh="none", long_lived=LONG_LIVED))
    assert request.long_lived == LongLived(**LONG_LIVED)
    evidence, token = ask(endpoint, request)
    assert token == TokenResponse(access_token=LASTING, expires_in=5_184_000, scope=("ads_read",))
    assert list(endpoint.forms())[1] == {
        "grant_type": "fb_exchange_token",
        "fb_exchange_token": ACCESS,
        "client_id": "client:1",
        "client_secret": SECRET,
    }
    assert not any(secret in f"{evidence!r} {token!r}" for secret in (ACCESS, LASTING))


def test_a_token_that_cannot_be_made_long_lived_is_no_permission() -> None:
    refusal = {"error": {"message": f"Cannot extend {ACCESS}", "code": 1}}
    endpoint = Endpoint(a_short_token(), httpx.Response(400, json=refusal))
    evidence, token = ask(endpoint, request_of(an_oauth_type(refresh="none", long_lived=LONG_LIVED)))
    assert (evidence.status_code, token) == (400, None)
    assert ACCESS not in repr(evidence)


def test_a_code_that_is_refused_is_not_traded_on() -> None:
    endpoint = Endpoint(httpx.Response(400, json={"error": "invalid_grant"}))
    evidence, token = ask(endpoint, request_of(an_oauth_type(refresh="none", long_lived=LONG_LIVED)))
    assert (evidence.status_code, token, len(endpoint.asked)) == (400, None, 1)


@pytest.mark.parametrize(
    "error",
    [
        "invalid_client",
        "unauthorized_client",
        "redirect_uri_mismatch",
        "unsupported_grant_type",
        "invalid_request",
        "invalid_scope",
    ],
)
@pytest.mark.parametrize("type_id", sorted(name for name, each in TYPES.items() if each.model.oauth))
def test_what_our_own_client_is_refused_for_is_ours_to_mend(type_id: str, error: str) -> None:
    evidence, _ = ask(answer(400, json={"error": error}))
    assert TYPES[type_id].classify(evidence).verdict is Verdict.MISCONFIGURED


@pytest.mark.parametrize("type_id", sorted(name for name, each in TYPES.items() if each.model.oauth))
def test_a_server_in_trouble_accuses_nobody(type_id: str) -> None:
    for evidence in (
        ask(answer(503, json={"error": "invalid_grant"}))[0],
        ask(answer(429, json={"error": "invalid_grant"}))[0],
    ):
        assert TYPES[type_id].classify(evidence).verdict is Verdict.UNAVAILABLE
    page, _ = ask(answer(200, text="<!doctype html><html><body>Sign in to the network</body></html>"))
    assert TYPES[type_id].classify(page).verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize(("subcode", "words"), [(36007, "has expired"), (36009, "has been used")])
def test_facebooks_code_that_is_used_up_is_nobodys_fault(subcode: int, words: str) -> None:
    error = {"message": f"This authorization code {words}.", "code": 100, "error_subcode": subcode}
    evidence, _ = ask(answer(400, json={"error": error}))
    assert TYPES["facebook_ads"].classify(evidence).cause is Cause.GRANT_INVALID


def read(params: Mapping[str, str], **oauth: Any) -> Callback:
    return read_callback(params, an_oauth(**oauth))


def test_an_answer_with_a_code_is_a_code() -> None:
    assert read({"code": CODE, "state": STATE}) == Callback(code=CODE)


def test_a_code_is_not_shown() -> None:
    assert CODE not in repr(read({"code": CODE, "state": STATE}))


def test_a_refusal_is_read_in_the_servers_words() -> None:
    callback = read({"error": "access_denied", "error_description": "The person said no", "state": STATE})
    assert callback == Callback(error="access_denied", error_description="The person said no")


def test_a_refusal_that_carries_a_code_gives_none() -> None:
    assert read({"error": "access_denied", "code": CODE}).code is None


def test_facebooks_own_names_for_an_error_are_known() -> None:
    callback = read({"error_code": "100", "error_message": "Invalid Scopes: ads"})
    assert callback == Callback(error="100", error_description="Invalid Scopes: ads")


def test_what_anybody_can_write_into_a_link_is_short_and_holds_no_secret() -> None:
    long = "x y " * 500
    callback = read({"error": long, "error_description": f"access_token=fake-token-0123456789abcdef {long}"})
    assert callback.error is not None
    assert callback.error_description is not None
    assert len(callback.error) <= 100
    assert len(callback.error_description) <= 300
    assert "fake-token" not in callback.error_description


@pytest.mark.parametrize("issuer", ["https://accounts.example.com", None])
def test_the_issuer_is_compared_where_the_answer_carries_one(issuer: str | None) -> None:
    params = {"code": CODE} | ({"iss": issuer} if issuer else {})
    assert read(params, issuer="https://accounts.example.com") == Callback(code=CODE)


@pytest.mark.parametrize(
    "issuer",
    ["https://accounts.example.com/", "http://accounts.example.com", "https://ACCOUNTS.example.com", "", "x"],
)
@pytest.mark.parametrize("rest", [{"code": CODE}, {"error": "access_denied"}])
def test_an_answer_of_another_issuer_gives_no_code(issuer: str, rest: dict[str, str]) -> None:
    callback = read({**rest, "iss": issuer}, issuer="https://accounts.example.com")
    assert callback.code is None
    assert callback.problem is not None
    assert "RFC 9207" in callback.problem


def test_an_issuer_that_nobody_knows_is_not_compared() -> None:
    assert read({"code": CODE, "iss": "https://anybody.example"}) == Callback(code=CODE)


def test_an_issuer_that_is_a_template_is_compared_once_it_is_filled_in() -> None:
    oauth = an_oauth(issuer="{base_url}")
    params = {"code": CODE, "iss": "https://vendor.example"}
    assert read_callback(params, oauth) == Callback(code=CODE)
    assert read_callback(params, oauth, issuer="https://vendor.example") == Callback(code=CODE)
    assert read_callback(params, oauth, issuer="https://other.example").problem is not None


def test_the_issuer_is_the_catalogues_unless_the_connection_names_a_server_of_its_own() -> None:
    integration_type = an_oauth_type(issuer="{base_url}/oauth")
    own_server = {"authorization_url": "https://id.example.com/a"}
    for extra, issuer in (
        ({}, "https://vendor.example/oauth"),
        (own_server, None),
        ({**own_server, "issuer": "https://id.example.com"}, "https://id.example.com"),
    ):
        assert expected_issuer(integration_type, a_client(**extra), INTEGRATION) == issuer
    assert expected_issuer(an_oauth_type(), a_client(), INTEGRATION) is None
    assert expected_issuer(a_type(), a_client(), INTEGRATION) is None


@pytest.mark.parametrize("name", ["code", "state", "error", "iss", "realmId"])
def test_a_parameter_that_comes_twice_makes_the_answer_unbelievable(name: str) -> None:
    pairs = [("code", CODE), ("state", STATE), ("realmId", "1"), (name, "a"), (name, "b")]
    callback = read_callback(pairs, an_oauth(account_param="realmId"))
    assert callback.code is None
    assert callback.problem == f"The answer has the parameter {name} more than once (RFC 6749 section 3.1)"


def test_an_answer_that_says_nothing_is_told_so() -> None:
    callback = read({"state": STATE})
    assert callback == Callback(problem="The answer has neither an error nor code")
    assert read({"code": ""}).problem is not None


def test_the_account_that_the_answer_names_is_read_where_its_parameter_is_known() -> None:
    params = {"code": CODE, "realmId": "4620816365179422850", "state": STATE}
    assert read(params, account_param="realmId") == Callback(code=CODE, account="4620816365179422850")
    assert read(params).account is None


def test_an_answer_without_the_account_that_it_must_name_gives_no_code() -> None:
    callback = read({"code": CODE}, account_param="realmId")
    assert callback == Callback(problem="The answer has neither an error nor realmId")


def test_a_refusal_need_not_name_an_account() -> None:
    assert read({"error": "access_denied"}, account_param="realmId") == Callback(error="access_denied")


def packaged(type_id: str, **extra: Any) -> dict[str, str]:
    model = TYPES[type_id].model
    credential = a_client(**extra)
    if "host" in model.connection and model.base_url is None:
        credential = a_credential(
            host="https://example.my.salesforce.com", extra={"client_id": "c", "client_secret": "fake"}
        )
    address = authorization_url(
        model, credential, INTEGRATION, redirect_uri=REDIRECT, state=STATE, code_verifier=VERIFIER
    )
    parts = urlsplit(address)
    return {"": f"{parts.scheme}://{parts.netloc}{parts.path}", **query_of(address)}


def test_google_is_asked_for_a_refresh_token_each_time() -> None:
    query = packaged("google_adwords")
    assert query["access_type"] == "offline"
    assert "consent" in query["prompt"].split()
    assert "include_granted_scopes" not in query
    model = TYPES["google_adwords"].model
    assert expected_issuer(model, a_client(), INTEGRATION) == "https://accounts.google.com"


def test_facebook_is_asked_again_for_what_was_declined_and_for_a_lasting_token() -> None:
    query = packaged("facebook_ads")
    assert query["scope"] == "ads_read,public_profile"
    assert query["auth_type"] == "rerequest"
    assert request_of(TYPES["facebook_ads"].model).long_lived is not None


def test_adobe_takes_its_scopes_with_commas() -> None:
    assert packaged("adobe_analytics")["scope"].split(",")[-1] == "offline_access"


def test_quickbooks_names_the_company_in_its_answer() -> None:
    oauth = TYPES["quickbooks"].model.oauth
    assert oauth is not None
    assert read_callback({"code": CODE, "realmId": "123"}, oauth).account == "123"


def test_salesforce_is_asked_at_the_organizations_own_address() -> None:
    query = packaged("salesforce")
    assert query[""] == "https://example.my.salesforce.com/services/oauth2/authorize"
    assert set(query["scope"].split()) == {"api", "refresh_token"}


@pytest.mark.parametrize("type_id", sorted(name for name, each in TYPES.items() if each.model.oauth))
def test_every_packaged_oauth_type_can_ask_for_consent(type_id: str) -> None:
    query = packaged(type_id)
    assert query["code_challenge"] == CHALLENGE
    assert (query["redirect_uri"], query["state"]) == (REDIRECT, STATE)
