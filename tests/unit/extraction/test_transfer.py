"""One request and its answer: pauses, refusals, bounds, and secrets kept out of messages."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterator

import pytest
import requests

from mbi_reauth import catalogue
from mbi_reauth.extraction import transfer as transfer_module
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.transfer import Request, Transfer
from tests.unit.extraction.third_party import Reply, ThirdParty, read, resource, rows


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_a_pause_is_as_long_as_the_third_party_asks(
    party: ThirdParty, transfer: Transfer, pauses: list[float], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    replies = iter([(status, {"Retry-After": "7"}, {}), (200, {}, {"rows": rows(1)})])
    party.answer = lambda _: next(replies)
    with caplog.at_level(logging.WARNING):
        assert read(transfer, resource(party, {"style": "none"})) == [1]
    assert pauses == [7.0]
    assert f"HTTP {status}; asking again in 7.0 s" in caplog.text


@pytest.mark.parametrize(
    "bad", [(503, {}, {}), (200, {}, b"<html>busy</html>"), (200, {"Content-Length": "99"}, b"{")]
)
def test_what_is_no_answer_is_asked_again_with_growing_pauses(
    party: ThirdParty, transfer: Transfer, pauses: list[float], bad: Reply
) -> None:
    replies = iter([bad, bad, (200, {}, {"rows": rows(1)})])
    party.answer = lambda _: next(replies)
    assert read(transfer, resource(party, {"style": "none"})) == [1]
    assert 1 <= pauses[0] < pauses[1] <= 4


@pytest.mark.parametrize("retry_after", ["0", "soon", "Fri, 01 Jan 2021 00:00:00 GMT"])
def test_a_pause_of_nothing_is_not_taken_at_its_word(
    party: ThirdParty, transfer: Transfer, pauses: list[float], retry_after: str
) -> None:
    replies = iter([(429, {"Retry-After": retry_after}, {}), (200, {}, {"rows": rows(1)})])
    party.answer = lambda _: next(replies)
    assert read(transfer, resource(party, {"style": "none"})) == [1]
    assert pauses[0] >= 1


@pytest.fixture
def judging(pauses: list[float]) -> Iterator[Callable[[str], Transfer]]:
    with requests.Session() as session:
        session.trust_env = False
        yield lambda type_id: Transfer(
            session, what="Shop", judge=catalogue.load(type_id).classify, sleep=pauses.append
        )


THROTTLES: list[tuple[str, Reply]] = [
    ("facebook_ads", (400, {}, {"error": {"code": 17, "message": "fake-secret", "type": "OAuthException"}})),
    ("salesforce", (403, {}, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "fake-secret"}])),
    ("mixpanel", (400, {}, {"error": "Query rate limit exceeded", "status": "error"})),
]


@pytest.mark.parametrize(("type_id", "refusal"), THROTTLES)
def test_a_throttle_that_only_its_vendor_calls_so_is_waited_out(
    party: ThirdParty,
    judging: Callable[[str], Transfer],
    pauses: list[float],
    caplog: pytest.LogCaptureFixture,
    type_id: str,
    refusal: Reply,
) -> None:
    replies = iter([refusal, (200, {}, {"rows": rows(1)})])
    party.answer = lambda _: next(replies)
    with caplog.at_level(logging.WARNING):
        assert read(judging(type_id), resource(party, {"style": "none"})) == [1]
    assert len(pauses) == 1
    assert f"Shop: HTTP {refusal[0]}, " in caplog.text
    assert "fake-secret" not in caplog.text


def test_a_refusal_of_the_credential_says_what_its_vendor_means_by_it(
    party: ThirdParty, judging: Callable[[str], Transfer], pauses: list[float]
) -> None:
    error = {"code": 190, "error_subcode": 460, "type": "OAuthException", "message": "fake-secret"}
    party.answer = lambda _: (400, {}, {"error": error})
    with pytest.raises(ExtractionError, match=r"HTTP 400, .*password.* credential was refused") as raised:
        read(judging("facebook_ads"), resource(party, {"style": "none"}))
    assert "fake-secret" not in str(raised.value)
    assert pauses == []


def test_asking_again_has_an_end(party: ThirdParty, transfer: Transfer, pauses: list[float]) -> None:
    party.answer = lambda _: (503, {}, {})
    with pytest.raises(ExtractionError, match="HTTP 503"):
        read(transfer, resource(party, {"style": "none"}))
    assert len(pauses) == transfer_module.ATTEMPTS - 1


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ((429, {"Retry-After": "3600"}, {}), "asks to wait 3600 s"),
        ((401, {}, {}), "credential was refused"),
        ((403, {}, {}), "credential was refused"),
        ((404, {}, {}), "HTTP 404"),
        ((302, {"Location": "http://127.0.0.1:9/"}, {}), "HTTP 302"),
        ((200, {}, {"error": "soft"}), "no list at 'rows'; the answer has error"),
        ((200, {}, {"rows": {"id": 1}}), "no list at 'rows'"),
        ((200, {}, [1]), "the answer has list"),
    ],
)
def test_what_asking_again_cannot_mend_fails_at_once(
    party: ThirdParty, transfer: Transfer, pauses: list[float], reply: Reply, says: str
) -> None:
    party.answer = lambda _: reply
    with pytest.raises(ExtractionError, match=says):
        read(transfer, resource(party, {"style": "none"}))
    assert pauses == []
    assert len(party.asked) == 1


def test_an_address_with_a_secret_is_in_no_message(
    transfer: Transfer, caplog: pytest.LogCaptureFixture
) -> None:
    request = Request("GET", "http://127.0.0.1:9/rows?access_token=fake-secret")
    with caplog.at_level(logging.INFO), pytest.raises(ExtractionError) as raised:
        transfer.ask(request)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert "fake-secret" not in f"{raised.value}{caplog.text}"


def test_a_page_larger_than_memory_should_hold_is_refused(
    party: ThirdParty, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_module, "MAX_BODY", 1 << 20)
    bomb = gzip.compress(b" " * (2 << 20))
    party.answer = lambda _: (200, {"Content-Encoding": "gzip"}, bomb)
    with pytest.raises(ExtractionError, match="more than 1 MiB"):
        read(transfer, resource(party, {"style": "none"}))
