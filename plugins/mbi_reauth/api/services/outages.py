"""Which losses are part of an outage: many integrations of one type at once (design, rule 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from mbi_reauth.api.services.in_use import in_use
from mbi_reauth.core.outage import AT_LEAST, Flip, Outage, outage_around, outage_before
from mbi_reauth.models.tables import Incident, Status

_LATELY = timedelta(hours=3)


class _Type(NamedTuple):
    """What is known of one integration type: its losses of late, and how many integrations it has."""

    flips: Sequence[Flip]
    integrations: int

    @property
    def may_be_out(self) -> bool:
        """Whether there are enough losses at all; spares the look at each of them on most days."""
        lost = len({flip.integration_id for flip in self.flips})
        return lost >= AT_LEAST and 2 * lost > self.integrations


@dataclass
class Outages:
    """Looks for outages within one transaction; each type is read once, and an outage found once."""

    session: Session
    now: datetime
    _types: dict[str, _Type] = field(default_factory=dict)
    _found: dict[str, Outage] = field(default_factory=dict)

    def of(self, incident: Incident, type_id: str) -> Outage | None:
        """Return the outage that an incident is part of, or joins; over or not."""
        known = self._found.get(incident.integration_id)
        if known is not None:
            return known
        if type_id not in self._types:
            self._types[type_id] = self._read(type_id)
        kind = self._types[type_id]
        if not kind.may_be_out:
            return None
        flip = Flip(incident.integration_id, incident.flipped_at)
        outage = outage_around(flip, kind.flips, integrations=kind.integrations)
        if outage is not None:
            self._found |= dict.fromkeys(outage.integration_ids, outage)
        else:
            outage = outage_before(flip, kind.flips, integrations=kind.integrations)
        return outage

    def _read(self, type_id: str) -> _Type:
        of_type = Status.integration_type == type_id
        lately = self.now - _LATELY
        incidents = self.session.execute(
            select(Incident.integration_id, Incident.opened_at, Incident.reopened_at)
            .join(Status, Status.integration_id == Incident.integration_id)
            .where(of_type, or_(Incident.opened_at > lately, Incident.reopened_at > lately))
        )
        known = self.session.scalar(
            select(func.count()).select_from(Status).where(of_type, in_use(self.session, now=self.now))
        )
        # one that worked for a moment was lost all the same when the others were
        flips = [Flip(each, at) for each, *ats in incidents for at in ats if at is not None and at > lately]
        return _Type(flips, known or 0)
