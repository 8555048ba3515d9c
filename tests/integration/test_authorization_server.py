"""Consent and refresh against an authorization server that nobody here wrote and that is OpenID Certified."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from mbi_reauth.catalogue.loader import LoadedType
from mbi_reauth.catalogue.model import Auth, ConnectionField, HttpProbe, IntegrationType, OAuth, OwnerSteps
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.reauthorization import missing_scopes
from mbi_reauth.core.verdict import Cause, Verdict
from mbi_reauth.probes.consent import (
    Callback,
    CodeRequest,
    authorization_url,
    code_request,
    exchange,
    expected_issuer,
    read_callback,
    wanted_scopes,
)
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.oauth import RefreshRequest, TokenResponse, refresh
from tests.checking import an_integration
from tests.oidc.authorization_server import Person, installed, running

REDIRECT = "http://127.0.0.1:9/mbi-reauth/oauth/certified/callback"
SECRET = "fake client/secret:+%"
VERIFIER = "a-fake-verifier-of-at-least-forty-three-characters-0123"
STATE = "fake-state"
INTEGRATION = an_integration(type="certified", conn_id="certified")
CLIENTS = [("basic:client", "basic"), ("body-client", "body")]


@pytest.fixture(scope="module")
def issuer(pytestconfig: pytest.Config) -> Iterator[str]:
    assert pytestconfig.cache is not None
    with running(installed(pytestconfig.cache.mkdir("oidc")), REDIRECT) as address:
        yield address


@pytest.fixture
def person() -> Iterator[Person]:
    with Person("dana", REDIRECT) as browser:
        yield browser


class Client:
    """Our side, as the app is: a type, its connection, and the functions of the product."""

    def __init__(self, issuer: str, client_id: str = "basic:client", auth: str = "basic") -> None:
        self.oauth = OAuth(
            authorization_url="{base_url}/auth",
            token_url="{base_url}/token",
            scopes=["openid", "offline_access", "orders.read"],
            # OpenID Connect Core section 11: no refresh token without consent, whatever was allowed before.
            authorization_params={"prompt": "consent"},
            issuer="{base_url}",
            refresh="rotating",
            client_auth="body" if auth == "body" else "basic",
        )
        self.type = IntegrationType(
            display_name="Certified",
            docs="https://github.com/panva/node-oidc-provider",
            kind="http",
            base_url=issuer,
            connection={"client_id": ConnectionField(title="Client id")},
            auth=Auth(method="bearer"),
            oauth=self.oauth,
            probe=HttpProbe(url="{base_url}/me", account="sub"),
            rules=[],
            owner_steps=OwnerSteps(airflow=["Press the button."], mbi=["Press the button."]),
        )
        extra = {"client_id": client_id, "client_secret": SECRET}
        self.credential = Credential(conn_id="certified", conn_type="mbireauth", extra=extra)

    def address(self) -> str:
        return authorization_url(
            self.type,
            self.credential,
            INTEGRATION,
            redirect_uri=REDIRECT,
            state=STATE,
            code_verifier=VERIFIER,
        )

    def read(self, answer: dict[str, str]) -> Callback:
        issuer = expected_issuer(self.type, self.credential, INTEGRATION)
        return read_callback(answer.items(), self.oauth, issuer=issuer)

    def request(
        self, callback: Callback, *, verifier: str = VERIFIER, redirect_uri: str = REDIRECT
    ) -> CodeRequest:
        assert callback.code is not None, callback
        return code_request(
            self.type,
            self.credential,
            INTEGRATION,
            code=callback.code,
            code_verifier=verifier,
            redirect_uri=redirect_uri,
        )

    def consented(self, person: Person) -> Callback:
        callback = self.read(person.consents(self.address()))
        assert callback.problem is None
        return callback

    def authorized(self, person: Person) -> TokenResponse:
        _, token = exchange(self.request(self.consented(person)))
        assert token is not None
        return token

    def refreshed(self, refresh_token: str | None) -> tuple[Evidence, TokenResponse | None]:
        assert refresh_token is not None
        assert self.type.base_url is not None
        return refresh(
            RefreshRequest(
                token_url=f"{self.type.base_url}/token",
                client_id=self.credential.get("client_id"),
                client_secret=SECRET,
                refresh_token=refresh_token,
                client_auth=self.oauth.client_auth,
            )
        )

    def cause_of(self, evidence: Evidence) -> Cause:
        return LoadedType("certified", self.type).classify(evidence).cause


def active(issuer: str, token: str) -> bool:
    """Ask the server itself whether a token is good (RFC 7662)."""
    answer = httpx.post(
        f"{issuer}/token/introspection",
        data={"token": token, "client_id": "body-client", "client_secret": SECRET},
    )
    return bool(answer.json()["active"])


def person_behind(issuer: str, access_token: str) -> tuple[int, str | None]:
    answer = httpx.get(f"{issuer}/me", headers={"authorization": f"Bearer {access_token}"})
    return answer.status_code, answer.json().get("sub")


@pytest.mark.parametrize(("client_id", "auth"), CLIENTS)
def test_a_consent_gives_tokens_that_lead_to_who_consented(
    issuer: str, person: Person, client_id: str, auth: str
) -> None:
    client = Client(issuer, client_id, auth)
    token = client.authorized(person)
    assert person_behind(issuer, token.access_token) == (200, "dana")
    assert token.refresh_token is not None
    assert token.expires_in == 600
    assert missing_scopes(wanted_scopes(client.type, client.credential), token.scope) == ()


def test_the_evidence_of_an_exchange_holds_nothing_that_is_secret(issuer: str, person: Person) -> None:
    client = Client(issuer)
    request = client.request(client.consented(person))
    evidence, token = exchange(request)
    assert token is not None
    shown = f"{evidence!r} {token!r} {request!r}"
    secrets = (token.access_token, token.refresh_token, request.code, VERIFIER, SECRET)
    assert not any(secret and secret in shown for secret in secrets)
    assert evidence.status_code == 200


def test_a_second_consent_gives_a_refresh_token_as_well(issuer: str, person: Person) -> None:
    client = Client(issuer)
    first, second = client.authorized(person), client.authorized(person)
    assert first.refresh_token is not None
    assert second.refresh_token not in (None, first.refresh_token)


def test_who_does_not_consent_comes_back_with_a_refusal_that_names_the_server(
    issuer: str, person: Person
) -> None:
    client = Client(issuer)
    answer = person.denies(client.address())
    callback = client.read(answer)
    assert (answer["iss"], answer["state"]) == (issuer, STATE)
    assert (callback.error, callback.code, callback.problem) == ("access_denied", None, None)
    assert callback.error_description


def test_an_answer_of_another_server_is_not_believed(issuer: str, person: Person) -> None:
    client = Client(issuer)
    answer = person.consents(client.address())
    callback = client.read({**answer, "iss": "https://elsewhere.example.com"})
    assert callback.code is None
    assert "elsewhere.example.com" in (callback.problem or "")


def test_a_request_without_pkce_is_refused(issuer: str, person: Person) -> None:
    client = Client(issuer)
    address = client.address()
    query = {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()}
    del query["code_challenge"], query["code_challenge_method"]
    answer = person.consents(f"{issuer}/auth?{httpx.QueryParams(query)}")
    assert client.read(answer).error == "invalid_request"


@pytest.mark.parametrize(
    "wrong",
    [{"verifier": VERIFIER[::-1]}, {"redirect_uri": REDIRECT + "/elsewhere"}],
    ids=["verifier", "redirect URI"],
)
def test_a_code_with_the_wrong_proof_gives_nothing(
    issuer: str, person: Person, wrong: dict[str, str]
) -> None:
    client = Client(issuer)
    evidence, token = exchange(client.request(client.consented(person), **wrong))
    assert token is None
    assert (evidence.status_code, evidence.body["error"]) == (400, "invalid_grant")


def test_a_code_that_is_used_twice_ends_what_it_gave(issuer: str, person: Person) -> None:
    client = Client(issuer, *CLIENTS[1])
    request = client.request(client.consented(person))
    _, token = exchange(request)
    assert token is not None
    assert active(issuer, token.access_token)
    evidence, again = exchange(request)
    assert again is None
    assert evidence.body["error"] == "invalid_grant"
    assert not active(issuer, token.access_token)


def test_a_wrong_client_secret_is_ours_to_mend(issuer: str, person: Person) -> None:
    client = Client(issuer)
    callback = client.consented(person)
    client.credential = Credential(
        conn_id="certified",
        conn_type="mbireauth",
        extra={"client_id": "basic:client", "client_secret": "fake-wrong"},
    )
    evidence, token = exchange(client.request(callback))
    assert token is None
    finding = LoadedType("certified", client.type).classify(evidence)
    assert finding.verdict is Verdict.MISCONFIGURED


@pytest.mark.parametrize(("client_id", "auth"), CLIENTS)
def test_a_refresh_rotates_the_refresh_token(issuer: str, person: Person, client_id: str, auth: str) -> None:
    client = Client(issuer, client_id, auth)
    first = client.authorized(person)
    _, second = client.refreshed(first.refresh_token)
    assert second is not None
    assert second.refresh_token not in (None, first.refresh_token)
    assert person_behind(issuer, second.access_token) == (200, "dana")


def test_a_refresh_token_that_is_used_twice_withdraws_the_whole_family(issuer: str, person: Person) -> None:
    client = Client(issuer)
    first = client.authorized(person)
    _, second = client.refreshed(first.refresh_token)
    assert second is not None
    for spent in (first, second):
        evidence, token = client.refreshed(spent.refresh_token)
        assert token is None
        assert client.cause_of(evidence) is Cause.GRANT_INVALID
    assert person_behind(issuer, second.access_token)[0] == 401


def test_a_withdrawn_permission_is_renewed_by_another_consent(issuer: str, person: Person) -> None:
    client = Client(issuer, *CLIENTS[1])
    lost = client.authorized(person)
    assert lost.refresh_token is not None
    httpx.post(
        f"{issuer}/token/revocation",
        data={"token": lost.refresh_token, "client_id": "body-client", "client_secret": SECRET},
    ).raise_for_status()
    evidence, _ = client.refreshed(lost.refresh_token)
    assert client.cause_of(evidence) is Cause.GRANT_INVALID
    _, again = client.refreshed(client.authorized(person).refresh_token)
    assert again is not None
    assert person_behind(issuer, again.access_token) == (200, "dana")
