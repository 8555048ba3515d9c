"""The owner's page over real servers: Shopdemo's OAuth, a certified OAuth server, a PostgreSQL login."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx
import pytest
from airflow.models.connection import Connection
from sqlalchemy import select
from sqlalchemy.orm import Session

from demo import connections
from demo.source_database import READER, SourceDatabase
from demo.third_party import ThirdParty
from mbi_reauth.api.datamodels import CheckRequest, FindingReport
from mbi_reauth.api.services import checks, findings, links
from mbi_reauth.api.services.surroundings import Mailing, Surroundings
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding, Verdict
from mbi_reauth.models.metadata_db import find_credential, transact
from mbi_reauth.models.tables import AuthorizationRequest, Incident
from mbi_reauth.probes.candidate import Candidate, try_out
from tests.metadata_db import audited, extra_of, put_connection
from tests.oidc.authorization_server import Person, installed, running
from tests.owners_browser import ORIGIN, Browser

pytestmark = pytest.mark.usefixtures("metadata_db")

CALLBACK = f"{ORIGIN}/mbi-reauth/oauth"
OWNER = {"name": "Dana Example", "email": "dana@example.com"}


class Page:
    """One lost integration, and a browser at its page."""

    def __init__(self, entry: dict[str, Any], cause: Cause) -> None:
        self.integration = Integration.model_validate({"conn_id": entry["id"], "owner": OWNER, **entry})
        self.outside = Surroundings(verify=try_out, mailing=Mailing)
        self.browser = Browser(self.outside)
        finding = Finding(cause=cause, rule="test.lost", explanation="-", checked_at=self.outside.now())
        findings.report(FindingReport(integration=self.integration, finding=finding), self.outside)

    @property
    def link(self) -> str:
        its = select(Incident.id).where(Incident.integration_id == self.integration.id)
        incident = transact(lambda session: session.scalar(its))
        assert incident is not None
        return links.for_incident(incident, now=self.outside.now())

    @property
    def is_open(self) -> bool:
        its = select(Incident).where(Incident.open_key == self.integration.id)
        return transact(lambda session: session.scalar(its)) is not None

    def come_back(self, answer: dict[str, str]) -> str:
        """Follow the third party's answer to the page that tells how it ended."""
        page = self.browser.follow(self.browser.come_back(self.integration.type, **answer))
        assert page.status_code == 200, page.text
        return str(page.text)

    def token(self) -> str | None:
        """Ask the app for an access token, as the next check does."""
        request = CheckRequest(integration=self.integration)
        return asyncio.run(checks.prepare(request, self.outside)).access_token


def outcome() -> str:
    """Tell how the last attempt ended."""
    ended = select(AuthorizationRequest).where(AuthorizationRequest.finished_at.is_not(None))
    last = ended.order_by(AuthorizationRequest.finished_at.desc()).limit(1)
    row = transact(lambda session: session.scalars(last).one())
    assert row.result is not None
    return str(row.result["outcome"])


def host_of(conn_id: str) -> str:
    row = transact(lambda session: session.query(Connection).filter_by(conn_id=conn_id).one())
    return str(row.host)


@pytest.fixture
def shopdemo(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThirdParty]:
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER", "demo/integration_types")
    uris = [f"{CALLBACK}/shopdemo/callback"]
    with ThirdParty(redirect_uris=uris, access_token_lifetime=3600) as third_party:
        yield third_party


@pytest.fixture
def shop(shopdemo: ThirdParty) -> Page:
    """Shopdemo, whose grant was withdrawn."""
    connection = connections.shopdemo(shopdemo)
    put_connection("shop", extra=connection["extra"], host=connection["host"])
    shopdemo.switch("revoke_grant")
    return Page({"id": "shop", "type": "shopdemo", "account": connections.ACCOUNT}, Cause.GRANT_REVOKED)


def consent_at_shopdemo(
    address: str, *, account: str = connections.ACCOUNT, decision: str = "allow"
) -> dict[str, str]:
    """Consent as a person does, by the third party's own page."""
    with httpx.Client(follow_redirects=False, timeout=20) as browser:
        page = browser.get(address)
        assert page.status_code == 200, page.text
        secret = page.text.partition('name="consent" value="')[2].partition('"')[0]
        form = {"consent": secret, "account": account, "decision": decision}
        back = browser.post(address, data=form).headers["location"]
    assert back.startswith(f"{CALLBACK}/shopdemo/callback?")
    return dict(parse_qsl(urlsplit(back).query))


def test_consent_renews_the_authorization_for_good(shop: Page) -> None:
    lost = extra_of("shop")
    shop.come_back(consent_at_shopdemo(shop.browser.consent_page(shop.link)))
    assert outcome() == "saved"
    assert not shop.is_open
    renewed = extra_of("shop")
    assert renewed["refresh_token"] != lost["refresh_token"]
    assert renewed["client_secret"] == lost["client_secret"]
    assert shop.token() == renewed["access_token"]
    put_connection("shop", extra={**renewed, "access_token": None}, host=host_of("shop"))
    refreshed = shop.token()
    assert refreshed not in (None, renewed["access_token"])
    assert [event for event, _ in audited()] == ["mbi_reauth.saved"]


def test_another_account_is_not_taken(shop: Page) -> None:
    lost = extra_of("shop")
    page = shop.come_back(consent_at_shopdemo(shop.browser.consent_page(shop.link), account="shop-south"))
    assert outcome() == "wrong_account"
    assert "shop-south" in page
    assert extra_of("shop") == lost
    assert shop.is_open


def test_a_denial_changes_nothing(shop: Page) -> None:
    lost = extra_of("shop")
    shop.come_back(consent_at_shopdemo(shop.browser.consent_page(shop.link), decision="deny"))
    assert outcome() == "denied"
    assert extra_of("shop") == lost
    assert shop.is_open


@pytest.mark.parametrize("trouble", ["go_down", "answer_html", "throttle"])
def test_a_third_party_in_trouble_changes_nothing(shop: Page, shopdemo: ThirdParty, trouble: str) -> None:
    lost = extra_of("shop")
    answer = consent_at_shopdemo(shop.browser.consent_page(shop.link))
    shopdemo.switch(trouble)
    shop.come_back(answer)
    assert outcome() in ("unavailable", "unverified")
    assert extra_of("shop") == lost
    assert shop.is_open
    shopdemo.normal()
    shop.come_back(consent_at_shopdemo(shop.browser.consent_page(shop.link)))
    assert not shop.is_open


def test_a_crash_at_the_very_save_leaves_the_old_credential(
    shop: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = extra_of("shop")
    answer = consent_at_shopdemo(shop.browser.consent_page(shop.link))

    def crash(session: Session, *_: object, **__: object) -> None:
        session.flush()
        raise RuntimeError("the process died")

    with monkeypatch.context() as dying:
        dying.setattr("mbi_reauth.api.services.renewal.requests.finish", crash)
        assert shop.browser.come_back("shopdemo", **answer).status_code == 503
    assert extra_of("shop") == lost
    assert shop.is_open
    assert audited() == []
    shop.come_back(consent_at_shopdemo(shop.browser.consent_page(shop.link)))
    assert not shop.is_open


@pytest.fixture(scope="module")
def certified(pytestconfig: pytest.Config) -> Iterator[str]:
    assert pytestconfig.cache is not None
    folder = installed(pytestconfig.cache.mkdir("oidc"))
    with running(folder, f"{CALLBACK}/certified/callback") as issuer:
        yield issuer


CERTIFIED = """
display_name: Certified
docs: https://github.com/panva/node-oidc-provider
kind: http
base_url: https://certified.example
connection:
  client_id: {title: Client id}
  client_secret: {title: Client secret, secret: true}
auth: {method: bearer}
oauth:
  authorization_url: "{base_url}/auth"
  token_url: "{base_url}/token"
  issuer: "{base_url}"
  scopes: [openid, offline_access, orders.read]
  authorization_params: {prompt: consent}
  refresh: rotating
  client_auth: basic
probe: {url: "{base_url}/me", account: sub}
rules:
  - id: who_it_is
    when: {status: [200], present: [sub]}
    cause: authorized
    because: It says whose token it is.
    samples:
      - evidence: {endpoint: probe, status_code: 200, body: {sub: dana}}
owner_steps:
  airflow: [Press the button.]
  mbi: [Press the button.]
"""


@pytest.fixture
def certified_page(certified: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    (tmp_path / "certified.yaml").write_text(CERTIFIED)
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER", str(tmp_path))
    extra = {"client_id": "basic:client", "client_secret": "fake client/secret:+%", "refresh_token": "fake"}
    put_connection("shop", extra=extra, host=certified)
    return Page({"id": "shop", "type": "certified", "account": "dana"}, Cause.GRANT_EXPIRED)


def consent_at_certified(page: Page, name: str = "dana", *, denies: bool = False) -> dict[str, str]:
    with Person(name, f"{CALLBACK}/certified/callback") as person:
        address = page.browser.consent_page(page.link)
        return person.denies(address) if denies else person.consents(address)


def test_a_certified_server_renews_and_refreshes(certified_page: Page) -> None:
    certified_page.come_back(consent_at_certified(certified_page))
    assert outcome() == "saved"
    assert not certified_page.is_open
    renewed = extra_of("shop")
    put_connection("shop", extra={**renewed, "access_token": None}, host=host_of("shop"))
    assert certified_page.token() not in (None, renewed["access_token"])
    assert extra_of("shop")["refresh_token"] != renewed["refresh_token"]


def test_a_certified_servers_denial_and_another_person_change_nothing(certified_page: Page) -> None:
    lost = extra_of("shop")
    certified_page.come_back(consent_at_certified(certified_page, denies=True))
    assert outcome() == "denied"
    certified_page.come_back(consent_at_certified(certified_page, "robin"))
    assert outcome() == "wrong_account"
    assert extra_of("shop") == lost


def test_a_certified_servers_code_is_good_for_one_browser(certified_page: Page) -> None:
    stolen = consent_at_certified(certified_page)
    thief = Browser(replace(certified_page.outside))
    assert thief.come_back("certified", **stolen).status_code == 410
    certified_page.come_back(stolen)
    assert outcome() == "saved"


@pytest.fixture
def database(postgresql: SourceDatabase) -> Page:
    """A PostgreSQL source, whose password was changed."""
    connection = connections.shop_database(postgresql)
    put_connection("source", **{**connection, "password": "fake-old-password"})
    entry = {"id": "source", "type": "postgresql_ssh", "tables": [{"name": "shop.orders"}]}
    return Page(entry, Cause.CREDENTIALS_REJECTED)


def test_a_database_login_is_verified_by_the_table_it_must_read(
    database: Page, postgresql: SourceDatabase
) -> None:
    browser = database.browser
    browser.press(database.link, "form")
    wrong = {"login": "reader", "password": "fake-wrong-password"}
    page = browser.follow(browser.post("/mbi-reauth/credential", wrong))
    assert outcome() == "refused"
    assert "fake-wrong-password" not in page.text
    right = {"login": READER, "password": postgresql.reader_password}
    page = browser.follow(browser.post("/mbi-reauth/credential", right))
    assert outcome() == "saved", page.text
    assert not database.is_open
    stored = find_credential("source")
    assert stored is not None
    assert stored.credential.password == postgresql.reader_password
    by_itself = try_out(Candidate(integration=database.integration, credential=stored.credential))
    assert by_itself.verdict is Verdict.AUTHORIZED


def test_a_login_that_may_not_read_the_table_is_refused(database: Page, postgresql: SourceDatabase) -> None:
    entry = {**database.integration.model_dump(mode="json"), "tables": [{"name": "no_such_table"}]}
    page = Page(entry, Cause.CREDENTIALS_REJECTED)
    page.browser.press(page.link, "form")
    right = {"login": READER, "password": postgresql.reader_password}
    page.browser.follow(page.browser.post("/mbi-reauth/credential", right))
    assert outcome() != "saved"
    assert page.is_open


def test_the_address_to_register_follows_airflows_own(shop: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/data")
    browser = Browser(shop.outside)
    headers = {"Origin": "https://airflow.example.com"}
    path = urlsplit(shop.link).path.removeprefix("/data")
    page = browser.client.post(path, data={"way": "consent"}, headers=headers)
    assert "https%3A%2F%2Fairflow.example.com%2Fdata%2Fmbi-reauth%2Foauth%2Fshopdemo%2Fcallback" in page.text
    cookie = page.headers["set-cookie"].lower()
    assert "path=/data/mbi-reauth" in cookie
    assert "secure" in cookie
    assert urljoin(shop.link, "/data/mbi-reauth/") in shop.link
