"""The story on a real Airflow: rows land, an authorization is lost, its owner hears, it is put right."""

from __future__ import annotations

import pytest

from demo.airflow_client import Run
from tests.e2e.conftest import Demo

ENDED = {"success", "skipped", "failed"}
CHECK = "check_authorization"
EMAIL = "needs_reauth.email_owner"


def states(integration_id: str, run: Run) -> dict[str, str | None]:
    return {task_id.removeprefix(f"{integration_id}."): state for task_id, state in run.tasks.items()}


def extraction(tasks: dict[str, str | None]) -> set[str | None]:
    return {state for task_id, state in tasks.items() if task_id not in (CHECK, EMAIL, "summarize")}


def mails_about(demo: Demo, label: str) -> list[str]:
    return [mail["subject"] for mail in demo.mails() if label in mail["subject"]]


def assert_healthy(demo: Demo, integration_id: str) -> None:
    tasks = states(integration_id, demo.run(integration_id))
    assert tasks[CHECK] == "success"
    assert tasks[EMAIL] == "skipped"
    assert extraction(tasks) == {"success"}
    assert tasks["summarize"] == "success"


def assert_blocked(demo: Demo, integration_id: str, *, email: str) -> str:
    """Run an extraction that is stopped; return its run id."""
    run = demo.run(integration_id)
    tasks = states(integration_id, run)
    assert tasks[CHECK] == "skipped"
    assert extraction(tasks) == {"skipped"}
    assert tasks["summarize"] == "skipped"
    assert tasks[EMAIL] == email
    return run.run_id


def assert_resumed(demo: Demo, integration_id: str, run_id: str, *, email: str) -> None:
    """Wait for a stopped run to complete by itself; what its email branch has done stays."""
    demo.task_state(integration_id, run_id, CHECK, {"success"})
    tasks = states(integration_id, demo.ended(integration_id, run_id))
    assert extraction(tasks) == {"success"}
    assert (tasks["summarize"], tasks[EMAIL]) == ("success", email)


@pytest.mark.parametrize("integration_id", ["shopdemo", "shop_database"])
def test_a_healthy_run_lands_real_rows_and_mails_nobody(demo: Demo, integration_id: str) -> None:
    before = demo.mails()
    assert_healthy(demo, integration_id)
    assert demo.rows(integration_id) > 0
    assert demo.mails() == before


@pytest.mark.parametrize("switch", ["go_down", "throttle", "answer_html"])
def test_an_outage_blocks_nobody_and_mails_nobody(demo: Demo, switch: str) -> None:
    before = demo.mails()
    demo.lose("shopdemo", switch)
    try:
        run_id = demo.start("shopdemo")
        assert demo.task_state("shopdemo", run_id, CHECK, ENDED) == "success"
    finally:
        demo.put_right("shopdemo")
    assert demo.ended("shopdemo", run_id).state == "success", (
        "the extraction's own retries outlast the outage"
    )
    assert demo.mails() == before


def test_a_revoked_grant_blocks_and_emails_its_owner_once_and_the_runs_resume_when_put_right(
    demo: Demo,
) -> None:
    demo.lose("shopdemo", "revoke_grant")
    first = assert_blocked(demo, "shopdemo", email="success")
    assert len(mails_about(demo, "Shopdemo orders")) == 1

    second = assert_blocked(demo, "shopdemo", email="skipped")
    assert len(mails_about(demo, "Shopdemo orders")) == 1

    landed = demo.rows("shopdemo")
    demo.put_right("shopdemo")
    assert demo.sweep().state == "success"
    assert_resumed(demo, "shopdemo", first, email="success")
    assert_resumed(demo, "shopdemo", second, email="skipped")
    assert demo.rows("shopdemo") > landed
    assert_healthy(demo, "shopdemo")


def test_the_next_sweep_tells_the_owner_in_the_same_thread_that_it_works_again(demo: Demo) -> None:
    for _ in range(2):
        assert demo.sweep().state == "success"
    opening, recovered = (mail for mail in demo.mails() if "Shopdemo orders" in mail["subject"])
    assert dict(recovered["headers"])["In-Reply-To"] == opening["message_id"]
    assert recovered["subject"] == f"Re: {opening['subject']}"
    assert recovered["recipients"] == opening["recipients"] == ["dana@example.com"]


def test_a_changed_database_password_blocks_and_the_right_owner_hears(demo: Demo) -> None:
    landed = demo.rows("shop_database")
    demo.lose("shop_database", "password changed")
    run_id = assert_blocked(demo, "shop_database", email="success")
    assert demo.rows("shop_database") == landed
    (mail,) = [mail for mail in demo.mails() if "Shop database" in mail["subject"]]
    assert mail["recipients"] == ["robin@example.com"]

    demo.put_right("shop_database")
    assert_healthy(demo, "shop_database")
    assert_resumed(demo, "shop_database", run_id, email="success")


def test_mail_that_is_refused_goes_out_once_when_the_server_takes_it_again(demo: Demo) -> None:
    before = len(mails_about(demo, "Shop database"))
    demo.press("/mail/refuse")
    demo.lose("shop_database", "login disabled")
    run_id = demo.start("shop_database")
    assert demo.task_state("shop_database", run_id, EMAIL, {"up_for_retry"}) == "up_for_retry"
    assert len(mails_about(demo, "Shop database")) == before

    demo.press("/mail/refuse")
    assert demo.task_state("shop_database", run_id, EMAIL, {"success"}) == "success"
    assert len(mails_about(demo, "Shop database")) == before + 1
    demo.put_right("shop_database")


def test_a_broken_client_fails_the_gate_for_the_engineer_and_mails_nobody(demo: Demo) -> None:
    before = demo.mails()
    demo.lose("shopdemo", "break_client")
    try:
        run_id = demo.start("shopdemo")
        assert demo.task_state("shopdemo", run_id, CHECK, ENDED) == "failed"
    finally:
        demo.put_right("shopdemo")
    assert demo.mails() == before


def test_no_secret_of_the_demo_is_in_what_airflow_wrote(demo: Demo) -> None:
    import json

    keys = json.loads((demo.home / "keys.json").read_text())
    secrets = [value for name, value in keys.items() if name != "airflow_password"]
    logs = {path: path.read_text(errors="replace") for path in demo.home.rglob("*.log") if path.is_file()}
    assert logs
    assert [path.name for path, text in logs.items() if any(secret in text for secret in secrets)] == []
