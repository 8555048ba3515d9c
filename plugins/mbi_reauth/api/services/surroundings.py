"""What the services reach beyond the database, injected so that tests bring their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from mbi_reauth import catalogue, settings
from mbi_reauth.api.services.verification import Candidate, verify
from mbi_reauth.catalogue.model import IntegrationType
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.quiet import QuietHours, quiet_hours
from mbi_reauth.core.verdict import Finding
from mbi_reauth.probes.consent import CodeRequest, exchange
from mbi_reauth.probes.credential import MisconfiguredError
from mbi_reauth.probes.oauth import RefreshRequest, TokenResponse, refresh

Refresh = Callable[[RefreshRequest], tuple[Evidence, TokenResponse | None]]
Exchange = Callable[[CodeRequest], tuple[Evidence, TokenResponse | None]]


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


def _type_of(type_id: str) -> IntegrationType:
    try:
        return catalogue.load(type_id, folder=settings.catalogue_folder()).model
    except catalogue.CatalogueError as error:
        raise MisconfiguredError(str(error)) from error


def _classify(type_id: str, evidence: Evidence) -> Finding:
    try:
        return catalogue.load(type_id, folder=settings.catalogue_folder()).classify(evidence)
    except catalogue.CatalogueError as error:
        raise MisconfiguredError(str(error)) from error


def _nobody_waits() -> None:
    """Let whoever resumes runs find out by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailing:
    """How people want to be written to; days after the first email, engineers' addresses."""

    shadow: bool = False
    reminder_days: tuple[int, ...] = (1, 3, 7)
    quiet: QuietHours | None = None
    time_zone: str = "UTC"
    engineers: tuple[str, ...] = ()


def mailing() -> Mailing:
    """Read how people want to be written to from Airflow's configuration.

    :raises MisconfiguredError: what it says cannot be understood
    """
    try:
        return Mailing(
            shadow=settings.shadow(),
            reminder_days=settings.reminder_days(),
            quiet=quiet_hours(settings.quiet_hours()),
            time_zone=settings.default_time_zone(),
            engineers=settings.engineer_emails(),
        )
    except ValueError as error:
        raise MisconfiguredError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The clock, waiting, the third parties, the catalogue and how people want to be written to.

    ``recovered`` is called when there may be runs to resume. ``type_of`` and ``classify`` raise
    MisconfiguredError for a type that the catalogue does not have, or has with faults. ``exchange`` trades an
    authorization code for tokens; ``verify`` tries a credential out, which may take most of a minute, and
    ``patience`` is for how many seconds a browser waits for that before it is shown that it goes on.
    """

    now: Callable[[], datetime] = _utc_now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    refresh: Refresh = refresh
    exchange: Exchange = exchange
    verify: Callable[[Candidate], Finding] = verify
    classify: Callable[[str, Evidence], Finding] = _classify
    type_of: Callable[[str], IntegrationType] = _type_of
    mailing: Callable[[], Mailing] = mailing
    recovered: Callable[[], None] = _nobody_waits
    patience: float = 20.0
