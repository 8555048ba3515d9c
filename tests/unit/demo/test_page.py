"""The page shows both sides, and only its own buttons act."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from demo.airflow_client import AirflowClient, AirflowError, Run
from demo.mailbox import Mailbox
from demo.options import parse
from demo.page import Board, create_page, shopdemo_panel
from demo.page.board import progress, sum_up, view
from demo.third_party import ThirdParty


class FakeAirflow(AirflowClient):
    """Remember what was asked for; ``down`` makes it fail as an Airflow that is not there."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", user="u", password="p")
        self.saved: list[dict[str, Any]] = []
        self.triggered: list[str] = []
        self.down = False

    def trigger(self, dag_id: str) -> str:
        if self.down:
            raise AirflowError("Airflow does not answer")
        self.triggered.append(dag_id)
        return "manual__1"

    def save_connection(self, body: dict[str, Any]) -> None:
        self.saved.append(body)


@pytest.fixture
def shop() -> Iterator[ThirdParty]:
    third_party = ThirdParty()
    third_party.issue_grant("shop-north")
    with third_party:
        yield third_party


@pytest.fixture
def airflow() -> FakeAirflow:
    return FakeAirflow()


@pytest.fixture
def page(shop: ThirdParty, airflow: FakeAirflow) -> FlaskClient:
    board = Board(airflow, [shopdemo_panel(shop, airflow)], Mailbox())
    return create_page(board, parse([], {})).test_client()


def test_the_sweep_has_a_button(page: FlaskClient, airflow: FakeAirflow) -> None:
    answer = page.post("/sweep", headers={"Accept": "application/json"})
    assert (answer.status_code, airflow.triggered) == (200, ["mbi_authorization_sweep"])


def press(page: FlaskClient, path: str, **headers: str) -> Any:
    return page.post(f"/integrations/shopdemo/{path}", headers={"Accept": "application/json", **headers})


def test_a_switch_acts_at_the_third_party_and_shows_on_the_page(page: FlaskClient, shop: ThirdParty) -> None:
    press(page, "switch/revoke_grant")
    assert shop.grant_state("shop-north") == "no living grant"
    assert "no living grant" in page.get("/live").get_data(as_text=True)


def test_a_state_is_switched_back_by_the_same_button(page: FlaskClient, shop: ThirdParty) -> None:
    press(page, "switch/go_down")
    assert shop.switches
    press(page, "switch/go_down")
    assert not shop.switches


def test_putting_right_saves_a_new_grant_in_the_connection(
    page: FlaskClient, shop: ThirdParty, airflow: FakeAirflow
) -> None:
    press(page, "switch/revoke_grant")
    press(page, "put-right")
    (body,) = airflow.saved
    assert (body["connection_id"], shop.grant_state("shop-north")) == ("shopdemo", "grant lives")


def test_a_run_is_started_on_airflow(page: FlaskClient, airflow: FakeAirflow) -> None:
    assert press(page, "run").get_json()["said"] == "Started manual__1."
    assert airflow.triggered == ["mbi_extract_shopdemo"]


def test_an_airflow_that_is_not_there_is_said_not_raised(page: FlaskClient, airflow: FakeAirflow) -> None:
    airflow.down = True
    answer = press(page, "run")
    assert (answer.status_code, answer.get_json()["said"]) == (502, "Airflow does not answer")


def test_without_the_script_a_button_leads_back_to_the_page(page: FlaskClient) -> None:
    answer = page.post("/integrations/shopdemo/run")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}]
)
def test_another_site_cannot_press_a_button(
    page: FlaskClient, shop: ThirdParty, headers: dict[str, str]
) -> None:
    assert press(page, "switch/revoke_grant", **headers).status_code == 403
    assert shop.grant_state("shop-north") == "grant lives"


@pytest.mark.parametrize("path", ["switch/nothing", "../other/run"])
def test_an_unknown_button_is_not_found(page: FlaskClient, path: str) -> None:
    assert press(page, path).status_code == 404


@pytest.mark.parametrize(
    ("states", "summary"),
    [
        ([], "waiting"),
        ([None, "success"], "waiting"),
        (["success", "running"], "running"),
        (["success", "failed", "running"], "failed"),
        (["success", "up_for_retry", None], "retrying"),
        (["skipped", "success"], "success"),
        (["skipped", "skipped"], "skipped"),
    ],
)
def test_several_tasks_are_summed_up_in_one_word(states: list[str | None], summary: str) -> None:
    assert sum_up(states) == summary


def a_run(gate: str, extract: str, email: str) -> Run:
    tasks = {"a.check_authorization": gate, "a.copy": extract, "a.needs_reauth.email_owner": email}
    return Run("mbi_extract_a", "manual__2026-01-01T00:00:00+00:00", "success", "2026-01-01", dict(tasks))


def test_a_run_links_to_itself_in_airflow() -> None:
    shown = view(a_run("success", "success", "skipped"), "http://127.0.0.1:8080")
    assert shown.url.endswith("/dags/mbi_extract_a/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00")


def test_the_story_follows_from_the_runs() -> None:
    good, bad = a_run("success", "success", "skipped"), a_run("skipped", "skipped", "success")
    resumed = a_run("success", "success", "success")
    assert progress([view(run, "") for run in (bad, good)]) == {"healthy", "lost", "blocked"}
    shown = [view(run, "") for run in (resumed, good)]
    assert progress(shown) == {"healthy", "lost", "blocked", "renewed", "resumed"}
