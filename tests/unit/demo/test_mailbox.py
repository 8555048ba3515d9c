"""The mailbox keeps what it is sent, shows it harmlessly, and can refuse it."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from flask import Flask
from flask.testing import FlaskClient

from demo.mailbox import Mailbox
from demo.mailbox.pages import create_pages


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as running:
        yield running


def send(mailbox: Mailbox, html: str = "<p>Hello <b>Dana</b></p>") -> None:
    message = EmailMessage()
    message["From"], message["To"] = "airflow@example.com", "Dana <dana@example.com>"
    message["Subject"] = "Autorización perdida"
    message["Message-ID"] = "<one@example.com>"
    message.set_content("Hello Dana")
    message.add_alternative(html, subtype="html")
    with smtplib.SMTP("127.0.0.1", mailbox.port) as smtp:
        smtp.send_message(message)


def test_a_mail_is_kept_with_both_its_texts(mailbox: Mailbox) -> None:
    send(mailbox)
    (mail,) = mailbox.messages
    assert mail.recipients == ("dana@example.com",)
    assert (mail.subject, mail.header("message-id")) == ("Autorización perdida", "<one@example.com>")
    assert (mail.text or "").strip() == "Hello Dana"
    assert "<b>Dana</b>" in (mail.html or "")


def test_a_refused_mail_is_a_temporary_failure_and_is_not_kept(mailbox: Mailbox) -> None:
    mailbox.refuse(True)
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        send(mailbox)
    assert refusal.value.smtp_code == 451
    assert (mailbox.messages, mailbox.refusals) == ([], 1)


def test_mail_is_taken_again_after_a_refusal(mailbox: Mailbox) -> None:
    mailbox.refuse(True)
    mailbox.refuse(False)
    send(mailbox)
    assert len(mailbox.messages) == 1


def pages(mailbox: Mailbox) -> FlaskClient:
    app = Flask("demo.page", template_folder="templates")
    app.add_template_filter(str, "clock")
    app.add_url_rule("/", endpoint="index")
    app.register_blueprint(create_pages(mailbox))
    return app.test_client()


def test_the_json_for_tests_has_the_whole_mail(mailbox: Mailbox) -> None:
    send(mailbox)
    (mail,) = pages(mailbox).get("/mailbox/messages.json").get_json()
    assert (mail["message_id"], mail["recipients"]) == ("<one@example.com>", ["dana@example.com"])


def test_a_mails_own_html_stays_inside_its_sandbox(mailbox: Mailbox) -> None:
    send(mailbox, html='<script>alert("x")</script>"><h1>out</h1>')
    page = pages(mailbox).get("/mailbox/1").get_data(as_text=True)
    assert "<script>alert" not in page
    assert "<h1>out" not in page
    assert "&lt;script&gt;" in page


def test_a_mail_that_is_not_there_is_not_found(mailbox: Mailbox) -> None:
    assert pages(mailbox).get("/mailbox/7").status_code == 404


def test_emptying_the_mailbox_forgets_its_mail(mailbox: Mailbox) -> None:
    send(mailbox)
    pages(mailbox).post("/mailbox/clear")
    assert mailbox.messages == []
