"""What the integration types on one database engine make of an answer."""

from __future__ import annotations

from functools import cache

from mbi_reauth import catalogue
from mbi_reauth.catalogue.loader import LoadedType
from mbi_reauth.catalogue.model import DatabaseProbe
from mbi_reauth.core.evidence import Driver, Evidence
from mbi_reauth.core.verdict import Cause


@cache
def types_on(driver: Driver) -> tuple[LoadedType, ...]:
    """Load each type that may be on this engine."""
    loaded = (catalogue.load(name) for name in sorted(catalogue.type_ids()))
    return tuple(
        each
        for each in loaded
        if isinstance(each.model.probe, DatabaseProbe) and driver in each.model.probe.drivers
    )


def cause_on(driver: Driver, evidence: Evidence) -> Cause:
    """Have each type on the engine judge the answer; they have to agree."""
    causes = {loaded.id: loaded.classify(evidence).cause for loaded in types_on(driver)}
    assert len(set(causes.values())) == 1, causes
    return next(iter(causes.values()))
