from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from airflow import settings
from sqlalchemy.exc import OperationalError

from mbi_reauth.api.services.credentials import take_turn
from mbi_reauth.api.services.tokens import LEASE
from mbi_reauth.core.verdict import Cause
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Base
from tests.app import INTEGRATION, KEY, NOON, App
from tests.metadata_db import drop_connection, extra_of, put_connection

OLD, NEW = "fake-refresh-old", "fake-refresh-new"
CLIENT = {"client_id": "client", "client_secret": "fake-client-secret"}


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def in_seconds(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


def put_grant(**extra: Any) -> None:
    put_connection("shop", extra={**CLIENT, "refresh_token": OLD, **extra})


def of_type(app: App, type_id: str) -> App:
    app.integration = app.integration.model_copy(update={"type": type_id})
    return app


def hold_lease(*, expires_in: float) -> None:
    def work(session: Any) -> None:
        status = take_turn(session, INTEGRATION, now=NOON)
        status.refresh_lease = "somebody's"
        status.refresh_lease_expires_at = NOON + timedelta(seconds=expires_in)

    transact(work)


# the credential's version


def test_the_version_is_raised_when_any_part_of_the_credential_changes(app: App) -> None:
    of_type(app, "plain")
    versions = []
    for fields in (
        {},
        {"host": "a"},
        {"host": "a", "port": 1},
        {"host": "a", "port": 1, "schema": "s"},
        {"login": "l"},
        {"password": "fake-1"},
        {"password": "fake-2"},
        {"password": "fake-2", "extra": {"access_token": "fake-a"}},
        {"password": "fake-2", "extra": {"access_token": "fake-b"}},
        {"password": "fake-2", "conn_type": "postgres"},
    ):
        put_connection("shop", **fields)
        versions.append(app.check()["credential_version"])
        assert app.check()["credential_version"] == versions[-1]
    assert versions == list(range(1, len(versions) + 1))


def test_a_description_is_no_part_of_the_credential(app: App) -> None:
    for text in ("one", "two"):
        put_connection("shop", password="fake", description=text)
        assert of_type(app, "plain").check()["credential_version"] == 1


def test_a_connection_that_appears_is_a_new_credential(app: App) -> None:
    assert of_type(app, "plain").check()["credential_version"] == 1
    put_connection("shop", password="fake")
    assert app.check()["credential_version"] == 2


def test_a_new_fernet_key_in_front_of_the_old_one_changes_no_version(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "old")
    assert of_type(app, "plain").check()["credential_version"] == 1
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "new,old")
    assert app.check()["credential_version"] == 1
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "new")
    assert app.check()["credential_version"] == 1


def test_the_last_finding_is_told_while_it_is_about_the_present_credential(app: App) -> None:
    put_connection("shop", password="fake-1")
    of_type(app, "plain").report(Cause.AUTHORIZED)
    assert app.check()["last_finding"]["proved_at"] == "2026-03-01T12:00:00Z"
    put_connection("shop", password="fake-2")
    assert app.check()["last_finding"] is None


@pytest.mark.parametrize("path", ["checks", "findings"])
def test_an_unreadable_extra_is_said_so(app: App, path: str) -> None:
    put_connection("shop", password="fake")
    unreadable = "UPDATE connection SET extra = '[1]' WHERE conn_id = 'shop'"
    transact(lambda session: session.connection().exec_driver_sql(unreadable))
    body: dict[str, Any] = {"integration": INTEGRATION.model_dump(mode="json")}
    if path == "findings":
        body["finding"] = {"cause": "authorized", "rule": "r", "explanation": "-"}
    answer = app.client.post(f"/api/{path}", json=body)
    assert answer.status_code == 422
    assert "'shop'" in answer.json()["detail"]


def test_an_unknown_type_is_said_so(app: App) -> None:
    body = {"integration": INTEGRATION.model_copy(update={"type": "unheard_of"}).model_dump(mode="json")}
    answer = app.client.post("/api/checks", json=body)
    assert answer.status_code == 422
    assert "unheard_of" in answer.json()["detail"]


# the token


@pytest.mark.parametrize(
    "expires_at", [in_seconds(61), in_seconds(61)[:-6], None, "2026-03-01T13:01:01+01:00"]
)
def test_a_stored_token_is_used_while_it_has_more_than_a_minute_left(
    app: App, expires_at: str | None
) -> None:
    put_grant(access_token="fake-access", expires_at=expires_at)
    answer = app.check()
    assert (answer["access_token"], answer["token_evidence"]) == ("fake-access", None)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"access_token": "fake-access", "expires_at": in_seconds(60)},
        {"access_token": "fake-access", "expires_at": "next week"},
    ],
)
def test_a_missing_or_expiring_token_is_refreshed_and_saved_before_it_is_returned(
    app: App, extra: dict[str, Any]
) -> None:
    put_grant(**extra, account="shop-1")
    app.outside.will_grant("fake-fresh", refresh_token=NEW, expires_in=3600)
    assert app.check()["access_token"] == "fake-fresh"
    assert app.outside.asked[0].refresh_token == OLD
    assert app.outside.asked[0].token_url == "https://vendor.example/token"
    assert extra_of("shop") == {
        **CLIENT,
        "account": "shop-1",
        "refresh_token": NEW,
        "access_token": "fake-fresh",
        "expires_at": in_seconds(3600),
    }


def test_the_apps_own_refresh_is_no_new_version(app: App) -> None:
    put_grant()
    app.outside.will_grant("fake-fresh", refresh_token=NEW, expires_in=3600)
    version = app.check()["credential_version"]
    assert app.check()["credential_version"] == version == 1


def test_a_refused_token_is_refreshed_once_however_many_ask(app: App) -> None:
    put_grant(access_token="fake-refused", expires_at=in_seconds(3600))
    app.outside.will_grant("fake-fresh", expires_in=3600)
    for _ in range(3):
        assert app.check(refused_token=digest("fake-refused"))["access_token"] == "fake-fresh"
    assert len(app.outside.asked) == 1


def test_a_refresh_token_that_is_not_replaced_stays(app: App) -> None:
    put_grant()
    app.outside.will_grant("fake-fresh")
    app.check()
    assert extra_of("shop")["refresh_token"] == OLD


def test_the_connection_may_name_another_token_endpoint(app: App) -> None:
    put_grant(token_url="https://elsewhere.example/token")
    app.outside.will_grant("fake-fresh")
    app.check()
    assert app.outside.asked[0].token_url == "https://elsewhere.example/token"


def test_a_refusal_is_answered_as_evidence_and_leaves_the_connection_alone(app: App) -> None:
    put_grant()
    app.outside.will_refuse("invalid_grant")
    answer = app.check()
    assert answer["access_token"] is None
    assert answer["token_evidence"]["body"] == {"error": "invalid_grant"}
    assert extra_of("shop") == {**CLIENT, "refresh_token": OLD}


@pytest.mark.parametrize("granted", [True, False])
def test_a_credential_replaced_during_the_refresh_is_neither_judged_nor_overwritten(
    app: App, granted: bool
) -> None:
    put_grant()
    app.outside.meanwhile = lambda: put_grant(
        refresh_token="fake-owners", access_token="fake-owners-access", expires_at=in_seconds(3600)
    )
    if granted:
        app.outside.will_grant("fake-fresh", refresh_token=NEW)
    else:
        app.outside.will_refuse("invalid_grant")
    answer = app.check()
    assert answer["access_token"] == "fake-owners-access"
    assert answer["credential_version"] == 2
    assert extra_of("shop")["refresh_token"] == "fake-owners"


def test_a_type_that_does_not_refresh_answers_the_stored_token(app: App) -> None:
    put_grant(access_token="fake-access", expires_at=in_seconds(-1))
    assert of_type(app, "none").check()["access_token"] == "fake-access"


def test_a_type_without_oauth_gets_neither_token_nor_evidence(app: App) -> None:
    put_grant(access_token="fake-access")
    answer = of_type(app, "plain").check()
    assert (answer["access_token"], answer["token_evidence"]) == (None, None)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (None, "There is no Airflow connection 'shop'"),
        ({}, "client_id and refresh_token"),
        ({"client_id": "client"}, "lacks refresh_token"),
    ],
)
def test_what_is_missing_in_the_connection_is_the_engineers(
    app: App, extra: dict[str, Any] | None, named: str
) -> None:
    if extra is not None:
        put_connection("shop", extra=extra)
    evidence = app.check()["token_evidence"]
    assert evidence["body"]["error"] == "invalid_request"
    assert named in evidence["body"]["error_description"]
    assert app.outside.asked == []


def managed_elsewhere(monkeypatch: pytest.MonkeyPatch, **extra: Any) -> None:
    connection = {"conn_type": "mbireauth", "extra": {**CLIENT, "refresh_token": OLD, **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))


def test_a_static_refresh_works_for_a_connection_outside_the_database(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed_elsewhere(monkeypatch)
    app.outside.will_grant("fake-fresh", expires_in=3600)
    assert of_type(app, "static").check()["access_token"] == "fake-fresh"


def test_a_rotating_refresh_token_outside_the_database_is_never_used_up(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed_elsewhere(monkeypatch)
    evidence = app.check()["token_evidence"]
    assert "store the connection in Airflow's database" in evidence["body"]["error_description"]
    assert app.outside.asked == []


# taking turns


def test_a_lease_whose_holder_died_is_taken_over_when_it_runs_out(app: App) -> None:
    put_grant()
    hold_lease(expires_in=10)
    app.outside.will_grant("fake-fresh")
    assert app.check()["access_token"] == "fake-fresh"
    assert app.outside.moment - NOON >= timedelta(seconds=10)


def test_who_waits_in_vain_for_somebody_elses_refresh_gets_a_timeout(app: App) -> None:
    put_grant()
    hold_lease(expires_in=60)
    assert app.check()["token_evidence"]["failure"] == "timeout"
    waited = (app.outside.moment - NOON).total_seconds()
    assert 20 <= waited <= 22
    assert app.outside.asked == []


def test_integrations_that_share_a_connection_use_its_refresh_token_once(app: App) -> None:
    put_grant()
    other = app.about("shop_orders", conn_id="shop")
    answers: list[Any] = []

    def the_other_asks() -> None:
        app.outside.meanwhile = lambda: None
        answers.append(other.check())

    app.outside.meanwhile = the_other_asks
    app.outside.will_grant("fake-fresh", refresh_token=NEW, expires_in=3600)
    assert app.check()["access_token"] == "fake-fresh"
    assert answers[0]["token_evidence"]["failure"] == "timeout"
    assert other.check()["access_token"] == "fake-fresh"
    assert [request.refresh_token for request in app.outside.asked] == [OLD]


def test_a_lease_outlives_the_exchange_it_covers() -> None:
    from mbi_reauth.probes.oauth import TOTAL_TIMEOUT

    assert timedelta(seconds=2 * TOTAL_TIMEOUT) <= LEASE / 2


def test_the_lease_is_given_back_after_a_grant_and_after_a_refusal(app: App) -> None:
    put_grant()
    app.outside.will_refuse()
    app.check()
    app.outside.pass_time(1)
    app.outside.will_grant("fake-fresh")
    assert app.check()["access_token"] == "fake-fresh"
    assert app.outside.moment == NOON + timedelta(seconds=1)


def test_a_refusal_answers_everybody_who_asked_before_it_came(app: App) -> None:
    put_grant()
    app.outside.will_refuse()
    first, second = app.check(), app.check()
    assert first["token_evidence"] == second["token_evidence"]
    assert len(app.outside.asked) == 1
    app.outside.pass_time(1)
    app.outside.will_refuse("temporarily_unavailable")
    assert app.check()["token_evidence"]["body"] == {"error": "temporarily_unavailable"}


def test_a_refusal_after_the_lease_was_lost_judges_nothing(app: App) -> None:
    put_grant()
    app.outside.meanwhile = lambda: hold_lease(expires_in=5)
    app.outside.will_refuse("invalid_grant")
    app.outside.will_grant("fake-fresh")
    assert app.check()["access_token"] == "fake-fresh"


def test_no_secret_is_logged_or_told_beyond_the_fresh_token(
    app: App, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    put_grant(access_token="fake-refused", expires_at=in_seconds(3600))
    app.outside.will_grant("fake-fresh", refresh_token=NEW, expires_in=3600)
    answer = app.check(refused_token=digest("fake-refused"))
    logged = caplog.text + "".join(capsys.readouterr())
    told = json.dumps({**answer, "access_token": None})
    for secret in (OLD, NEW, "fake-refused", "fake-fresh", "fake-client-secret", KEY):
        assert secret not in logged
        assert secret not in told


def test_a_busy_database_is_a_503_without_the_statements_values(
    app: App, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def busy() -> None:
        raise OperationalError("UPDATE", {"extra": "fake-value"}, Exception("database is locked"))

    put_grant()
    app.outside.meanwhile = busy
    body = {"integration": INTEGRATION.model_dump(mode="json")}
    answer = app.client.post("/api/checks", json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "fake-value" not in answer.text + caplog.text + "".join(capsys.readouterr())


def test_a_credential_that_cannot_be_read_for_a_while_is_no_other_credential(app: App) -> None:
    put_connection("shop", password="fake")
    assert of_type(app, "plain").check()["credential_version"] == 1
    drop_connection("shop")
    assert app.check()["credential_version"] == 1
    put_connection("shop", password="fake")
    assert app.check()["credential_version"] == 1


def test_missing_tables_are_named_with_what_to_do(app: App) -> None:
    assert settings.engine is not None
    Base.metadata.drop_all(settings.engine)
    try:
        body = {"integration": app.integration.model_dump(mode="json")}
        answer = app.client.post("/api/checks", json=body)
    finally:
        Base.metadata.create_all(settings.engine)
    assert answer.status_code == 503
    assert "airflow db migrate" in answer.json()["detail"]
