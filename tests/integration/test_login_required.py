"""The owner's pages behind Airflow's login: the real API server's app, with the real simple auth manager."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.api_fastapi.app import create_app, purge_cached_app
from airflow.models.connection import Connection
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import FindingReport
from mbi_reauth.api.dependencies import surroundings
from mbi_reauth.api.services import findings, links
from mbi_reauth.api.services.surroundings import Mailing, Surroundings
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Audit, Incident
from mbi_reauth.settings import API_PREFIX
from tests.metadata_db import airflow, audited, connected_to, empty, put_connection
from tests.owners_browser import ORIGIN, path_of

PASSWORDS = {"ada": "fake-password-of-ada", "vic": "fake-password-of-vic"}
ROLES = "ada:admin,vic:viewer"
DATABASE = {
    "id": "database",
    "type": "postgresql_ssh",
    "conn_id": "database",
    "owner": {"name": "Dana Example", "email": "dana@example.com"},
}
REFUSED = Finding(cause=Cause.CREDENTIALS_REJECTED, rule="test.lost", explanation="-")
ACCEPTED = Finding(cause=Cause.AUTHORIZED, rule="test.found", explanation="-")


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """Airflow's own app, with the plugin's mounted in it as its plugins manager does."""
    home = tmp_path_factory.mktemp("airflow")
    url = f"sqlite:///{home / 'airflow.db'}"
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS))
    airflow(home, url, "db", "migrate")
    with pytest.MonkeyPatch.context() as environment, connected_to(url):
        environment.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", ROLES)
        environment.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        environment.setenv("AIRFLOW__MBI_REAUTH__REQUIRE_LOGIN", "True")
        purge_cached_app()
        yield create_app(apps="core")
        purge_cached_app()


@pytest.fixture
def link(api_server: FastAPI) -> Iterator[str]:
    """The link about a database whose login was refused; what is entered is accepted."""
    empty()
    put_connection("database", conn_type="postgres", host="db.example", login="reader", password="fake-old")
    outside = Surroundings(mailing=Mailing)
    found = FindingReport(
        integration=Integration.model_validate(DATABASE),
        finding=REFUSED.model_copy(update={"checked_at": outside.now()}),
    )
    findings.report(found, outside)
    plugin = plugins_app(api_server)
    accepted = replace(outside, verify=lambda _: ACCEPTED.model_copy(update={"checked_at": outside.now()}))
    plugin.dependency_overrides[surroundings] = lambda: accepted
    incident = transact(lambda session: session.scalar(select(Incident.id)))
    yield links.for_incident(str(incident), now=outside.now())
    plugin.dependency_overrides.clear()


def plugins_app(api_server: FastAPI) -> Any:
    [mounted] = [route.app for route in api_server.routes if getattr(route, "path", "") == API_PREFIX]  # type: ignore[attr-defined]
    return mounted


@pytest.fixture
def browser(api_server: FastAPI) -> TestClient:
    return TestClient(api_server, base_url=ORIGIN, follow_redirects=False)


def sign_in(browser: TestClient, user: str) -> None:
    """Sign in as Airflow's login page does, which keeps the token in a cookie."""
    answer = browser.post("/auth/token", json={"username": user, "password": PASSWORDS[user]})
    assert answer.status_code == 201, answer.text
    browser.cookies.set("_token", answer.json()["access_token"])


def act(browser: TestClient, path: str, **values: str) -> Any:
    return browser.post(path, data=values, headers={"Origin": ORIGIN})


def password_of_database(session: Session) -> str | None:
    its = select(Connection).where(Connection.conn_id == "database")
    password: str | None = session.scalars(its).one().password
    return password


def actors() -> list[tuple[str, str | None]]:
    entries = select(Audit).order_by(Audit.id)
    return transact(lambda session: [(row.event, row.actor) for row in session.scalars(entries)])


def test_who_is_not_signed_in_is_sent_to_airflows_login_and_back_to_the_page(
    browser: TestClient, link: str
) -> None:
    answer = browser.get(f"{path_of(link)}?lang=nl")
    assert answer.status_code == 303
    login = answer.headers["location"]
    assert parse_qs(urlsplit(login).query)["next"] == [f"{link}?lang=nl"]
    onward = browser.get(login.removeprefix(ORIGIN))
    assert onward.status_code == 307, "Airflow takes the address for one of its own"
    assert parse_qs(urlsplit(onward.headers["location"]).query)["next"] == [f"{link}?lang=nl"]
    assert actors() == []


def test_who_is_not_signed_in_can_do_nothing(browser: TestClient, link: str) -> None:
    assert act(browser, path_of(link), way="form").status_code == 403
    for path in ("outcome", "credential", "oauth/google_adwords/callback?code=fake&state=fake"):
        assert browser.get(f"{API_PREFIX}/{path}").status_code == 303
    assert act(browser, f"{API_PREFIX}/credential", login="a", password="b").status_code == 403
    assert actors() == []


def test_who_may_not_change_the_connection_is_told_so_and_nothing_else(
    browser: TestClient, link: str
) -> None:
    sign_in(browser, "vic")
    for answer in (browser.get(path_of(link)), act(browser, path_of(link), way="form")):
        assert answer.status_code == 403
        assert "You may not change this" in answer.text
        assert "database" not in answer.text
    assert actors() == []


def test_who_may_change_it_does_and_the_audits_name_them(browser: TestClient, link: str) -> None:
    sign_in(browser, "ada")
    assert "We can no longer read" in browser.get(path_of(link)).text
    begun = act(browser, path_of(link), way="form")
    assert begun.status_code == 303
    answer = act(browser, path_of(begun.headers["location"]), login="reader", password="fake-new-password")
    outcome = browser.get(path_of(answer.headers["location"]))
    assert "works again" in outcome.text
    assert actors() == [("opened", "ada"), ("begun", "ada"), ("saved", "ada")]
    assert ("mbi_reauth.saved", "ada") in audited()
    assert transact(password_of_database) == "fake-new-password"


def test_another_users_attempt_cannot_be_taken_over(browser: TestClient, link: str) -> None:
    sign_in(browser, "ada")
    begun = act(browser, path_of(link), way="form")
    browser.cookies.delete("_token")
    sign_in(browser, "vic")
    form = path_of(begun.headers["location"])
    assert act(browser, form, login="reader", password="fake-new-password").status_code in (403, 410)
    assert [event for event, _ in actors()] == ["begun"]
