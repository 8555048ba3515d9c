"""What the owner does on the page: open it, begin, enter or consent, and see how it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from anyio import CapacityLimiter, to_thread
from sqlalchemy.orm import Session

from mbi_reauth.api.datamodels import CheckRequest
from mbi_reauth.api.services import audit, checks, requests
from mbi_reauth.api.services.audit import Event, Visitor
from mbi_reauth.api.services.cases import Case, find_case
from mbi_reauth.api.services.credentials import present_version
from mbi_reauth.api.services.entering import entered
from mbi_reauth.api.services.links import Link
from mbi_reauth.api.services.renewal import Params, Renewal, faulty_set_up, redirect_uri
from mbi_reauth.api.services.requests import Attempt, Beginning
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.core.reauthorization import FieldFault, Outcome, Result, Way
from mbi_reauth.core.verdict import Verdict
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.probes.consent import authorization_url
from mbi_reauth.probes.credential import MisconfiguredError

VERIFYING = CapacityLimiter(16)
"""Apart from the threads in which Airflow serves its tasks: a verification may take most of a minute."""

_FORM_AGAIN = frozenset({Outcome.REFUSED, Outcome.WRONG_ACCOUNT, Outcome.UNAVAILABLE, Outcome.UNVERIFIED})


class SessionOverError(Exception):
    """There is no attempt of this browser, or it is over."""


class NotOfferedError(Exception):
    """What was asked for is not what the page offers."""


class NotAllowedError(Exception):
    """Whoever is signed in to Airflow may not change the connection."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """An attempt: the browser's secret, and where consent is asked for, or None where the page goes on."""

    case: Case
    way: Way
    secret: str
    locale: str
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form as it is to be shown: with what was typed, but for secrets, and what is wrong with that."""

    case: Case
    locale: str
    typed: Mapping[str, str]
    faults: Mapping[str, FieldFault]
    refusal: Result | None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An attempt that has been taken up; ``result`` is None while it goes on.

    ``secret`` is that of the next attempt, where the form is shown again.
    """

    case: Case
    way: Way
    locale: str
    result: Result | None
    secret: str | None = None


def look_up(link: Link, visitor: Visitor, outside: Surroundings) -> Case | None:
    """Find what a link is about, for its page; that somebody looked is all that is stored.

    None also where the page could only say that all is well, while by now it is lost anew.

    :raises NotAllowedError: they may not act on it
    """
    case = _find(link, visitor, outside)
    if case is not None:
        work = partial(audit.write, event=Event.OPENED, concerning=case.concerning, visitor=visitor)
        transact(partial(work, now=outside.now()))
    return None if case is not None and case.lost_anew else case


def _find(link: Link, visitor: Visitor, outside: Surroundings) -> Case | None:
    case = find_case(link, outside)
    if case is not None and not visitor.may_change(case.target_conn_id):
        raise NotAllowedError(case.target_conn_id)
    return case


def begin(link: Link, way: Way, visitor: Visitor, outside: Surroundings) -> Begun | None:
    """Open an attempt; None where there is nothing to renew any more.

    :raises NotOfferedError: the page offers no such way now
    :raises NotAllowedError: the visitor may not act on it
    """
    case = _find(link, visitor, outside)
    if case is None or not case.is_open:
        return None
    if way not in case.ways:
        raise NotOfferedError(way.value)
    locale = visitor.locale or case.integration.owner.locale
    secret = transact(partial(_open, case=case, way=way, locale=locale, visitor=visitor, outside=outside))
    begun = Begun(case=case, way=way, secret=secret, locale=locale)
    return _with_address(begun, visitor, outside) if way is Way.CONSENT else begun


def _open(
    session: Session, *, case: Case, way: Way, locale: str, visitor: Visitor, outside: Surroundings
) -> str:
    secret = _begin_request(session, case.beginning(way, locale=locale), case, visitor, outside)
    now = outside.now()
    audit.write(session, Event.BEGUN, case.concerning, visitor, now=now, way=way.value)
    return secret


def _begin_request(
    session: Session, beginning: Beginning, case: Case, visitor: Visitor, outside: Surroundings
) -> str:
    now = outside.now()
    # Who has changed the connection since the last check has not done so while this attempt is under way.
    version = present_version(session, case.integration, case.own_elsewhere, now=now)
    return requests.begin(session, replace(beginning, credential_version=version), visitor, now=now)


def _with_address(begun: Begun, visitor: Visitor, outside: Surroundings) -> Begun:
    case = begun.case
    if case.stored is None:
        raise NotOfferedError(begun.way.value)
    try:
        address = authorization_url(
            case.integration_type,
            case.stored.credential,
            case.integration,
            redirect_uri=redirect_uri(case.integration.type),
            state=requests.state_of(begun.secret),
            code_verifier=requests.verifier_of(begun.secret),
        )
    except MisconfiguredError as error:
        renewal = _begun(begun, visitor, outside)
        if renewal is not None:
            renewal.conclude(faulty_set_up(error))
        return begun
    return replace(begun, address=address)


def form(visitor: Visitor, outside: Surroundings) -> Form | Ended:
    """Show the form of this browser's attempt.

    :raises SessionOverError: there is none
    """
    attempt, case = _attempt(visitor, outside, Way.FORM)
    if attempt.used_at is not None:
        return _ended(attempt, case, outside)
    typed = _without_secrets(case, case.target.credential.get) if case.target is not None else {}
    return Form(case=case, locale=attempt.locale, typed=typed, faults={}, refusal=attempt.refusal)


def submit(typed: Mapping[str, str], visitor: Visitor, outside: Surroundings) -> Form | Ended:
    """Try what was typed into the form; save it if the third party accepts it.

    :raises SessionOverError: there is no attempt of this browser
    """
    attempt, case = _attempt(visitor, outside, Way.FORM)
    if attempt.used_at is not None:
        return _ended(attempt, case, outside)
    changes, faults = entered(case.fields, typed, in_header=case.in_header)
    if faults:
        kept = _without_secrets(case, lambda name: typed.get(name, ""))
        return Form(case=case, locale=attempt.locale, typed=kept, faults=faults, refusal=None)
    renewal = _taken_up(attempt, case, visitor, outside)
    if renewal is None:
        return _ended(attempt, case, outside)
    if case.integration_type.oauth is not None:
        changes.setdefault("access_token", None)  # which would be used instead of what was entered
    result = renewal.with_values(changes)
    secret = None
    if result.outcome in _FORM_AGAIN:
        again = case.beginning(Way.FORM, locale=attempt.locale, refusal=result)
        open_again = partial(_begin_request, beginning=again, case=case, visitor=visitor, outside=outside)
        secret = transact(open_again)
    return Ended(case=case, way=Way.FORM, locale=attempt.locale, result=result, secret=secret)


def take_back(type_id: str, params: Params, visitor: Visitor, outside: Surroundings) -> Ended:
    """Take the authorization server's answer (RFC 6749 section 4.1.2), and save what comes of it.

    :param type_id: whose redirect URI it came to
    :raises SessionOverError: it does not belong to an attempt of this browser
    """
    state = dict(params).get("state", "")
    attempt, case = _attempt(visitor, outside, Way.CONSENT)
    if not requests.is_state_of(visitor.secret or "", state):
        raise SessionOverError
    if case.integration.type != type_id:
        raise SessionOverError
    renewal = _taken_up(attempt, case, visitor, outside)
    if renewal is None:
        return _ended(attempt, case, outside)
    return Ended(case=case, way=Way.CONSENT, locale=attempt.locale, result=renewal.with_answer(params))


def outcome(visitor: Visitor, outside: Surroundings) -> Ended:
    """Tell how this browser's attempt ended.

    :raises SessionOverError: there is none that has been taken up
    """
    attempt, case = _attempt(visitor, outside, None)
    if attempt.used_at is None:
        raise SessionOverError
    return _ended(attempt, case, outside)


def _attempt(visitor: Visitor, outside: Surroundings, way: Way | None) -> tuple[Attempt, Case]:
    attempt = transact(partial(requests.find, secret=visitor.secret))
    if attempt is None or attempt.actor != visitor.user or (way is not None and attempt.way is not way):
        raise SessionOverError
    if attempt.used_at is None and not attempt.is_usable(now=outside.now()):
        raise SessionOverError
    case = _find(attempt.link, visitor, outside)
    if case is None:
        raise SessionOverError
    return attempt, case


def _begun(begun: Begun, visitor: Visitor, outside: Surroundings) -> Renewal | None:
    attempt = transact(partial(requests.find, secret=begun.secret))
    return _taken_up(attempt, begun.case, visitor, outside) if attempt is not None else None


def _taken_up(attempt: Attempt, case: Case, visitor: Visitor, outside: Surroundings) -> Renewal | None:
    """Use the attempt; None where somebody else does, such as the first of two clicks."""
    if not transact(partial(requests.take_up, attempt=attempt, now=outside.now())):
        return None
    return Renewal(attempt=attempt, case=case, visitor=visitor, outside=outside)


def _ended(attempt: Attempt, case: Case, outside: Surroundings) -> Ended:
    result = attempt.result_at(now=outside.now())
    return Ended(case=case, way=attempt.way, locale=attempt.locale, result=result)


def _without_secrets(case: Case, value_of: Callable[[str], str]) -> dict[str, str]:
    return {name: value_of(name) for name, field in case.fields.items() if not field.secret}


async def check(begun: Begun, visitor: Visitor, outside: Surroundings) -> None:
    """Check the present credential, which may have been put right where we do not see it."""
    renewal = await to_thread.run_sync(_begun, begun, visitor, outside)
    if renewal is None:
        return
    try:
        await _check_with(renewal, outside)
    except MisconfiguredError as error:
        await to_thread.run_sync(renewal.conclude, faulty_set_up(error))


async def _check_with(renewal: Renewal, outside: Surroundings) -> None:
    request = CheckRequest(integration=renewal.case.integration)
    prepared = await checks.prepare(request, outside)
    finding = await to_thread.run_sync(renewal.check, prepared, limiter=VERIFYING)
    if finding.verdict is Verdict.NEEDS_REFRESH and prepared.access_token:
        digest = hashlib.sha256(prepared.access_token.encode()).hexdigest()
        prepared = await checks.prepare(request.model_copy(update={"refused_token": digest}), outside)
        finding = await to_thread.run_sync(renewal.check, prepared, limiter=VERIFYING)
    await to_thread.run_sync(renewal.report_check, prepared, finding)
