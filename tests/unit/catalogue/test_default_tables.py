"""What holds for any API: the words that many of them share, whatever their status says."""

from __future__ import annotations

from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.catalogue.loader import LoadedType
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.verdict import Certainty, Verdict
from tests.checking import OAUTH, a_type

APIS = {name: loaded for name, loaded in catalogue.load_all().items() if loaded.model.kind == "http"}
OWNED = (Verdict.NEEDS_REAUTH, Verdict.NEEDS_REFRESH)
every_api = pytest.mark.parametrize("type_id", sorted(APIS))


def refused(status: int, **more: Any) -> Evidence:
    return Evidence(endpoint=Endpoint.PROBE, status_code=status, **more)


def not_ok(word: str, status: int = 200, **more: Any) -> Evidence:
    return Evidence(endpoint=Endpoint.PROBE, status_code=status, body={"ok": False, "error": word, **more})


DEAD_LOGINS = ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive")
STRANGERS = [
    *(not_ok(word) for word in DEAD_LOGINS),
    not_ok("not_authed", 403),
    not_ok("missing_scope"),
    refused(403, body={"error": "insufficient_scope", "scope": "x"}),
    refused(403, body={"error": {"code": "insufficient_scope"}}),
    refused(403, headers={"WWW-Authenticate": 'Bearer realm="corp", error="insufficient_scope"'}, body={}),
    refused(400, body={"error": "invalid_token", "error_description": "Token verification failed"}),
]
UNREFRESHABLE_STRANGERS = [
    not_ok("not_authed", 401),
    refused(401, body={"error": "invalid_token"}),
    refused(401, body={"error": "invalid_token", "error_description": "Token verification failed"}),
    refused(401, headers={"WWW-Authenticate": 'Bearer realm="corp", error="invalid_token"'}, body={"x": 1}),
]


@every_api
@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda each: f"{each.body} {each.headers}")
def test_a_vendor_with_an_error_model_of_its_own_is_not_judged_by_another_apis_words(
    type_id: str, stranger: Evidence
) -> None:
    assert APIS[type_id].model.error_model == "closed"
    assert APIS[type_id].classify(stranger).verdict not in OWNED


@every_api
@pytest.mark.parametrize("stranger", UNREFRESHABLE_STRANGERS, ids=lambda each: f"{each.body} {each.headers}")
def test_at_a_401_such_words_ask_for_a_refresh_at_most(type_id: str, stranger: Evidence) -> None:
    found = APIS[type_id].classify(stranger)
    if type_id == "zendesk" and stranger.body == {"error": "invalid_token"}:
        # Its own word as well, so that a second look decides.
        assert (found.verdict, found.certainty) == (Verdict.NEEDS_REAUTH, Certainty.AMBIGUOUS)
        return
    assert found.verdict is not Verdict.NEEDS_REAUTH
    assert found.verdict is not Verdict.NEEDS_REFRESH or APIS[type_id].model.oauth is not None


@every_api
@pytest.mark.parametrize("status", [401, 403])
def test_a_bare_refusal_counts_all_the_same(type_id: str, status: int) -> None:
    found = APIS[type_id].classify(refused(status))
    assert found.verdict in OWNED
    assert found.verdict is Verdict.NEEDS_REFRESH or found.certainty is Certainty.AMBIGUOUS


@every_api
@pytest.mark.parametrize("word", ["ratelimited", "rate_limited", "fatal_error", "service_unavailable"])
def test_a_passing_fault_at_http_200_waits(type_id: str, word: str) -> None:
    assert APIS[type_id].classify(not_ok(word)).verdict is Verdict.UNAVAILABLE


@every_api
@pytest.mark.parametrize("word", ["channel_not_found", "surprise", ""])
def test_a_word_that_nobody_mapped_is_undecided(type_id: str, word: str) -> None:
    assert APIS[type_id].classify(not_ok(word)).verdict is Verdict.INDETERMINATE


@every_api
def test_an_answer_that_is_not_ok_proves_nothing_even_in_the_third_partys_shape(type_id: str) -> None:
    proofs = [
        sample.evidence.body
        for rule in APIS[type_id].model.rules
        for sample in rule.samples
        if rule.cause.value == "authorized" and isinstance(sample.evidence.body, dict)
    ]
    for proof in proofs:
        failed = Evidence(endpoint=Endpoint.PROBE, status_code=200, body={**proof, "ok": False})
        assert APIS[type_id].classify(failed).verdict is not Verdict.AUTHORIZED


PROOF = {
    "id": "anything",
    "when": {"status": [200], "has": ["user"]},
    "cause": "authorized",
    "because": "It answered.",
    "samples": [{"evidence": {"endpoint": "probe", "status_code": 200, "body": {"user": "x"}}}],
}


def test_a_sites_careless_rule_cannot_make_a_failure_a_proof() -> None:
    careless = LoadedType("careless", a_type(rules=[PROOF]))
    assert careless.classify(not_ok("invalid_auth", user="x")).cause.value == "credentials_rejected"
    assert careless.classify(not_ok("surprise", user="x")).verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize(
    ("word", "without_refresh", "with_refresh"),
    [
        ("invalid_auth", "credentials_rejected", "access_token_expired"),
        ("token_expired", "grant_expired", "access_token_expired"),
        ("token_revoked", "grant_revoked", "access_token_expired"),
        ("account_inactive", "user_deactivated", "user_deactivated"),
        ("missing_scope", "insufficient_scope", "insufficient_scope"),
        ("method_deprecated", "provider_sunset", "provider_sunset"),
    ],
)
def test_a_type_without_a_rule_of_its_own_gets_the_cause(
    word: str, without_refresh: str, with_refresh: str
) -> None:
    assert LoadedType("a", a_type()).classify(not_ok(word)).cause.value == without_refresh
    refreshable = LoadedType("a", a_type(oauth=OAUTH))
    assert refreshable.classify(not_ok(word)).cause.value == with_refresh


@pytest.mark.parametrize("more", [{}, {"oauth": OAUTH}], ids=["no refresh", "refresh"])
@pytest.mark.parametrize(
    ("word", "cause"),
    [
        *((word, "unknown") for word in (*DEAD_LOGINS, "missing_scope")),
        ("ratelimited", "rate_limited"),
        ("fatal_error", "provider_outage"),
        ("method_deprecated", "provider_sunset"),
    ],
)
def test_a_closed_error_model_keeps_of_the_shared_words_those_that_accuse_nobody(
    more: dict[str, Any], word: str, cause: str
) -> None:
    closed = LoadedType("a", a_type(error_model="closed", **more))
    assert closed.classify(not_ok(word)).cause.value == cause


@pytest.mark.parametrize("status", [429, 500, 503])
def test_no_word_outranks_a_status_that_asks_to_wait(status: int) -> None:
    assert LoadedType("a", a_type()).classify(not_ok("token_revoked", status)).verdict is Verdict.UNAVAILABLE


@pytest.mark.parametrize(
    "body",
    [
        {"error": "invalid_auth"},
        {"ok": True, "error": "invalid_auth"},
        {"ok": False, "message": "invalid_auth"},
        {"ok": False, "error": {"code": "invalid_auth"}},
        [{"ok": False}, {"error": "invalid_auth"}],
        '{"ok":false,"error":"invalid_auth"',
        "ok: false, error: invalid_auth",
    ],
    ids=str,
)
def test_half_of_the_shape_accuses_nobody(body: Any) -> None:
    evidence = Evidence(endpoint=Endpoint.PROBE, status_code=200, body=body)
    assert LoadedType("a", a_type()).classify(evidence).verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ({"ok": False, "error": "invalid_refresh_token"}, "grant_invalid"),
        ({"ok": False, "error": "token_revoked"}, "grant_invalid"),
        ({"ok": False, "error": "account_inactive"}, "user_deactivated"),
        ({"ok": False, "error": "bad_client_secret"}, "probe_misconfigured"),
        ({"ok": False, "error": "ratelimited"}, "rate_limited"),
        ({"ok": False, "error": "surprise"}, "unknown"),
    ],
    ids=str,
)
def test_a_token_endpoint_that_answers_200_is_read_by_its_word(body: dict[str, Any], cause: str) -> None:
    evidence = Evidence(endpoint=Endpoint.TOKEN, status_code=200, body=body)
    assert LoadedType("a", a_type(oauth=OAUTH)).classify(evidence).cause.value == cause
