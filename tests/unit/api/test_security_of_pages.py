"""What somebody with bad intentions tries at the owner's pages, and does not get."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import structlog
from airflow.api_fastapi.common.http_access_log import HttpAccessLogMiddleware
from fastapi import Request
from fastapi.testclient import TestClient
from sqlalchemy import select

from mbi_reauth.api import visitors
from mbi_reauth.api.bodies import LARGEST
from mbi_reauth.api.pages import COOKIE
from mbi_reauth.api.services import links, requests
from mbi_reauth.core.redact import redact
from mbi_reauth.core.verdict import Cause
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Audit, AuthorizationRequest, Incident
from mbi_reauth.probes.secret_values import SecretValues
from tests.app import App, Outside
from tests.metadata_db import extra_of, put_connection
from tests.owners_browser import ORIGIN, Browser, path_of

GRANT = {"client_id": "fake-client", "client_secret": "fake-secret", "refresh_token": "fake-old-refresh"}
FORWARDED = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "host=evil.example;proto=https",
}


@pytest.fixture
def browser(outside: Outside) -> Browser:
    return Browser(outside.as_surroundings())


@pytest.fixture
def shop(app: App) -> App:
    """An OAuth integration whose authorization is lost."""
    put_connection("shop", extra=GRANT)
    app.report(Cause.GRANT_REVOKED)
    return app


@pytest.fixture
def keyed(app: App) -> App:
    """One with a key."""
    keyed = app.about("keyed", type="plain")
    put_connection("keyed", login="reader", password="fake-old-key", host="vendor.example")
    keyed.report(Cause.CREDENTIALS_REJECTED)
    return keyed


def incident_of(app: App) -> str:
    its = select(Incident.id).where(Incident.open_key == app.integration.id)
    return str(transact(lambda session: session.scalar(its)))


def link_of(app: App) -> str:
    return links.for_incident(incident_of(app), now=app.outside.moment)


def attempts() -> list[AuthorizationRequest]:
    return transact(lambda session: list(session.scalars(select(AuthorizationRequest))))


def audited() -> list[Audit]:
    return transact(lambda session: list(session.scalars(select(Audit))))


class TestLinks:
    @pytest.mark.parametrize("place", range(0, 100, 7))
    def test_a_link_with_one_letter_changed_is_refused(self, shop: App, browser: Browser, place: int) -> None:
        token = path_of(link_of(shop)).rpartition("/")[2]
        # The last letter of unpadded base64 has bits that mean nothing.
        place = min(place, len(token) - 2)
        letter = "A" if token[place] != "A" else "B"
        forged = token[:place] + letter + token[place + 1 :]
        assert browser.get(f"/reauthorize/{forged}").status_code == 404
        assert browser.press(f"{ORIGIN}/mbi-reauth/reauthorize/{forged}", "consent").status_code == 404
        assert audited() == []

    def test_the_apps_key_for_one_purpose_does_not_sign_links(self, shop: App, browser: Browser) -> None:
        from itsdangerous import URLSafeSerializer

        from mbi_reauth.models.metadata_db import fingerprint_keys

        facts = ["i", incident_of(shop), 0, int(shop.outside.moment.timestamp())]
        for key in fingerprint_keys():
            token = URLSafeSerializer(key).dumps(facts)
            assert (
                browser.get(f"/reauthorize/{token if isinstance(token, str) else token.decode()}").status_code
                == 404
            )

    def test_a_link_of_the_future_is_refused(self, shop: App, browser: Browser) -> None:
        link = link_of(shop)
        shop.outside.pass_time(-3600)
        assert browser.open(link).status_code == 404

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
    def test_no_other_method_does_anything(self, shop: App, browser: Browser, method: str) -> None:
        for path in (path_of(link_of(shop)), "/mbi-reauth/credential", "/mbi-reauth/oauth/rotating/callback"):
            assert browser.client.request(method, path, headers={"Origin": ORIGIN}).status_code == 405
        assert (audited(), attempts()) == ([], [])


class TestAddresses:
    """Where a browser or a third party is sent, only the configuration says."""

    def test_the_redirect_uri_does_not_believe_the_request(self, shop: App, browser: Browser) -> None:
        page = browser.press(link_of(shop), "consent", **FORWARDED)
        assert page.status_code == 200
        assert quote(f"{ORIGIN}/mbi-reauth/oauth/rotating/callback", safe="") in page.text
        assert "evil" not in page.text + str(page.headers)

    @pytest.mark.parametrize(
        "path", ["/credential/", "/outcome/", "/oauth/rotating/callback/", "//evil.example"]
    )
    def test_no_address_is_made_of_the_host_header(self, shop: App, browser: Browser, path: str) -> None:
        answer = browser.get(path, headers=FORWARDED)
        assert answer.status_code == 404
        assert "location" not in answer.headers

    def test_who_signs_in_comes_back_to_airflows_own_address(
        self, shop: App, browser: Browser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__MBI_REAUTH__REQUIRE_LOGIN", "True")
        _no_user(monkeypatch)
        link = path_of(link_of(shop))
        for path in (link, f"{link}?next=//evil.example", f"{link}%22%3E//evil.example"):
            answer = browser.client.get(path, headers=FORWARDED)
            assert answer.status_code == 303
            location = answer.headers["location"]
            assert location.startswith(f"{ORIGIN}/api/v2/auth/login?next=")
            assert "\n" not in location
            [back] = parse_qs(urlsplit(location).query)["next"]
            assert back.startswith(f"{ORIGIN}/mbi-reauth/reauthorize/")

    def test_a_code_is_not_put_into_the_address_of_the_login_page(
        self, shop: App, browser: Browser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__MBI_REAUTH__REQUIRE_LOGIN", "True")
        _no_user(monkeypatch)
        answer = browser.come_back(code="fake-code", state="fake-state")
        assert answer.status_code == 303
        assert "fake-code" not in answer.headers["location"]
        assert "fake-state" not in answer.headers["location"]

    @pytest.mark.parametrize(
        "type_id", ["..%2Frotating", "%2e%2e", "rotating%00", "rotating%2Fcallback", "static"]
    )
    def test_an_answer_at_another_address_is_not_taken(
        self, shop: App, browser: Browser, type_id: str
    ) -> None:
        asked = browser.consent(link_of(shop))
        answer = browser.get(f"/oauth/{type_id}/callback?code=fake-code&state={asked['state']}")
        assert answer.status_code in (404, 410)
        assert shop.outside.traded == []


def _no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(*_: object) -> None:
        return None

    monkeypatch.setattr("mbi_reauth.api.people.user_of", nobody)


class TestSessions:
    def test_each_attempt_has_a_secret_state_and_verifier_of_its_own(
        self, shop: App, keyed: App, outside: Outside
    ) -> None:
        first, second = Browser(outside.as_surroundings()), Browser(outside.as_surroundings())
        asked = [each.consent(link_of(shop)) for each in (first, second)]
        assert asked[0]["state"] != asked[1]["state"]
        assert asked[0]["code_challenge"] != asked[1]["code_challenge"]
        secrets = {each.client.cookies[COOKIE] for each in (first, second)}
        assert len(secrets) == 2
        assert all(len(secret) >= 43 for secret in secrets)

    def test_a_secret_that_somebody_put_into_the_browser_is_not_taken_over(
        self, shop: App, browser: Browser
    ) -> None:
        browser.client.cookies.set(COOKIE, "planted")
        asked = browser.consent(link_of(shop))
        assert asked["state"] != requests.state_of("planted")
        assert [row.session for row in attempts()] != [hashlib.sha256(b"planted").hexdigest()]

    def test_another_integrations_session_is_not_gone_on_with(
        self, shop: App, keyed: App, browser: Browser
    ) -> None:
        asked = browser.consent(link_of(shop))
        planted = browser.client.cookies[COOKIE]
        browser.press(link_of(keyed), "form")
        assert browser.client.cookies[COOKIE] != planted
        answer = browser.come_back(code="fake-code", state=asked["state"])
        assert answer.status_code == 410
        assert shop.outside.traded == []
        assert extra_of("shop") == GRANT

    def test_an_expired_session_is_not_gone_on_with(self, keyed: App, browser: Browser) -> None:
        browser.press(link_of(keyed), "form")
        before = browser.client.cookies[COOKIE]
        keyed.outside.pass_time(15 * 60 + 1)
        browser.press(link_of(keyed), "form")
        assert browser.client.cookies[COOKIE] != before

    def test_the_consent_pages_address_does_not_tell_the_browsers_secret(
        self, shop: App, browser: Browser
    ) -> None:
        page = browser.consent_page(link_of(shop))
        secret = browser.client.cookies[COOKIE]
        assert secret not in page
        verifier = requests.verifier_of(secret)
        assert verifier not in page
        [row] = attempts()
        assert row.session not in page

    def test_the_verifier_cannot_be_made_of_what_the_browser_has(self, shop: App, browser: Browser) -> None:
        browser.consent(link_of(shop))
        secret = browser.client.cookies[COOKIE]
        guesses = {requests.state_of(secret), base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")}
        assert requests.verifier_of(secret) not in guesses
        assert requests.verifier_of(secret) != requests.verifier_of(secret + "x")

    @pytest.mark.parametrize("cookie", ["", "x" * 30_000, "\u00ff\u00fe", "a;b", '"', "%00"])
    def test_a_strange_cookie_is_no_session(self, shop: App, browser: Browser, cookie: str) -> None:
        header = {"Cookie": f"{COOKIE}={cookie}".encode("latin-1")}
        for path in ("/credential", "/outcome", "/oauth/rotating/callback?code=a&state=b"):
            assert browser.get(path, headers=header).status_code == 410

    def test_a_state_of_strange_signs_is_refused(self, shop: App, browser: Browser) -> None:
        browser.consent(link_of(shop))
        for state in ("", "%ff%fe", "%00", "%F0%9F%98%80", "x" * 5000):
            answer = browser.get(f"/oauth/rotating/callback?code=fake-code&state={state}")
            assert answer.status_code == 410
        assert shop.outside.traded == []

    def test_plain_pkce_is_never_asked_for(self, shop: App, browser: Browser) -> None:
        put_connection("shop", extra={**GRANT, "code_challenge_method": "plain", "code_challenge": "x"})
        asked = browser.consent(link_of(shop))
        assert asked["code_challenge_method"] == "S256"
        assert len(base64.urlsafe_b64decode(asked["code_challenge"] + "=")) == 32


class TestForms:
    @pytest.mark.parametrize(
        "body",
        [
            b"login=reader&password=%ff",
            b"login=reader&password=\xff",
            b"login=reader&password=one&password=two",
            b"&".join(b"f%d=x" % number for number in range(40)),
            b"password=" + b"x" * 70_000,
        ],
        ids=["wrongly escaped", "no UTF-8", "a field twice", "many fields", "large"],
    )
    def test_a_form_that_no_browser_sends_is_refused(self, keyed: App, browser: Browser, body: bytes) -> None:
        browser.press(link_of(keyed), "form")
        headers = {"Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
        answer = browser.client.post("/mbi-reauth/credential", content=body, headers=headers)
        assert answer.status_code == 403
        assert keyed.outside.tried == []

    @pytest.mark.parametrize("secret", ["fake\0key", "fake\rX-Injected: 1", "fake\nkey", "x" * 5000])
    def test_what_no_key_is_made_of_is_not_tried(self, keyed: App, browser: Browser, secret: str) -> None:
        browser.press(link_of(keyed), "form")
        answer = browser.post("/mbi-reauth/credential", {"login": "reader", "password": secret})
        assert answer.status_code == 422
        assert secret not in answer.text
        assert keyed.outside.tried == []

    def test_what_was_typed_is_shown_again_as_text_only(self, keyed: App, browser: Browser) -> None:
        browser.press(link_of(keyed), "form")
        typed = '"><script>alert(1)</script>'
        page = browser.post("/mbi-reauth/credential", {"login": typed, "password": ""})
        assert page.status_code == 422
        assert "<script" not in page.text

    def test_reading_stops_at_the_limit(self) -> None:
        """However long a body goes on, whether or not its length was told."""
        sent = 0

        async def receive() -> dict[str, Any]:
            nonlocal sent
            sent += 1
            assert sent < 100, "it reads on and on"
            return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

        headers = [(b"origin", ORIGIN.encode()), (b"content-type", b"application/x-www-form-urlencoded")]
        scope = {"type": "http", "method": "POST", "headers": headers, "path": "/", "query_string": b""}
        with pytest.raises(visitors.PageError):
            asyncio.run(visitors.posted(Request(scope, receive)))
        assert sent == visitors.LARGEST_BODY // 1024 + 1

    def test_a_stranger_cannot_fill_the_memory(self, client: TestClient) -> None:
        stranger = TestClient(client.app)
        large = b'{"x": "' + b"x" * LARGEST + b'"}'
        for path in ("/api/findings", "/api/checks", "/api/integrations/shop/change-of-account"):
            answer = stranger.post(path, content=large, headers={"Content-Type": "application/json"})
            assert answer.status_code == 413

    def test_a_text_that_is_hard_to_read_for_patterns_is_read_at_once(self) -> None:
        """The test's own time limit ends it where one is not."""
        words = [
            *(
                "a://" * 1000,
                "token=\\" * 600,
                "token=" + "\\" * 4000,
                'token="' + "\\a" * 2000,
                "?a=" * 1300,
            ),
            *(
                "bearer " * 600,
                "auth" * 1000,
                "a.-" * 1300,
                "aA" * 2000,
                "token: " * 600,
                "x" * 60 + "key" * 1300,
            ),
        ]
        for text in words:
            assert len(redact(text)) <= 300

    @pytest.mark.parametrize(
        "signs", ["\\", '"', "\u00e9", '\\"', "\\\u00e9", "%25", "\n", " ", "\\u005c", "\U0001f600"]
    )
    def test_a_secret_of_signs_that_get_escaped_is_sought_at_once(self, signs: str) -> None:
        """With two ways to match each sign, this took longer than anybody waits."""
        secret = f"x{signs * 60}x"
        for written in (
            signs,
            json.dumps(signs)[1:-1],
            json.dumps(json.dumps(signs)[1:-1])[1:-1],
            quote(signs),
        ):
            other = f"x{written * 90}"
            assert SecretValues([secret]).hide(other) == other
            assert SecretValues([secret]).hide(f"<x{written * 60}x>") == "<***>"


class TestRates:
    def test_strangers_of_one_household_count_as_one(self) -> None:
        rates = visitors.Rates()
        for number in range(20):
            rates.admit(_from(f"2001:db8:1:2::{number:x}", method="POST"))
        with pytest.raises(visitors.PageError):
            rates.admit(_from("2001:db8:1:2:ffff::1", method="POST"))
        rates.admit(_from("2001:db8:1:3::1", method="POST"))

    def test_an_ipv4_address_written_as_ipv6_is_its_own(self) -> None:
        rates = visitors.Rates()
        for _ in range(20):
            rates.admit(_from("::ffff:192.0.2.1", method="POST"))
        rates.admit(_from("::ffff:192.0.2.2", method="POST"))
        with pytest.raises(visitors.PageError):
            rates.admit(_from("192.0.2.1", method="POST"))

    @pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP"])
    def test_a_header_does_not_make_another_visitor(self, shop: App, browser: Browser, name: str) -> None:
        link = link_of(shop)
        answers = [browser.press(link, "none", **{name: f"192.0.2.{number}"}) for number in range(21)]
        assert answers[-1].status_code == 429
        assert answers[-1].headers["retry-after"] == "60"

    def test_strangers_count_before_anything_is_looked_up(self, shop: App, browser: Browser) -> None:
        answers = [browser.get("/reauthorize/nonsense").status_code for _ in range(121)]
        assert answers[-2:] == [404, 429]


def _from(client: str, *, method: str) -> Request:
    return Request({"type": "http", "method": method, "headers": [], "client": (client, 1)})


class TestLogs:
    """Airflow's log of HTTP requests has the address of each; what is secret in ours is not in it."""

    @pytest.fixture
    def logged(self, browser: Browser) -> Callable[[str], str]:
        app = TestClient(HttpAccessLogMiddleware(browser.client.app), base_url=ORIGIN, follow_redirects=False)

        def log_of(address: str) -> str:
            app.cookies = browser.client.cookies
            with structlog.testing.capture_logs() as entries:
                app.get(address)
            [entry] = [entry for entry in entries if entry["event"] == "request finished"]
            return json.dumps(entry)

        return log_of

    def test_the_links_token_is_not_in_it(self, shop: App, logged: Callable[[str], str]) -> None:
        path = path_of(link_of(shop))
        entry = logged(f"{path}?lang=nl")
        assert "/mbi-reauth/reauthorize/***" in entry
        assert path.rpartition("/")[2] not in entry

    def test_code_and_state_are_not_in_it(
        self, shop: App, browser: Browser, logged: Callable[[str], str]
    ) -> None:
        asked = browser.consent(link_of(shop))
        shop.outside.will_not_trade("invalid_grant")
        for state in (asked["state"], "another"):
            entry = logged(f"/mbi-reauth/oauth/rotating/callback?code=fake-code&state={state}")
            assert "/mbi-reauth/oauth/rotating/callback" in entry
            assert "fake-code" not in entry
            assert state not in entry.replace("another user", "")
        assert len(shop.outside.traded) == 1

    def test_a_fault_of_ours_tells_no_secret(
        self, shop: App, browser: Browser, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("out of order")

        asked = browser.consent(link_of(shop))
        monkeypatch.setattr("mbi_reauth.api.services.renewal.code_request", broken)
        with caplog.at_level(logging.DEBUG, "mbi_reauth"):
            assert browser.come_back(code="fake-code", state=asked["state"]).status_code == 503
        own = "\n".join(
            logging.Formatter().format(record)
            for record in caplog.records
            if record.name.startswith("mbi_reauth")
        )
        assert "out of order" in own
        for secret in ("fake-code", asked["state"], browser.client.cookies[COOKIE], *GRANT.values()):
            assert secret not in own


class TestEngineers:
    """The JSON endpoint that frees an account, which Airflow's cookie alone must not reach from elsewhere."""

    @pytest.fixture(autouse=True)
    def _signed_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Ada:
            @staticmethod
            def get_name() -> str:
                return "ada"

        async def ada(*_: object) -> Ada:
            return Ada()

        monkeypatch.setattr("mbi_reauth.api.people.user_of", ada)
        monkeypatch.setattr("mbi_reauth.api.people.may_change", lambda *_: True)

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
            {"Authorization": "Basic eA=="},
        ],
    )
    def test_another_site_cannot_use_the_cookie(
        self, shop: App, browser: Browser, headers: dict[str, str]
    ) -> None:
        for content_type in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            answer = browser.client.post(
                "/mbi-reauth/api/integrations/shop/change-of-account",
                content=b'{"hours": 24}',
                headers={"Content-Type": content_type, **headers},
            )
            assert answer.status_code in (401, 403)
        assert audited() == []

    @pytest.mark.parametrize("hours", ["-1", "0", "169", '"x"', "null"])
    def test_no_odd_time_is_taken(self, shop: App, browser: Browser, hours: str) -> None:
        answer = browser.client.post(
            "/mbi-reauth/api/integrations/shop/change-of-account",
            content=f'{{"hours": {hours}}}',
            headers={"Content-Type": "application/json", "Origin": ORIGIN},
        )
        assert answer.status_code == 422
        assert audited() == []

    def test_airflows_own_page_can(self, shop: App, browser: Browser) -> None:
        answer = browser.client.post(
            "/mbi-reauth/api/integrations/shop/change-of-account",
            json={"hours": 1},
            headers={"Origin": ORIGIN},
        )
        assert answer.status_code == 200
        assert [row.event for row in audited()] == ["account_freed"]


class TestWords:
    """What others wrote is shown as text, whatever it is."""

    HOSTILE = "</p><script>alert(1)</script><img src=x onerror=alert(1)>\u202e"

    def test_the_authorization_servers_words_are_text(self, shop: App, browser: Browser) -> None:
        asked = browser.consent(link_of(shop))
        answer = browser.come_back(
            state=asked["state"],
            error="invalid_scope",
            error_description=self.HOSTILE,
            error_uri="//evil.example",
        )
        page = browser.follow(answer).text
        assert "alert(1)" in page
        assert "<script" not in page
        assert "<img" not in page
        assert "evil.example" not in page
        assert "\u202e" not in page

    @pytest.mark.parametrize("lang", ["<script>", "../../etc", "nl%0d%0aSet-Cookie:x=y", "%00", "x" * 5000])
    def test_a_language_that_we_do_not_speak_is_not_repeated(
        self, shop: App, browser: Browser, lang: str
    ) -> None:
        page = browser.client.get(f"{path_of(link_of(shop))}?lang={lang}")
        assert page.status_code == 200
        assert '<html lang="en"' in page.text
        assert lang not in page.text
        assert "set-cookie" not in page.headers

    @pytest.mark.parametrize("accepted", ["*", ";;;,,,=", "nl_" * 100, "zz-\u00ff", "-", "nl;q=x"])
    def test_any_language_header_is_borne(self, browser: Browser, accepted: str) -> None:
        header = {"Accept-Language": accepted.encode("latin-1")}
        assert browser.get("/reauthorize/nonsense", headers=header).status_code == 404

    def test_every_redirection_has_the_headers_of_a_page(self, keyed: App, browser: Browser) -> None:
        begun = browser.press(link_of(keyed), "form")
        keyed.outside.will_find(Cause.AUTHORIZED)
        saved = browser.post("/mbi-reauth/credential", {"login": "reader", "password": "fake-new-key"})
        for answer in (begun, saved):
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/mbi-reauth/")
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-frame-options"] == "DENY"
