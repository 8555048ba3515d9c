"""A mail is written as the server at hand can take it."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest

from mbi_reauth.notifications.envelope import enclose

EVERYTHING = {"size", "8bitmime", "smtputf8"}
TEXT = "Beste Daniëlle,\n.\nUw toestemming is verlopen.\n" + "x" * 2000 + "\n"


def mail(to: str = "Dana Example <dana@example.com>") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "Airflow <airflow@example.com>", to
    message["Subject"] = "Actie vereist: Daniëlle"
    message.set_content(TEXT)
    message.add_alternative("<p>Daniëlle</p>\n", subtype="html")
    return message


def eight_bit_mail() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "airflow@example.com", "dana@example.com"
    message.set_content("Daniëlle", cte="8bit")
    return message


def plain_text(content: bytes) -> str:
    part = email.message_from_bytes(content, policy=email.policy.default).get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_the_envelope_names_the_bare_addresses_once_each() -> None:
    message = mail(to="Dana Example <dana@example.com>, team@example.com")
    message["Cc"] = "dana@example.com, kim@example.com"
    enclosed = enclose(message, EVERYTHING)
    assert enclosed.sender == "airflow@example.com"
    assert enclosed.recipients == ("dana@example.com", "team@example.com", "kim@example.com")


def test_a_server_of_eight_bits_is_told_of_them_and_of_the_size() -> None:
    enclosed = enclose(eight_bit_mail(), EVERYTHING)
    assert enclosed.options == (f"SIZE={len(enclosed.content)}", "BODY=8BITMIME")


def test_a_mail_in_ascii_needs_no_eight_bits() -> None:
    message = eight_bit_mail()
    message.set_content("Dana")
    enclosed = enclose(message, EVERYTHING)
    assert enclosed.options == (f"SIZE={len(enclosed.content)}",)


def test_a_server_of_seven_bits_gets_the_same_text_in_ascii() -> None:
    enclosed = enclose(eight_bit_mail(), ())
    assert enclosed.content.isascii()
    assert enclosed.options == ()
    assert plain_text(enclosed.content) == "Daniëlle\n"


def test_no_line_is_longer_than_smtp_allows() -> None:
    enclosed = enclose(mail(), EVERYTHING)
    assert max(map(len, enclosed.content.split(b"\r\n"))) <= 998
    assert plain_text(enclosed.content) == TEXT


def test_lines_end_in_both_signs_and_in_nothing_else() -> None:
    bare = enclose(mail(), EVERYTHING).content.replace(b"\r\n", b"")
    assert b"\r" not in bare
    assert b"\n" not in bare


def test_an_international_address_needs_a_server_that_knows_them() -> None:
    with pytest.raises(ValueError, match="does not offer SMTPUTF8"):
        enclose(mail(to="daniëlle@example.com"), EVERYTHING - {"smtputf8"})
    enclosed = enclose(mail(to="daniëlle@example.com"), EVERYTHING)
    assert enclosed.options[1:] == ("BODY=8BITMIME", "SMTPUTF8")
    assert "To: daniëlle@example.com\r\n".encode() in enclosed.content


@pytest.mark.parametrize(("missing", "called"), [("From", "sender"), ("To", "recipient")])
def test_a_mail_from_nobody_or_to_nobody_is_not_written(missing: str, called: str) -> None:
    message = mail()
    del message[missing]
    with pytest.raises(ValueError, match=f"it has no {called}"):
        enclose(message, EVERYTHING)


@pytest.mark.parametrize("hidden", ["=0D=0A", "=0A", "=0D"])
def test_a_line_break_hidden_in_an_encoded_word_is_found(hidden: str) -> None:
    message = mail()
    del message["Subject"]
    message["Subject"] = f"=?utf-8?q?Hello{hidden}Bcc:_eve@example.com?="
    with pytest.raises(ValueError, match=r"Subject|newline"):
        enclose(message, EVERYTHING)


def test_a_header_that_was_never_checked_is_found() -> None:
    message = mail()
    message.set_raw("X-Note", "Hello\r\nBcc: eve@example.com")
    with pytest.raises(ValueError, match=r"X-Note|newline"):
        enclose(message, EVERYTHING)


def test_a_long_header_may_be_folded() -> None:
    message = mail()
    message["References"] = " ".join(f"<mbi-reauth.{number}@example.com>" for number in range(20))
    again = email.message_from_bytes(enclose(message, EVERYTHING).content, policy=email.policy.default)
    assert again["References"] == message["References"]
