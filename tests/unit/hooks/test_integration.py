from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import Connection

from mbi_reauth.api.datamodels import CheckResponse
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause
from mbi_reauth.hooks.api import ApiUnavailableError, ReauthApiHook
from mbi_reauth.hooks.integration import IntegrationHook, NotAuthorizedError
from mbi_reauth.probes.candidate import Candidate, as_extra, finding_in
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from tests.checking import OAUTH, FakeApi, MadeUpType, a_credential, a_type, an_integration
from tests.loopback import Loopback, reply, serving

REFUSED = Evidence(endpoint=Endpoint.TOKEN, status_code=400)
PROBED = {"url": "{base_url}/me", "account": "shop"}
DOWN = ApiUnavailableError("The plugin's app cannot be reached: timeout")


class MadeUpHook(IntegrationHook):
    """The hook over a given credential and a made-up type."""

    def __init__(
        self,
        credential: Credential,
        model: Any,
        integration: Integration | None = None,
        api: ReauthApiHook | None = None,
    ) -> None:
        super().__init__(integration, integration_conn_id="shop_conn", api=api)
        self.credential = credential
        self.loaded_type = MadeUpType(model)  # type: ignore[assignment]


@pytest.fixture
def shop() -> Iterator[Loopback]:
    with serving(reply(body=b'{"shop": "Example"}')) as server:
        yield server


def test_airflows_button_says_who_was_authorized(shop: Loopback) -> None:
    hook = MadeUpHook(a_credential(host=shop.url), a_type(probe=PROBED))
    assert hook.test_connection() == (True, "Authorized as Example.")


@pytest.mark.parametrize(
    ("status", "words"),
    [("410 Gone", "needs_reauth"), ("401 No", "next check refreshes it"), ("503 Down", "unavailable")],
)
def test_airflows_button_says_what_is_wrong_without_secrets(status: str, words: str) -> None:
    with serving(reply(status)) as server:
        good, message = MadeUpHook(a_credential(host=server.url), a_type()).test_connection()
    assert not good
    assert words in message
    assert "fake-password" not in message


def test_airflows_button_notices_another_account(shop: Loopback) -> None:
    credential = a_credential(host=shop.url, extra={"account": "Other"})
    good, message = MadeUpHook(credential, a_type(probe=PROBED)).test_connection()
    assert not good
    assert "Example, not to Other" in message


@pytest.mark.parametrize(
    ("extra", "words"),
    [({}, "does not say what it is"), ({"integration_type": "zendeks"}, "zendeks")],
)
def test_airflows_button_wants_a_known_type(
    extra: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_CONN", json.dumps({"conn_type": "mbireauth", "extra": extra}))
    good, message = IntegrationHook(integration_conn_id="shop_conn").test_connection()
    assert not good
    assert words in message


def test_airflows_button_on_no_connection_says_so() -> None:
    assert IntegrationHook(integration_conn_id="nowhere").test_connection() == (
        False,
        "There is no Airflow connection 'nowhere'",
    )


@pytest.mark.parametrize(
    ("account", "cause"), [("shop-north", Cause.AUTHORIZED), ("shop-south", Cause.ACCOUNT_UNLINKED)]
)
def test_a_connection_that_carries_a_candidate_verifies_that_and_tells_the_finding(
    account: str, cause: Cause, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER", "demo/integration_types")
    with serving(reply(body=b'{"account": "shop-north", "scope": "orders.read"}')) as server:
        candidate = Candidate(
            integration=an_integration(type="shopdemo"),
            credential=a_credential(host=server.url),
            access_token="fake-access-token",
            account=account,
        )
        connection = Connection(
            conn_id="mbi_reauth_verification_1", conn_type="mbireauth", extra=json.dumps(as_extra(candidate))
        )
        good, message = connection.test_connection()
    found = finding_in(message)
    assert found is not None, message
    assert (good, found.cause) == (cause is Cause.AUTHORIZED, cause), found
    assert b"authorization: bearer fake-access-token" in server.requests[0].lower()


def test_a_candidate_that_cannot_be_read_is_no_finding() -> None:
    extra = json.dumps({"mbi_reauth_candidate": {"tomorrow": "fake-password"}})
    connection = Connection(conn_id="mbi_reauth_verification_1", conn_type="mbireauth", extra=extra)
    good, message = connection.test_connection()
    assert (good, finding_in(message)) == (False, None)
    assert "another version" in message
    assert "fake-password" not in message


def test_nothing_of_the_connection_becomes_a_header(shop: Loopback) -> None:
    credential = a_credential(host=shop.url, login="dana", extra={"client_secret": "fake-client-secret"})
    response = MadeUpHook(credential, a_type()).get_conn().get(f"{shop.url}/orders")
    assert response.json() == {"shop": "Example"}
    head = shop.requests[0].lower()
    assert b"authorization: bearer fake-password" in head
    assert b"fake-client-secret" not in head
    assert b"dana" not in head


def test_it_runs_as_any_http_hook_does(shop: Loopback) -> None:
    hook = MadeUpHook(a_credential(host=shop.url), a_type())
    assert hook.run("/orders", headers={"X-Page": "2"}).status_code == 200
    assert b"GET /orders" in shop.requests[0]
    assert b"X-Page: 2" in shop.requests[0]


def oauth_hook(shop: Loopback, *answers: CheckResponse | Exception, stored: str = "") -> MadeUpHook:
    credential = a_credential(host=shop.url, password="", extra={"access_token": stored})
    return MadeUpHook(credential, a_type(oauth=OAUTH), an_integration(), FakeApi(*answers))


@pytest.mark.parametrize(
    ("answer", "stored", "sent"),
    [
        (CheckResponse(credential_version=1, access_token="fake-fresh"), "fake-stored", "fake-fresh"),
        (DOWN, "fake-stored", "fake-stored"),
    ],
)
def test_an_oauth_session_has_the_apps_token_or_else_the_stored_one(
    shop: Loopback, answer: CheckResponse | Exception, stored: str, sent: str
) -> None:
    oauth_hook(shop, answer, stored=stored).get_conn().get(shop.url)
    assert f"Bearer {sent}".encode() in shop.requests[0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (DOWN, "cannot be reached"),
        (CheckResponse(credential_version=1, token_evidence=REFUSED), "As told"),
    ],
)
def test_without_any_token_the_reason_is_said(
    shop: Loopback, answer: CheckResponse | Exception, words: str
) -> None:
    with pytest.raises(NotAuthorizedError, match=words):
        oauth_hook(shop, answer).get_conn()


def test_a_token_that_expires_meanwhile_is_renewed_through_the_app() -> None:
    def script(connection: Any, head: bytes) -> None:
        reply("200 OK" if b"fake-2" in head else "401 Unauthorized")(connection, head)

    first, second = (CheckResponse(credential_version=1, access_token=f"fake-{n}") for n in (1, 2))
    with serving(script) as server:
        hook = oauth_hook(server, first, second)
        assert hook.get_conn().get(server.url).status_code == 200


def test_templates_are_rendered_without_secrets(shop: Loopback) -> None:
    render = MadeUpHook(a_credential(host=shop.url), a_type()).render
    assert render.url("{base_url}/orders") == f"{shop.url}/orders"
    with pytest.raises(MisconfiguredError):
        render.text("{password}")


def test_airflow_tests_a_candidate_that_is_not_saved_anywhere() -> None:
    with serving(reply(body=b'{"users": []}')) as server:
        candidate = Connection(
            conn_id="not_saved",
            conn_type="mbireauth",
            host=server.url,
            login="dana@example.com",
            password="fake-token",
            extra=json.dumps({"integration_type": "zendesk"}),
        )
        assert candidate.test_connection() == (True, "Authorized.")
