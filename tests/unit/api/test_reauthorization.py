from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from airflow._shared.secrets_masker import _secrets_masker
from fastapi.testclient import TestClient
from paramiko import ECDSAKey  # type: ignore[import-untyped]
from sqlalchemy import select

from mbi_reauth import catalogue
from mbi_reauth.api.datamodels import FindingReport
from mbi_reauth.api.pages import COOKIE
from mbi_reauth.api.services import links, requests
from mbi_reauth.api.services.audit import Visitor
from mbi_reauth.api.services.cases import find_case
from mbi_reauth.core.reauthorization import Outcome, Way
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.models.metadata_db import stored_credential, transact
from mbi_reauth.models.tables import Audit, AuthorizationRequest, Incident, Status
from mbi_reauth.probes.credential import Credential
from tests.app import App, Outside
from tests.metadata_db import audited, drop_connection, extra_of, put_connection
from tests.owners_browser import ORIGIN, Browser, path_of

OLD = {"client_id": "fake-client", "client_secret": "fake-secret", "refresh_token": "fake-old-refresh"}
BEHIND = {"conn_type": "postgres", "host": "db.example", "login": "reader", "schema": "shop"}
RUN = {"dag_id": "extract", "run_id": "run-1", "task_id": "shop.check_authorization"}


@pytest.fixture
def browser(outside: Outside) -> Browser:
    return Browser(outside.as_surroundings())


@pytest.fixture
def shop(app: App) -> App:
    """An OAuth integration whose authorization is lost; one run waits."""
    put_connection("shop", extra=OLD)
    app.report(Cause.GRANT_REVOKED, blocked_run=RUN)
    return app


@pytest.fixture
def keyed(app: App) -> App:
    """The same with a key."""
    keyed = app.about("keyed", type="plain")
    put_connection("keyed", login="reader", password="fake-old-key", host="vendor.example")
    keyed.report(Cause.CREDENTIALS_REJECTED, blocked_run=RUN)
    return keyed


@pytest.fixture
def tunnelled(app: App) -> App:
    """A database whose SSH server does not admit us any more."""
    tunnelled = app.about("behind", type="postgresql_ssh")
    put_connection("behind", **BEHIND, extra={"ssh_conn_id": "bastion"})
    put_connection("bastion", conn_type="ssh", host="ssh.example", login="tunnel", password="fake-old")
    refused = Finding(cause=Cause.CREDENTIALS_REJECTED, rule="default_ssh.refused", explanation="-")
    report = FindingReport(integration=tunnelled.integration, finding=refused)
    tunnelled.post("findings", report.model_dump(mode="json"))
    return tunnelled


@pytest.fixture
def visiting(outside: Outside) -> Browser:
    """A browser at pages that know the catalogue's own types."""
    return Browser(replace(outside.as_surroundings(), type_of=lambda type_id: catalogue.load(type_id).model))


def link_of(app: App) -> str:
    incident = transact(
        lambda session: session.scalar(select(Incident.id).where(Incident.open_key == app.integration.id))
    )
    assert incident is not None, "there is no open incident"
    return links.for_incident(incident, now=app.outside.moment)


def is_open(integration_id: str) -> bool:
    query = select(Incident).where(Incident.open_key == integration_id)
    return transact(lambda session: session.scalar(query)) is not None


def events() -> list[str]:
    return transact(lambda session: list(session.scalars(select(Audit.event).order_by(Audit.id))))


def requested() -> list[AuthorizationRequest]:
    return transact(lambda session: list(session.scalars(select(AuthorizationRequest))))


def last_outcome() -> str:
    finished = [row.result for row in requested() if row.result is not None]
    return str(finished[-1]["outcome"])


def credential_of(conn_id: str) -> Credential:
    credential = transact(lambda session: stored_credential(session, conn_id))
    assert credential is not None, f"there is no connection {conn_id}"
    return credential


def set_status(integration_id: str, **values: Any) -> None:
    def change(session: Any) -> None:
        for name, value in values.items():
            setattr(session.get_one(Status, integration_id), name, value)

    transact(change)


def a_private_key() -> str:
    written = io.StringIO()
    ECDSAKey.generate().write_private_key(written)
    return written.getvalue()


def everything_stored() -> str:
    """Return all that the plugin's tables hold, as text."""
    tables = Status.metadata.sorted_tables
    return transact(lambda session: repr([session.execute(table.select()).all() for table in tables]))


@pytest.fixture
def canaries() -> Iterator[list[str]]:
    """Secrets that must not be found in what was stored in the clear."""
    values: list[str] = []
    yield values
    stored = everything_stored()
    for value in values:
        assert value not in stored, value


def test_opening_the_link_however_often_changes_nothing(shop: App, browser: Browser) -> None:
    link = link_of(shop)
    for _ in range(3):
        assert browser.open(link).status_code == 200
        assert browser.client.head(path_of(link)).status_code == 200
    assert requested() == []
    assert set(events()) == {"opened"}
    assert extra_of("shop") == OLD
    assert is_open("shop")


def test_the_page_says_what_stopped_what_waits_and_which_account(shop: App, browser: Browser) -> None:
    page = browser.open(link_of(shop)).text
    for words in ("shop", "Vendor", "extract", "withdrawn"):
        assert words in page


@pytest.mark.parametrize(
    "token", ["", "nonsense", "a" * 5000, "WyJpIiwieCIsMCwxXQ.AAAA", "%00", "..%2F..%2Fapi%2Fhealth"]
)
def test_a_forged_link_is_like_an_unknown_one(shop: App, browser: Browser, token: str) -> None:
    unknown = browser.open(links.for_incident("no-such-incident", now=shop.outside.moment))
    forged = browser.get(f"/reauthorize/{token}x")
    assert forged.status_code == unknown.status_code == 404
    assert forged.text == unknown.text


def test_a_link_with_another_incident_in_it_is_refused(shop: App, browser: Browser) -> None:
    ours = links.token(links.Link(about="incident", id="another", issued_at=shop.outside.moment))
    signed = path_of(link_of(shop)).rpartition("/")[2]
    mixed = f"{ours.partition('.')[0]}.{signed.rpartition('.')[2]}"
    assert browser.get(f"/reauthorize/{mixed}").status_code == 404


def test_a_link_is_good_for_thirty_days(shop: App, browser: Browser) -> None:
    link = link_of(shop)
    shop.outside.pass_time(30 * 86_400 - 1)
    assert browser.open(link).status_code == 200
    shop.outside.pass_time(2)
    assert browser.open(link).status_code == 404


def test_the_link_of_a_closed_incident_says_that_it_works(shop: App, browser: Browser) -> None:
    link = link_of(shop)
    shop.report(Cause.AUTHORIZED)
    page = browser.open(link)
    assert page.status_code == 200
    assert "<form" not in page.text
    again = browser.press(link, "consent")
    assert browser.follow(again).text == page.text
    assert requested() == []


def test_the_button_leads_to_the_consent_page_with_pkce(shop: App, browser: Browser) -> None:
    asked = browser.consent(link_of(shop))
    assert asked["response_type"] == "code"
    assert asked["client_id"] == "fake-client"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{ORIGIN}/mbi-reauth/oauth/rotating/callback"
    assert asked["scope"] == "read"


def test_consent_saves_the_new_grant_and_closes_the_incident(
    shop: App, browser: Browser, canaries: list[str]
) -> None:
    asked = browser.consent(link_of(shop))
    shop.outside.will_trade("fake-new-access", refresh_token="fake-new-refresh", expires_in=3600)
    shop.outside.will_find(Cause.AUTHORIZED, account="shop-north")
    page = browser.follow(browser.come_back(code="fake-code", state=asked["state"]))
    assert last_outcome() == Outcome.SAVED.value
    assert page.status_code == 200
    extra = extra_of("shop")
    assert (extra["refresh_token"], extra["access_token"]) == ("fake-new-refresh", "fake-new-access")
    assert extra["client_secret"] == "fake-secret"
    assert not is_open("shop")
    assert shop.outside.recovered == 1
    assert events() == ["begun", "saved"]
    assert audited() == [("mbi_reauth.saved", "mbi_reauth link")]
    canaries += ["fake-new-access", "fake-new-refresh", "fake-code", asked["state"], "fake-secret"]
    canaries += [browser.client.cookies[COOKIE], shop.outside.traded[0].code_verifier]


def test_the_verifier_fits_the_challenge(shop: App, browser: Browser) -> None:
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    asked = browser.consent(link_of(shop))
    shop.outside.will_not_trade("invalid_grant")
    browser.come_back(code="fake-code", state=asked["state"])
    [trade] = shop.outside.traded
    assert create_s256_code_challenge(trade.code_verifier) == asked["code_challenge"]  # type: ignore[no-untyped-call]
    assert trade.code == "fake-code"
    assert trade.redirect_uri == asked["redirect_uri"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"error": "access_denied"}, Outcome.DENIED),
        ({"error": "server_error"}, Outcome.UNAVAILABLE),
        ({"error": "temporarily_unavailable"}, Outcome.UNAVAILABLE),
        ({"error": "invalid_scope", "error_description": "unknown"}, Outcome.MISCONFIGURED),
        ({"error": "unauthorized_client"}, Outcome.MISCONFIGURED),
        ({"code": "fake-code", "iss": "https://evil.example"}, Outcome.MISCONFIGURED),
        ({}, Outcome.MISCONFIGURED),
    ],
)
def test_an_answer_without_a_usable_code_leaves_the_credential(
    shop: App, browser: Browser, answer: dict[str, str], outcome: Outcome
) -> None:
    asked = browser.consent(link_of(shop))
    page = browser.follow(browser.come_back(state=asked["state"], **answer))
    assert page.status_code == 200
    assert last_outcome() == outcome.value
    assert extra_of("shop") == OLD
    assert shop.outside.traded == []
    assert is_open("shop")


def _refuses(outside: Outside) -> None:
    outside.will_trade("fake-new-access", refresh_token="fake-new-refresh")
    outside.will_find(Cause.GRANT_REVOKED)


def _leads_elsewhere(outside: Outside) -> None:
    outside.will_trade("fake-new-access", refresh_token="fake-new-refresh")
    outside.will_find(Cause.ACCOUNT_UNLINKED, rule="vendor.account", account="shop-south")


def _is_away(outside: Outside) -> None:
    outside.will_trade("fake-new-access", refresh_token="fake-new-refresh")
    outside.will_find(Cause.PROVIDER_OUTAGE)


def _gives_less(outside: Outside) -> None:
    outside.will_trade("fake-new-access", refresh_token="fake-new-refresh", scope=("profile",))


def _gives_nothing_lasting(outside: Outside) -> None:
    outside.will_trade("fake-new-access")


@pytest.mark.parametrize(
    ("third_party", "outcome"),
    [
        (_refuses, Outcome.REFUSED),
        (_leads_elsewhere, Outcome.WRONG_ACCOUNT),
        (_is_away, Outcome.UNAVAILABLE),
        (_gives_less, Outcome.SCOPES_MISSING),
        (_gives_nothing_lasting, Outcome.NO_LASTING_GRANT),
        (lambda outside: outside.will_not_trade("invalid_grant"), Outcome.INTERRUPTED),
        (lambda outside: outside.will_not_trade("invalid_client", 401), Outcome.MISCONFIGURED),
        (lambda outside: outside.will_not_trade("oops", 503), Outcome.UNAVAILABLE),
    ],
)
def test_what_is_not_verified_is_not_saved(
    shop: App, browser: Browser, third_party: Any, outcome: Outcome, canaries: list[str]
) -> None:
    asked = browser.consent(link_of(shop))
    third_party(shop.outside)
    page = browser.follow(browser.come_back(code="fake-code", state=asked["state"]))
    assert page.status_code == 200
    assert last_outcome() == outcome.value
    assert extra_of("shop") == OLD
    assert is_open("shop")
    assert shop.outside.recovered == 0
    assert audited() == []
    canaries += ["fake-new-access", "fake-new-refresh"]


def test_a_replayed_answer_is_taken_once(shop: App, browser: Browser) -> None:
    asked = browser.consent(link_of(shop))
    shop.outside.will_trade("fake-new-access", refresh_token="fake-new-refresh")
    shop.outside.will_find(Cause.AUTHORIZED)
    first = browser.follow(browser.come_back(code="fake-code", state=asked["state"]))
    second = browser.follow(browser.come_back(code="fake-code", state=asked["state"]))
    assert first.text == second.text
    assert len(shop.outside.traded) == 1


def test_another_browser_cannot_use_an_answer(shop: App, browser: Browser, outside: Outside) -> None:
    asked = browser.consent(link_of(shop))
    thief = Browser(outside.as_surroundings())
    assert thief.come_back(code="fake-code", state=asked["state"]).status_code == 410
    thief.consent(link_of(shop))
    assert thief.come_back(code="fake-code", state=asked["state"]).status_code == 410
    assert outside.traded == []


def test_an_answer_forced_on_a_browser_is_refused(shop: App, browser: Browser) -> None:
    browser.consent(link_of(shop))
    assert browser.come_back(code="fake-code-of-another", state="made-up").status_code == 410
    assert shop.outside.traded == []


def test_an_answer_is_taken_only_at_its_own_types_address(shop: App, browser: Browser) -> None:
    asked = browser.consent(link_of(shop))
    assert browser.come_back("static", code="fake-code", state=asked["state"]).status_code == 410
    assert shop.outside.traded == []


def test_a_parameter_that_comes_twice_is_refused(shop: App, browser: Browser) -> None:
    asked = browser.consent(link_of(shop))
    answer = f"/mbi-reauth/oauth/rotating/callback?code=a&code=b&state={asked['state']}"
    browser.follow(browser.client.get(answer))
    assert last_outcome() == Outcome.MISCONFIGURED.value
    assert shop.outside.traded == []


def test_an_attempt_lasts_a_quarter_of_an_hour(shop: App, browser: Browser) -> None:
    asked = browser.consent(link_of(shop))
    shop.outside.pass_time(15 * 60)
    assert browser.come_back(code="fake-code", state=asked["state"]).status_code == 410
    assert shop.outside.traded == []


def test_two_clicks_are_one_attempt(shop: App, browser: Browser) -> None:
    link = link_of(shop)
    assert browser.consent(link) == browser.consent(link)
    assert len(requested()) == 1


def test_who_comes_second_hears_that_it_works(shop: App, outside: Outside) -> None:
    first, second = Browser(outside.as_surroundings()), Browser(outside.as_surroundings())
    link = link_of(shop)
    asked = [each.consent(link)["state"] for each in (first, second)]
    outside.will_trade("fake-access-1", refresh_token="fake-refresh-1")
    outside.will_find(Cause.AUTHORIZED)
    first.come_back(code="fake-code", state=asked[0])
    second.come_back(code="fake-code", state=asked[1])
    assert last_outcome() == Outcome.WORKS.value
    assert extra_of("shop")["refresh_token"] == "fake-refresh-1"
    assert len(outside.traded) == 1


def test_of_two_at_once_only_one_is_saved(shop: App, outside: Outside) -> None:
    first, second = Browser(outside.as_surroundings()), Browser(outside.as_surroundings())
    link = link_of(shop)
    asked = [each.consent(link)["state"] for each in (first, second)]
    for number in (1, 2):
        outside.will_trade(f"fake-access-{number}", refresh_token=f"fake-refresh-{number}")
        outside.will_find(Cause.AUTHORIZED)

    def somebody_else() -> None:
        outside.meanwhile = lambda: None
        second.come_back(code="fake-code", state=asked[1])

    outside.meanwhile = somebody_else
    first.come_back(code="fake-code", state=asked[0])
    assert sorted(row.result["outcome"] for row in requested() if row.result) == ["saved", "works"]
    assert extra_of("shop")["refresh_token"] == "fake-refresh-1"


def test_a_credential_that_an_engineer_changed_meanwhile_is_kept(shop: App, browser: Browser) -> None:
    asked = browser.consent(link_of(shop))
    shop.outside.will_trade("fake-new-access", refresh_token="fake-new-refresh")
    shop.outside.will_find(Cause.AUTHORIZED)
    theirs = {**OLD, "refresh_token": "fake-engineers"}
    shop.outside.meanwhile = lambda: put_connection("shop", extra=theirs)
    browser.come_back(code="fake-code", state=asked["state"])
    assert last_outcome() == Outcome.REPLACED.value
    assert extra_of("shop") == theirs


def test_what_an_engineer_has_just_put_in_is_not_said_to_work(shop: App, browser: Browser) -> None:
    shop.report(Cause.AUTHORIZED)
    ends_soon = links.for_expiry("shop", 1, now=shop.outside.moment)
    asked = browser.consent(ends_soon)
    shop.outside.will_trade("fake-new-access", refresh_token="fake-new-refresh")
    shop.outside.will_find(Cause.AUTHORIZED)
    shop.outside.meanwhile = lambda: put_connection("shop", extra={**OLD, "refresh_token": "fake-unproved"})
    browser.come_back(code="fake-code", state=asked["state"])
    assert last_outcome() == Outcome.REPLACED.value


def test_a_key_is_entered_in_a_form_that_shows_no_secret(keyed: App, browser: Browser) -> None:
    begun = browser.press(link_of(keyed), "form")
    page = browser.follow(begun)
    assert 'value="reader"' in page.text
    assert "fake-old-key" not in page.text
    assert 'name="host"' not in page.text


def test_an_accepted_key_is_saved(keyed: App, browser: Browser, canaries: list[str]) -> None:
    browser.press(link_of(keyed), "form")
    keyed.outside.will_find(Cause.AUTHORIZED)
    values = {"login": "reader", "password": "  fake-new-key\r\n", "host": "evil.example", "port": "1"}
    page = browser.follow(browser.post("/mbi-reauth/credential", values))
    assert last_outcome() == Outcome.SAVED.value
    assert "fake-new-key" not in page.text
    [candidate] = keyed.outside.tried
    assert (candidate.credential.login, candidate.credential.password) == ("reader", "fake-new-key")
    assert candidate.credential.host == "vendor.example"
    assert not is_open("keyed")
    canaries.append("fake-new-key")


def test_a_refused_key_is_asked_for_again(keyed: App, browser: Browser, canaries: list[str]) -> None:
    browser.press(link_of(keyed), "form")
    keyed.outside.will_find(Cause.CREDENTIALS_REJECTED, vendor_words="No such key")
    again = browser.post("/mbi-reauth/credential", {"login": "reader", "password": "fake-wrong-key"})
    page = browser.follow(again)
    assert "No such key" in page.text
    assert "fake-wrong-key" not in page.text
    assert is_open("keyed")
    keyed.outside.will_find(Cause.AUTHORIZED)
    browser.post("/mbi-reauth/credential", {"login": "reader", "password": "fake-new-key"})
    assert not is_open("keyed")
    assert events() == ["begun", "refused", "saved"]
    canaries.append("fake-wrong-key")


def test_an_empty_form_asks_for_what_is_missing(keyed: App, browser: Browser) -> None:
    browser.press(link_of(keyed), "form")
    page = browser.post("/mbi-reauth/credential", {"login": "somebody else"})
    assert page.status_code == 422
    assert 'value="somebody else"' in page.text
    assert keyed.outside.tried == []
    keyed.outside.will_find(Cause.AUTHORIZED)
    browser.post("/mbi-reauth/credential", {"login": "reader", "password": "fake-new-key"})
    assert not is_open("keyed")


def test_two_clicks_try_a_key_once(keyed: App, browser: Browser) -> None:
    browser.press(link_of(keyed), "form")
    keyed.outside.will_find(Cause.AUTHORIZED)
    values = {"login": "reader", "password": "fake-new-key"}

    def second_click() -> None:
        keyed.outside.meanwhile = lambda: None
        assert browser.follow(browser.post("/mbi-reauth/credential", values)).status_code == 200

    keyed.outside.meanwhile = second_click
    browser.post("/mbi-reauth/credential", values)
    assert len(keyed.outside.tried) == 1
    assert not is_open("keyed")


def test_an_attempt_at_a_key_is_good_for_that_integration_only(
    keyed: App, shop: App, browser: Browser
) -> None:
    browser.press(link_of(shop), "consent")
    assert browser.get("/credential").status_code == 410
    assert browser.post("/mbi-reauth/credential", {"login": "a", "password": "b"}).status_code == 410
    assert keyed.outside.tried == []


def test_what_the_page_does_not_offer_cannot_be_asked_for(shop: App, browser: Browser) -> None:
    assert browser.press(link_of(shop), "form").status_code == 403
    assert browser.press(link_of(shop), "anything").status_code == 403
    assert requested() == []


def test_what_was_put_right_elsewhere_is_found_by_a_check(keyed: App, browser: Browser) -> None:
    keyed.outside.will_find(Cause.AUTHORIZED)
    page = browser.follow(browser.press(link_of(keyed), "check"))
    assert page.status_code == 200
    assert last_outcome() == Outcome.WORKS.value
    assert not is_open("keyed")
    assert keyed.outside.recovered == 1
    assert events() == ["begun", "checked"]


def test_a_check_that_is_still_refused_says_so(keyed: App, browser: Browser) -> None:
    keyed.outside.will_find(Cause.CREDENTIALS_REJECTED)
    browser.follow(browser.press(link_of(keyed), "check"))
    assert last_outcome() == Outcome.REFUSED.value
    assert is_open("keyed")


def test_a_check_gets_a_fresh_access_token(shop: App, browser: Browser) -> None:
    shop.outside.will_grant("fake-fresh-access", refresh_token="fake-rotated")
    shop.outside.will_find(Cause.AUTHORIZED)
    browser.press(link_of(shop), "check")
    assert shop.outside.tried[0].access_token == "fake-fresh-access"
    assert last_outcome() == Outcome.WORKS.value


def test_a_credential_outside_of_the_database_has_no_form(
    keyed: App, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KEYED", "mbireauth://reader:fake-from-outside@vendor.example")
    page = browser.open(link_of(keyed))
    assert page.status_code == 200
    assert 'value="form"' not in page.text
    assert "keyed" in page.text
    assert browser.press(link_of(keyed), "form").status_code == 403


def test_a_credential_that_left_the_database_meanwhile_is_not_saved(
    keyed: App, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.press(link_of(keyed), "form")
    monkeypatch.setenv("AIRFLOW_CONN_KEYED", "mbireauth://reader:fake-from-outside@vendor.example")
    browser.post("/mbi-reauth/credential", {"login": "reader", "password": "fake-new-key"})
    assert last_outcome() == Outcome.ELSEWHERE.value
    assert keyed.outside.tried == []


def test_the_account_that_was_proved_last_must_stay(keyed: App, browser: Browser) -> None:
    keyed.report(Cause.AUTHORIZED)
    status = transact(lambda session: session.get(Status, "keyed"))
    assert status is not None

    def prove(session: Any) -> None:
        session.get(Status, "keyed").proved_account = "shop-north"

    transact(prove)
    keyed.report(Cause.CREDENTIALS_REJECTED)
    browser.press(link_of(keyed), "form")
    keyed.outside.will_find(Cause.AUTHORIZED)
    browser.post("/mbi-reauth/credential", {"login": "reader", "password": "fake-new-key"})
    assert keyed.outside.tried[0].account == "shop-north"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8080.evil.example"},
        {"Origin": "http://localhost"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json"},
        {"Content-Type": "multipart/form-data; boundary=x"},
    ],
)
def test_a_form_from_elsewhere_is_refused(shop: App, browser: Browser, headers: dict[str, str]) -> None:
    response = browser.press(link_of(shop), "consent", **headers)
    assert response.status_code == 403
    assert requested() == []


def test_a_form_without_an_origin_needs_the_browsers_word(shop: App, browser: Browser) -> None:
    path = path_of(link_of(shop))
    assert browser.client.post(path, data={"way": "consent"}).status_code == 403
    crossing = {"Sec-Fetch-Site": "cross-site"}
    assert browser.client.post(path, data={"way": "consent"}, headers=crossing).status_code == 403
    ours = {"Sec-Fetch-Site": "same-origin"}
    assert browser.client.post(path, data={"way": "consent"}, headers=ours).status_code == 200


def test_a_body_without_end_is_refused(keyed: App, browser: Browser) -> None:
    browser.press(link_of(keyed), "form")
    assert browser.post("/mbi-reauth/credential", {"password": "x" * 70_000}).status_code == 403
    many = {f"field{number}": "x" for number in range(50)}
    assert browser.post("/mbi-reauth/credential", many).status_code == 403
    assert keyed.outside.tried == []


def test_every_page_can_neither_be_framed_nor_cached_nor_scripted(shop: App, browser: Browser) -> None:
    link = link_of(shop)
    pages = [browser.open(link), browser.press(link, "consent"), browser.get("/credential")]
    pages += [browser.get("/reauthorize/nonsense"), browser.press(link, "nothing")]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["cache-control"] == "no-store"
        assert "<script" not in page.text


def test_the_session_is_kept_from_scripts_and_other_sites(shop: App, browser: Browser) -> None:
    cookie = browser.press(link_of(shop), "consent").headers["set-cookie"].lower()
    for word in ("httponly", "samesite=lax", "path=/mbi-reauth", "max-age=900"):
        assert word in cookie


def test_who_asks_too_often_has_to_wait(shop: App, browser: Browser) -> None:
    link = link_of(shop)
    answers = [browser.press(link, "anything").status_code for _ in range(21)]
    assert answers == [403] * 20 + [429]
    assert browser.open(link).status_code == 200
    seen = [browser.open(link).status_code for _ in range(120)]
    assert seen[-1] == 429


def test_a_page_can_be_had_in_the_other_language(shop: App, browser: Browser) -> None:
    link = path_of(link_of(shop))
    assert '<html lang="nl"' in browser.client.get(f"{link}?lang=nl").text
    assert '<html lang="en"' in browser.client.get(f"{link}?lang=xx").text


def test_a_database_that_is_away_is_told_kindly(
    shop: App, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT fake-statement", {}, Exception("gone"))

    monkeypatch.setattr("mbi_reauth.api.services.reauthorization.find_case", away)
    page = browser.open(link_of(shop))
    assert page.status_code == 503
    assert "fake-statement" not in page.text


def test_the_key_that_was_entered_is_the_connections_from_then_on(keyed: App, browser: Browser) -> None:
    browser.press(link_of(keyed), "form")
    keyed.outside.will_find(Cause.AUTHORIZED)
    browser.post("/mbi-reauth/credential", {"login": "another", "password": "fake-new-key"})
    assert last_outcome() == Outcome.SAVED.value
    saved = credential_of("keyed")
    assert (saved.login, saved.password, saved.host) == ("another", "fake-new-key", "vendor.example")


def test_a_connection_that_was_mended_before_the_attempt_is_no_other_ones_change(
    shop: App, browser: Browser
) -> None:
    mended = {**OLD, "client_secret": "fake-mended"}
    put_connection("shop", extra=mended)
    asked = browser.consent(link_of(shop))
    shop.outside.will_trade("fake-new-access", refresh_token="fake-new-refresh")
    shop.outside.will_find(Cause.AUTHORIZED)
    browser.come_back(code="fake-code", state=asked["state"])
    assert last_outcome() == Outcome.SAVED.value
    assert extra_of("shop")["client_secret"] == "fake-mended"


def test_an_attempt_ends_where_the_integration_got_another_connection(keyed: App, browser: Browser) -> None:
    browser.press(link_of(keyed), "form")
    put_connection("renamed", login="reader", password="fake-old-key", host="vendor.example")
    keyed.about("keyed", conn_id="renamed").report(Cause.CREDENTIALS_REJECTED)
    keyed.outside.will_find(Cause.AUTHORIZED)
    browser.post("/mbi-reauth/credential", {"login": "reader", "password": "fake-new-key"})
    assert last_outcome() == Outcome.REPLACED.value
    assert credential_of("keyed").password == credential_of("renamed").password == "fake-old-key"


def test_the_first_saved_credential_ends_the_freedom_of_account(keyed: App, browser: Browser) -> None:
    set_status(
        "keyed", proved_account="shop-north", any_account_until=keyed.outside.moment + timedelta(days=1)
    )
    browser.press(link_of(keyed), "form")
    keyed.outside.will_find(Cause.AUTHORIZED)
    browser.post("/mbi-reauth/credential", {"login": "reader", "password": "fake-new-key"})
    assert keyed.outside.tried[0].account is None
    status = transact(lambda session: session.get_one(Status, "keyed"))
    assert (status.any_account_until, status.proved_account) == (None, None)


def test_the_token_endpoints_refusal_of_the_old_grant_is_forgotten(shop: App, browser: Browser) -> None:
    shop.outside.will_refuse()
    assert shop.check()["token_evidence"]
    asked = browser.consent(link_of(shop))
    shop.outside.will_trade("fake-new-access", refresh_token=OLD["refresh_token"])
    shop.outside.will_find(Cause.AUTHORIZED)
    browser.come_back(code="fake-code", state=asked["state"])
    assert last_outcome() == Outcome.SAVED.value
    status = transact(lambda session: session.get_one(Status, "shop"))
    assert status.token_evidence is None


def test_a_check_asks_for_no_other_account_than_the_sweep_does(keyed: App, browser: Browser) -> None:
    set_status("keyed", proved_account="shop-north")
    keyed.outside.will_find(Cause.AUTHORIZED, account="shop-south")
    browser.press(link_of(keyed), "check")
    assert keyed.outside.tried[0].account is None
    assert last_outcome() == Outcome.WORKS.value


def test_a_check_of_a_credential_that_is_replaced_meanwhile_says_so(keyed: App, browser: Browser) -> None:
    keyed.outside.will_find(Cause.AUTHORIZED)
    keyed.outside.meanwhile = lambda: put_connection("keyed", password="fake-engineers")
    browser.press(link_of(keyed), "check")
    assert last_outcome() == Outcome.REPLACED.value
    assert is_open("keyed")


def test_a_check_without_a_connection_is_for_an_engineer(keyed: App, browser: Browser) -> None:
    drop_connection("keyed")
    page = browser.follow(browser.press(link_of(keyed), "check"))
    assert page.status_code == 200
    assert last_outcome() == Outcome.MISCONFIGURED.value
    assert is_open("keyed")


@pytest.mark.parametrize("outside_of_the_database", [False, True])
def test_the_login_of_an_ssh_server_is_renewed_wherever_the_databases_is_held(
    tunnelled: App, visiting: Browser, outside_of_the_database: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if outside_of_the_database:
        elsewhere = "postgres://reader:fake@db.example/shop?ssh_conn_id=bastion"
        monkeypatch.setenv("AIRFLOW_CONN_BEHIND", elsewhere)
        drop_connection("behind")
    visiting.press(link_of(tunnelled), "form")
    tunnelled.outside.will_find(Cause.AUTHORIZED)
    key = a_private_key()
    visiting.post("/mbi-reauth/credential", {"login": "tunnel", "password": "", "private_key": key})
    assert last_outcome() == Outcome.SAVED.value
    bastion = credential_of("bastion")
    assert (bastion.password, bastion.extra) == ("", {"private_key": key})
    assert not is_open("behind")


def test_an_ssh_servers_login_that_an_engineer_changed_meanwhile_is_kept(
    tunnelled: App, visiting: Browser
) -> None:
    visiting.press(link_of(tunnelled), "form")
    tunnelled.outside.will_find(Cause.AUTHORIZED)
    tunnelled.outside.meanwhile = lambda: put_connection("bastion", conn_type="ssh", password="fake-other")
    visiting.post("/mbi-reauth/credential", {"login": "tunnel", "password": "fake-new"})
    assert last_outcome() == Outcome.REPLACED.value
    assert credential_of("bastion").password == "fake-other"


def test_an_attempt_is_not_gone_on_with_by_another_user(keyed: App, outside: Outside) -> None:
    link = links.read(link_of(keyed).rpartition("/")[2], now=outside.moment)
    assert link is not None
    case = find_case(link, outside.as_surroundings())
    assert case is not None
    beginning = case.beginning(Way.FORM, locale="en")

    def begun_by(user: str, secret: str | None = None) -> str:
        who = Visitor(user=user, secret=secret)
        return transact(lambda session: requests.begin(session, beginning, who, now=outside.moment))

    first = begun_by("dana")
    assert begun_by("dana", first) == first
    assert begun_by("robin", first) != first


def test_an_address_with_a_port_behind_it_fits_the_audit(keyed: App, browser: Browser) -> None:
    long = "[2001:0db8:0000:0000:0000:0000:0000:0001]:51234-and-more"
    browser.client = TestClient(browser.client.app, base_url=ORIGIN, client=(long, 1), follow_redirects=False)
    assert browser.open(link_of(keyed)).status_code == 200
    [entry] = transact(lambda session: list(session.scalars(select(Audit))))
    assert entry.client == long[:45]


@pytest.mark.parametrize("base_url", ["https://airflow.example:443", "https://airflow.example/below"])
def test_a_usual_port_may_be_left_out_of_an_origin(
    keyed: App, browser: Browser, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(link_of(keyed))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    assert browser.press(path, "form", Origin="https://airflow.example").status_code == 303
    for other in ("http://airflow.example", "https://airflow.example:8443", "https://airflow.example:x"):
        assert browser.press(path, "form", Origin=other).status_code == 403


def test_nobody_makes_airflows_masker_grow(shop: App, keyed: App, browser: Browser) -> None:
    patterns = _secrets_masker().patterns
    before = set(patterns)
    browser.come_back(code="strangers-word", state="strangers-state")
    asked = browser.consent(link_of(shop))
    shop.outside.will_trade("fake-new-access", refresh_token="fake-new-refresh")
    shop.outside.will_find(Cause.AUTHORIZED)
    browser.come_back(code="fakecodeofconsent", state=asked["state"])
    browser.press(link_of(keyed), "form")
    keyed.outside.will_find(Cause.CREDENTIALS_REJECTED)
    browser.post("/mbi-reauth/credential", {"login": "reader", "password": "fake-typed-key"})
    assert not {each for each in set(patterns) - before if "fake" in each or "strangers" in each}


@pytest.mark.parametrize("way", ["form", "check"])
def test_who_waits_long_is_shown_that_it_goes_on(keyed: App, outside: Outside, way: str) -> None:
    outside.patience = 0.05
    outside.will_find(Cause.AUTHORIZED)
    answered = threading.Event()
    outside.meanwhile = lambda: assert_true(answered.wait(30))
    browser = Browser(outside.as_surroundings())
    with browser.client:  # one event loop, in which what goes on goes on
        response = browser.press(link_of(keyed), way)
        if way == "form":
            response = browser.post("/mbi-reauth/credential", {"login": "reader", "password": "fake-new-key"})
        pending = browser.follow(response)
        assert 'http-equiv="refresh"' in pending.text
        assert is_open("keyed")
        answered.set()
        while 'http-equiv="refresh"' in browser.get("/outcome").text:
            pass
    assert not is_open("keyed")


def assert_true(value: bool) -> None:
    assert value
