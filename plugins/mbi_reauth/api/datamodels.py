"""What tasks and the plugin's app say to each other, as JSON.

Only values live here, so that a task can import them without FastAPI.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.notice import Facts, NotificationKind
from mbi_reauth.core.resume import Owed
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

    ``owed`` is what that run is owed.
    ``turn`` is the one that the asker had; those who wait for its answer are told. ``shadow``: from a gate in
    shadow mode; it is only counted that ``blocked_run`` would have been stopped.
    """

    integration: Integration
    finding: Finding
    credential_version: int | None = None
    blocked_run: RunReference | None = None
    owed: Owed = Owed()
    turn: str | None = None
    shadow: bool = False


class IncidentView(ApiModel):
    """An incident; ``confirmed_at`` is null while an ambiguous refusal waits for its second check."""

    id: str
    opened_at: datetime
    confirmed_at: datetime | None = None
    closed_at: datetime | None = None
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
    """Ask for one email that is due.

    :param integration_id: only about this one; without it, whatever is due, for whoever serves the outbox
    :param serving: the asker is the sweep, which comes again; it says so with its first request
    :param passed_over: ids of notifications that the asker has failed to send just now
    :param claimed_by: the asking task instance; a later try of it takes over what an earlier one had claimed
    """

    integration_id: str | None = None
    serving: bool = False
    passed_over: list[int] = Field(default_factory=list)
    claimed_by: RunReference | None = None


class Notice(ApiModel):
    """One notification, with everything needed to write about it.

    ``integration`` is null where ``facts`` are about a whole ``integration_type``. ``incident`` and its
    ``blocked_runs`` are of the kinds that belong to one. ``ordinal`` counts the notifications of the kind.
    ``link`` is the address of the owner's page, where somebody is asked to act; it belongs in an email only.
    """

    id: int
    integration: Integration | None = None
    integration_type: str
    ordinal: int = 0
    facts: Facts
    incident: IncidentView | None = None
    blocked_runs: list[RunReference] = Field(default_factory=list)
    link: str | None = Field(default=None, repr=False)


class MailView(ApiModel):
    """One email to send, under a lease: about one notification, or a digest of several of one kind.

    ``addressee`` is the owner's name where the email is to the owner. ``in_reply_to`` is the Message-ID of
    the email that began the thread.
    """

    lease: str
    kind: NotificationKind
    recipients: list[str] = Field(min_length=1)
    addressee: str | None = None
    locale: str = "en"
    message_id: str
    in_reply_to: str | None = None
    notices: list[Notice] = Field(min_length=1)


class ClaimResponse(ApiModel):
    """The claimed email, or in ``reason`` why there is none (sent, being sent, held, nothing due).

    Beside an email, ``reason`` is what was found to be held first. ``held_until`` is when the email about the
    loss of the integration that was asked for may go out.
    """

    mail: MailView | None = None
    reason: str = ""
    held_until: datetime | None = None


class SettleRequest(ApiModel):
    """How a claimed email ended.

    ``unsent`` is due again at once. ``untried`` too: there was no mail server to ask, so it may still become
    part of a digest. ``unsure`` too, but the mail server may have taken it. ``refused``: the mail server does
    not know the address, and will not another time either; somebody else is then told.
    """

    lease: str
    outcome: Literal["sent", "unsent", "untried", "unsure", "refused"]
    error: str | None = None


class WouldBlock(ApiModel):
    """How many runs shadow mode would have stopped for one integration, when, and for which causes."""

    integration_id: str
    runs: int
    first_at: datetime
    last_at: datetime
    causes: list[str]


class WouldBlockResponse(ApiModel):
    """What shadow mode would have done; ``waiting_mails`` are due, and not sent while it is on."""

    would_block: list[WouldBlock]
    waiting_mails: int = 0


class Nothing(ApiModel):
    """A request that needs no facts."""
