"""Shopdemo is a real authorization server: the facts that the product is tested against."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client

from demo import connections
from demo.third_party import Switch, ThirdParty
from mbi_reauth import catalogue
from mbi_reauth.core.reauthorization import missing_scopes
from mbi_reauth.probes import consent as flow
from mbi_reauth.probes.credential import Credential
from tests.checking import an_integration

REDIRECT = "http://127.0.0.1:8080/mbi-reauth/oauth/shopdemo/callback"
START = 1_800_000_000.0


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shop(clock: Clock) -> Iterator[ThirdParty]:
    with ThirdParty(clock=clock, hang_seconds=30) as third_party:
        yield third_party


def api(shop: ThirdParty, token: str, path: str = "/api/me", **params: str) -> httpx.Response:
    return httpx.get(shop.url + path, headers={"Authorization": f"Bearer {token}"}, params=params)


def refresh(shop: ThirdParty, refresh_token: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return httpx.post(shop.url + "/oauth/token", data=form, auth=(shop.client.id, shop.client.secret))


def ask(shop: ThirdParty, endpoint: str, token: str) -> httpx.Response:
    auth = (shop.client.id, shop.client.secret)
    return httpx.post(f"{shop.url}/oauth/{endpoint}", data={"token": token}, auth=auth)


def consent(address: str, decision: str = "allow") -> str:
    """Click through the consent page as a person does, and return where the browser is sent."""
    with httpx.Client() as browser:
        page = browser.get(address).text
        found = re.search(r'name="consent" value="([^"]+)"', page)
        assert found
        form = {"consent": found[1], "account": "shop-south", "decision": decision}
        return browser.post(address, data=form).headers["Location"]


def client(shop: ThirdParty) -> OAuth2Client:
    return OAuth2Client(
        shop.client.id,
        shop.client.secret,
        redirect_uri=REDIRECT,
        scope="orders.read profile.read",
        code_challenge_method="S256",
    )


VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123456789"


def test_the_code_flow_with_pkce_gives_a_token_for_the_chosen_account(shop: ThirdParty) -> None:
    with client(shop) as oauth:
        address, state = oauth.create_authorization_url(shop.url + "/oauth/authorize", code_verifier=VERIFIER)
        token = oauth.fetch_token(
            shop.url + "/oauth/token",
            authorization_response=consent(address),
            state=state,
            code_verifier=VERIFIER,
        )
    assert api(shop, token["access_token"]).json()["account"] == "shop-south"


@pytest.mark.parametrize("method", [None, "plain"])
def test_a_client_without_s256_is_sent_back_with_an_error(shop: ThirdParty, method: str | None) -> None:
    query = {"response_type": "code", "client_id": shop.client.id, "redirect_uri": REDIRECT}
    query |= {"code_challenge": VERIFIER, "code_challenge_method": method} if method else {}
    answer = httpx.get(shop.url + "/oauth/authorize", params=query)
    assert parse_qs(urlsplit(answer.headers["Location"]).query)["error"] == ["invalid_request"]


def test_a_wrong_verifier_gets_no_token(shop: ThirdParty) -> None:
    with client(shop) as oauth:
        address, _ = oauth.create_authorization_url(shop.url + "/oauth/authorize", code_verifier=VERIFIER)
    code = parse_qs(urlsplit(consent(address)).query)["code"][0]
    assert exchange(shop, code, VERIFIER[::-1]).json()["error"] == "invalid_grant"


def exchange(shop: ThirdParty, code: str, verifier: str) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": verifier,
    }
    return httpx.post(shop.url + "/oauth/token", data=form, auth=(shop.client.id, shop.client.secret))


def test_a_code_used_twice_revokes_what_it_gave(shop: ThirdParty) -> None:
    with client(shop) as oauth:
        address, _ = oauth.create_authorization_url(shop.url + "/oauth/authorize", code_verifier=VERIFIER)
    code = parse_qs(urlsplit(consent(address)).query)["code"][0]
    first = exchange(shop, code, VERIFIER).json()
    assert exchange(shop, code, VERIFIER).json()["error"] == "invalid_grant"
    assert api(shop, first["access_token"]).status_code == 401


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_every_answer_names_the_server_that_gives_it(shop: ThirdParty, decision: str) -> None:
    with client(shop) as oauth:
        address, _ = oauth.create_authorization_url(shop.url + "/oauth/authorize", code_verifier=VERIFIER)
    answer = parse_qs(urlsplit(consent(address, decision)).query)
    metadata = httpx.get(shop.url + "/.well-known/oauth-authorization-server").json()
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert answer["iss"] == [metadata["issuer"]]


def test_a_person_who_denies_sends_the_client_access_denied(shop: ThirdParty) -> None:
    with client(shop) as oauth:
        address, _ = oauth.create_authorization_url(shop.url + "/oauth/authorize", code_verifier=VERIFIER)
    assert "error=access_denied" in consent(address, "deny")


def test_nobody_can_consent_from_another_site(shop: ThirdParty) -> None:
    with client(shop) as oauth:
        address, _ = oauth.create_authorization_url(shop.url + "/oauth/authorize", code_verifier=VERIFIER)
    assert httpx.post(address, data={"account": "shop-south", "decision": "allow"}).status_code == 403


def test_an_unregistered_redirect_address_is_not_redirected_to(shop: ThirdParty) -> None:
    query = {
        "response_type": "code",
        "client_id": shop.client.id,
        "redirect_uri": "http://127.0.0.1:9/elsewhere",
    }
    answer = httpx.get(shop.url + "/oauth/authorize", params=query)
    assert (answer.status_code, "Location" in answer.headers) == (400, False)


def test_a_refresh_rotates_the_refresh_token(shop: ThirdParty) -> None:
    first = shop.issue_grant("shop-north")
    second = refresh(shop, first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert api(shop, second["access_token"]).status_code == 200


def test_a_refresh_token_used_twice_revokes_the_whole_family(shop: ThirdParty) -> None:
    first = shop.issue_grant("shop-north")
    second = refresh(shop, first["refresh_token"]).json()
    assert refresh(shop, first["refresh_token"]).json()["error"] == "invalid_grant"
    assert refresh(shop, second["refresh_token"]).json()["error"] == "invalid_grant"
    assert api(shop, second["access_token"]).status_code == 401


def test_an_access_token_lives_for_its_lifetime(shop: ThirdParty, clock: Clock) -> None:
    token = shop.issue_grant("shop-north")
    clock.now += token["expires_in"]
    answer = api(shop, token["access_token"])
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_token"
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_revoking_the_refresh_token_ends_its_access_tokens_too(shop: ThirdParty) -> None:
    token = shop.issue_grant("shop-north")
    assert ask(shop, "introspect", token["access_token"]).json()["active"]
    assert ask(shop, "revoke", token["refresh_token"]).status_code == 200
    assert ask(shop, "introspect", token["access_token"]).json() == {"active": False}


def test_introspection_tells_scope_and_subject(shop: ThirdParty) -> None:
    answer = ask(shop, "introspect", shop.issue_grant("shop-south")["access_token"]).json()
    assert (answer["scope"], answer["sub"]) == ("orders.read profile.read", "shop-south")


def _probe(shop: ThirdParty, token: dict[str, str]) -> httpx.Response:
    return api(shop, token["access_token"], "/api/orders")


def _refresh(shop: ThirdParty, token: dict[str, str]) -> httpx.Response:
    return refresh(shop, token["refresh_token"])


@pytest.mark.parametrize(
    ("switch", "question", "status", "error"),
    [
        (Switch.EXPIRE_GRANT, _probe, 401, "invalid_token"),
        (Switch.EXPIRE_GRANT, _refresh, 400, "invalid_grant"),
        (Switch.REVOKE_GRANT, _probe, 401, "invalid_token"),
        (Switch.REVOKE_GRANT, _refresh, 400, "invalid_grant"),
        (Switch.NARROW_SCOPES, _probe, 403, "insufficient_scope"),
        (Switch.SUSPEND_ACCOUNT, _probe, 403, "account_suspended"),
        (Switch.BREAK_CLIENT, _refresh, 401, "invalid_client"),
        (Switch.THROTTLE, _probe, 429, "rate_limited"),
        (Switch.GO_DOWN, _probe, 503, "service_unavailable"),
        (Switch.GO_DOWN, _refresh, 503, "service_unavailable"),
    ],
)
def test_each_switch_answers_as_third_parties_do(
    shop: ThirdParty, switch: Switch, question: Callable[..., httpx.Response], status: int, error: str
) -> None:
    token = shop.issue_grant("shop-north")
    shop.switch(switch)
    answer = question(shop, token)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_the_firewall_answers_403_in_html(shop: ThirdParty) -> None:
    shop.switch("answer_html")
    answer = api(shop, shop.issue_grant("shop-north")["access_token"])
    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "text/html; charset=utf-8")


def test_a_throttled_client_is_told_how_long_to_wait(shop: ThirdParty) -> None:
    shop.switch("throttle")
    assert api(shop, "any").headers["Retry-After"] == "30"


def test_a_hung_server_outlasts_the_clients_timeout(shop: ThirdParty) -> None:
    shop.switch("hang")
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(shop.url + "/api/me", timeout=0.2)


def test_narrowed_scopes_are_told_by_the_identity_answer_too(shop: ThirdParty) -> None:
    token = shop.issue_grant("shop-north")["access_token"]
    shop.switch("narrow_scopes")
    assert api(shop, token).json()["scope"] == "profile.read"


def test_back_to_normal_heals_states_but_not_ended_grants(shop: ThirdParty) -> None:
    lost = shop.issue_grant("shop-north")
    shop.switch("revoke_grant")
    shop.switch("go_down")
    shop.normal()
    assert api(shop, lost["access_token"]).status_code == 401
    assert api(shop, shop.issue_grant("shop-north")["access_token"]).status_code == 200


def test_a_grant_switch_can_spare_the_other_account(shop: ThirdParty) -> None:
    north, south = shop.issue_grant("shop-north"), shop.issue_grant("shop-south")
    shop.switch("revoke_grant", account="shop-south")
    assert api(shop, north["access_token"]).status_code == 200
    assert api(shop, south["access_token"]).status_code == 401


def test_paging_meets_every_order_exactly_once(shop: ThirdParty) -> None:
    token = shop.issue_grant("shop-north")["access_token"]
    page = api(shop, token, "/api/orders", limit="150").json()
    seen = [order["id"] for order in page["orders"]]
    while page["next"]:
        page = httpx.get(page["next"], headers={"Authorization": f"Bearer {token}"}).json()
        seen += [order["id"] for order in page["orders"]]
    assert len(seen) == len(set(seen)) == 361


def test_later_orders_appear_after_the_watermark(shop: ThirdParty, clock: Clock) -> None:
    token = shop.issue_grant("shop-north")["access_token"]
    orders: list[dict[str, str]] = []
    page = {"next": shop.url + "/api/orders?limit=200"}
    while page["next"]:
        page = httpx.get(page["next"], headers={"Authorization": f"Bearer {token}"}).json()
        orders += page["orders"]
    clock.now += 40
    since = orders[-1]["updated_at"]
    newer = api(shop, token, "/api/orders", updated_since=since).json()["orders"]
    assert {order["id"] for order in newer} - {order["id"] for order in orders}
    assert all(order["updated_at"] >= since for order in newer)


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "x"}, {"updated_since": "yesterday"}, {"cursor": "!"}, {"cursor": "eA"}],
)
def test_a_malformed_question_is_told_what_is_wrong(shop: ThirdParty, query: dict[str, str]) -> None:
    answer = api(shop, shop.issue_grant("shop-north")["access_token"], "/api/orders", **query)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_requests_are_counted_by_path(shop: ThirdParty) -> None:
    api(shop, shop.issue_grant("shop-north")["access_token"])
    assert shop.requests == {"/api/me": 1}


def test_another_host_name_is_refused(shop: ThirdParty) -> None:
    answer = httpx.get(shop.url + "/api/me", headers={"Host": "evil.example"})
    assert answer.status_code == 421


def test_the_products_own_consent_and_refresh_work_with_the_catalogues_file(shop: ThirdParty) -> None:
    folder = Path(connections.__file__).parent / "integration_types"
    model = catalogue.load(connections.SHOPDEMO, folder=folder).model
    fields = connections.shopdemo(shop)
    credential = Credential(
        conn_id=connections.SHOPDEMO,
        conn_type=fields["conn_type"],
        host=fields["host"],
        extra=fields["extra"],
    )
    integration = an_integration(type="shopdemo", conn_id="shopdemo", account="shop-south")
    address = flow.authorization_url(
        model, credential, integration, redirect_uri=REDIRECT, state="fake-state", code_verifier=VERIFIER
    )
    assert model.oauth is not None
    answer = parse_qsl(urlsplit(consent(address)).query)
    issuer = flow.expected_issuer(model, credential, integration)
    callback = flow.read_callback(answer, model.oauth, issuer=issuer)
    assert (issuer, dict(answer)["iss"], callback.problem) == (shop.url, shop.url, None)
    request = flow.code_request(
        model,
        credential,
        integration,
        code=callback.code or "",
        code_verifier=VERIFIER,
        redirect_uri=REDIRECT,
    )
    evidence, token = flow.exchange(request)
    assert token is not None, evidence
    assert missing_scopes(flow.wanted_scopes(model, credential), token.scope) == ()
    assert api(shop, token.access_token).json()["account"] == "shop-south"
    assert refresh(shop, token.refresh_token or "").status_code == 200
