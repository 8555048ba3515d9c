"""What holds for any API: the words that many of them share, whatever their status says."""

from __future__ import annotations

from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.catalogue.loader import LoadedType
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.verdict import Verdict
from tests.checking import OAUTH, a_type

APIS = {name: loaded for name, loaded in catalogue.load_all().items() if loaded.model.kind == "http"}
OWNED = (Verdict.NEEDS_REAUTH, Verdict.NEEDS_REFRESH)
every_api = pytest.mark.parametrize("type_id", sorted(APIS))


def not_ok(word: str, status: int = 200, **more: Any) -> Evidence:
    return Evidence(endpoint=Endpoint.PROBE, status_code=status, body={"ok": False, "error": word, **more})


@every_api
@pytest.mark.parametrize(
    "word", ["invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"]
)
def test_a_dead_login_at_http_200_is_found_dead(type_id: str, word: str) -> None:
    """Of what a machine can refresh, the refresh decides."""
    found = APIS[type_id].classify(not_ok(word))
    assert found.verdict in OWNED
    assert (found.verdict is Verdict.NEEDS_REAUTH) or APIS[type_id].model.oauth is not None


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
