"""What an owner reads."""

from __future__ import annotations

import html
import re
from datetime import datetime, timezone
from email.message import EmailMessage
from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.api.datamodels import IncidentView, NotificationView, RunReference
from mbi_reauth.catalogue.model import Repair
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Finding, Verdict
from mbi_reauth.notifications.message import WHAT_HAPPENED, compose

OPENED = datetime(2026, 11, 24, 2, 15, tzinfo=timezone.utc)


def notification(**changes: Any) -> NotificationView:
    entry: dict[str, Any] = {
        "id": "quickbooks",
        "type": "quickbooks",
        "conn_id": "quickbooks_acme",
        "name": "Acme Europe books",
        "account": "4620816365",
        "owner": {"name": "Dana Example", "email": "dana@example.com"},
    }
    finding = Finding(
        cause=changes.pop("cause", Cause.GRANT_INVALID),
        rule=changes.pop("rule", "default_token.invalid_grant"),
        explanation="The authorization is no longer accepted.",
        vendor_words=changes.pop("vendor_words", "Token revoked"),
    )
    integration = Integration.model_validate({**entry, **changes.pop("integration", {})})
    runs = [
        RunReference(dag_id=dag_id, run_id=run_id, task_id="quickbooks.check_authorization", map_index=index)
        for dag_id, run_id, index in changes.pop(
            "runs", [("extract_books", "r1", -1), ("extract_tax", "r1", -1)]
        )
    ]
    return NotificationView(
        id=1,
        lease="lease",
        kind="opened",
        recipient="dana@example.com",
        message_id="<mbi-reauth.42.opened@airflow.example.com>",
        integration=integration,
        incident=IncidentView(id="42", opened_at=OPENED, confirmed_at=OPENED, finding=finding),
        blocked_runs=runs,
    )


def composed(view: NotificationView) -> EmailMessage:
    return compose(
        view,
        catalogue.load(view.integration.type).model,
        contact="the data team, data@example.com",
        airflow_url="https://airflow.example.com/prod",
    )


def text_of(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content())


@pytest.mark.parametrize("subtype", ["plain", "html"])
@pytest.mark.parametrize(
    "fact",
    [
        "Dana Example",
        "Acme Europe books",
        "QuickBooks Online",
        "4620816365",
        "24 November 2026, 02:15 UTC",
        "extract_books (1 run)",
        "extract_tax (1 run)",
        "Token revoked",
        "the data team, data@example.com",
        "https://airflow.example.com/prod/connections?name_pattern=quickbooks_acme",
        WHAT_HAPPENED[Cause.GRANT_INVALID],
    ],
)
def test_both_parts_of_the_email_say_every_fact(subtype: str, fact: str) -> None:
    assert fact in text_of(composed(notification()), subtype)


@pytest.mark.parametrize("subtype", ["plain", "html"])
def test_every_step_of_the_catalogue_is_in_the_email_in_order(subtype: str) -> None:
    text = " ".join(
        html.unescape(re.sub(r"<[^>]+>", " ", text_of(composed(notification()), subtype))).split()
    )
    steps = catalogue.load("quickbooks").model.owner_steps.for_cause(Cause.GRANT_INVALID, "airflow")
    places = [text.find(" ".join(step.split())) for step in steps]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("subtype", ["plain", "html"])
@pytest.mark.parametrize("held_by", ["airflow", "mbi"])
def test_an_owner_who_has_nothing_to_enter_is_not_sent_where_one_enters(subtype: str, held_by: str) -> None:
    model = catalogue.load("quickbooks").model
    repair = Repair(steps=["Pay the bill."], reconnect=False, minutes=15)
    steps = model.owner_steps.model_copy(update={"repair": {Cause.ACCOUNT_SUSPENDED: repair}})
    view = notification(cause=Cause.ACCOUNT_SUSPENDED, integration={"held_by": held_by})
    text = text_of(
        compose(
            view,
            model.model_copy(update={"owner_steps": steps}),
            contact="the data team",
            airflow_url="https://airflow.example.com",
        ),
        subtype,
    )
    assert "Pay the bill." in text
    assert "about 15 minutes" in text
    assert "you do not have to enter anything again" in text
    assert "/connections" not in text
    assert model.docs not in text
    assert "to re-authorize it" not in text
    assert not [step for step in (*steps.airflow, *steps.mbi) if step in text]
    assert "\n\n\n" not in text


@pytest.mark.parametrize(
    ("rule", "told"),
    [("default_mysql.login_refused", "database administrator"), ("default_ssh.login_refused", "SSH server")],
)
def test_the_owner_hears_whether_the_database_or_the_ssh_server_refused(rule: str, told: str) -> None:
    view = notification(cause=Cause.CREDENTIALS_REJECTED, rule=rule, integration={"type": "mysql_ssh"})
    first = re.search(r"^1\. .*", text_of(composed(view), "plain"), re.MULTILINE)
    assert first is not None
    assert told in first[0]


def test_the_subject_names_the_integration_and_never_changes_with_the_cause() -> None:
    subjects = {composed(notification(cause=cause))["Subject"] for cause in WHAT_HAPPENED}
    assert subjects == {"Action needed: re-authorize Acme Europe books (QuickBooks Online)"}


def test_the_message_id_is_the_notifications_own() -> None:
    assert composed(notification())["Message-ID"] == "<mbi-reauth.42.opened@airflow.example.com>"


def test_an_integration_held_by_mbi_sends_the_owner_to_mbi_and_not_to_airflow() -> None:
    message = composed(notification(integration={"held_by": "mbi"}))
    for subtype in ("plain", "html"):
        text = text_of(message, subtype)
        assert "airflow.example.com" not in text
        assert "Manage Data" in text
        assert catalogue.load("quickbooks").model.docs in text


def test_what_the_vendor_said_cannot_inject_html() -> None:
    page = text_of(composed(notification(vendor_words="<script>alert(1)</script>")), "html")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_label_with_line_breaks_cannot_inject_headers() -> None:
    message = composed(notification(integration={"name": "Books\r\nBcc: other@example.com"}))
    assert message["Bcc"] is None
    assert message["Subject"].startswith("Action needed: re-authorize Books Bcc:")


def test_mapped_gates_of_one_run_are_one_waiting_run() -> None:
    view = notification(
        runs=[("extract_books", "r1", 0), ("extract_books", "r1", 1), ("extract_books", "r2", 0)]
    )
    assert "extract_books (2 runs)" in text_of(composed(view), "plain")


def test_every_cause_that_needs_an_owner_is_put_in_words_for_them() -> None:
    assert set(WHAT_HAPPENED) == {
        cause for cause, verdict in VERDICT_OF.items() if verdict is Verdict.NEEDS_REAUTH
    }
