from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import TypeVar

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import (
    ClaimRequest,
    ClaimResponse,
    FindingReceipt,
    FindingReport,
    MailView,
    RunReference,
    SettleRequest,
)
from mbi_reauth.api.services import findings, keys, notifications
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import BlockedRun, Incident, Notification, Status
from tests.app import INTEGRATION, fake_type
from tests.metadata_db import empty

pytestmark = pytest.mark.usefixtures("metadata_db")

T = TypeVar("T")
MANY = 50
REAL = Surroundings(type_of=fake_type)


def at_once(work: Callable[[int], T]) -> list[T]:
    """Run ``work`` in many threads that start at the same moment."""
    barrier = threading.Barrier(MANY)

    def task(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(task, range(MANY)))


def run(number: int) -> RunReference:
    return RunReference(dag_id=f"dag_{number % 20}", run_id=f"run {number}", task_id="shop.check")


def report(number: int, cause: Cause = Cause.GRANT_REVOKED) -> FindingReceipt:
    finding = Finding(cause=cause, rule="r.r", explanation="-", checked_at=datetime.now(timezone.utc))
    return findings.report(
        FindingReport(
            integration=INTEGRATION, finding=finding, credential_version=1, blocked_run=run(number)
        ),
        REAL,
    )


def claim(number: int) -> ClaimResponse:
    return notifications.claim(ClaimRequest(integration_id="shop", claimed_by=run(number)), REAL)


def count(*tables: type) -> list[int]:
    def work(session: Session) -> list[int]:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]

    return transact(work)


def kinds() -> list[str]:
    return transact(lambda session: sorted(session.scalars(select(Notification.kind))))


def granted(responses: Sequence[ClaimResponse]) -> list[MailView]:
    return [response.mail for response in responses if response.mail is not None]


def test_50_runs_blocked_at_once_give_one_incident_one_email_and_50_blocked_runs() -> None:
    receipts = at_once(report)
    assert len({receipt.incident.id for receipt in receipts if receipt.incident}) == 1
    assert count(Status, Incident, Notification, BlockedRun) == [1, 1, 1, MANY]


def test_of_50_claims_at_once_one_is_granted() -> None:
    report(0)
    claims = at_once(claim)
    assert len(granted(claims)) == 1
    assert all(claim.reason.startswith("being sent by dag_") for claim in claims if not claim.mail)


def test_50_runs_that_report_and_claim_by_turns_send_one_email() -> None:
    def email_owner(number: int) -> int:
        report(number)
        mail = claim(number).mail
        if mail is None:
            return 0
        notifications.settle(SettleRequest(lease=mail.lease, outcome="sent"), REAL)
        return 1

    assert sum(at_once(email_owner)) == 1
    assert count(Incident) == [1]
    assert kinds() == ["opened", "reminder"]


def test_a_storm_of_losses_and_recoveries_never_leaves_two_open_incidents() -> None:
    at_once(lambda number: report(number, Cause.AUTHORIZED if number % 2 else Cause.GRANT_REVOKED))
    open_incidents = transact(
        lambda session: session.scalars(select(Incident).where(Incident.closed_at.is_(None))).all()
    )
    assert len(open_incidents) <= 1
    assert count(Incident) == [1]  # lost again within the hour, it is the same one


def test_many_workers_of_the_api_server_make_one_key() -> None:
    empty()
    assert len(set(at_once(lambda _: keys.ensure_key()))) == 1
