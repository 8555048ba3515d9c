"""The demo's client of Airflow's REST API, against an Airflow that is a function."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from demo.airflow_client import AirflowClient, AirflowError

Answer = Callable[[httpx.Request], httpx.Response]


class Airflow:
    """Give tokens that work until :attr:`valid` changes, and answer the API with ``answer``."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.valid = 1
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": f"token-{self.valid}"})
        self.asked.append(request)
        if request.headers["Authorization"] != f"Bearer token-{self.valid}":
            return httpx.Response(401)
        return self.answer(request)


def client(answer: Answer) -> AirflowClient:
    transport = httpx.MockTransport(answer)
    return AirflowClient(
        "http://airflow.example", user="admin", password="fake", transport=transport, sleep=lambda _: None
    )


def test_an_expired_token_is_replaced_once() -> None:
    airflow = Airflow(lambda _: httpx.Response(200, json={"dags": []}))
    asking = client(airflow)
    asking.dags()
    airflow.valid = 2
    assert asking.dags() == {}
    assert len(airflow.asked) == 3


def test_a_saved_connection_replaces_exactly_the_given_fields() -> None:
    airflow = Airflow(lambda _: httpx.Response(200, json={}))
    client(airflow).save_connection({"connection_id": "shop", "conn_type": "mbireauth", "extra": "{}"})
    (request,) = airflow.asked
    assert (request.method, request.url.path) == ("PATCH", "/api/v2/connections/shop")
    assert request.url.params.get_list("update_mask") == ["conn_type", "extra"]


def test_a_run_is_triggered_for_now() -> None:
    airflow = Airflow(lambda _: httpx.Response(200, json={"dag_run_id": "manual__1"}))
    assert client(airflow).trigger("mbi_extract_shop") == "manual__1"
    assert json.loads(airflow.asked[0].content) == {"logical_date": None}


BUSY = {"detail": {"reason": "Database error", "statement": "hidden", "orig_error": "hidden"}}


def test_a_request_that_a_busy_database_refused_is_made_again() -> None:
    answers = [httpx.Response(500, json=BUSY), httpx.Response(200, json={"dag_run_id": "manual__1"})]
    airflow = Airflow(lambda _: answers.pop(0))
    assert client(airflow).trigger("mbi_extract_shop") == "manual__1"
    assert len(airflow.asked) == 2


def test_a_database_that_stays_busy_is_an_error_for_people() -> None:
    airflow = Airflow(lambda _: httpx.Response(500, json=BUSY))
    with pytest.raises(AirflowError, match="Database error"):
        client(airflow).trigger("mbi_extract_shop")
    assert len(airflow.asked) == 5


@pytest.mark.parametrize(("status", "words"), [(404, "answered 404"), (500, "answered 500")])
def test_a_refusal_is_an_error_for_people(status: int, words: str) -> None:
    with pytest.raises(AirflowError, match=words):
        client(Airflow(lambda _: httpx.Response(status, text="no such DAG"))).dags()


def test_no_answer_is_an_error_for_people() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(AirflowError, match="does not answer"):
        client(silent).dags()
    assert client(silent).unhealthy() == ["api_server"]


@pytest.mark.parametrize(
    ("told", "unhealthy"),
    [
        ({}, ["scheduler", "triggerer", "dag_processor"]),
        ({"scheduler": {"status": "healthy"}, "triggerer": None}, ["triggerer", "dag_processor"]),
        ({key: {"status": "healthy"} for key in ("scheduler", "triggerer", "dag_processor")}, []),
    ],
)
def test_components_are_healthy_when_all_say_so(told: dict[str, object], unhealthy: list[str]) -> None:
    assert client(lambda _: httpx.Response(200, json=told)).unhealthy() == unhealthy
