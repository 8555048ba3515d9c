from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbi_reauth import catalogue
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.verdict import Cause, Finding, Verdict
from mbi_reauth.probes.candidate import (
    LONGEST_MESSAGE,
    Candidate,
    as_extra,
    as_message,
    candidate_in,
    finding_in,
    try_out,
)
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.integration import Subject
from tests.checking import NOON, OAUTH, MadeUpType, a_credential, a_type, an_integration
from tests.loopback import reply, serving

PASSWORD = "fake-password-of-a-candidate"
TOKEN = "fake-access-token"
SSH_PASSWORD = "fake-password-of-the-ssh-login"
SSH = Credential("bastion", "ssh", host="192.0.2.7", login="dana", password=SSH_PASSWORD)
DATABASE = catalogue.load("postgresql_ssh").model


def a_candidate(*, access_token: str | None = None, account: str | None = None, **fields: Any) -> Candidate:
    return Candidate(
        integration=an_integration(),
        credential=a_credential(**{"password": PASSWORD, **fields}),
        access_token=access_token,
        account=account,
    )


def tried(candidate: Candidate, model: Any, **options: Any) -> Finding:
    loaded: Any = MadeUpType(model)
    return try_out(candidate, now=lambda: NOON, load=lambda _: loaded, **options)


class Asked:
    """Stands in for the probe: keeps what it was asked with, and answers or raises."""

    def __init__(self, answer: Evidence | Exception | None = None) -> None:
        self.answer = answer or Evidence(endpoint=Endpoint.PROBE, status_code=200)
        self.subjects: list[Subject] = []
        self.tokens: list[str | None] = []

    async def __call__(
        self, subject: Subject, *, access_token: str | None = None, timeout: float = 10
    ) -> Evidence:
        self.subjects.append(subject)
        self.tokens.append(access_token)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("200 OK", Verdict.AUTHORIZED),
        ("410 Gone", Verdict.NEEDS_REAUTH),
        ("503 Down", Verdict.UNAVAILABLE),
        ("418 Tea", Verdict.INDETERMINATE),
    ],
)
def test_the_third_partys_answer_decides(status: str, verdict: Verdict) -> None:
    with serving(reply(status, body=b"{}")) as server:
        assert tried(a_candidate(host=server.url), a_type()).verdict is verdict
    assert f"bearer {PASSWORD}".encode() in server.requests[0].lower()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("account", "cause"),
    [
        (None, Cause.AUTHORIZED),
        ("Shop North", Cause.AUTHORIZED),
        ("Shop South", Cause.ACCOUNT_UNLINKED),
    ],
)
def test_it_must_lead_to_the_account_that_is_asked_for(account: str | None, cause: Cause) -> None:
    with serving(reply(body=b'{"shop": "Shop North"}')) as server:
        candidate = a_candidate(host=server.url, account=account)
        finding = tried(candidate, a_type(probe={"account": "shop"}))
    assert (finding.cause, finding.account) == (cause, "Shop North")


@pytest.mark.parametrize(
    ("given_token", "stored", "used"), [(TOKEN, "older", TOKEN), (None, "stored", "stored")]
)
def test_an_access_token_that_was_just_granted_is_tried_before_a_stored_one(
    given_token: str | None, stored: str, used: str
) -> None:
    asked = Asked()
    tried(
        a_candidate(access_token=given_token, extra={"access_token": stored}),
        a_type(oauth=OAUTH),
        probe=asked,
    )
    assert asked.tokens == [used]


def test_without_an_access_token_nothing_is_asked() -> None:
    asked = Asked()
    finding = tried(a_candidate(), a_type(oauth=OAUTH), probe=asked)
    assert finding.rule == "check.no_token"
    assert asked.subjects == []


def test_a_database_behind_an_ssh_server_is_asked_through_it() -> None:
    asked = Asked()
    credential = a_credential(extra={"ssh_conn_id": "bastion"})
    candidate = Candidate(integration=an_integration(), credential=credential, ssh=SSH)
    tried(candidate, DATABASE, probe=asked)
    assert asked.subjects[0].ssh == SSH


def test_a_database_behind_an_ssh_server_is_never_asked_without_it() -> None:
    asked = Asked()
    finding = tried(a_candidate(extra={"ssh_conn_id": "bastion"}), DATABASE, probe=asked)
    assert finding.verdict is Verdict.MISCONFIGURED
    assert "bastion" in finding.explanation
    assert asked.subjects == []


@pytest.mark.parametrize(
    "error",
    [MisconfiguredError("no host; fill it in"), catalogue.CatalogueError("no type made_up")],
)
def test_what_an_engineer_can_put_right_is_said(error: Exception) -> None:
    finding = tried(a_candidate(), a_type(), probe=Asked(error))
    assert finding.verdict is Verdict.MISCONFIGURED
    assert finding.explanation == str(error)


def test_a_fault_of_ours_is_logged_without_secrets_and_says_nothing_about_the_credential(
    caplog: pytest.LogCaptureFixture,
) -> None:
    finding = tried(a_candidate(), a_type(), probe=Asked(RuntimeError(f"cannot use {PASSWORD}")))
    assert finding.verdict is Verdict.INDETERMINATE
    assert "RuntimeError: cannot use ***" in caplog.text
    assert PASSWORD not in caplog.text + finding.model_dump_json()


def test_it_can_be_tried_in_an_event_loop_too() -> None:
    async def within() -> Finding:
        return tried(a_candidate(), a_type(), probe=Asked())

    assert asyncio.run(within()).verdict is Verdict.AUTHORIZED


def test_nothing_of_it_shows_in_its_text() -> None:
    candidate = Candidate(
        integration=an_integration(),
        credential=a_credential(password=PASSWORD, extra={"client_secret": "fake-client-secret"}),
        ssh=SSH,
        access_token=TOKEN,
    )
    for secret in (PASSWORD, "fake-client-secret", SSH_PASSWORD, TOKEN):
        assert secret not in repr(candidate)
        assert candidate.secrets.hide(f"<{secret}>") == "<***>"


# to a worker and back


def test_a_worker_gets_the_same_candidate() -> None:
    candidate = Candidate(
        integration=an_integration(
            type="postgresql_ssh",
            tables=[{"name": "shop.orders", "watermark": "updated_at"}],
            expires_at="2027-03-01",
        ),
        credential=a_credential(port=5432, extra={"ssh_conn_id": "bastion", "deep": {"list": [1, None]}}),
        ssh=SSH,
        access_token=TOKEN,
        account="shop",
    )
    assert candidate_in(json.loads(json.dumps(as_extra(candidate)))) == candidate


def test_a_connection_of_anybody_else_carries_none() -> None:
    assert candidate_in({"integration_type": "zendesk"}) is None


def test_a_candidate_of_another_version_is_for_the_engineer_and_is_not_repeated() -> None:
    with pytest.raises(MisconfiguredError) as raised:
        candidate_in({"mbi_reauth_candidate": {"secret_of_tomorrow": PASSWORD}})
    assert PASSWORD not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


texts = st.text(max_size=3000)


@given(
    st.builds(
        Finding,
        cause=st.sampled_from(Cause),
        rule=st.from_regex(r"[a-z_]{1,40}\.[a-z_]{1,60}", fullmatch=True),
        explanation=texts,
        vendor_words=st.none() | texts,
        account=st.none() | st.text(max_size=100),
        facts=st.dictionaries(st.text(max_size=40), st.text(max_size=200), max_size=10),
    )
)
def test_every_finding_fits_into_a_message_and_what_decides_arrives(finding: Finding) -> None:
    message = as_message(finding)
    assert len(message) <= LONGEST_MESSAGE
    arrived = finding_in(message)
    assert arrived is not None
    assert (arrived.cause, arrived.rule, arrived.account) == (finding.cause, finding.rule, finding.account)


def test_a_usual_finding_arrives_unchanged() -> None:
    finding = Finding(
        cause=Cause.CREDENTIALS_REJECTED,
        rule="made_up.rejected",
        explanation="The saved password is not accepted.",
        vendor_words="Nee, zo niet: é",
        retry_after=30,
        expires_at=NOON,
        facts={"plan": "basic"},
    )
    assert finding_in(as_message(finding)) == finding


def test_a_finding_that_cannot_fit_is_not_cut_in_two() -> None:
    finding = Finding(cause=Cause.AUTHORIZED, rule="made_up.ok", explanation="", account="a" * 3000)
    arrived = finding_in(as_message(finding))
    assert arrived is not None
    assert arrived.verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize("message", [None, "", "Authorized.", '{"cause": "auth', '{"cause": "authorized"}'])
def test_other_words_are_no_finding(message: str | None) -> None:
    assert finding_in(message) is None
