"""What owners, engineers and sceptics expect of the owner's pages, written down before the code was read."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from airflow.models.connection import Connection
from sqlalchemy import select

from mbi_reauth.api.services import links
from mbi_reauth.core.reauthorization import Outcome
from mbi_reauth.core.verdict import Cause
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import AuthorizationRequest, Base, Incident
from tests.app import NOON, App, Outside
from tests.metadata_db import extra_of, put_connection
from tests.owners_browser import ORIGIN, Browser, path_of

GRANT = {"client_id": "fake-client", "client_secret": "fake-secret", "refresh_token": "fake-old-refresh"}
RUN = {"dag_id": "extract", "run_id": "run-1", "task_id": "shop.check_authorization"}
FORM = "/mbi-reauth/credential"
JARGON = re.compile(
    r"\b(scopes?|oauth|token endpoint|airflow|client_id|pkce|401|403|incident|dags?|probe|verdict|gate"
    r"|redirect uri|fernet|credential|session)\b",
    re.IGNORECASE,
)


@pytest.fixture
def browser(outside: Outside) -> Browser:
    return Browser(outside.as_surroundings())


@pytest.fixture
def shop(app: App) -> App:
    """An OAuth integration whose authorization is lost."""
    put_connection("shop", extra=GRANT)
    app.report(Cause.GRANT_REVOKED, blocked_run=RUN)
    return app


@pytest.fixture
def keyed(app: App) -> App:
    """One with a key, which is sent as a bearer token."""
    keyed = app.about("keyed", type="plain")
    extra = {"region": "eu"}
    put_connection(
        "keyed", login="reader", password="fake-old-key", host="vendor.example", port=443, extra=extra
    )
    keyed.report(Cause.CREDENTIALS_REJECTED, blocked_run=RUN)
    return keyed


@pytest.fixture
def expiring(app: App) -> str:
    """The link of an ``expiring`` email: the credential ends in five days."""
    put_connection("shop", extra=GRANT)
    app.outside.will_grant("fake-access", refresh_token="fake-rotated")
    app.check()
    app.report(Cause.AUTHORIZED, expires_at=(NOON + timedelta(days=5)).isoformat())
    return links.for_expiry("shop", 1, now=app.outside.moment)


def link_of(app: App) -> str:
    return links.for_incident(open_incident(app), now=app.outside.moment)


def open_incident(app: App) -> str:
    query = select(Incident.id).where(Incident.open_key == app.integration.id)
    incident = transact(lambda session: session.scalar(query))
    assert incident is not None, "there is no open incident"
    return str(incident)


def is_open(integration_id: str) -> bool:
    query = select(Incident.id).where(Incident.open_key == integration_id)
    return transact(lambda session: session.scalar(query)) is not None


def outcomes() -> list[str]:
    query = select(AuthorizationRequest).order_by(AuthorizationRequest.created_at)
    rows = transact(lambda session: list(session.scalars(query)))
    return [row.result["outcome"] for row in rows if row.result is not None]


def login_of(conn_id: str) -> tuple[str | None, str | None]:
    def work(session: Any) -> tuple[str | None, str | None]:
        connection = session.query(Connection).filter_by(conn_id=conn_id).one()
        return connection.login, connection.password

    return transact(work)


def stored_but_the_audit() -> str:
    tables = [table for table in Base.metadata.sorted_tables if table.name != "mbi_reauth_audit"]
    return transact(lambda session: repr([session.execute(table.select()).all() for table in tables]))


def words(page: str) -> str:
    """Return what a reader reads, but for the text that is to be passed on to engineers."""
    for hidden in ("style", "pre"):
        page = re.sub(rf"<{hidden}.*?</{hidden}>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def renewed(app: App, browser: Browser, link: str, **facts: Any) -> Any:
    """Consent, successfully; return the page at the end."""
    asked = browser.consent(link)
    app.outside.will_trade("fake-new-access", refresh_token="fake-new-refresh", expires_in=3600)
    app.outside.will_find(Cause.AUTHORIZED, **facts)
    return browser.follow(browser.come_back(code="fake-code", state=asked["state"]))


def enter(app: App, browser: Browser, **values: str) -> Any:
    browser.press(link_of(app), "form")
    return browser.post(FORM, values)


def test_scanners_of_all_kinds_change_nothing_but_the_audit(shop: App, browser: Browser) -> None:
    link, before = path_of(link_of(shop)), stored_but_the_audit()
    for method in ("GET", "HEAD", "OPTIONS", "GET"):
        browser.client.request(method, link)
    assert stored_but_the_audit() == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_link_is_only_read_or_posted_to(shop: App, browser: Browser, method: str) -> None:
    answer = browser.client.request(method, path_of(link_of(shop)), headers={"Origin": ORIGIN})
    assert answer.status_code == 405


def test_the_old_link_is_good_again_when_the_loss_comes_back_within_the_hour(
    shop: App, browser: Browser
) -> None:
    link, incident = link_of(shop), open_incident(shop)
    shop.report(Cause.AUTHORIZED)
    shop.outside.pass_time(600)
    shop.report(Cause.GRANT_REVOKED)
    assert open_incident(shop) == incident
    assert 'value="consent"' in browser.open(link).text


def test_an_old_link_does_not_say_that_all_is_well_where_it_is_lost_anew(shop: App, browser: Browser) -> None:
    link, incident = link_of(shop), open_incident(shop)
    shop.report(Cause.AUTHORIZED)
    assert "works again" in browser.open(link).text
    shop.outside.pass_time(3 * 86_400)
    shop.report(Cause.GRANT_REVOKED)
    assert open_incident(shop) != incident
    page = browser.open(link)
    assert page.status_code == 404
    assert "newest email" in page.text
    assert browser.follow(browser.press(link, "consent")).text == page.text
    assert outcomes() == []


def test_the_link_of_a_warning_tells_of_the_loss_once_there_is_one(
    app: App, browser: Browser, expiring: str
) -> None:
    assert "still works" in browser.open(expiring).text
    app.outside.pass_time(5 * 86_400)
    app.report(Cause.GRANT_EXPIRED, blocked_run=RUN)
    page = words(browser.open(expiring).text)
    assert "We can no longer read" in page
    assert "still works" not in page
    assert "extract" in page


def test_the_link_of_a_warning_renews_what_is_lost_by_now(app: App, browser: Browser, expiring: str) -> None:
    app.outside.pass_time(5 * 86_400)
    app.report(Cause.GRANT_EXPIRED, blocked_run=RUN)
    renewed(app, browser, expiring)
    assert outcomes() == [Outcome.SAVED.value]
    assert not is_open("shop")
    assert app.outside.recovered == 1
    assert "works" in browser.open(expiring).text


def test_the_link_of_a_warning_about_a_former_credential_leads_nowhere_after_another_loss(
    app: App, browser: Browser, expiring: str
) -> None:
    put_connection("shop", extra={**GRANT, "refresh_token": "fake-engineers"})
    app.outside.will_grant("fake-access", refresh_token="fake-rotated")
    version = app.check()["credential_version"]
    app.report(Cause.GRANT_REVOKED, credential_version=version)
    assert browser.open(expiring).status_code == 404


def test_a_renewal_in_time_ends_the_warnings(app: App, browser: Browser, expiring: str) -> None:
    renewed(app, browser, expiring, expires_at=NOON + timedelta(days=300))
    assert outcomes() == [Outcome.SAVED.value]
    app.outside.pass_time(86_400)
    assert app.send_all() == []


def test_who_was_told_of_the_loss_is_told_once_that_it_is_over(shop: App, browser: Browser) -> None:
    shop.send_all()
    renewed(shop, browser, link_of(shop))
    [mail] = shop.send_all()
    assert "/reauthorize/" not in str(mail)
    shop.outside.pass_time(10 * 86_400)
    assert shop.send_all() == []


def test_who_was_never_told_of_the_loss_hears_nothing_of_its_end(shop: App, browser: Browser) -> None:
    renewed(shop, browser, link_of(shop))
    assert shop.send_all() == []


def test_the_language_that_was_chosen_lasts_through_another_try(shop: App, browser: Browser) -> None:
    leaving = browser.post(f"{path_of(link_of(shop))}?lang=nl", {"way": "consent"}).text
    [state] = re.findall(r'url=[^"]*state=([\w-]+)', leaving)
    page = browser.follow(browser.come_back(error="access_denied", state=state)).text
    [action] = re.findall(r'<form[^>]* action="([^"]+)"', page)
    for shown in (leaving, page, browser.post(action, {"way": "consent"}).text):
        assert '<html lang="nl"' in shown


def test_the_language_that_was_chosen_lasts_where_there_is_nothing_left_to_do(
    shop: App, browser: Browser
) -> None:
    link = f"{path_of(link_of(shop))}?lang=nl"
    shop.report(Cause.AUTHORIZED)
    back = browser.post(link, {"way": "consent"}).headers["location"]
    assert '<html lang="nl"' in browser.client.get(back).text


@pytest.mark.parametrize("locale", ["en", "nl"])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_told_without_jargon_in_the_readers_language(
    shop: App, browser: Browser, outcome: Outcome, locale: str
) -> None:
    browser.post(f"{path_of(link_of(shop))}?lang={locale}", {"way": "consent"})

    def end(session: Any) -> None:
        attempt = session.scalars(select(AuthorizationRequest)).one()
        attempt.used_at = attempt.finished_at = shop.outside.moment
        attempt.result = {"outcome": outcome.value}

    transact(end)
    page = browser.get("/outcome").text
    said = words(page).replace("Press the button.", "")
    assert not JARGON.search(said), said
    if locale == "nl":
        assert not re.search(r"\b(the|with|your|what|again|try)\b", said, re.IGNORECASE), said
    elif outcome not in (Outcome.SAVED, Outcome.WORKS, Outcome.REPLACED):
        assert "Nothing was changed" in said
    if outcome is Outcome.MISCONFIGURED:
        assert "<button" not in page, "trying again does not help, so there is no button for it"


def test_a_head_request_uses_up_no_answer_of_consent(shop: App, browser: Browser) -> None:
    asked = browser.consent(link_of(shop))
    answer = {"code": "fake-code", "state": asked["state"]}
    browser.client.head("/mbi-reauth/oauth/rotating/callback", params=answer)
    shop.outside.will_trade("fake-new-access", refresh_token="fake-new-refresh")
    shop.outside.will_find(Cause.AUTHORIZED)
    browser.follow(browser.come_back(**answer))
    assert outcomes() == [Outcome.SAVED.value]


@pytest.mark.parametrize("params", [{"code": ""}, {"error": ""}, {"code": "fake", "error": "access_denied"}])
def test_an_odd_answer_of_consent_ends_on_a_page_and_saves_nothing(
    shop: App, browser: Browser, params: dict[str, str]
) -> None:
    asked = browser.consent(link_of(shop))
    assert browser.follow(browser.come_back(state=asked["state"], **params)).status_code == 200
    assert shop.outside.traded == []
    assert extra_of("shop") == GRANT


def test_after_consent_the_next_refresh_uses_the_new_grant(shop: App, browser: Browser) -> None:
    renewed(shop, browser, link_of(shop))
    shop.outside.pass_time(7200)
    shop.outside.will_grant("fake-next-access", refresh_token="fake-next-refresh")
    shop.check()
    assert shop.outside.asked[-1].refresh_token == "fake-new-refresh"
    assert extra_of("shop")["refresh_token"] == "fake-next-refresh"


@pytest.mark.parametrize("around", ["\ufeff{}", "{}\u200b", "\u00a0{}\r\n", " \t{}\n\n"])
def test_what_pasting_puts_around_a_key_is_taken_off(keyed: App, browser: Browser, around: str) -> None:
    keyed.outside.will_find(Cause.AUTHORIZED)
    enter(keyed, browser, login=around.format("reader"), password=around.format("fake-new-key"))
    assert login_of("keyed") == ("reader", "fake-new-key")


def test_a_key_with_signs_of_all_sorts_is_saved_as_it_is(keyed: App, browser: Browser) -> None:
    key = "p%w:@/'\"\\ &=+#?<b>{}$(x)"
    keyed.outside.will_find(Cause.AUTHORIZED)
    page = browser.follow(enter(keyed, browser, login="reader", password=key))
    assert login_of("keyed") == ("reader", key)
    assert extra_of("keyed") == {"region": "eu"}
    assert key not in page.text


@pytest.mark.parametrize("inside", ["\x00", "\x1b", "\t", "\r", "\n", "\u2028"])
def test_control_characters_are_asked_for_again_and_not_tried(
    keyed: App, browser: Browser, inside: str
) -> None:
    page = enter(keyed, browser, login=f"rea{inside}der", password="fake-new-key")
    assert page.status_code == 422
    assert "must be one line" in page.text
    assert keyed.outside.tried == []


@pytest.mark.parametrize(
    "key", ["fake\u2013key", "\u201cfake-key\u201d", "fake\u2026key", "\u043a\u0435\u0443"]
)
def test_a_key_that_a_phone_has_corrected_is_asked_for_again(keyed: App, browser: Browser, key: str) -> None:
    page = enter(keyed, browser, login="reader", password=key)
    assert page.status_code == 422
    assert "cannot be right" in page.text
    assert key not in page.text
    assert keyed.outside.tried == []


def test_a_login_may_have_letters_of_any_language(keyed: App, browser: Browser) -> None:
    keyed.outside.will_find(Cause.AUTHORIZED)
    enter(keyed, browser, login="Zoë", password="fake-new-key")
    assert login_of("keyed") == ("Zoë", "fake-new-key")


def test_the_back_button_after_success_saves_nothing_more(keyed: App, browser: Browser) -> None:
    keyed.outside.will_find(Cause.AUTHORIZED)
    enter(keyed, browser, login="reader", password="fake-new-key")
    page = browser.follow(browser.post(FORM, {"login": "reader", "password": "fake-other-key"}))
    assert login_of("keyed") == ("reader", "fake-new-key")
    assert "works again" in page.text


def test_of_two_people_at_the_form_the_second_hears_that_it_works(
    keyed: App, browser: Browser, outside: Outside
) -> None:
    second, link = Browser(outside.as_surroundings()), link_of(keyed)
    second.press(link, "form")
    keyed.outside.will_find(Cause.AUTHORIZED)
    enter(keyed, browser, login="reader", password="fake-first")
    page = second.follow(second.post(FORM, {"login": "reader", "password": "fake-second"}))
    assert login_of("keyed") == ("reader", "fake-first")
    assert "works" in page.text
    assert len(keyed.outside.tried) == 1


def test_time_that_runs_out_while_typing_shows_and_saves_nothing(keyed: App, browser: Browser) -> None:
    browser.press(link_of(keyed), "form")
    keyed.outside.pass_time(15 * 60)
    page = browser.post(FORM, {"login": "reader", "password": "fake-typed-key"})
    assert page.status_code == 410
    assert "fake-typed-key" not in page.text
    assert login_of("keyed") == ("reader", "fake-old-key")


def test_two_emails_in_one_browser_do_not_mix(keyed: App, shop: App, browser: Browser) -> None:
    browser.press(link_of(keyed), "form")
    browser.consent(link_of(shop))
    assert browser.post(FORM, {"login": "reader", "password": "fake-new-key"}).status_code == 410
    keyed.outside.will_find(Cause.AUTHORIZED)
    enter(keyed, browser, login="reader", password="fake-new-key")
    assert login_of("keyed") == ("reader", "fake-new-key")
    assert is_open("shop")
