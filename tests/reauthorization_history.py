"""A small world around the owner's pages: third parties, browsers, engineers, checks; what must always hold.

The services, the pages and the tables are the real ones. What a third party grants, what an engineer puts in
and which answers are on their way is known here, so that every change of a stored credential can be accounted
for.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from airflow.models.connection import Connection
from airflow.models.log import Log
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from sqlalchemy import select
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import CheckRequest, FindingReport
from mbi_reauth.api.pages import COOKIE
from mbi_reauth.api.services import accounts, checks, findings, links
from mbi_reauth.api.services.audit import Visitor
from mbi_reauth.api.services.verification import Candidate
from mbi_reauth.api.visitors import Rates
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Finding
from mbi_reauth.models.metadata_db import engine, find_credential, transact
from mbi_reauth.models.tables import Audit, AuthorizationRequest, Incident, Status
from mbi_reauth.probes.consent import CodeRequest
from mbi_reauth.probes.credential import Credential
from mbi_reauth.probes.oauth import RefreshRequest, TokenResponse
from tests.app import INTEGRATION, Outside
from tests.metadata_db import drop_connection, put_connection
from tests.owners_browser import Browser, address_in, path_of, query_of

SHOP = INTEGRATION
BOOKS = INTEGRATION.model_copy(
    update={"id": "books", "conn_id": "books", "type": "static", "account": "books-north"}
)
KEYED = INTEGRATION.model_copy(update={"id": "keyed", "conn_id": "keyed", "type": "plain"})
ALL = (SHOP, BOOKS, KEYED)
IN_A_VARIABLE = "AIRFLOW_CONN_KEYED"
LINK_LIFETIME, ATTEMPT_LIFETIME = timedelta(days=30), timedelta(minutes=15)
KEPT = timedelta(days=1)

Contents = tuple[str, str, str]
"""Login, password and the extra as sorted JSON."""

OF_ERROR = {
    "access_denied": "denied",
    "server_error": "unavailable",
    "invalid_scope": "misconfigured",
    "other_issuer": "misconfigured",
}
OF_PLAN = {
    "all": "saved",
    "wrong_account": "wrong_account",
    "few_scopes": "scopes_missing",
    "no_refresh": "no_lasting_grant",
    "code_refused": "interrupted",
    "client_refused": "misconfigured",
    "away": "unavailable",
    "token_refused": "refused",
    "verifies_not": "unavailable",
    "says_nonsense": "unverified",
}
"""How a third party can behave, and how an attempt ends by it."""


class Crash(NamedTuple):
    """At which commit of a request something fails, before it or after it; 0: nothing does.

    ``of_database``: the connection is gone, once; otherwise it is the process that ends.
    """

    commits: int
    after: bool
    of_database: bool


FAILED = (503, 403)
"""Airflow takes a connection that it could not read for one that is not there, so that nothing is offered."""
NO_CRASH = Crash(0, False, False)


class Unhurried(Rates):
    """Admits everybody: these histories take no time."""

    def admit(self, _: Any) -> None:
        """Count nothing."""


@dataclass
class Grant:
    """What a token, refresh token or key stands for; ``says`` is what it is answered whatever else holds."""

    account: str
    live: bool = True
    says: Cause | None = None


class Pointer(NamedTuple):
    """A link that was emailed."""

    address: str
    integration: Integration
    incident: str | None
    version: int
    issued_at: datetime


@dataclass(eq=False)
class Attempt:
    """What one browser has begun; ``identity`` is that of the credential it would replace."""

    browser: int
    pointer: Pointer
    way: str
    secret: str
    identity: str | None
    begun_at: datetime
    asked: dict[str, str] = field(default_factory=dict)
    plan: str = "all"
    answered: dict[str, str] | None = None

    @property
    def integration(self) -> Integration:
        return self.pointer.integration

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.secret.encode()).hexdigest()


class Tried(NamedTuple):
    """What was verified: the connection as it would be, what it must lead to, and what was found."""

    conn_id: str
    contents: Contents
    expected: str | None
    finding: Finding


class Before(NamedTuple):
    """How things were when a step began, or after what happened in the middle of it."""

    contents: Contents | None
    identity: str | None
    incidents: list[str]
    any_account: bool
    expected: str | None


class Ended(NamedTuple):
    """How an attempt ended; never changes."""

    result: str
    used_at: datetime | None
    finished_at: datetime


def contents_of(credential: Connection | Credential) -> Contents:
    extra = credential.extra_dejson if isinstance(credential, Connection) else credential.extra
    return credential.login or "", credential.password or "", json.dumps(dict(extra), sort_keys=True)


def in_database(conn_id: str) -> Contents | None:
    def work(session: Session) -> Contents | None:
        row = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
        return contents_of(row) if row is not None else None

    return transact(work)


def status_of(integration: Integration) -> Status:
    return transact(lambda session: session.get_one(Status, integration.id))


def open_incidents() -> dict[str, str]:
    """By id, whose they are."""
    query = select(Incident.id, Incident.integration_id).where(Incident.closed_at.is_(None))
    return transact(lambda session: {row.id: row.integration_id for row in session.execute(query)})


def attempt_row(digest: str) -> AuthorizationRequest | None:
    query = select(AuthorizationRequest).where(AuthorizationRequest.session == digest)
    return transact(lambda session: session.scalar(query))


class World(Outside):
    """Everything around the pages, and what is known of it."""

    def begin(self, browsers: list[Browser], *, proved: bool) -> None:
        """Forget everything; put three working integrations in place."""
        vars(self).update(vars(Outside()))
        self.browsers = browsers
        self.canaries: set[str] = set()
        self.refresh_tokens: dict[str, Grant] = {}
        self.access_tokens: dict[str, Grant] = {}
        self.keys: dict[str, Grant] = {}
        self.lineage: dict[str, str] = {}
        self.pointers: list[Pointer] = []
        self.attempts: list[Attempt] = []
        self.codes: dict[str, Attempt] = {}
        self.used_codes: list[str] = []
        self.ended: dict[str, Ended] = {}
        self.times_saved = 0
        self.known: dict[str, Contents | None] = {}
        self.allowed: list[tuple[str, Contents | None]] = []
        self.verified: list[Tried] = []
        self.on_their_way: list[FindingReport] = []
        self.acting: list[int] = []
        self.happening: tuple[str, Callable[[], None]] | None = None
        self.before: Before | None = None
        self.about: Integration | None = None
        self.crash, self.crashed, self.in_between = NO_CRASH, False, False
        self._number = 0
        for browser in browsers:
            browser.client.cookies.clear()
        os.environ.pop(IN_A_VARIABLE, None)
        for each in ALL:
            self.puts(each)
            self.check(each, proves=proved)
        self.look_around()

    # Secrets

    def secret(self, kind: str) -> str:
        self._number += 1
        value = f"fake-canary-{kind}-{self._number}."
        self.canaries.add(value)
        return value

    def new_grant(self, account: str, says: Cause | None = None) -> tuple[str, str, Grant]:
        """Grant an access token and a refresh token."""
        grant, access, refresh = Grant(account, says=says), self.secret("access"), self.secret("refresh")
        self.access_tokens[access] = self.refresh_tokens[refresh] = grant
        self.lineage[refresh] = refresh
        return access, refresh, grant

    def new_key(self, account: str, says: Cause | None = None, *, live: bool = True) -> str:
        key = self.secret("key")
        self.keys[key] = Grant(account, live, says)
        return key

    def account_of(self, integration: Integration, *, other: bool = False) -> str:
        return f"{integration.id}-{'south' if other else 'north'}"

    def identity(self, conn_id: str) -> str | None:
        """Tell credentials apart, but not by what a refresh changes."""
        contents = in_database(conn_id)
        if contents is None:
            return None
        extra = json.loads(contents[2])
        grant = self.lineage.get(extra.pop("refresh_token", ""))
        fleeting = ("access_token", "expires_at")
        return repr(
            (*contents[:2], grant, [each for each in sorted(extra.items()) if each[0] not in fleeting])
        )

    # The third parties

    def refresh(self, request: RefreshRequest) -> tuple[Evidence, TokenResponse | None]:
        sent = request.refresh_token
        grant = self.refresh_tokens.get(sent)
        conn_id = next(each.conn_id for each in ALL if self.holds(each.conn_id, sent))
        self.passes("refresh")
        if grant is None or not grant.live:
            return Evidence(endpoint=Endpoint.TOKEN, status_code=400, body={"error": "invalid_grant"}), None
        access, new = self.secret("access"), None
        self.access_tokens[access] = grant
        if conn_id == SHOP.conn_id:
            new = self.secret("refresh")
            self.lineage[new] = self.lineage[sent]
            self.refresh_tokens[new] = self.refresh_tokens.pop(sent)
        if self.holds(conn_id, sent):
            login, password, text = in_database(conn_id) or ("", "", "{}")
            end = (self.moment + timedelta(seconds=3600)).isoformat()
            extra = {**json.loads(text), "access_token": access, "expires_at": end}
            extra |= {"refresh_token": new} if new else {}
            self.allowed.append((conn_id, (login, password, json.dumps(extra, sort_keys=True))))
        evidence = Evidence(endpoint=Endpoint.TOKEN, status_code=200)
        return evidence, TokenResponse(access_token=access, refresh_token=new, expires_in=3600)

    def holds(self, conn_id: str, refresh_token: str) -> bool:
        contents = in_database(conn_id)
        return contents is not None and json.loads(contents[2]).get("refresh_token") == refresh_token

    def exchange(self, request: CodeRequest) -> tuple[Evidence, TokenResponse | None]:
        attempt = self.codes[request.code]
        assert request.code not in self.used_codes, "a code is traded twice"
        self.used_codes.append(request.code)
        assert attempt.browser == self.acting[-1], "a browser uses another one's attempt"
        challenge = create_s256_code_challenge(request.code_verifier)  # type: ignore[no-untyped-call]
        assert challenge == attempt.asked["code_challenge"], "the verifier is another one's"
        self.canaries.add(request.code_verifier)
        self.passes("exchange")
        return self._traded(attempt)

    def _traded(self, attempt: Attempt) -> tuple[Evidence, TokenResponse | None]:
        refusals = {"code_refused": (400, "invalid_grant"), "client_refused": (401, "invalid_client")}
        refusals["away"] = (503, "oops")
        if attempt.plan in refusals:
            status_code, error = refusals[attempt.plan]
            return Evidence(endpoint=Endpoint.TOKEN, status_code=status_code, body={"error": error}), None
        says = {
            "token_refused": Cause.ACCESS_TOKEN_EXPIRED,
            "verifies_not": Cause.PROVIDER_OUTAGE,
            "says_nonsense": Cause.UNKNOWN,
        }.get(attempt.plan)
        account = self.account_of(attempt.integration, other=attempt.plan == "wrong_account")
        access, refresh, _ = self.new_grant(account, says)
        return Evidence(endpoint=Endpoint.TOKEN, status_code=200), TokenResponse(
            access_token=access,
            refresh_token=None if attempt.plan == "no_refresh" else refresh,
            expires_in=3600,
            scope=("profile",) if attempt.plan == "few_scopes" else None,
        )

    def verify(self, candidate: Candidate) -> Finding:
        self.passes("verify")
        grant = self._grant_in(candidate.credential, candidate.access_token)
        finding = self._judged(candidate.integration, grant, candidate.account)
        conn_id, contents = candidate.integration.conn_id, contents_of(candidate.credential)
        self.verified.append(Tried(conn_id, contents, candidate.account, finding))
        if finding.cause is Cause.AUTHORIZED:
            self.allowed.append((conn_id, contents))
        return finding

    def _grant_in(self, credential: Credential, access_token: str | None) -> Grant | None:
        token = access_token or credential.get("access_token")
        return self.access_tokens.get(token) if token else self.keys.get(credential.password)

    def _judged(self, integration: Integration, grant: Grant | None, expected: str | None) -> Finding:
        cause, rule = Cause.AUTHORIZED, "test.rule"
        if grant is None or not grant.live:
            cause = Cause.CREDENTIALS_REJECTED
        elif grant.says is not None:
            cause = grant.says
        elif expected is not None and grant.account != expected:
            cause, rule = Cause.ACCOUNT_UNLINKED, f"{integration.type}.account"
        account = grant.account if grant is not None and grant.says is None and grant.live else None
        return Finding(
            cause=cause, rule=rule, explanation="-", account=account, checked_at=self.moment,
            proved_at=self.moment if cause is Cause.AUTHORIZED else None,
        )  # fmt: skip

    def passes(self, where: str) -> None:
        """Let what was to happen in the middle happen, and see how things are after it."""
        if self.in_between:
            return
        self.in_between = True
        try:
            if self.happening is not None and self.happening[0] == where:
                (_, happens), self.happening = self.happening, None
                about = self.about
                happens()
                self.about = about
            if self.about is not None and where != "refresh":
                self.before = self.as_it_is(self.about)
        finally:
            self.in_between = False

    def as_it_is(self, about: Integration) -> Before:
        status = status_of(about)
        freed = status.any_account_until is not None and self.moment < status.any_account_until
        return Before(
            contents=in_database(about.conn_id),
            identity=self.identity(about.conn_id),
            incidents=written_about(about),
            any_account=freed,
            expected=about.account or (None if freed else status.proved_account),
        )

    # Engineers, checks

    def puts(self, integration: Integration, *, live: bool = True, **changes: Any) -> None:
        """Create the connection, or give it another credential."""
        account = self.account_of(integration)
        if integration is KEYED:
            key = self.new_key(account, live=live)
            put_connection(integration.conn_id, login="reader", password=key, host="vendor.example")
        else:
            _, refresh, grant = self.new_grant(account)
            grant.live = live
            extra = {"client_id": "fake-client", "client_secret": self.secret("client")}
            put_connection(integration.conn_id, extra={**extra, "refresh_token": refresh, **changes})
        self.allowed.append((integration.conn_id, in_database(integration.conn_id)))

    def deletes(self, integration: Integration) -> None:
        drop_connection(integration.conn_id)
        self.allowed.append((integration.conn_id, None))

    def moves_out(self) -> None:
        """Keep the same key in an environment variable."""
        contents = in_database(KEYED.conn_id)
        if contents is not None:
            os.environ[IN_A_VARIABLE] = json.dumps(
                {"conn_type": "mbireauth", "login": contents[0], "password": contents[1], "host": "x.example"}
            )

    def moves_back(self) -> None:
        os.environ.pop(IN_A_VARIABLE, None)

    def is_elsewhere(self, integration: Integration) -> bool:
        return integration is KEYED and IN_A_VARIABLE in os.environ

    def allows_another_account(self, integration: Integration) -> None:
        accounts.allow_any(integration.id, 24, Visitor(user="engineer"), self.as_surroundings())

    def check(self, integration: Integration, *, proves: bool = True, late: bool = False) -> None:
        """Check as a gate does; ``proves``: the answer names the account."""
        request = CheckRequest(integration=integration)
        prepared = asyncio.run(checks.prepare(request, self.as_surroundings()))
        if prepared.token_evidence is not None:
            finding = self.classify(integration.type, prepared.token_evidence)
        else:
            stored = find_credential(integration.conn_id)
            grant = self._grant_in(stored.credential, prepared.access_token) if stored is not None else None
            finding = self._judged(integration, grant, integration.account)
        changes: dict[str, Any] = {"checked_at": self.moment}
        if not proves:
            changes["account"] = None
        version = prepared.credential_version
        report = FindingReport(
            integration=integration, finding=finding.model_copy(update=changes), credential_version=version
        )
        self.on_their_way.append(report)
        if not late:
            self.deliver(report)

    def deliver(self, report: FindingReport) -> None:
        findings.report(report, self.as_surroundings())
        self.emails()

    def emails(self) -> None:
        """Send a link of each open incident that has none."""
        known = {each.incident for each in self.pointers}
        for incident, integration_id in open_incidents().items():
            if incident not in known:
                address = links.for_incident(incident, now=self.moment)
                which = next(each for each in ALL if each.id == integration_id)
                self.pointers.append(Pointer(address, which, incident, 0, self.moment))

    def loses(self, integration: Integration) -> None:
        """Let the third party withdraw what is stored; a check finds it."""
        self.changes_grant(integration, live=False)
        self.drop_access_token(integration)
        self.check(integration)

    def changes_grant(self, integration: Integration, *, live: bool) -> None:
        contents = in_database(integration.conn_id)
        if contents is not None:
            token = json.loads(contents[2]).get("refresh_token", "")
            grant = self.refresh_tokens.get(token) or self.keys.get(contents[1])
            if grant is not None:
                grant.live = live

    def drop_access_token(self, integration: Integration) -> None:
        """Wait until it has expired, so that the next check needs the refresh token."""
        self.pass_time(3600)

    def warns(self, integration: Integration) -> None:
        """Email that the credential is about to stop working."""
        version = status_of(integration).credential_version
        address = links.for_expiry(integration.id, version, now=self.moment)
        self.pointers.append(Pointer(address, integration, None, version, self.moment))

    # What is offered

    def is_expired(self, pointer: Pointer) -> bool:
        return self.moment - pointer.issued_at.replace(microsecond=0) > LINK_LIFETIME

    def is_open(self, pointer: Pointer) -> bool:
        if pointer.incident is None:
            return status_of(pointer.integration).credential_version == pointer.version
        return pointer.incident in open_incidents()

    def offers(self, pointer: Pointer) -> set[str]:
        integration = pointer.integration
        if self.is_elsewhere(integration) or in_database(integration.conn_id) is None:
            return {"check"}
        again = "form" if integration is KEYED else "consent"
        lost = integration.id in open_incidents().values()
        return {again, "check"} if pointer.incident is not None or lost else {again}

    # Browsers

    @contextmanager
    def acts(self, browser: int) -> Iterator[Browser]:
        self.acting.append(browser)
        try:
            with self.dying() if len(self.acting) == 1 else nullcontext():
                yield self.browsers[browser]
        finally:
            self.acting.pop()

    @contextmanager
    def dying(self) -> Iterator[None]:
        """Fail at one of the commits to come, as :attr:`crash` says."""
        dialect: Any = engine().dialect
        commit = dialect.do_commit

        def dies(connection: Any) -> None:
            self.crash = self.crash._replace(commits=self.crash.commits - (not self.in_between))
            fails = self.crash.commits == 0 and not self.in_between
            if not fails or self.crash.after:
                commit(connection)
            if fails:
                raise sqlite3.OperationalError("gone") if self.crash.of_database else RuntimeError("died")

        dialect.do_commit = dies
        try:
            yield
        finally:
            dialect.do_commit = commit

    def cookie(self, browser: int) -> str | None:
        value = self.browsers[browser].client.cookies.get(COOKIE)
        return str(value) if value is not None else None

    def opens(self, browser: int, pointer: Pointer, *, only_head: bool) -> None:
        ours = self.browsers[browser]
        path = path_of(pointer.address)
        response = ours.client.head(path) if only_head else ours.open(pointer.address)
        lost_anew = not self.is_open(pointer) and pointer.integration.id in open_incidents().values()
        expected = 404 if self.is_expired(pointer) or lost_anew else 200
        assert response.status_code == expected, (response.status_code, expected)
        self.shows_no_secret(response)

    def shows_no_secret(self, response: Any) -> None:
        assert not [each for each in self.canaries if each in response.text], "a page shows a secret"

    def presses(self, browser: int, pointer: Pointer, way: str) -> None:
        """Begin an attempt, or be told why not."""
        expected = self._expected_status(pointer, way)
        self.about, is_open = pointer.integration, self.is_open(pointer)
        self.before = self.as_it_is(pointer.integration)
        with self.acts(browser) as ours:
            response = ours.press(pointer.address, way)
        if self.crashed and response.status_code != expected:
            return  # Airflow takes a connection that it could not read for one that is not there
        assert response.status_code == expected, (response.status_code, expected)
        if expected in (404, 403) or not is_open:
            return
        asked = query_of(address_in(response)) if way == "consent" else {}
        secret = self.cookie(browser)
        assert secret is not None
        self.canaries |= {secret, *filter(None, [asked.get("state")])}
        known = [each for each in self.attempts if each.secret == secret]
        identity = self.identity(pointer.integration.conn_id)
        if known:
            same = (known[0].browser, known[0].way, known[0].pointer) == (browser, way, pointer)
            assert same, "an attempt goes on as another one"
            assert known[0].identity == identity or self.before.identity != identity
            return
        attempt = Attempt(browser, pointer, way, secret, identity, self.moment, asked)
        self.attempts.append(attempt)
        if way == "check":
            self.has_checked(attempt)

    def _expected_status(self, pointer: Pointer, way: str) -> int:
        if self.is_expired(pointer):
            return 404
        if not self.is_open(pointer):
            return 303
        if way not in self.offers(pointer):
            return 403
        return 200 if way == "consent" else 303

    def sends_back(self, attempt: Attempt, how: str, plan: str) -> None:
        """Come back from the third party, honestly or not."""
        asked, browser, type_id = attempt.asked, attempt.browser, attempt.integration.type
        params = {"state": asked["state"]}
        if how == "replayed" and attempt.answered is not None:
            params = attempt.answered
        elif how in OF_ERROR and how != "other_issuer":
            params |= {"error": how, "error_description": "Dana said so"}
        else:
            attempt.plan, code = plan, self.secret("code")
            self.codes[code] = attempt
            params |= {"code": code}
        if how == "other_issuer":
            params |= {"iss": "https://evil.example"}
        elif how == "made_up_state":
            params |= {"state": "made-up"}
        elif how == "other_type":
            type_id = "static" if type_id == "rotating" else "rotating"
        elif how == "other_browser":
            browser = (browser + 1) % len(self.browsers)
        honest = how not in ("made_up_state", "other_type", "other_browser")
        self._comes_back(attempt, browser, type_id, params, how=how, honest=honest)

    def _comes_back(
        self, attempt: Attempt, browser: int, type_id: str, params: dict[str, str], *, how: str, honest: bool
    ) -> None:
        begun = self._begun(attempt, browser)
        with self.acts(browser) as ours:
            response = ours.come_back(type_id, **params)
        if self.crashed and response.status_code in FAILED:
            return
        if not honest or begun is None:
            assert response.status_code == 410, response.status_code
            return
        assert response.status_code == 303
        attempt.answered = attempt.answered or params
        self.shows_no_secret(ours.follow(response))
        self.has_ended(
            attempt, begun, OF_ERROR.get(how) or ("misconfigured" if how == "other_issuer" else None)
        )

    def submits(self, browser: int, what: str) -> None:
        """Send the form, whatever this browser has begun."""
        secret = self.cookie(browser)
        attempt = next((each for each in self.attempts if each.secret == secret), None)
        values = {"login": "reader", "password": self._typed(what)}
        begun = self._begun(attempt, browser) if attempt is not None else None
        if attempt is not None and begun is not None and not begun.used:
            attempt.plan = what
        with self.acts(browser) as ours:
            response = ours.post("/mbi-reauth/credential", values)
        if self.crashed and response.status_code in FAILED:
            return
        if attempt is None or attempt.way != "form" or begun is None:
            assert response.status_code == 410
            return
        if what == "empty" and not begun.used:
            assert response.status_code == 422
            return
        self.shows_no_secret(ours.follow(response))
        self.has_ended(attempt, begun, None)
        new = self.cookie(browser)
        if new is not None and new != secret and new not in {each.secret for each in self.attempts}:
            self.canaries.add(new)
            identity = self.identity(attempt.integration.conn_id)
            again = Attempt(browser, attempt.pointer, "form", new, identity, self.moment)
            self.attempts.append(again)

    def _typed(self, what: str) -> str:
        if what == "empty":
            return ""
        says = {"verifies_not": Cause.PROVIDER_OUTAGE, "says_nonsense": Cause.UNKNOWN}.get(what)
        account = self.account_of(KEYED, other=what == "wrong_account")
        return self.new_key(account, says, live=what != "token_refused")

    class Begun(NamedTuple):
        """How an attempt was before it is taken up; ``spared``: how it ends without asking anybody."""

        before: Before
        used: bool
        spared: str | None
        tried: int

    def _begun(self, attempt: Attempt, browser: int) -> Begun | None:
        """None: this browser cannot use it, or cannot any more."""
        row = attempt_row(attempt.digest)
        if self.cookie(browser) != attempt.secret or row is None:
            return None
        if row.used_at is None and self.moment >= attempt.begun_at + ATTEMPT_LIFETIME:
            return None
        self.about = attempt.integration
        before = self.before = self.as_it_is(attempt.integration)
        spared = None
        if not self.is_open(attempt.pointer):
            spared = "works"
        elif self.is_elsewhere(attempt.integration) or before.contents is None:
            spared = "elsewhere"
        return self.Begun(before, row.used_at is not None, spared, len(self.verified))

    # What must hold

    def has_ended(self, attempt: Attempt, begun: Begun, expected: str | None) -> None:
        """Compare how it ended with how it had to."""
        row, before = attempt_row(attempt.digest), self.before
        assert row is not None
        assert before is not None
        if begun.used or row.result is None:
            assert begun.used or self.crashed, "it did not end"
            return
        outcome = row.result["outcome"]
        if outcome == "saved":
            self.was_rightly_saved(attempt, begun, before)
        elif outcome != "works" or begun.spared:
            assert in_database(attempt.integration.conn_id) == before.contents, "it changes the credential"
            assert written_about(attempt.integration) == before.incidents, "it changes the incident"
        expected = begun.spared or expected or OF_PLAN[attempt.plan]
        right = self.account_of(attempt.integration)
        if self.crashed and outcome == "elsewhere":
            return
        if expected == "saved" and before.identity != attempt.identity:
            assert outcome in ("replaced", "works")
        elif expected == "wrong_account" and begun.before.expected is None:
            assert outcome in ("saved", "replaced", "works", "wrong_account")
        elif expected == "saved" and begun.before.expected not in (None, right):
            assert outcome in ("wrong_account", "saved")
        else:
            assert outcome == expected, f"{outcome}, not {expected}"

    def was_rightly_saved(self, attempt: Attempt, begun: Begun, before: Before) -> None:
        assert len(self.verified) > begun.tried, "saved without being verified"
        tried = [each for each in self.verified[begun.tried :] if each.conn_id == attempt.integration.conn_id]
        now = in_database(attempt.integration.conn_id)
        right = [each for each in tried if each.contents == now]
        assert right, "saved what was not verified"
        finding = right[-1].finding
        assert finding.cause is Cause.AUTHORIZED, "saved what was refused"
        assert attempt.plan in ("all", "wrong_account"), "saved what is too little"
        assert begun.before.expected in (None, finding.account), "another account"
        assert begun.before.any_account or before.expected in (None, finding.account), "another account now"
        assert before.identity == attempt.identity, "somebody else's change is overwritten"
        assert attempt.integration.id not in open_incidents().values(), "saved, and it is still lost"

    def has_checked(self, attempt: Attempt) -> None:
        row = attempt_row(attempt.digest)
        assert row is not None
        assert row.result is not None or self.crashed, "a check did not end"
        outcome = row.result["outcome"] if row.result is not None else None
        assert outcome not in ("saved", "elsewhere"), outcome

    def look_around(self) -> None:
        """What holds after every step; what has changed must have been allowed."""
        for each in ALL:
            now = in_database(each.conn_id)
            if now != self.known.get(each.conn_id):
                assert (each.conn_id, now) in self.allowed, f"who has changed {each.id}?"
            self.known[each.conn_id] = now
        self.allowed.clear()
        self.happening = None
        self._attempts_are_final()
        self._every_save_is_on_record()
        self._holds_no_secret()

    def _attempts_are_final(self) -> None:
        rows = transact(lambda session: session.scalars(select(AuthorizationRequest)).all())
        there = {row.session for row in rows}
        for row in rows:
            assert row.finished_at is None or row.used_at is not None
            if row.finished_at is not None:
                ended = Ended(json.dumps(row.result, sort_keys=True), row.used_at, row.finished_at)
                if row.session not in self.ended and row.result and row.result["outcome"] == "saved":
                    self.times_saved += 1
                assert self.ended.setdefault(row.session, ended) == ended, "an attempt ends twice"
        for attempt in self.attempts:
            kept = self.moment <= attempt.begun_at + ATTEMPT_LIFETIME + KEPT
            assert attempt.digest in there or not kept, "an attempt is forgotten too early"

    def _every_save_is_on_record(self) -> None:
        def work(session: Session) -> tuple[Counter[str], int]:
            audited = Counter(session.scalars(select(Audit.event)))
            saved = select(Log).where(Log.event == "mbi_reauth.saved")
            return audited, len(session.scalars(saved).all())

        audited, logged = transact(work)
        assert audited["saved"] == self.times_saved, "our audit has another number of saves"
        assert logged == self.times_saved, "Airflow's audit log has another number of saves"
        refused = [each for each in self.ended.values() if json.loads(each.result)["outcome"] != "saved"]
        assert audited["refused"] + audited["checked"] == len(refused), "our audit misses a refusal"

    def _holds_no_secret(self) -> None:
        tables = [*Status.metadata.sorted_tables, Log.__table__]
        stored = transact(lambda session: repr([session.execute(each.select()).all() for each in tables]))
        assert not [each for each in self.canaries if each in stored], "a table holds a secret"


def written_about(integration: Integration) -> list[str]:
    """The incidents and the last finding of an integration."""

    def work(session: Session) -> list[str]:
        its = select(Incident).where(Incident.integration_id == integration.id).order_by(Incident.id)
        rows = [
            repr((row.id, row.open_key, row.opened_at, row.confirmed_at, row.closed_at, row.cause))
            for row in session.scalars(its)
        ]
        return [*rows, str(session.get_one(Status, integration.id).finding)]

    return transact(work)


__all__ = ["ALL", "BOOKS", "KEYED", "SHOP", "Attempt", "Pointer", "Unhurried", "World"]
