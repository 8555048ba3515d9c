from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from mbi_reauth.core.verdict import Cause
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import ERROR_LENGTH, Notification
from tests.app import App

RUN = {"dag_id": "extract", "run_id": "run 1", "task_id": "shop.check", "map_index": -1, "try_number": 1}
OTHER_RUN = {**RUN, "run_id": "run 2"}


@pytest.fixture
def lost(app: App) -> App:
    app.report(Cause.GRANT_REVOKED, blocked_run=RUN)
    return app


def settle(app: App, notification: dict[str, Any], *, sent: bool = True, **body: Any) -> None:
    app.post(
        f"notifications/{notification['id']}/settle", {"lease": notification["lease"], "sent": sent, **body}
    )


def test_a_claim_brings_everything_to_write_the_email_with(lost: App) -> None:
    notification = lost.claim()["notification"]
    incident = notification["incident"]
    assert notification["recipient"] == "dana@example.com"
    assert notification["integration"]["id"] == "shop"
    assert notification["blocked_runs"] == [RUN]
    assert incident["finding"]["cause"] == "grant_revoked"
    assert notification["message_id"] == f"<mbi-reauth.{incident['id']}.opened@localhost>"


def test_only_one_claim_is_granted_at_a_time(lost: App) -> None:
    assert lost.claim(claimed_by=RUN)["notification"]
    second = lost.claim(claimed_by=OTHER_RUN)
    assert second["notification"] is None
    assert second["reason"] == "being sent by extract/run 1 until 2026-03-01T12:05:00+00:00"


def test_after_sending_there_is_nothing_to_claim(lost: App) -> None:
    settle(lost, lost.claim()["notification"])
    assert lost.claim() == {
        "notification": None,
        "reason": "sent to dana@example.com at 2026-03-01T12:00:00+00:00",
    }


def test_an_unsent_email_is_due_again_at_once(lost: App) -> None:
    first = lost.claim()["notification"]
    settle(lost, first, sent=False, error="Connection refused")
    second = lost.claim(claimed_by=OTHER_RUN)["notification"]
    assert second["lease"] != first["lease"]
    assert second["message_id"] == first["message_id"]


def test_why_sending_failed_is_kept_without_the_secrets_in_it(lost: App) -> None:
    error = "SMTP AUTH failed for password=fake-hunter2-hunter2 " + "x" * 2000
    settle(lost, lost.claim()["notification"], sent=False, error=error)
    kept = transact(lambda session: session.scalars(select(Notification)).one())
    assert (kept.attempts, kept.sent_at) == (1, None)
    assert kept.last_error is not None
    assert kept.last_error.startswith("SMTP AUTH failed")
    assert "hunter2" not in kept.last_error
    assert len(kept.last_error) <= ERROR_LENGTH


def test_a_claimer_that_died_loses_its_lease_after_five_minutes(lost: App) -> None:
    first = lost.claim(claimed_by=RUN)["notification"]
    lost.outside.pass_time(299)
    assert lost.claim(claimed_by=OTHER_RUN)["notification"] is None
    lost.outside.pass_time(1)
    assert lost.claim(claimed_by=OTHER_RUN)["notification"]["id"] == first["id"]


def test_a_retry_takes_over_from_its_own_earlier_try(lost: App) -> None:
    lost.claim(claimed_by=RUN)
    assert lost.claim(claimed_by={**RUN, "try_number": 2})["notification"]
    assert lost.claim(claimed_by={**RUN, "try_number": 2})["notification"] is None


@pytest.mark.parametrize("sent", [True, False])
def test_settling_under_another_lease_is_refused(lost: App, sent: bool) -> None:
    notification = lost.claim()["notification"]
    body = {"lease": "another", "sent": sent}
    answer = lost.client.post(f"/api/notifications/{notification['id']}/settle", json=body)
    assert answer.status_code == 409
    settle(lost, notification)


def test_settling_twice_with_the_same_answer_is_fine(lost: App) -> None:
    notification = lost.claim()["notification"]
    settle(lost, notification)
    settle(lost, notification)


def test_a_sent_email_cannot_be_taken_back(lost: App) -> None:
    notification = lost.claim()["notification"]
    settle(lost, notification)
    body = {"lease": notification["lease"], "sent": False}
    assert lost.client.post(f"/api/notifications/{notification['id']}/settle", json=body).status_code == 409


def test_an_unknown_notification_is_not_found(lost: App) -> None:
    body = {"lease": "x", "sent": True}
    assert lost.client.post("/api/notifications/999/settle", json=body).status_code == 404


def test_nothing_is_due_about_an_integration_nobody_reported(app: App) -> None:
    assert app.claim()["reason"].startswith("nothing is due")


def test_nothing_is_due_while_one_ambiguous_refusal_stands_alone(app: App) -> None:
    app.report(Cause.CREDENTIALS_REJECTED, ambiguous=True)
    assert app.claim()["reason"].startswith("nothing is due")


def test_nothing_is_due_once_it_works_again(lost: App) -> None:
    lost.outside.pass_time(1)
    lost.report(Cause.AUTHORIZED)
    assert lost.claim()["reason"].startswith("nothing is due")


def test_the_recipient_is_the_owner_at_the_time_of_sending(lost: App) -> None:
    owner = lost.integration.owner.model_copy(update={"email": "new.owner@example.com"})
    lost.integration = lost.integration.model_copy(update={"owner": owner})
    lost.outside.pass_time(1)
    lost.report(Cause.GRANT_REVOKED)
    assert lost.claim()["notification"]["recipient"] == "new.owner@example.com"
