"""Two browsers of four attempts, four checks and an engineer at once, on both databases."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial

import pytest
from sqlalchemy import select

from mbi_reauth.api.datamodels import CheckRequest, FindingReport
from mbi_reauth.api.services import checks, findings, links
from mbi_reauth.api.services.surroundings import Mailing, Surroundings
from mbi_reauth.api.services.verification import Candidate
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import Audit, AuthorizationRequest, Incident
from mbi_reauth.probes.consent import CodeRequest
from mbi_reauth.probes.oauth import RefreshRequest, TokenResponse
from tests.app import INTEGRATION, Outside, fake_type
from tests.metadata_db import audited, extra_of, put_connection
from tests.owners_browser import Browser

OLD = {"client_id": "fake-client", "client_secret": "fake-secret", "refresh_token": "fake-refresh-0"}
CHECKERS, BROWSERS, ATTEMPTS = 4, 2, 4
GRANTED = Evidence(endpoint=Endpoint.TOKEN, status_code=200)
REFUSED = Evidence(endpoint=Endpoint.TOKEN, status_code=400, body={"error": "invalid_grant"})


@dataclass
class ThirdParty:
    """Gives each code one grant, and each rotating refresh token one successor."""

    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)
    codes: list[str] = field(default_factory=list)
    good: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    replayed: list[str] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    woken: list[int] = field(default_factory=list)

    def exchange(self, request: CodeRequest) -> tuple[Evidence, TokenResponse | None]:
        with self.lock:
            self.codes.append(request.code)
            return GRANTED, self._grant()

    def refresh(self, request: RefreshRequest) -> tuple[Evidence, TokenResponse | None]:
        with self.lock:
            if request.refresh_token in self.used:
                self.replayed.append(request.refresh_token)
            if request.refresh_token not in self.good:
                return REFUSED, None
            self.good.remove(request.refresh_token)
            self.used.add(request.refresh_token)
            return GRANTED, self._grant()

    def _grant(self) -> TokenResponse:
        number = next(self.numbers)
        self.good.add(f"fake-refresh-{number}")
        return TokenResponse(
            access_token=f"fake-access-{number}", refresh_token=f"fake-refresh-{number}", expires_in=30
        )

    def verify(self, candidate: Candidate) -> Finding:
        """Accept every other grant."""
        token = candidate.access_token or ""
        works = int(token.rpartition("-")[2] or 1) % 2 == 0
        if works:
            with self.lock:
                self.accepted.add(token)
        cause = Cause.AUTHORIZED if works else Cause.GRANT_REVOKED
        return Finding(cause=cause, rule="test.rule", explanation="-", checked_at=datetime.now(timezone.utc))

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(
            type_of=fake_type,
            mailing=Mailing,
            exchange=self.exchange,
            refresh=self.refresh,
            verify=self.verify,
            classify=Outside.classify,
            recovered=lambda: self.woken.append(1),
        )


@dataclass
class Crowd:
    """What all threads do, and what of it must be accounted for."""

    third_party: ThirdParty = field(default_factory=ThirdParty)
    engineers: set[str] = field(default_factory=set)
    answers: list[int] = field(default_factory=list)

    def lose(self) -> str:
        """Report a loss; return the link of the open incident."""
        outside = self.third_party.surroundings
        finding = Finding(
            cause=Cause.GRANT_REVOKED, rule="test.rule", explanation="-", checked_at=outside.now()
        )
        findings.report(FindingReport(integration=INTEGRATION, finding=finding), outside)
        its = select(Incident.id).where(Incident.open_key == INTEGRATION.id)
        incident = transact(lambda session: session.scalar(its))
        return links.for_incident(incident or "none", now=outside.now())

    def browses(self, number: int) -> None:
        browser = Browser(self.third_party.surroundings)
        for attempt in range(ATTEMPTS):
            link = self.lose()
            page = browser.press(link, "consent")
            if page.status_code != 200:
                self.answers.append(page.status_code)
                continue
            state = page.text.partition("state=")[2].partition("&")[0]
            code = f"fake-code-{number}-{attempt}"
            with ThreadPoolExecutor(2) as pool:
                clicks = [pool.submit(browser.come_back, code=code, state=state) for _ in range(2)]
            self.answers += [click.result().status_code for click in clicks]

    def checks(self, number: int) -> None:
        outside = self.third_party.surroundings
        for _ in range(2 * ATTEMPTS):
            prepared = asyncio.run(checks.prepare(CheckRequest(integration=INTEGRATION), outside))
            cause = Cause.AUTHORIZED if prepared.access_token and number % 2 else Cause.GRANT_REVOKED
            finding = Finding(cause=cause, rule="test.rule", explanation="-", checked_at=outside.now())
            report = FindingReport(
                integration=INTEGRATION, finding=finding, credential_version=prepared.credential_version
            )
            findings.report(report, outside)

    def edits(self) -> None:
        for number in range(3):
            token = f"fake-engineers-{number}"
            self.engineers.add(token)
            self.third_party.good.add(token)
            put_connection("shop", extra={**OLD, "refresh_token": token})


@pytest.fixture
def crowd(metadata_db: str) -> Crowd:
    """All threads at work, until they are done."""
    crowd, barrier = Crowd(), threading.Barrier(BROWSERS + CHECKERS + 1)
    crowd.third_party.good.add(OLD["refresh_token"])
    put_connection("shop", extra=OLD)
    crowd.lose()
    works: list[Callable[[], None]] = [crowd.edits]
    works += [partial(crowd.browses, number) for number in range(BROWSERS)]
    works += [partial(crowd.checks, number) for number in range(CHECKERS)]

    def begins(work: Callable[[], None]) -> None:
        barrier.wait()
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        list(pool.map(begins, works))
    return crowd


def test_what_is_saved_was_verified_whoever_was_quicker(crowd: Crowd) -> None:
    third_party = crowd.third_party
    assert set(crowd.answers) <= {303}, "a page failed"
    assert third_party.codes
    assert len(third_party.codes) == len(set(third_party.codes)), "a code is traded twice"
    assert third_party.replayed == [], "a rotating refresh token is used twice"
    rows = transact(lambda session: session.scalars(select(AuthorizationRequest)).all())
    ended = [row.result["outcome"] for row in rows if row.result is not None]
    assert len(ended) == len([row for row in rows if row.used_at is not None]), "an attempt has no end"
    saved = ended.count("saved")
    assert [event for event, _ in audited()].count("mbi_reauth.saved") == saved
    events = transact(lambda session: session.scalars(select(Audit.event)).all())
    assert events.count("saved") == saved
    assert events.count("refused") == len(ended) - saved
    assert len(third_party.woken) >= saved
    its = select(Incident).where(Incident.integration_id == INTEGRATION.id, Incident.closed_at.is_(None))
    assert len(transact(lambda session: session.scalars(its).all())) <= 1


def test_what_is_stored_in_the_end_is_the_last_of_a_living_grant(crowd: Crowd) -> None:
    stored = extra_of("shop")["refresh_token"]
    assert stored in crowd.third_party.good or stored in crowd.engineers
    assert stored not in crowd.third_party.used, "a token that is spent is stored"
