"""What a reported finding changes: status, incident, emails that are due, runs that are owed a resume."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import FindingReceipt, FindingReport, RunReference
from mbi_reauth.api.services import shadow
from mbi_reauth.api.services.credentials import (
    changed,
    held_elsewhere,
    known_of,
    present_credential,
    store,
    take_turn,
)
from mbi_reauth.api.services.incidents import as_value, last_incident, view
from mbi_reauth.api.services.outbox import cancel, correspond, of_kind
from mbi_reauth.api.services.surroundings import Mailing, Surroundings
from mbi_reauth.api.services.turns import end_turn
from mbi_reauth.api.services.warnings import tell_engineers, warn_of_expiry
from mbi_reauth.core.incident import Known, Report, Transition, decide
from mbi_reauth.core.notice import NotificationKind
from mbi_reauth.core.resume import Owed, RunState
from mbi_reauth.core.verdict import Verdict
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import BlockedRun, Incident, Notification, Status
from mbi_reauth.probes.credential import Credential, MisconfiguredError

log = logging.getLogger(__name__)


def report(finding_report: FindingReport, surroundings: Surroundings) -> FindingReceipt:
    """Judge one report and store what follows, in one transaction.

    The connection is read again, so that a finding about a credential that has been replaced since does not
    count against the new one.

    :raises MisconfiguredError: the connection's extra is not a JSON object
    """
    if finding_report.shadow:
        shadow.count(finding_report, surroundings)
        return FindingReceipt(accepted=True, reason="counted as what shadow mode would have blocked")
    elsewhere = held_elsewhere(finding_report.integration.conn_id)
    work = partial(
        record,
        finding_report=finding_report,
        elsewhere=elsewhere,
        mailing=mailing_of(surroundings),
        now=surroundings.now(),
    )
    receipt, something_is_due = transact(work)
    if something_is_due:
        surroundings.recovered()
    return receipt


def mailing_of(surroundings: Surroundings) -> Mailing:
    """Return how people want to be written to; a wrong setting must not lose a finding."""
    try:
        return surroundings.mailing()
    except MisconfiguredError as error:
        log.warning("The defaults hold for emails that become due now. %s", error)
        return Mailing()


def record(
    session: Session,
    *,
    finding_report: FindingReport,
    elsewhere: Credential | None,
    mailing: Mailing,
    now: datetime,
) -> tuple[FindingReceipt, bool]:
    """Judge a report and store what follows; say also whether there may be runs to resume now."""
    status = take_turn(session, finding_report.integration, now=now)
    end_turn(status, finding_report.turn)
    present_credential(session, status, elsewhere, now=now)
    last = last_incident(session, status.integration_id)
    known = known_of(status)
    transition = decide(
        known,
        as_value(last),
        Report(finding=finding_report.finding, credential_version=finding_report.credential_version),
        now=now,
    )
    if transition.accepted:
        store(status, transition.known)
        last = _Change(session, status, known, transition, now).apply_to(last, mailing)
    lost = finding_report.finding.verdict is Verdict.NEEDS_REAUTH
    tell_again = False
    if last is not None and finding_report.blocked_run is not None and lost:
        # a run stopped just before the incident ended is owed a resume all the same
        stop = _Stop(last, finding_report.blocked_run, finding_report.owed, now)
        tell_again = stop.record(session)
    is_open = last is not None and last.closed_at is None
    receipt = FindingReceipt(
        accepted=transition.accepted,
        reason=transition.reason,
        credential_replaced=transition.credential_replaced,
        incident=view(last, confirmed=_is_covered(last, transition, lost)) if last and is_open else None,
    )
    stopped_late = finding_report.blocked_run is not None and lost and not is_open
    return receipt, stopped_late or tell_again or (transition.accepted and transition.closes)


def _is_covered(incident: Incident, transition: Transition, lost: bool) -> bool:
    """Whether the incident's confirmation is about the credential that was just refused."""
    if not transition.accepted or not lost or transition.certain:
        return True
    return incident.credential_version >= transition.known.credential_version


@dataclass(frozen=True, slots=True)
class _Change:
    """An accepted report, being carried out."""

    session: Session
    status: Status
    before: Known
    transition: Transition
    now: datetime

    def apply_to(self, incident: Incident | None, mailing: Mailing) -> Incident | None:
        """Store what follows; return the incident that is open afterwards, else the last one."""
        if self.transition.opens:
            incident = self._opened()
        if incident is not None:
            self._apply(incident)
        if incident is not None and (incident.closed_at is None or self.transition.closes):
            correspond(
                self.session,
                incident,
                mailing,
                now=self.now,
                replacement_refused=self.transition.replacement_refused,
            )
        tell_engineers(self.session, self.status, self.before, self.transition, now=self.now)
        warn_of_expiry(self.session, self.status, self.transition, now=self.now)
        return incident

    def _opened(self) -> Incident:
        incident = Incident(
            id=str(uuid.uuid4()),
            integration_id=self.status.integration_id,
            opened_at=self.now,
            credential_version=self.transition.known.credential_version,
        )
        self._reopen(incident)
        self.session.add(incident)
        # Nobody is to read now that it works again.
        its = Notification.integration_id == self.status.integration_id
        cancel(self.session, its, of_kind(NotificationKind.RECOVERED), now=self.now)
        return incident

    def _reopen(self, incident: Incident) -> None:
        incident.open_key = self.status.integration_id
        incident.closed_at = incident.confirmed_at = None

    def _apply(self, incident: Incident) -> None:
        transition, finding = self.transition, self.transition.known.finding
        if transition.reopens:
            self._reopen(incident)
            incident.reopened_at = self.now
        if finding is not None and finding.verdict is Verdict.NEEDS_REAUTH:
            incident.finding, incident.cause = finding.model_dump(mode="json"), finding.cause.value
        if transition.confirms:
            incident.confirmed_at = self.now
        if transition.certain:
            incident.credential_version = transition.known.credential_version
        if transition.closes:
            incident.closed_at, incident.open_key = self.now, None
        self.session.flush()


@dataclass(frozen=True, slots=True)
class _Stop:
    """A run that was stopped, or is held up, for an incident."""

    incident: Incident
    run: RunReference
    owed: Owed
    now: datetime

    def record(self, session: Session) -> bool:
        """Note it once for each try: one that was resumed, or cleared, and stopped again is owed anew.

        Return whether its email branch has to run once more, because a resume had left it out.
        """
        its = self._gate | {"incident_id": self.incident.id}
        again = self._was_resumed(session)
        values = self._values(RunState.AGAIN if again else RunState.BLOCKED)
        if session.scalar(select(BlockedRun.id).filter_by(**its)) is None:
            session.add(BlockedRun(**its, **values))
            session.flush()
            return again
        anew = update(BlockedRun).filter_by(**its).where(or_(*self._anew()))
        renewed = changed(session, anew.values(**values, reason=None, settled_at=None, look_at=None))
        return again and bool(renewed)

    @property
    def _gate(self) -> dict[str, Any]:
        run = self.run
        return {
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "task_id": run.task_id,
            "map_index": run.map_index,
        }

    def _values(self, state: RunState) -> dict[str, Any]:
        return {
            "try_number": self.run.try_number,
            "state": state.value,
            "blocked_at": self.now,
            "resume": self.owed.resume,
            "resume_within": self.owed.within,
            "ends": self.owed.ends,
        }

    def _anew(self) -> list[ColumnElement[bool]]:
        """Say when it is another stop than the one that is known.

        A waiting gate has one try for all its looks, so that what was settled begins anew while its incident
        is open; once that is closed its own next look has to do, or the two would keep each other busy.
        """
        later = BlockedRun.try_number < self.run.try_number
        if self.owed.ends != "waiting" or self.incident.closed_at is not None:
            return [later]
        return [later, and_(BlockedRun.try_number == self.run.try_number, BlockedRun.settled_at.is_not(None))]

    def _was_resumed(self, session: Session) -> bool:
        resumed = select(BlockedRun.id).filter_by(**self._gate, state=RunState.RESUMED.value)
        return session.scalar(resumed.where(BlockedRun.try_number < self.run.try_number).limit(1)) is not None
