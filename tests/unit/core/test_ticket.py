"""Support tickets: who gets one, and what is in it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from mbi_reauth.core.integration import Integration
from mbi_reauth.core.ticket import engineers_ticket, owners_ticket
from mbi_reauth.core.verdict import Cause, Finding

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
OWNER = {"name": "Dana Example", "email": "dana@example.com"}
SIGNAL = Integration.model_validate(
    {"id": "cycle", "type": "mbi_update_cycle", "conn_id": "cycle", "owner": OWNER}
)
HELP_DESK = Integration.model_validate(
    {
        "id": "help",
        "type": "zendesk",
        "conn_id": "help",
        "name": "Help desk",
        "account": "example",
        "owner": OWNER,
    }
)
STALE = Finding(
    cause=Cause.MBI_STALE,
    rule="mbi_signal.cycle",
    explanation="The last update ended 2026-11-20 03:29:03, 4.1 days ago.",
    checked_at=NOON,
    proved_at=NOON,
    facts={"Client ID": "194", "Update job": "13554", "Ended": "2026-11-20 03:29:03"},
)


def ticket(integration: Integration, **fields: Any) -> str:
    made = engineers_ticket(integration, STALE.model_copy(update=fields))
    assert made is not None
    return str(made)


def test_an_overdue_update_is_written_up_in_full() -> None:
    signalled = HELP_DESK.model_copy(update={"mbi_signal": "cycle", "signal": SIGNAL})
    assert ticket(signalled).splitlines() == [
        "Subject: Commerce Intelligence: data are not updated any more (Help desk)",
        "",
        "Product: Commerce Intelligence (MBI)",
        "Environment: Production",
        "Integration: Help desk (help)",
        "Integration type: zendesk",
        "Account: example",
        "What is wrong: The last update ended 2026-11-20 03:29:03, 4.1 days ago.",
        "Seen at: 2026-11-24 12:00 UTC",
        "Third party: accepted the credential at 2026-11-24 12:00 UTC, so it is not the cause",
        "MBI says: Client ID: 194",
        "MBI says: Update job: 13554",
        "MBI says: Ended: 2026-11-20 03:29:03",
        "Seen by: MBI's own API, integration cycle of type mbi_update_cycle; rule mbi_signal.cycle",
    ]


def test_an_integration_without_a_name_is_called_by_its_id_once() -> None:
    assert "Integration: help\n" in ticket(HELP_DESK.model_copy(update={"name": None}))


def test_a_failed_update_has_a_subject_of_its_own() -> None:
    assert "last update was not successful (Help desk)" in ticket(HELP_DESK, cause=Cause.MBI_UPDATE_FAILED)


@pytest.mark.parametrize("type_id", ["mbi_update_cycle", "mbi_file_upload"])
def test_where_there_is_no_third_party_none_is_called_healthy(type_id: str) -> None:
    alone = HELP_DESK.model_copy(update={"type": type_id})
    if type_id == "mbi_file_upload":
        alone = alone.model_copy(update={"signal": SIGNAL})
    assert "Third party" not in ticket(alone)


@pytest.mark.parametrize(
    "cause", [each for each in Cause if each not in (Cause.MBI_STALE, Cause.MBI_UPDATE_FAILED)]
)
def test_nothing_else_is_adobes_to_mend(cause: Cause) -> None:
    assert engineers_ticket(HELP_DESK, STALE.model_copy(update={"cause": cause})) is None


def test_an_owners_ticket_leaves_out_what_is_not_known() -> None:
    finding = Finding(cause=Cause.GRANT_REVOKED, rule="zendesk.r", explanation="The access was withdrawn.")
    written = owners_ticket(HELP_DESK, finding, third_party="Zendesk Support", since=NOON, reference="i-1")
    assert written.splitlines() == [
        "Integration: Help desk (Zendesk Support)",
        "Account: example",
        "Not working since: 2026-11-24 12:00 UTC",
        "What we see: The access was withdrawn.",
        "What we did: followed the steps for the owner; it is still refused.",
        "Reference: i-1",
    ]
