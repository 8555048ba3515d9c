"""Whose turn it is to write about an integration, and which version of its credential is the present one."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, update
from sqlalchemy.orm import Session

from mbi_reauth.api.services.fingerprint import fingerprints
from mbi_reauth.core.expiry import ExpiryWatch
from mbi_reauth.core.incident import Known, Refusal
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.trouble import Trouble
from mbi_reauth.core.verdict import Finding
from mbi_reauth.models.metadata_db import Stored, find_credential, fingerprint_keys, stored_credential
from mbi_reauth.models.tables import ACCOUNT_LENGTH, Status
from mbi_reauth.probes.credential import Credential


def held_elsewhere(conn_id: str) -> Credential | None:
    """Return the credential if something other than Airflow's database holds it; not in a transaction."""
    found: Stored | None = find_credential(conn_id)
    return None if found is None or found.in_database else found.credential


def take_turn(session: Session, integration: Integration, *, now: datetime) -> Status:
    """Lock the integration's status row until the transaction ends; create it the first time.

    An UPDATE comes first, so that on SQLite a read never has to be upgraded to a write, which fails at once
    when somebody else has written in between. Who loses the race to create the row gets an IntegrityError,
    and ``transact`` begins again.
    """
    # Airflow's sessions do not flush by themselves: what was changed before would be lost to the fresh read.
    session.flush()
    seen = {
        "integration": integration.model_dump(mode="json"),
        "integration_type": integration.type,
        "owner_email": integration.owner.email,
        "conn_id": integration.conn_id,
    }
    turn = update(Status).where(Status.integration_id == integration.id).values(updated_at=now, **seen)
    if not changed(session, turn):
        session.add(Status(integration_id=integration.id, updated_at=now, credential_version=1, **seen))
        session.flush()
    return session.get_one(Status, integration.id, populate_existing=True)


def changed(session: Session, statement: Any) -> bool:
    """Execute an UPDATE; say whether it found its row, which makes it a compare-and-swap."""
    outcome = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", outcome).rowcount > 0


def present_credential(
    session: Session, status: Status, elsewhere: Credential | None, *, now: datetime
) -> Credential | None:
    """Read the credential and raise its version if it is another than before.

    The database's is read under the lock: two readers cannot disagree about which one is the newer.
    """
    credential = elsewhere or stored_credential(session, status.conn_id)
    known = status.credential_fingerprint
    if credential is None and known is not None:
        return None  # deleted, or a secrets backend gave no answer: only another credential is a newer one
    candidates = fingerprints(credential, fingerprint_keys())
    if known is not None and not any(hmac.compare_digest(known, candidate) for candidate in candidates):
        status.credential_version += 1
        status.version_since = now
        status.token_evidence = status.token_evidence_at = None
    status.credential_fingerprint = candidates[0]
    return credential


def present_version(
    session: Session, integration: Integration, elsewhere: Credential | None, *, now: datetime
) -> int:
    """Return the version of the credential that is there now; the lock is held until the transaction ends."""
    status = take_turn(session, integration, now=now)
    present_credential(session, status, elsewhere, now=now)
    return status.credential_version


def remember_rotation(status: Status, credential: Credential) -> None:
    """Take over what the app itself has just changed in the connection: still the same version."""
    status.credential_fingerprint = fingerprints(credential, fingerprint_keys())[0]


def known_of(status: Status) -> Known:
    """Read the status row as the value that decisions are made on."""
    refusal = None
    if status.first_refused_at is not None and status.first_refused_version is not None:
        refusal = Refusal(at=status.first_refused_at, credential_version=status.first_refused_version)
    return Known(
        credential_version=status.credential_version,
        version_since=status.version_since,
        finding=Finding.model_validate(status.finding) if status.finding is not None else None,
        finding_version=status.finding_version,
        refusal=refusal,
        trouble=Trouble.model_validate(status.trouble) if status.trouble is not None else None,
        expiry=ExpiryWatch.model_validate(status.expiry) if status.expiry is not None else None,
    )


def store(status: Status, known: Known) -> None:
    """Write a decision's outcome into the status row."""
    finding = known.finding
    status.finding = finding.model_dump(mode="json") if finding is not None else None
    status.finding_version = known.finding_version
    status.checked_at = finding.checked_at if finding is not None else None
    status.proved_at = finding.proved_at if finding is not None else None
    status.expires_at = finding.expires_at if finding is not None else None
    if finding is not None and finding.proves and finding.account:
        status.proved_account = finding.account[:ACCOUNT_LENGTH]
    status.first_refused_at = known.refusal.at if known.refusal is not None else None
    status.first_refused_version = known.refusal.credential_version if known.refusal is not None else None
    status.trouble = known.trouble.model_dump(mode="json") if known.trouble is not None else None
    status.expiry = known.expiry.model_dump(mode="json") if known.expiry is not None else None
