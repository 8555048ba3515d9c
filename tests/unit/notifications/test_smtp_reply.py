"""Which refusals speak of the recipient's address: only those may end the attempts to write to somebody."""

from __future__ import annotations

import pytest

from mbi_reauth.notifications.reply import Reply

NO_SUCH_ADDRESS = [
    b"550 5.1.1 <dana@example.com>: Recipient address rejected: User unknown in local recipient table",
    b"550 5.1.0 Address rejected.",
    b"550 5.1.2 <dana@example.test>: Recipient address rejected: Domain not found",
    b"501 5.1.3 Bad recipient address syntax",
    b"550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
    b"556 5.1.10 Recipient address has null MX",
    b"550 5.2.1 The email account that you tried to reach is disabled",
    b"550-5.1.1 The email account that you tried to reach does not exist.\n5.1.1 Please try again",
    b"550 #5.1.0 Address rejected.",
    b"550 sorry, no mailbox here by that name. (#5.1.1)",
    b"550 Unrouteable address",
    b"550",
    b"551 User not local; please try <dana@example.org>",
    b"553 mailbox name not allowed",
    b"556 Domain does not accept mail",
]
NOT_THE_ADDRESS = [
    b"450 4.1.1 <dana@example.com>: Recipient address rejected: unverified address",
    b"450 mailbox unavailable",
    b"451 4.7.1 Greylisting in action, please come back later",
    b"452 4.2.2 Mailbox full",
    b"552 5.2.2 Mailbox full",
    b"552 Mailbox full",
    b"554 5.7.1 <dana@example.com>: Relay access denied",
    b"554 Transaction failed",
    b"550 5.7.1 Unable to relay",
    b"550 5.4.1 Recipient address rejected: Access denied",
    b"550 #5.7.1 Your access to submit messages to this e-mail system has been rejected.",
    b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
    b"550 relay not permitted",
    b"550 Sender verify failed",
    b"550 authentication required",
    b"550 Administrative prohibition",
    b"550 192.0.2.1 is listed at blocklist.example",
    b"530 5.7.0 Authentication required",
    b"550 5.1.8 <airflow@example.test>: Sender address rejected: Domain not found",
    b"553 5.1.7 The sender's address was syntactically invalid",
    b"550 4.1.1 said in two ways",
    b"503 5.5.1 Error: need MAIL command",
    b"421 4.3.2 Service shutting down",
    b"250 2.1.5 OK",
]


def reply(line: bytes) -> Reply:
    return Reply(int(line[:3]), line[4:])


@pytest.mark.parametrize("line", NO_SUCH_ADDRESS)
def test_a_permanent_refusal_of_the_address_is_one(line: bytes) -> None:
    assert reply(line).refuses_address


@pytest.mark.parametrize("line", NOT_THE_ADDRESS)
def test_what_may_pass_or_speaks_of_us_does_not_refuse_the_address(line: bytes) -> None:
    assert not reply(line).refuses_address


@pytest.mark.parametrize("code", [200, 250, 251, 252])
def test_every_reply_of_the_second_hundred_accepts(code: int) -> None:
    assert Reply(code, b"OK").accepted


@pytest.mark.parametrize("code", [-1, 199, 354, 421, 550])
def test_no_other_reply_accepts(code: int) -> None:
    assert not Reply(code, b"").accepted


def test_a_reply_is_shown_on_one_line_without_what_looks_secret() -> None:
    shown = str(Reply(502, b"5.5.2 What?\nAUTH PLAIN AGRhbmEAZmFrZS1wYXNzd29yZA==\xff"))
    assert shown == "502 5.5.2 What? AUTH PLAIN ***\N{REPLACEMENT CHARACTER}"
