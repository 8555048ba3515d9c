"""What Mixpanel's answers mean; a credential that it does not know is a 400 as well as a 401."""

from __future__ import annotations

import base64
from datetime import date
from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.catalogue.model import HttpProbe
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.verdict import Certainty, Finding, Verdict
from mbi_reauth.extraction.http import first_request
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.http import HttpCredential
from mbi_reauth.probes.template import Templates

MIXPANEL = catalogue.load("mixpanel")
REQUEST = "/api/2.0/export?from_date=2026-11-01&to_date=2026-11-23"


def judge(**evidence: Any) -> Finding:
    return MIXPANEL.classify(Evidence.model_validate({"endpoint": "probe", **evidence}))


def said(words: str) -> dict[str, Any]:
    return {"error": words, "status": "error"}


def templates(**fields: Any) -> Templates:
    extra = {"account": "1234567"} | fields.pop("extra", {})
    credential = Credential("mp", "mbireauth", extra=extra, **({"password": "fake-secret"} | fields))
    return Templates(MIXPANEL.model, credential, today=date(2026, 11, 24))


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (400, {"request": REQUEST, "error": "Unable to authenticate request"}, "credentials_rejected"),
        (401, said("Unable to authenticate request"), "credentials_rejected"),
        (200, said("Unable to authenticate request"), "credentials_rejected"),
        (400, said("Invalid API secret"), "credentials_rejected"),
        (
            401,
            {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"},
            "credentials_rejected",
        ),
        (401, {"request": REQUEST, "error": "No."}, "credentials_rejected"),
        (402, said("Your plan does not allow API calls."), "account_suspended"),
        (403, said("User does not have permission to access project 1"), "insufficient_scope"),
        (403, {"request": REQUEST, "error": "No."}, "insufficient_scope"),
        (429, said("Query rate limit exceeded"), "rate_limited"),
        (400, said("Query rate limit exceeded. Check docs."), "rate_limited"),
        (403, said("Too many concurrent queries"), "rate_limited"),
        (400, {"request": REQUEST, "error": "Timeout Error."}, "provider_outage"),
        (400, said("to_date cannot be later than today"), "probe_misconfigured"),
        (400, " to_date cannot be later than today", "probe_misconfigured"),
        (400, said("project_id is a required parameter"), "probe_misconfigured"),
        (500, said("Unable to authenticate request"), "provider_outage"),
        (400, {"request": REQUEST, "error": "Something else"}, "unknown"),
        (404, said("Not found"), "unknown"),
    ],
    ids=str,
)
def test_the_words_decide_where_the_status_does_not(status: int, body: Any, cause: str) -> None:
    assert judge(status_code=status, body=body).cause.value == cause


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refusal_without_words_about_the_key_needs_a_second_look(status: int) -> None:
    found = judge(status_code=status, body=said("No."))
    assert (found.verdict, found.certainty) == (Verdict.NEEDS_REAUTH, Certainty.AMBIGUOUS)


@pytest.mark.parametrize(
    "body",
    [
        '{"event":"Signed up","properties":{"time":1602611311,"$insert_id":"x"}}\n',
        [{"id": 1, "name": "Buyers", "project_id": 1234567}],
        {"page": 0, "session_id": "1-x", "status": "ok", "total": 0, "results": []},
    ],
    ids=str,
)
def test_the_projects_own_data_prove_it(body: Any) -> None:
    assert judge(status_code=200, body=body).verdict is Verdict.AUTHORIZED


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 200, "body": ""},
        {"status_code": 200, "body": []},
        {"status_code": 200, "body": {"status": "ok", "results": {}}},
        {"status_code": 200, "body": {"event": "x"}},
        {"status_code": 200, "body": '{"event":"Signed up","properties":{"time":16'},
        {"status_code": 200, "body": {"event": "x", "properties": {"time": 1}, "error": "cut"}},
        {"status_code": 401, "body": {"error": "Proxy authentication required"}},
        {"status_code": 401, "body": {"timestamp": 1, "status": 401, "error": "Unauthorized", "path": "/"}},
        {"status_code": 403, "body": {"error": "Blocked by DLP policy"}},
        {"status_code": 400, "body": {"message": "Unable to authenticate request"}},
        {"status_code": 401, "body": "Unable to authenticate request"},
        {"status_code": 401, "body": "<html>Unable to authenticate request</html>"},
        {"status_code": 403, "body": said("No."), "headers": {"X-Squid-Error": "ERR_ACCESS_DENIED"}},
        {"status_code": 429, "body": said("Invalid credentials")},
        {"failure": "timeout"},
    ],
    ids=str,
)
def test_garbage_and_imitations_neither_accuse_nor_prove(answer: dict[str, Any]) -> None:
    assert judge(**answer).verdict not in (Verdict.NEEDS_REAUTH, Verdict.AUTHORIZED)


@pytest.mark.parametrize(
    ("login", "pair"),
    [("example.mp-service-account", "example.mp-service-account:fake-secret"), ("", "fake-secret:")],
)
def test_a_service_account_and_an_api_secret_both_authenticate(login: str, pair: str) -> None:
    credential = HttpCredential.of(MIXPANEL.model.auth, templates(login=login))
    assert credential.headers["Authorization"] == f"Basic {base64.b64encode(pair.encode()).decode()}"


def test_a_check_takes_one_event_and_at_most_four_in_an_hour() -> None:
    probe = MIXPANEL.model.probe
    assert isinstance(probe, HttpProbe)
    assert probe.params["limit"] == "1"
    assert probe.min_interval >= 900


def test_only_days_that_have_begun_everywhere_are_exported() -> None:
    request = first_request(MIXPANEL.model.resources[0], templates())
    assert (request.params["from_date"], request.params["to_date"]) == ("2026-10-25", "2026-11-23")


@pytest.mark.parametrize(
    ("host", "extra", "urls"),
    [
        ("", {}, ("https://data.mixpanel.com/", "https://mixpanel.com/")),
        (
            "https://data-eu.mixpanel.com",
            {"query_host": "eu.mixpanel.com"},
            ("https://data-eu.mixpanel.com/", "https://eu.mixpanel.com/"),
        ),
    ],
)
def test_a_project_is_asked_where_it_lives(host: str, extra: dict[str, str], urls: tuple[str, ...]) -> None:
    rendered = templates(host=host, extra=extra)
    for resource, url in zip(MIXPANEL.model.resources, urls, strict=True):
        assert first_request(resource, rendered).url.startswith(url)
