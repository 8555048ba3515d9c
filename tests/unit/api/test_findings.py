from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from mbi_reauth.core.verdict import Cause
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import BlockedRun, Incident, Notification, Status
from tests.app import NOON, App
from tests.metadata_db import put_connection

RUN = {"dag_id": "extract", "run_id": "run 1", "task_id": "shop.check"}


def count(table: type) -> int:
    return transact(lambda session: session.scalar(select(func.count()).select_from(table)) or 0)


def status() -> Status:
    return transact(lambda session: session.get_one(Status, "shop"))


def test_a_refusal_opens_one_incident_with_one_email_due(app: App) -> None:
    for _ in range(3):
        receipt = app.report(Cause.GRANT_REVOKED)
        app.outside.pass_time(1)
    assert receipt["accepted"]
    assert receipt["incident"]["confirmed_at"] == "2026-03-01T12:00:00Z"
    assert (count(Incident), count(Notification)) == (1, 1)


def test_a_second_ambiguous_refusal_a_minute_later_confirms(app: App) -> None:
    first = app.report(Cause.CREDENTIALS_REJECTED, ambiguous=True)
    app.outside.pass_time(60)
    second = app.report(Cause.CREDENTIALS_REJECTED, ambiguous=True)
    assert first["incident"]["confirmed_at"] is None
    assert second["incident"]["confirmed_at"] is not None
    assert second["incident"]["id"] == first["incident"]["id"]


def test_a_success_closes_the_incident_and_keeps_its_blocked_runs(app: App) -> None:
    app.report(Cause.GRANT_REVOKED, blocked_run=RUN)
    app.outside.pass_time(1)
    assert app.report(Cause.AUTHORIZED)["incident"] is None
    incident = transact(lambda session: session.scalars(select(Incident)).one())
    assert (incident.open_key, incident.closed_at) == (None, NOON + timedelta(seconds=1))
    assert count(BlockedRun) == 1


def test_every_status_has_the_age_of_its_proof(app: App) -> None:
    app.report(Cause.AUTHORIZED)
    app.outside.pass_time(5)
    app.report(Cause.PROVIDER_OUTAGE)
    row = status()
    assert (row.proved_at, row.checked_at) == (NOON, NOON + timedelta(seconds=5))


@pytest.mark.parametrize("ambiguous", [True, False])
def test_a_blocked_run_is_recorded_once(app: App, ambiguous: bool) -> None:
    for _ in range(2):
        app.report(Cause.CREDENTIALS_REJECTED, ambiguous=ambiguous, blocked_run=RUN)
    app.report(Cause.CREDENTIALS_REJECTED, ambiguous=ambiguous, blocked_run={**RUN, "map_index": 3})
    assert count(BlockedRun) == 2


def test_a_blocked_run_is_recorded_even_if_its_finding_comes_late(app: App) -> None:
    app.outside.pass_time(10)
    app.report(Cause.GRANT_REVOKED)
    late = app.report(Cause.GRANT_REVOKED, checked_at=NOON, blocked_run=RUN)
    assert not late["accepted"]
    assert late["incident"] is not None
    assert count(BlockedRun) == 1


def test_a_run_blocked_just_before_the_incident_ended_is_recorded_with_it(app: App) -> None:
    app.report(Cause.GRANT_REVOKED)
    app.outside.pass_time(10)
    app.report(Cause.AUTHORIZED)
    app.report(Cause.GRANT_REVOKED, checked_at=NOON, blocked_run=RUN)
    assert (count(BlockedRun), count(Incident)) == (1, 1)


def became(**values: Any) -> list[str]:
    """Set what is stored of the blocked runs, where anything is given; return their states."""
    if values:
        transact(lambda session: session.execute(update(BlockedRun).values(**values)))
    return transact(lambda session: list(session.scalars(select(BlockedRun.state).order_by(BlockedRun.id))))


def test_what_was_resumed_and_is_stopped_again_is_to_be_told_again(app: App) -> None:
    app.report(Cause.GRANT_REVOKED, blocked_run=RUN)
    became(state="resumed", settled_at=NOON)
    app.report(Cause.GRANT_REVOKED, blocked_run=RUN)
    assert became() == ["resumed"], "a repeated report"
    app.report(Cause.GRANT_REVOKED, blocked_run={**RUN, "try_number": 2})
    assert became() == ["again"]


def test_what_somebody_has_cleared_and_is_stopped_again_is_owed_a_resume_anew(app: App) -> None:
    app.report(Cause.GRANT_REVOKED, blocked_run=RUN)
    became(state="superseded", settled_at=NOON)
    app.report(Cause.GRANT_REVOKED, blocked_run={**RUN, "try_number": 2})
    assert became() == ["blocked"]


def test_a_waiting_gate_is_owed_a_release_each_time_that_it_is_held_up(app: App) -> None:
    waiting: dict[str, Any] = {"blocked_run": RUN, "owed": {"ends": "waiting"}}
    app.report(Cause.GRANT_REVOKED, **waiting)
    became(state="released", settled_at=NOON)
    app.report(Cause.GRANT_REVOKED, **waiting)
    assert became() == ["blocked"]
    became(state="released", settled_at=NOON)
    app.outside.pass_time(10)
    app.report(Cause.AUTHORIZED)
    app.report(Cause.GRANT_REVOKED, checked_at=NOON, **waiting)
    assert became() == ["released"], "its incident is closed"


def test_an_outage_blocks_no_run(app: App) -> None:
    app.report(Cause.PROVIDER_OUTAGE, blocked_run=RUN)
    assert count(BlockedRun) == 0


def test_a_finding_about_a_replaced_credential_does_not_count_against_the_new_one(app: App) -> None:
    put_connection("shop", password="fake-old")
    version = app.check()["credential_version"]
    put_connection("shop", password="fake-new")
    receipt = app.report(Cause.GRANT_REVOKED, credential_version=version)
    assert not receipt["accepted"]
    assert receipt["credential_replaced"]
    assert "version" in receipt["reason"]
    assert count(Incident) == 0


def test_the_first_report_of_an_integration_may_come_without_a_check(app: App) -> None:
    app.outside.pass_time(3600)
    assert app.report(Cause.GRANT_REVOKED, credential_version=None, checked_at=NOON)["accepted"]
