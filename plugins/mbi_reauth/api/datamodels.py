"""What tasks and the plugin's app say to each other, as JSON.

Only values live here, so that a task can import them without FastAPI.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Finding


class ApiModel(BaseModel):
    """Closed: a field that one side does not know is a mistake."""

    model_config = ConfigDict(extra="forbid")


class RunReference(ApiModel):
    """A task instance in Airflow's own words; for a blocked run, the gate's or the failed extraction's."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1


class CheckRequest(ApiModel):
    """The first step of a check.

    ``refused_token`` is the SHA-256 (hexadecimal) of an access token that the third party has just refused:
    the app refreshes only if that is still the one it holds, so that two askers cause one refresh.
    ``max_age`` is for how many seconds a proof is trusted: who will not ask the third party needs no turn.
    """

    integration: Integration
    refused_token: str | None = None
    max_age: float = 0


class CheckResponse(ApiModel):
    """What the app knows before the probe.

    For OAuth types exactly one of ``access_token`` (fresh) and ``token_evidence`` (why there is none) is set.

    Of a type whose third party wants few questions, one asker at a time has the turn: it gets ``turn``, and
    names it in its report. The others get none, and in ``turn_in`` the seconds until the next one; what
    ``last_finding`` says is their answer, and there is none while the asker owes it.
    """

    credential_version: int
    last_finding: Finding | None = None
    access_token: str | None = None
    token_evidence: Evidence | None = None
    turn: str | None = None
    turn_in: float | None = None


class FindingReport(ApiModel):
    """A finding, with the version of the credential it was made with and the run that it blocked, if any.

    ``turn`` is the one that the asker had; those who wait for its answer are told.
    """

    integration: Integration
    finding: Finding
    credential_version: int | None = None
    blocked_run: RunReference | None = None
    turn: str | None = None


class IncidentView(ApiModel):
    """An open incident; ``confirmed_at`` is null while an ambiguous refusal waits for its second check."""

    id: str
    opened_at: datetime
    confirmed_at: datetime | None = None
    finding: Finding


class FindingReceipt(ApiModel):
    """What the report changed; one that came too late changes nothing and says so in ``reason``.

    ``credential_replaced``: too late because the credential has been replaced since; another check is due.
    """

    accepted: bool
    reason: str = ""
    credential_replaced: bool = False
    incident: IncidentView | None = None


class ClaimRequest(ApiModel):
    """Ask for the notification that is due about an integration; ``claimed_by`` is for the record."""

    integration_id: str
    kind: Literal["opened"] = "opened"
    claimed_by: RunReference | None = None


class NotificationView(ApiModel):
    """One email to send, with everything needed to write it, and the lease under which it may be sent."""

    id: int
    lease: str
    kind: Literal["opened"]
    recipient: str
    message_id: str
    integration: Integration
    incident: IncidentView
    blocked_runs: list[RunReference]


class ClaimResponse(ApiModel):
    """The claimed notification, or in ``reason`` why there is none (sent, being sent, nothing due)."""

    notification: NotificationView | None = None
    reason: str = ""


class SettleRequest(ApiModel):
    """How a claimed notification ended; an unsent one is due again at once."""

    lease: str
    sent: bool
    error: str | None = None
