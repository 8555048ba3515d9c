"""Whose turn it is to ask a third party that wants few questions: one asker's in each interval.

MBI recommends a minute between two questions about one account, and a hundred gates may want to know at once.
Whoever asks first gets the turn; the others wait for the answer, and have to do with it until the interval is
over, by the app's clock. A turn whose answer never comes is not given to anybody else before that either, and
who waited for it has none.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

from mbi_reauth.api.datamodels import CheckResponse
from mbi_reauth.api.services.grant import Question
from mbi_reauth.core.verdict import Finding, Verdict
from mbi_reauth.models.tables import Status


class Waiting(NamedTuple):
    """Somebody else is asking; ``in_vain`` is the answer if theirs does not come."""

    in_vain: CheckResponse


def take_turn_to_probe(
    status: Status, response: CheckResponse, question: Question, *, now: datetime
) -> CheckResponse | Waiting:
    """Give the turn to this asker, unless somebody has it or had it, or a proof is recent enough for them."""
    seconds = question.integration_type.turn_seconds
    if not seconds or _is_proved(response.last_finding, since=now - question.max_age):
        return response
    over_at = status.refresh_lease_expires_at
    if over_at is None or over_at <= now:
        status.refresh_lease = str(uuid.uuid4())
        status.refresh_lease_expires_at = now + timedelta(seconds=seconds)
        return response.model_copy(update={"turn": status.refresh_lease})
    told = response.model_copy(update={"turn_in": (over_at - now).total_seconds()})
    if status.refresh_lease is None:
        return told
    # What was said before this turn may be long over, and nobody may be stopped by it.
    return Waiting(told.model_copy(update={"last_finding": None}))


def _is_proved(last: Finding | None, *, since: datetime) -> bool:
    """Tell whether the last answer is good, and young enough; a fault of MBI proves no more than the key."""
    if last is None or last.verdict is not Verdict.AUTHORIZED or last.proved_at is None:
        return False
    return last.proved_at > since


def end_turn(status: Status, turn: str | None) -> None:
    """Tell those who wait that the answer is there; nobody else asks before the interval is over."""
    if turn is not None and status.refresh_lease == turn:
        status.refresh_lease = None
