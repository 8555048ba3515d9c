"""One attempt to renew an authorization, from the first answer to what is saved.

Nothing is saved that was not verified; whatever goes wrong, the credential stays as it was. How the attempt
ended is stored with it. No transaction is open while a third party is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy.orm import Session

from mbi_reauth import settings
from mbi_reauth.api.datamodels import CheckResponse, FindingReport
from mbi_reauth.api.services import audit, findings, requests
from mbi_reauth.api.services.audit import Event, Visitor
from mbi_reauth.api.services.cases import Case, tunnel_fingerprint
from mbi_reauth.api.services.credentials import known_of, present_credential, take_turn
from mbi_reauth.api.services.entering import with_changes
from mbi_reauth.api.services.grant import saved_values
from mbi_reauth.api.services.requests import Attempt
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.api.services.verification import Candidate
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.reauthorization import Outcome, Result, missing_scopes, verified
from mbi_reauth.core.redact import redact
from mbi_reauth.core.standing import stamped
from mbi_reauth.core.verdict import Finding
from mbi_reauth.models.metadata_db import save_credential, stored_credential, transact
from mbi_reauth.models.tables import Status
from mbi_reauth.probes.consent import (
    Callback,
    CodeRequest,
    code_request,
    expected_issuer,
    read_callback,
    wanted_scopes,
)
from mbi_reauth.probes.credential import MisconfiguredError
from mbi_reauth.probes.oauth import InvalidTokenUrlError, TokenResponse

_OF_AUTHORIZATION_ERROR = {
    "access_denied": Outcome.DENIED,
    "login_required": Outcome.DENIED,
    "consent_required": Outcome.DENIED,
    "interaction_required": Outcome.DENIED,
    "account_selection_required": Outcome.DENIED,
    "server_error": Outcome.UNAVAILABLE,
    "temporarily_unavailable": Outcome.UNAVAILABLE,
}
"""RFC 6749 section 4.1.2.1, and OpenID Connect Core section 3.1.2.6; any other is for an engineer."""

_SAVE_ATTEMPTS = 10

Params = Sequence[tuple[str, str]]
"""The parameters of an answer, in pairs, so that one that comes twice is noticed."""


def redirect_uri(type_id: str) -> str:
    """Give the address to register at the third party (RFC 6749 section 3.1.2).

    Each type has its own, so that the answer of one authorization server cannot pass for that of another
    (RFC 9700 section 4.4.2).
    """
    return f"{settings.base_url()}{settings.API_PREFIX}/oauth/{type_id}/callback"


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """An attempt that has been taken up, what it is about, and who makes it."""

    attempt: Attempt
    case: Case
    visitor: Visitor
    outside: Surroundings

    def with_values(self, changes: Mapping[str, object], *, access_token: str | None = None) -> Result:
        """Verify the present credential with the changes; save it if the third party accepts it."""
        if (spared := self._spared()) is not None:
            return self.conclude(spared)
        finding = self.outside.verify(self.candidate(changes, access_token))
        return self.conclude(verified(finding, expected_account=self.case.expected_account), changes)

    def with_answer(self, params: Params) -> Result:
        """Take the authorization server's answer: trade its code for tokens, verify them and save them."""
        if (spared := self._spared()) is not None:
            return self.conclude(spared)
        try:
            answer = self._read(params)
            token = self._exchanged(answer)
        except MisconfiguredError as error:
            return self.conclude(faulty_set_up(error))
        if isinstance(token, Result):
            return self.conclude(token)
        changes = dict(saved_values(token, self.case.integration_type, now=self.outside.now()))
        if answer.account is not None and self.case.expected_account is None:
            changes["account"] = answer.account
        return self.with_values(changes, access_token=token.access_token)

    def candidate(self, changes: Mapping[str, object], access_token: str | None) -> Candidate:
        """Describe the credential as it would be with the changes.

        :raises MisconfiguredError: there is no connection
        """
        if self.case.stored is None:
            raise MisconfiguredError(
                f"There is no Airflow connection {self.case.integration.conn_id!r}; create it"
            )
        credential = self.case.stored.credential
        ssh = self.case.ssh.credential if self.case.ssh is not None else None
        if self.case.at_tunnel and ssh is not None:
            ssh = with_changes(ssh, changes)
        else:
            credential = with_changes(credential, changes)
        return Candidate(
            integration=self.case.integration,
            credential=credential,
            ssh=ssh,
            access_token=access_token,
            account=self.case.expected_account,
        )

    def conclude(self, result: Result, changes: Mapping[str, object] | None = None) -> Result:
        """Store how the attempt ended, and with a verified credential that, in one transaction."""
        # A rotating token that was granted a moment ago must not be lost to a database that is away.
        store = partial(self._store, result=result, changes=changes or {})
        result, is_due = transact(store, attempts=_SAVE_ATTEMPTS, outlast=True)
        if is_due:
            self.outside.recovered()
        return result

    def _spared(self) -> Result | None:
        """Say what makes the attempt pointless before the third party is asked."""
        if not self.case.is_open:
            return Result(outcome=Outcome.WORKS)
        if self.case.elsewhere or self.case.target is None or self.case.stored is None:
            return Result(outcome=Outcome.ELSEWHERE)
        return None

    def _read(self, params: Params) -> Callback:
        model, stored = self.case.integration_type, self.case.stored
        if model.oauth is None or stored is None:
            raise MisconfiguredError(f"{model.display_name} asks nobody for consent")
        issuer = expected_issuer(model, stored.credential, self.case.integration)
        return read_callback(params, model.oauth, issuer=issuer)

    def _exchanged(self, answer: Callback) -> TokenResponse | Result:
        """Trade the code for tokens; a result says why there are none, or why they are not good enough."""
        if (refused := _refusal(answer, self.case.expected_account)) is not None:
            return refused
        request = self._code_request(answer.code or "")
        try:
            evidence, token = self.outside.exchange(request)
        except InvalidTokenUrlError as error:
            raise MisconfiguredError(f"{error}; see connection {self.case.integration.conn_id!r}") from error
        if token is None:
            return self._not_exchanged(evidence)
        return self._too_little(token) or token

    def _code_request(self, code: str) -> CodeRequest:
        if self.case.stored is None:
            raise MisconfiguredError(f"There is no Airflow connection {self.case.integration.conn_id!r}")
        return code_request(
            self.case.integration_type,
            self.case.stored.credential,
            self.case.integration,
            code=code,
            code_verifier=requests.verifier_of(self.visitor.secret or ""),
            redirect_uri=redirect_uri(self.case.integration.type),
        )

    def _not_exchanged(self, evidence: Evidence) -> Result:
        result = verified(self.judged(evidence), expected_account=self.case.expected_account)
        # A code that is not accepted says nothing about a credential: it was used, or took too long.
        return Result(outcome=Outcome.INTERRUPTED) if result.outcome is Outcome.REFUSED else result

    def _too_little(self, token: TokenResponse) -> Result | None:
        oauth, stored = self.case.integration_type.oauth, self.case.stored
        wanted = wanted_scopes(self.case.integration_type, stored.credential) if stored is not None else ()
        if missing := missing_scopes(wanted, token.scope, lasting=token.refresh_token is not None):
            return Result(outcome=Outcome.SCOPES_MISSING, missing=missing)
        if oauth is not None and oauth.refresh != "none" and token.refresh_token is None:
            return Result(outcome=Outcome.NO_LASTING_GRANT)
        return None

    def judged(self, evidence: Evidence) -> Finding:
        """Judge what the token endpoint said."""
        finding = self.outside.classify(self.case.integration.type, evidence)
        return stamped(finding, self.outside.now(), None, self.case.integration)

    def _store(
        self, session: Session, *, result: Result, changes: Mapping[str, object]
    ) -> tuple[Result, bool]:
        """Store it; say also whether there may be runs to resume now."""
        if (ended := requests.ended(session, self.attempt)) is not None:
            # This was committed already, and only the database's answer to that was lost.
            return ended, ended.outcome is Outcome.SAVED
        is_due = False
        if result.outcome is Outcome.SAVED:
            result, is_due = self._save(session, result, changes)
        requests.finish(session, self.attempt, result, now=self.outside.now())
        event = Event.SAVED if result.outcome is Outcome.SAVED else Event.REFUSED
        self._write(session, event, result)
        return result, is_due

    def _save(self, session: Session, result: Result, changes: Mapping[str, object]) -> tuple[Result, bool]:
        now, finding = self.outside.now(), result.finding
        if finding is None:
            raise ValueError("Nothing is saved that was not verified")
        status = take_turn(session, self.case.integration, now=now)
        elsewhere = self.case.own_elsewhere
        before = present_credential(session, status, elsewhere, now=now)
        if before is None or not self._is_as_it_was(session, status):
            known = known_of(status).present_finding if before is not None else None
            works = known is not None and known.proves
            return Result(outcome=Outcome.WORKS if works else Outcome.REPLACED), False
        texts = {name: None if value is None else str(value) for name, value in changes.items()}
        save_credential(session, self.attempt.conn_id, texts)
        present_credential(session, status, elsewhere, now=now)
        status.token_evidence = status.token_evidence_at = status.any_account_until = None
        if self.case.expected_account is None:
            status.proved_account = None  # it may be the one before, and the new answer may name none
        report = FindingReport(
            integration=self.case.integration,
            finding=finding.model_copy(update={"checked_at": now, "proved_at": now}),
            credential_version=status.credential_version,
        )
        mailing = findings.mailing_of(self.outside)
        _, is_due = findings.record(
            session, finding_report=report, elsewhere=elsewhere, mailing=mailing, now=now
        )
        return result, is_due

    def _is_as_it_was(self, session: Session, status: Status) -> bool:
        """Whether the connection still holds what it held when the attempt began, and is still the one."""
        if self.attempt.conn_id != self.case.target_conn_id:
            return False
        if self.attempt.fingerprint is None:
            return status.credential_version == self.attempt.credential_version
        ssh = stored_credential(session, self.attempt.conn_id)
        return ssh is not None and tunnel_fingerprint(ssh) == self.attempt.fingerprint

    def _write(self, session: Session, event: Event, result: Result) -> None:
        audit.write(
            session,
            event,
            self.case.concerning,
            self.visitor,
            now=self.outside.now(),
            way=self.attempt.way.value,
            outcome=result.outcome.value,
            rule=result.finding.rule if result.finding is not None else None,
        )

    def check(self, prepared: CheckResponse) -> Finding:
        """Check the present credential with what the app has prepared for it, by the rule of every check.

        It must lead to the registry's account, if that names one: nothing is replaced here.

        :raises MisconfiguredError: there is no connection
        """
        if prepared.token_evidence is not None:
            return self.judged(prepared.token_evidence)
        candidate = self.candidate({}, prepared.access_token)
        return self.outside.verify(replace(candidate, account=self.case.integration.account))

    def report_check(self, prepared: CheckResponse, finding: Finding) -> Result:
        """Store what checking the present credential has found, and that this was the attempt's end."""
        report = FindingReport(
            integration=self.case.integration,
            finding=finding,
            credential_version=prepared.credential_version,
        )
        receipt = findings.report(report, self.outside)
        result = verified(finding, expected_account=self.case.integration.account)
        if receipt.credential_replaced:
            result = Result(outcome=Outcome.REPLACED)
        elif result.outcome is Outcome.SAVED:
            result = result.model_copy(update={"outcome": Outcome.WORKS})
        transact(partial(self._store_check, result=result))
        return result

    def _store_check(self, session: Session, *, result: Result) -> None:
        requests.finish(session, self.attempt, result, now=self.outside.now())
        self._write(session, Event.CHECKED, result)


def faulty_set_up(error: MisconfiguredError) -> Result:
    """Say that an engineer has to put something right first."""
    return Result(outcome=Outcome.MISCONFIGURED, words=redact(str(error), limit=300))


def _refusal(answer: Callback, expected: str | None) -> Result | None:
    """Say why there is no code to trade; None where there is one."""
    if answer.problem is not None:
        return Result(outcome=Outcome.MISCONFIGURED, words=answer.problem)
    if answer.error is not None:
        outcome = _OF_AUTHORIZATION_ERROR.get(answer.error, Outcome.MISCONFIGURED)
        words = ": ".join(filter(None, (redact(answer.error, limit=100), answer.error_description)))
        return Result(outcome=outcome, words=words)
    if answer.account and expected and answer.account != expected:
        return Result(outcome=Outcome.WRONG_ACCOUNT, found_account=answer.account, expected_account=expected)
    return None
