"""The whole story in a browser: lost, mailed, put right by its owner on a phone, resumed by itself.

The tests tell it in order, on one demo with a real Airflow. Chromium runs no scripts in it.
"""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route

from demo import standalone
from demo.options import Options
from demo.third_party.store import SECRETS, new_secret
from tests.browser.people import Owner, Shots, heading, language, said
from tests.e2e.conftest import Demo, until

CHECK, EMAIL = "check_authorization", "needs_reauth.email_owner"
WRONG_PASSWORD = "obviously-fake-wrong-password"


def stored(demo: Demo, query: str, *values: str) -> list[Any]:
    """Read Airflow's database beside Airflow."""
    with closing(sqlite3.connect(f"file:{demo.home}/airflow.db?mode=ro", uri=True, timeout=30)) as database:
        return database.execute(query, values).fetchall()


def connection_of(demo: Demo, conn_id: str) -> list[Any]:
    return stored(demo, "SELECT login, password, extra FROM connection WHERE conn_id = ?", conn_id)


def attempts(demo: Demo) -> int:
    return int(stored(demo, "SELECT count(*) FROM mbi_reauth_authorization_request")[0][0])


def events(demo: Demo, integration_id: str) -> list[str]:
    """Return what the audit says was done to an integration, but for its pages being opened."""
    query = "SELECT event FROM mbi_reauth_audit WHERE integration_id = ? AND event <> 'opened' ORDER BY id"
    return [event for (event,) in stored(demo, query, integration_id)]


def is_open(demo: Demo, integration_id: str) -> bool:
    return stored(demo, "SELECT 1 FROM mbi_reauth_incident WHERE open_key = ?", integration_id) != []


def blocked(demo: Demo, integration_id: str) -> str:
    """Run an extraction that is stopped, and whose owner is mailed; return its run id."""
    run_id = demo.start(integration_id)
    run = demo.ended(integration_id, run_id)
    assert run.tasks[f"{integration_id}.{CHECK}"] == "skipped"
    assert run.tasks[f"{integration_id}.{EMAIL}"] == "success"
    return run_id


def link_in_mail(demo: Demo, recipient: str) -> str:
    text = [mail["text"] for mail in demo.mails() if mail["recipients"] == [recipient]][-1]
    [link] = re.findall(r"http://\S+/mbi-reauth/reauthorize/\S+", text)
    return str(link)


def resumed(demo: Demo, integration_id: str, run_id: str) -> float:
    """Wait until a stopped run has completed by itself; return when its gate began again, in seconds."""
    began = time.monotonic()
    path = f"/dags/mbi_extract_{integration_id}/dagRuns/{run_id}/taskInstances"

    def gate() -> float | None:
        task = demo.airflow._ask("GET", f"{path}/{integration_id}.{CHECK}")
        again = task["try_number"] == 2 and task["state"] in ("running", "deferred", "success")
        return time.monotonic() - began if again else None

    after = float(until(gate, f"{run_id} to go on", within=90))
    assert demo.task_state(integration_id, run_id, CHECK, {"success"}) == "success"
    run = demo.ended(integration_id, run_id)
    assert run.state == "success"
    extraction = {state for task_id, state in run.tasks.items() if not task_id.endswith((CHECK, EMAIL))}
    assert extraction == {"success"}
    assert run.tasks[f"{integration_id}.{EMAIL}"] == "success"
    assert demo.airflow._ask("GET", f"{path}/{integration_id}.{EMAIL}")["try_number"] == 1
    return after


@pytest.fixture(scope="module")
def lost(demo: Demo) -> tuple[str, int]:
    """Withdraw Shopdemo's grant; give the run that was stopped by it, and the rows that had landed before."""
    demo.run("shopdemo")
    demo.lose("shopdemo", "revoke_grant")
    landed = demo.rows("shopdemo")
    assert landed > 0
    return blocked(demo, "shopdemo"), landed


@pytest.fixture(scope="module")
def page(owner: Owner, lost: tuple[str, int]) -> Iterator[Page]:
    """The page that Dana's email leads to."""
    opened = owner.open_mail("Shopdemo orders", "shopdemo")
    yield opened
    opened.close()


def test_a_scanner_that_follows_the_link_ten_times_changes_nothing(demo: Demo, lost: tuple[str, int]) -> None:
    link, before = link_in_mail(demo, "dana@example.com"), connection_of(demo, "shopdemo")
    with httpx.Client(trust_env=False) as scanner:
        for _ in range(5):
            assert scanner.head(link).status_code == 200
            assert scanner.get(link).status_code == 200
    assert attempts(demo) == 0
    assert events(demo, "shopdemo") == []
    assert connection_of(demo, "shopdemo") == before
    assert is_open(demo, "shopdemo")


def test_the_button_in_the_mail_opens_a_page_that_says_what_it_is_about(page: Page, shots: Shots) -> None:
    shots.keep_owners(page, "shopdemo-overview")
    assert heading(page) == "We can no longer read Shopdemo orders"
    for words in ("withdrawn", "shop-north", "mbi_extract_shopdemo (", "Dana Example"):
        assert words in said(page)


def test_what_is_not_put_right_is_said_to_be_refused_still(
    page: Page, owner: Owner, shots: Shots, demo: Demo
) -> None:
    link = page.url
    owner.press(page, "I have put it right")
    owner.awaits_outcome(page)
    shots.keep_owners(page, "shopdemo-checked")
    assert heading(page) == "Shopdemo orders does not work yet"
    assert is_open(demo, "shopdemo")
    page.goto(link)


def test_the_page_on_the_way_can_be_used_when_it_does_not_go_on_by_itself(
    owner: Owner, shots: Shots, page: Page
) -> None:
    """As in a browser whose user has switched such refreshes off."""

    def without_refresh(route: Route) -> None:
        answer = route.fetch()
        html, count = re.subn(r'<meta http-equiv="refresh"[^>]*>', "", answer.text())
        assert count == 1
        route.fulfill(response=answer, body=html)

    away = owner.context.new_page()
    away.goto(page.url)
    away.route("**/mbi-reauth/reauthorize/*", without_refresh)
    owner.press(away, "Continue to Shopdemo")
    away.get_by_text("Press the button if nothing happens").wait_for()
    shots.keep_owners(away, "shopdemo-leaving")
    away.get_by_role("link", name="Continue to Shopdemo").click()
    away.wait_for_url("**/oauth/authorize?**")
    away.close()


def test_denied_consent_and_another_account_leave_the_credential(
    page: Page, owner: Owner, shots: Shots, demo: Demo
) -> None:
    before = connection_of(demo, "shopdemo")
    owner.press(page, "Continue to Shopdemo")
    page.wait_for_url("**/oauth/authorize?**")
    shots.keep(page, "shopdemo-consent")
    owner.consent(page, "Deny")
    shots.keep_owners(page, "shopdemo-denied")
    assert heading(page) == "The permission was not given"

    owner.press(page, "Try again")
    owner.consent(page, "Allow", shop="Southside Goods")
    shots.keep_owners(page, "shopdemo-another-account")
    assert heading(page) == "That is another account"
    assert {"shop-south", "shop-north"} <= set(said(page).split())
    assert connection_of(demo, "shopdemo") == before
    assert is_open(demo, "shopdemo")


def test_consent_puts_it_right_and_the_stopped_run_goes_on_by_itself(
    page: Page, owner: Owner, shots: Shots, demo: Demo, lost: tuple[str, int], told: list[str]
) -> None:
    run_id, landed = lost
    began = time.monotonic()
    owner.press(page, "Try again")
    owner.consent(page, "Allow")
    saved = time.monotonic() - began
    seconds = saved + resumed(demo, "shopdemo", run_id)
    told.append(f"consent: saved after {saved:.1f} s, the run resumed {seconds:.1f} s after the button")
    shots.keep_owners(page, "shopdemo-works-again")
    assert heading(page) == "Shopdemo orders works again"
    assert "mbi_extract_shopdemo (" in said(page)
    assert demo.rows("shopdemo") > landed
    assert not is_open(demo, "shopdemo")
    assert events(demo, "shopdemo")[-1] == "saved"


def test_the_link_opened_afterwards_says_that_it_works(owner: Owner, shots: Shots, demo: Demo) -> None:
    before = attempts(demo)
    again = owner.open_mail("Shopdemo orders", "shopdemo-afterwards")
    shots.keep_owners(again, "shopdemo-afterwards")
    assert heading(again) == "Shopdemo orders works again"
    assert again.get_by_role("button").count() == 0
    assert attempts(demo) == before
    again.close()


def test_a_login_is_entered_in_dutch_wrong_first_and_the_stopped_run_goes_on(
    owner: Owner, shots: Shots, demo: Demo, told: list[str]
) -> None:
    demo.lose("shop_database", "password changed")
    run_id = blocked(demo, "shop_database")
    before = connection_of(demo, "shop_database")
    page = owner.open_mail("Shop database", "database")
    shots.keep_owners(page, "database-overview")
    assert (language(page), heading(page)) == ("nl", "Wij kunnen Shop database niet meer lezen")
    owner.press(page, "Nieuw wachtwoord invullen")
    shots.keep_owners(page, "database-form")
    assert language(page) == "nl"
    assert page.locator("input[name=login]").input_value() == "reader"

    enter(owner, page, WRONG_PASSWORD)
    page.get_by_role("alert").wait_for()
    shots.keep_owners(page, "database-wrong-password")
    assert "Er is niets opgeslagen." in said(page)
    assert page.locator("input[name=password]").input_value() == ""
    assert connection_of(demo, "shop_database") == before
    assert is_open(demo, "shop_database")

    began = time.monotonic()
    enter(owner, page, password_on_the_demo_page(owner, shots))
    owner.awaits_outcome(page)
    saved = time.monotonic() - began
    seconds = saved + resumed(demo, "shop_database", run_id)
    told.append(f"form: saved after {saved:.1f} s, the run resumed {seconds:.1f} s after the button")
    shots.keep_owners(page, "database-works-again")
    assert (language(page), heading(page)) == ("nl", "Shop database werkt weer")
    assert not is_open(demo, "shop_database")
    assert events(demo, "shop_database")[-2:] == ["refused", "saved"]
    page.close()


def enter(owner: Owner, page: Page, password: str) -> None:
    owner.secrets[password] = "password"
    page.get_by_label("Wachtwoord").fill(password)
    owner.press(page, "Controleren en opslaan")


def password_on_the_demo_page(owner: Owner, shots: Shots) -> str:
    """Read it where it stands for what an administrator would say."""
    page = owner.context.new_page()
    page.goto(str(owner.demo.page.base_url))
    shots.keep(page, "demo-page")
    password = page.locator("#shop_database .secret").inner_text()
    page.close()
    return password


def test_links_and_attempts_that_are_not_ours_get_a_page_that_says_nothing(
    owner: Owner, shots: Shots, demo: Demo
) -> None:
    page = owner.context.new_page()
    page.goto(link_in_mail(demo, "dana@example.com")[:-1])
    shots.keep_owners(page, "no-such-link")
    assert "Shopdemo" not in page.content()
    owner.context.clear_cookies(name="mbi_reauth_session")
    page.goto(f"{owner.base}/mbi-reauth/outcome")
    shots.keep_owners(page, "no-session")
    assert heading(page) == "Please begin again"
    page.goto(f"{owner.base}/mbi-reauth/oauth/shopdemo/callback?code={new_secret('ac')}&state=of-another")
    shots.keep_owners(page, "consent-in-another-browser")
    assert heading(page) == "Please begin again"
    page.close()


def test_the_demo_page_ticks_off_the_whole_story(owner: Owner, shots: Shots, demo: Demo) -> None:
    demo.sweep()
    page = owner.context.new_page()
    page.goto(str(demo.page.base_url))
    shots.keep(page, "demo-page-afterwards")
    assert page.locator(".story .done").count() == page.locator(".story li").count()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("window.innerWidth")
    page.close()


# After all others: this is about everything that they have left behind.


def exported(demo: Demo) -> str:
    """Let Airflow decrypt what it has stored."""
    options = Options(home=demo.home, fresh=False, ports=demo.ports)
    path = demo.home.parent / "exported.json"
    command = [sys.executable, "-m", "airflow", "connections", "export", str(path)]
    subprocess.run(command, env=standalone.environment(options), capture_output=True, check=True)
    text = path.read_text()
    path.unlink()
    return text


def test_no_code_state_token_or_password_is_in_anything_that_was_written(demo: Demo, owner: Owner) -> None:
    assert set(owner.secrets.values()) == {"code", "state", "cookie", "password"}
    keys = json.loads((demo.home / "keys.json").read_text())
    secrets = owner.secrets | {keys[name]: name for name in ("database_reader", "database_admin")}
    assert found_in(exported(demo), secrets) >= {"password", "sdat_", "sdrt_", "sdcs_"}

    its_own = {"keys.json", "simple_auth_manager_passwords.json"}
    files = [path for path in demo.home.parent.rglob("*") if path.is_file() and path.name not in its_own]
    written = {path.relative_to(demo.home.parent).as_posix(): path.read_text("latin-1") for path in files}
    assert "/mbi-reauth/oauth/shopdemo/callback" in written["home/standalone.log"]
    assert {"home/airflow.db", "demo.log"} <= written.keys()
    written["the mailbox"] = json.dumps(demo.mails())
    leaks = {name: found for name, text in written.items() if (found := found_in(text, secrets))}
    assert leaks == {}


def found_in(text: str, secrets: Mapping[str, str]) -> set[str]:
    """Say which kinds of secrets are in a text: Shopdemo's by their prefix, and ``secrets``."""
    by_prefix = {match.group()[:5] for match in re.finditer(SECRETS, text)}
    return by_prefix | {kind for secret, kind in secrets.items() if secret in text}
