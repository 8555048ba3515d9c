"""Mail over SMTP to real servers: what they take, what they refuse, and where they hang up."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mbi_reauth.notifications.smtp import AddressRefusedError, MailError, NoServerError, Outgoing, send
from tests.smtp import (
    HANG_UP,
    LOGIN,
    PASSWORD,
    SENDER,
    Answer,
    MailServer,
    connection,
    mail_server_saying,
)
from tests.tls import VouchedFor, self_signed, vouched_for

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

CONN_ID = "the_mail"
TEXT = "Beste Daniëlle,\n\n.\n..\nFrom here on:\tuw toestemming is verlopen — € 5\n" + "x" * 2000 + "\n"
HTML = "<p>Beste Daniëlle &amp; co,</p>\n<p>.</p>\n"
OFFERS_LOGIN = "250-mail.example.com\n250 AUTH PLAIN"

Connect = Callable[..., None]


def mail(to: str = "dana@example.com", *, number: int = 1) -> EmailMessage:
    message = EmailMessage()
    message["To"] = to
    message["Subject"] = "Actie vereist: Daniëlle"
    message["Message-ID"] = f"<mbi-reauth.{number}@example.com>"
    message.set_content(TEXT)
    message.add_alternative(HTML, subtype="html")
    return message


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Make Airflow's connection to a server on that port."""

    def make(port: int, **extra: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_THE_MAIL", connection(port, **extra))

    return make


@pytest.fixture
def server(connect: Connect) -> Iterator[MailServer]:
    with MailServer() as running:
        connect(running.port)
        yield running


@pytest.fixture(scope="module")
def certificate() -> VouchedFor:
    return vouched_for()


@pytest.fixture
def trusted(certificate: VouchedFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VouchedFor:
    """A certificate whose authority this process trusts."""
    path = tmp_path / "authority.pem"
    path.write_bytes(certificate.authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return certificate


def failure(message: EmailMessage | None = None) -> MailError:
    with pytest.raises(MailError) as raised:
        send(message or mail(), smtp_conn_id=CONN_ID)
    return raised.value


def test_a_mail_arrives_with_both_its_texts_as_they_were_composed(server: MailServer) -> None:
    send(mail("Daniëlle Example <dana@example.com>"), smtp_conn_id=CONN_ID)
    (received,) = server.mails
    assert (received.sender, received.recipients) == (SENDER, ("dana@example.com",))
    assert received.subject == "Actie vereist: Daniëlle"
    assert received.header("To") == "Daniëlle Example <dana@example.com>"
    assert received.header("From") == SENDER
    assert (received.text or "").replace("\r\n", "\n") == TEXT
    assert (received.html or "").replace("\r\n", "\n") == HTML


def test_a_server_of_seven_bits_gets_the_same_texts(connect: Connect) -> None:
    with MailServer(decode_data=True, enable_SMTPUTF8=False) as server:
        connect(server.port)
        send(mail(), smtp_conn_id=CONN_ID)
    assert server.contents[0].isascii()
    assert (server.mails[0].text or "").replace("\r\n", "\n") == TEXT


def test_a_text_that_looks_like_the_end_of_a_mail_is_text(server: MailServer) -> None:
    message = mail()
    message.clear_content()
    message.set_content("Hello\r\n.\r\nMAIL FROM:<eve@example.com>\r\n.\n.\r.\r\n")
    send(message, smtp_conn_id=CONN_ID)
    assert [mail.recipients for mail in server.mails] == [("dana@example.com",)]
    lines = ["Hello", ".", "MAIL FROM:<eve@example.com>", ".", ".", "."]
    assert (server.mails[0].text or "").splitlines() == lines


def test_an_international_address_reaches_a_server_that_takes_them(server: MailServer) -> None:
    send(mail("daniëlle@example.com"), smtp_conn_id=CONN_ID)
    assert server.mails[0].recipients == ("daniëlle@example.com",)


def test_an_international_address_is_not_tried_on_a_server_that_takes_none(connect: Connect) -> None:
    with mail_server_saying() as dialogue:
        connect(dialogue.port)
        error = failure(mail("daniëlle@example.com"))
    assert "SMTPUTF8" in str(error)
    assert not isinstance(error, AddressRefusedError)
    assert dialogue.times("MAIL") == 0


def test_a_line_break_in_a_header_never_reaches_the_server(connect: Connect) -> None:
    message = mail()
    message["X-Note"] = "=?utf-8?q?Hello=0D=0ABcc:_eve@example.com?="
    with mail_server_saying() as dialogue:
        connect(dialogue.port)
        failure(message)
    assert dialogue.times("MAIL") == 0
    assert not any(b"eve@" in line for line in dialogue.told)


def test_a_line_break_in_the_senders_name_never_reaches_the_server(connect: Connect) -> None:
    with mail_server_saying() as dialogue:
        connect(dialogue.port, from_email="airflow@example.com\r\nRCPT TO:<eve@example.com>")
        failure()
    assert dialogue.times("MAIL") == 0
    assert not any(b"eve@" in line for line in dialogue.told)


@pytest.mark.parametrize("fields", [{"from_email": ""}, {"from_email": None}])
def test_a_connection_without_a_sender_says_which_extra_is_missing(
    server: MailServer, connect: Connect, fields: dict[str, Any]
) -> None:
    connect(server.port, **fields)
    assert "set its extra 'from_email'" in str(failure())


def test_a_mail_without_a_recipient_is_not_sent(server: MailServer) -> None:
    message = mail()
    del message["To"]
    error = failure(message)
    assert "no recipient" in str(error)
    assert not isinstance(error, AddressRefusedError)


def test_a_missing_connection_is_named() -> None:
    with pytest.raises(MailError, match="'no_such_mail' cannot be used: SMTP connection is not found"):
        send(mail(), smtp_conn_id="no_such_mail")


def test_a_server_that_is_not_there_is_an_error_for_later(server: MailServer, connect: Connect) -> None:
    with MailServer() as gone:
        connect(gone.port)
    error = failure()
    assert "cannot be used" in str(error)
    assert isinstance(error, NoServerError)


@pytest.mark.parametrize(
    "fields", [{"timeout": "soon"}, {"timeout": 0}, {"host": ""}, {"host": "a" * 70}, {"retry_limit": -1}]
)
def test_a_connection_that_makes_no_sense_is_an_error_for_later(
    server: MailServer, connect: Connect, fields: dict[str, Any]
) -> None:
    connect(server.port, **fields)
    error = str(failure())
    assert "'the_mail' cannot be used" in error
    assert "Check the connection's host, port, login and extras" in error


@pytest.fixture
def guarded(connect: Connect) -> Iterator[MailServer]:
    """A server that wants a login, without TLS."""
    with MailServer(auth_required=True, auth_require_tls=False) as running:
        yield running


def test_the_right_login_is_let_in(guarded: MailServer, connect: Connect) -> None:
    connect(guarded.port, login=LOGIN, password=PASSWORD)
    send(mail(), smtp_conn_id=CONN_ID)
    assert len(guarded.mails) == 1


def test_a_wrong_password_says_what_to_correct_and_not_which_it_was(
    guarded: MailServer, connect: Connect
) -> None:
    connect(guarded.port, login=LOGIN, password="fake-and-wrong")
    error = failure()
    assert "535 5.7.8" in str(error)
    assert "Correct the connection's login and password" in str(error)
    assert "fake-and-wrong" not in everything_of(error)


def test_a_mail_without_the_login_that_is_wanted_does_not_refuse_the_address(
    guarded: MailServer, connect: Connect
) -> None:
    connect(guarded.port)
    error = failure()
    assert "530 5.7.0" in str(error)
    assert not isinstance(error, AddressRefusedError)


@pytest.mark.parametrize("login", [LOGIN, "da"])
@pytest.mark.parametrize("password", ["fake-password", "Fake1"])
def test_a_server_that_echoes_the_login_does_not_make_us_tell_it(
    connect: Connect, login: str, password: str
) -> None:
    heard: list[bytes] = []
    with mail_server_saying(
        EHLO=OFFERS_LOGIN, AUTH=lambda: f"501 5.5.2 {heard_line(heard)} {password}"
    ) as dialogue:
        heard = dialogue.told
        connect(dialogue.port, login=login, password=password)
        error = failure()
    encoded = heard_line(dialogue.told).split()[-1]
    assert (dialogue.times("AUTH"), dialogue.times("QUIT")) == (1, 1)
    assert password not in everything_of(error)
    assert encoded not in everything_of(error)


def heard_line(told: list[bytes]) -> str:
    return next(line.decode() for line in told if line.startswith(b"AUTH"))


def everything_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_a_password_that_cannot_be_sent_is_not_told(connect: Connect) -> None:
    with mail_server_saying(EHLO=OFFERS_LOGIN) as dialogue:
        connect(dialogue.port, login=LOGIN, password="fäke-password")
        error = failure()
    assert "characters other than ASCII" in str(error)
    assert "fäke" not in everything_of(error)
    assert "xe4" not in everything_of(error)
    assert error.__cause__ is None


def test_a_login_for_a_server_without_logins_is_not_sent(connect: Connect) -> None:
    with mail_server_saying() as dialogue:
        connect(dialogue.port, login=LOGIN, password=PASSWORD)
        assert "if it has no AUTH clear the login" in str(failure())
    assert dialogue.times("AUTH") == 0


def test_mail_goes_out_after_starttls(trusted: VouchedFor, connect: Connect) -> None:
    with MailServer(tls_context=trusted.server, require_starttls=True, auth_required=True) as server:
        connect(server.port, disable_tls=False, login=LOGIN, password=PASSWORD)
        send(mail(), smtp_conn_id=CONN_ID)
    assert len(server.mails) == 1


def test_mail_goes_out_over_tls_from_the_start(trusted: VouchedFor, connect: Connect) -> None:
    with MailServer(ssl_context=trusted.server) as server:
        connect(server.port, disable_ssl=False)
        send(mail(), smtp_conn_id=CONN_ID)
    assert len(server.mails) == 1


@pytest.mark.parametrize("disabled", ["disable_ssl", "disable_tls"])
def test_a_server_whose_certificate_nobody_vouches_for_is_told_no_password(
    connect: Connect, disabled: str
) -> None:
    secured = "tls_context" if disabled == "disable_ssl" else "ssl_context"
    extras = {"disable_ssl": False, "disable_tls": False, disabled: True}
    with MailServer({}, **{secured: self_signed()}) as server:
        connect(server.port, login=LOGIN, password=PASSWORD, **extras)
        error = failure()
    assert "Name the server as its certificate does" in str(error)
    assert (server.mails, server.logins) == ([], [])


def test_the_name_in_the_certificate_must_be_the_servers(trusted: VouchedFor, connect: Connect) -> None:
    with MailServer(tls_context=trusted.server) as server:
        connect(server.port, disable_tls=False, host="localhost")
        assert "Name the server as its certificate does" in str(failure())
    assert server.mails == []


def test_without_starttls_nothing_is_sent_in_the_open(connect: Connect) -> None:
    with mail_server_saying(EHLO=OFFERS_LOGIN) as dialogue:
        connect(dialogue.port, disable_tls=False, login=LOGIN, password=PASSWORD)
        assert "If it has no STARTTLS set the extra 'disable_tls'" in str(failure())
    assert (dialogue.times("AUTH"), dialogue.times("MAIL")) == (0, 0)


def test_tls_from_the_start_on_a_port_of_starttls_says_which_extra_to_set(
    server: MailServer, connect: Connect
) -> None:
    connect(server.port, disable_ssl=False)
    assert "for port 587 or 25 the extra 'disable_ssl'" in str(failure())


@pytest.mark.parametrize("answer", ["550 5.1.1 No such user", "550 No such user", "550 5.2.1 Disabled"])
def test_an_address_that_the_server_does_not_know_is_told_apart(connect: Connect, answer: str) -> None:
    with MailServer({"dana@example.com": [answer]}) as server:
        connect(server.port)
        error = failure()
    assert isinstance(error, AddressRefusedError)
    assert f"dana@example.com ({answer})" in str(error)
    assert server.mails == []


@pytest.mark.parametrize(
    "answer",
    [
        "554 5.7.1 Relay access denied",
        "550 relay not permitted",
        "452 4.2.2 Mailbox full",
        "552 5.2.2 Mailbox full",
        "450 4.2.0 Greylisted",
        "421 4.3.2 Shutting down",
    ],
)
def test_any_other_refusal_is_an_error_for_later(connect: Connect, answer: str) -> None:
    with MailServer({"dana@example.com": [answer]}) as server:
        connect(server.port)
        error = failure()
    assert not isinstance(error, AddressRefusedError)
    assert answer in str(error)
    assert server.mails == []


def test_what_was_refused_for_now_is_taken_later(connect: Connect) -> None:
    with MailServer({"dana@example.com": ["451 4.7.1 Greylisted"]}) as server:
        connect(server.port)
        failure()
        send(mail(), smtp_conn_id=CONN_ID)
    assert [mail.recipients for mail in server.mails] == [("dana@example.com",)]


def test_a_mail_that_some_recipients_get_is_sent_and_the_others_are_logged(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with MailServer({"team@example.com": ["550 5.1.1 No such user"]}) as server:
        connect(server.port)
        with caplog.at_level(logging.WARNING, logger="mbi_reauth"):
            send(mail("dana@example.com, team@example.com"), smtp_conn_id=CONN_ID)
    assert [mail.recipients for mail in server.mails] == [("dana@example.com",)]
    (record,) = [record for record in caplog.records if record.name.startswith("mbi_reauth")]
    assert record.levelno == logging.WARNING
    assert "team@example.com (550 5.1.1 No such user)" in record.getMessage()
    assert "dana@" not in record.getMessage()


@pytest.mark.parametrize(
    ("second", "for_good"), [("550 5.1.1 No such user", True), ("451 4.7.1 Greylisted", False)]
)
def test_several_recipients_are_refused_for_good_only_if_each_is(
    connect: Connect, second: str, for_good: bool
) -> None:
    answers = {"dana@example.com": ["550 5.1.1 No such user"], "team@example.com": [second]}
    with MailServer(answers) as server:
        connect(server.port)
        error = failure(mail("dana@example.com, team@example.com"))
    assert isinstance(error, AddressRefusedError) is for_good


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"greeting": "421 4.3.2 Too busy"}, "cannot be used: 421 4.3.2 Too busy"),
        ({"greeting": "554-5.3.2 No\n554 5.3.2 SMTP here"}, "cannot be used: 554 5.3.2 No 5.3.2 SMTP here"),
        ({"greeting": None}, "cannot be used: Unable to connect"),
        ({"EHLO": None}, "cannot be used"),
        ({"MAIL": "550 5.7.1 Not your sender"}, f"takes no mail from {SENDER}: 550 5.7.1 Not your sender"),
        ({"MAIL": "421 4.3.2 Shutting down"}, "421 4.3.2 Shutting down"),
        ({"MAIL": None}, "the mail was not sent"),
        ({"RCPT": None}, "the mail was not sent"),
        ({"DATA": "451 4.3.0 Out of order"}, "does not take the mail: 451 4.3.0 Out of order"),
        ({"dot": "554 5.6.0 Looks like spam"}, "does not take the mail: 554 5.6.0 Looks like spam"),
        ({"dot": "550 5.1.1 No such user"}, "does not take the mail: 550 5.1.1 No such user"),
        ({"DATA": None}, "may have gone out"),
        ({"line": None}, "may have gone out"),
        ({"dot": None}, "may have gone out"),
        ({"dot": "eh"}, "may have gone out"),
        ({"dot": "250 " + "x" * 9000}, "may have gone out"),
    ],
)
def test_wherever_the_server_refuses_or_hangs_up_it_is_an_error_for_later_and_nothing_is_repeated(
    connect: Connect, answers: dict[str, Answer | list[Answer]], words: str
) -> None:
    with mail_server_saying(**answers) as dialogue:
        connect(dialogue.port, retry_limit=2)
        error = failure()
    assert words in str(error)
    assert not isinstance(error, AddressRefusedError)
    assert dialogue.times("MAIL") <= 1
    assert dialogue.times("DATA") <= 1


def test_a_long_mail_cut_in_the_middle_may_have_gone_out(connect: Connect) -> None:
    message = mail()
    message.clear_content()
    message.set_content("All work and no play.\n" * 500_000)
    with mail_server_saying(line=None) as dialogue:
        connect(dialogue.port)
        assert "may have gone out" in str(failure(message))
    assert (dialogue.times("DATA"), dialogue.times("dot")) == (1, 0)


def test_a_positive_answer_of_any_kind_takes_the_mail(connect: Connect) -> None:
    with mail_server_saying(RCPT="252 2.5.0 Will try", dot="251 2.0.0 Kept elsewhere") as dialogue:
        connect(dialogue.port)
        send(mail(), smtp_conn_id=CONN_ID)
    assert dialogue.times("dot") == 1


def test_a_server_that_does_not_greet_at_once_is_asked_again_and_gets_one_mail(connect: Connect) -> None:
    with mail_server_saying(greeting=[None, None, "220 Here I am"]) as dialogue:
        connect(dialogue.port)
        send(mail(), smtp_conn_id=CONN_ID)
    assert (dialogue.clients, dialogue.times("dot")) == (3, 1)


def test_a_server_that_thinks_about_a_mail_for_longer_than_about_a_command_is_waited_for(
    connect: Connect,
) -> None:
    def slowly() -> str:
        Event().wait(1.5)
        return "250 2.0.0 Kept"

    with mail_server_saying(dot=slowly) as dialogue:
        connect(dialogue.port, timeout=1)
        send(mail(), smtp_conn_id=CONN_ID)
    assert dialogue.times("dot") == 1


def test_a_silent_server_does_not_hold_us_for_longer_than_the_connection_allows(connect: Connect) -> None:
    released = Event()

    def silent() -> str:
        released.wait(60)
        return "250 OK"

    with mail_server_saying(RCPT=silent) as dialogue:
        connect(dialogue.port, timeout=1)
        assert "the mail was not sent" in str(failure())
        released.set()


def test_many_mails_share_one_connection(server: MailServer) -> None:
    with Outgoing(CONN_ID) as outgoing:
        for number in range(20):
            outgoing.send(mail(number=number))
    assert len(server.mails) == 20
    assert len(set(server.clients)) == 1


def test_no_server_is_asked_before_there_is_a_mail() -> None:
    with Outgoing("no_such_mail"):
        pass


def test_the_server_is_told_when_there_is_no_further_mail(connect: Connect) -> None:
    with mail_server_saying() as dialogue:
        connect(dialogue.port)
        with Outgoing(CONN_ID) as outgoing:
            outgoing.send(mail())
            assert dialogue.times("QUIT") == 0
        assert dialogue.times("QUIT") == 1


def test_a_server_that_dislikes_the_farewell_has_taken_the_mail_all_the_same(connect: Connect) -> None:
    with mail_server_saying(QUIT=None) as dialogue:
        connect(dialogue.port)
        send(mail(), smtp_conn_id=CONN_ID)
    assert dialogue.times("dot") == 1


@pytest.mark.parametrize("last", ["250 2.0.0 Kept" + HANG_UP, "250 2.0.0 Kept\n421 4.4.2 Idle" + HANG_UP])
def test_a_server_that_hung_up_between_two_mails_is_connected_to_anew(connect: Connect, last: str) -> None:
    with mail_server_saying(dot=[last, "250 2.0.0 Kept"]) as dialogue:
        connect(dialogue.port)
        with Outgoing(CONN_ID) as outgoing:
            outgoing.send(mail(number=1))
            outgoing.send(mail(number=2))
    assert (dialogue.clients, dialogue.times("MAIL"), dialogue.times("dot")) == (2, 2, 2)


def test_a_server_that_has_enough_between_two_mails_is_connected_to_anew(connect: Connect) -> None:
    with mail_server_saying(NOOP="421 4.7.0 That is enough for one connection") as dialogue:
        connect(dialogue.port)
        with Outgoing(CONN_ID) as outgoing:
            outgoing.send(mail(number=1))
            outgoing.send(mail(number=2))
    assert (dialogue.clients, dialogue.times("dot")) == (2, 2)


def test_a_server_that_falls_silent_between_two_mails_is_connected_to_anew(connect: Connect) -> None:
    released = Event()

    def silent() -> str:
        released.wait(60)
        return "250 2.0.0 OK"

    with mail_server_saying(NOOP=silent) as dialogue:
        connect(dialogue.port, timeout=1)
        with Outgoing(CONN_ID) as outgoing:
            outgoing.send(mail(number=1))
            outgoing.send(mail(number=2))
        released.set()
    assert (dialogue.clients, dialogue.times("dot")) == (2, 2)


def test_a_cut_after_the_second_mail_has_begun_is_not_mended(connect: Connect) -> None:
    with mail_server_saying(MAIL=["250 OK", None]) as dialogue:
        connect(dialogue.port)
        with Outgoing(CONN_ID) as outgoing:
            outgoing.send(mail(number=1))
            with pytest.raises(MailError, match="the mail was not sent"):
                outgoing.send(mail(number=2))
    assert (dialogue.clients, dialogue.times("MAIL")) == (1, 2)


@pytest.mark.parametrize(
    "refusal", [{"RCPT": "550 5.1.1 No such user"}, {"dot": "451 4.3.0 Out of order"}, {"dot": None}]
)
def test_after_a_failure_the_next_mail_has_a_connection_of_its_own(
    connect: Connect, refusal: dict[str, Answer]
) -> None:
    ((name, answer),) = refusal.items()
    answers: dict[str, Answer | list[Answer]] = {name: [answer, "250 2.0.0 OK"]}
    with mail_server_saying(**answers) as dialogue:
        connect(dialogue.port)
        with Outgoing(CONN_ID) as outgoing:
            with pytest.raises(MailError):
                outgoing.send(mail(number=1))
            outgoing.send(mail(number=2))
    assert dialogue.clients == 2
    assert dialogue.told[-2:] == [b".", b"quit"]
