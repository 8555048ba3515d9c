"""What other people wrote does nothing in an email but stand there, shortened."""

from __future__ import annotations

import email
import re
import unicodedata
from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.api.datamodels import MailView, Notice, RunReference
from mbi_reauth.core.notice import NotificationKind, Reason, Retirement
from mbi_reauth.core.verdict import Cause
from mbi_reauth.notifications.inert import NAME, inert
from tests.unit.notifications.mails import (
    EVERY_MAIL,
    NOW,
    OPENED,
    composed,
    finding,
    in_locale,
    mail,
    page_of,
    text_of,
    warning,
    written,
)

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": "\" onmouseover='alert(1)' x=\"",
    "header": "Books\r\nBcc: other@example.com",
    "encoded_header": "=?utf-8?q?x=0D=0ABcc:_other@example.com?=",
    "folded_header": "Books\r\n\r\n<b>body</b>",
    "template": "{{ 7 * 7 }}{% raw %}",
    "percent": "100% %(label)s %s",
    "bidi": "invoice\u202egpj.exe\u2066 \u200f",
    "nul": "a\x00b\x1b[31mc\x7f",
    "lone_surrogate": "a\ud800b",
    "separators": "a\u2028b\u2029c\x85d",
    "long": "x" * 10_000,
    "markup": "</pre></td></tr></table><h1>You have won</h1>",
    "nothing": "\u200b \u202e",
}


def _poisoned(view: MailView, value: str) -> MailView:
    """Put ``value`` wherever a person or a third party may have written something."""
    return MailView.model_construct(
        **{
            **dict(view),
            "addressee": value if view.addressee else None,
            "notices": [_poisoned_notice(note, value) for note in view.notices],
        }
    )


def _poisoned_notice(note: Notice, value: str) -> Notice:
    words = {"vendor_words": value, "explanation": value, "account": value, "facts": {value: value}}
    facts = note.facts.model_copy(
        update={
            "finding": note.facts.finding.model_copy(update=words) if note.facts.finding else None,
            "affected": (value,) if note.facts.affected else (),
            "retirement": Retirement(on=OPENED.date(), what=value, source=value)
            if note.facts.retirement
            else None,
        }
    )
    update: dict[str, Any] = {"facts": facts}
    if note.integration is not None:
        changed = {"name": value, "account": value, "conn_id": value}
        owner = note.integration.owner.model_copy(update={"name": value})
        update["integration"] = note.integration.model_copy(update={**changed, "owner": owner})
    if note.incident is not None:
        found = note.incident.finding.model_copy(update=words)
        update["incident"] = note.incident.model_copy(update={"finding": found})
        update["blocked_runs"] = [RunReference(dag_id=value, run_id="r1", task_id="check")]
    return note.model_copy(update=update)


ONE_OF_EACH = (
    "opened",
    "reminder_digest",
    "escalation_address_refused",
    "recovered",
    "expiring",
    "engineer_update_failed",
    "engineer_sunset",
    "engineer_many_at_once",
)


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_value_changes_nothing_of_how_an_email_is_made(value: str, name: str) -> None:
    harmless, message = written(name), composed(_poisoned(EVERY_MAIL[name], value))
    page, text = page_of(message), text_of(message)
    assert message.keys() == harmless.keys()
    assert set(page.tags) <= set(page_of(harmless).tags)
    assert [tag for tag in page.tags if tag == "h1"] == ["h1"]
    assert all(url.startswith("https://") for url in page.links.values())
    for shown in (str(message["Subject"]), text.replace("\n", ""), "".join(page.texts)):
        assert [char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")] == []
        assert "x" * (4 * NAME + 1) not in shown.replace("name_pattern=" + "x" * 10_000, "")
    assert "alert(1)" not in re.sub(r">[^<]*<", "><", text_of(message, "html"))
    assert message.as_bytes().isascii()


def test_an_encoded_line_break_in_a_name_makes_no_header() -> None:
    message = composed(_poisoned(EVERY_MAIL["opened"], HOSTILE["encoded_header"]))
    assert email.message_from_bytes(message.as_bytes())["Bcc"] is None
    assert b"\nBcc" not in message.as_bytes()


def test_line_breaks_in_a_name_make_no_header() -> None:
    message = composed(_poisoned(EVERY_MAIL["opened"], HOSTILE["header"]))
    assert message["Bcc"] is None
    assert message["Subject"].startswith(
        "Action needed: we can no longer read Books Bcc: other@example.com ("
    )
    assert b"\nBcc" not in message.as_bytes()


@pytest.mark.parametrize("locale", ["en", "nl"])
def test_what_looks_like_a_template_or_a_format_is_shown_as_it_is(locale: str) -> None:
    for value in (HOSTILE["template"], HOSTILE["percent"]):
        message = composed(_poisoned(in_locale(EVERY_MAIL["opened"], locale), value))
        assert value in text_of(message)
        assert value in " ".join(page_of(message).texts)
        assert value in message["Subject"]


def test_a_script_is_words_on_the_page() -> None:
    message = composed(_poisoned(EVERY_MAIL["opened"], HOSTILE["script"]))
    assert f"“{HOSTILE['script']}”" in page_of(message).texts
    assert "&lt;script&gt;" in text_of(message, "html")


def test_where_a_retirement_is_announced_is_a_link_only_if_a_browser_opens_it() -> None:
    view = EVERY_MAIL["engineer_sunset"]
    retirement = Retirement(on=OPENED.date(), what="It ends.", source="javascript:alert(1)")
    facts = view.notices[0].facts.model_copy(update={"retirement": retirement})
    message = composed(
        view.model_copy(update={"notices": [view.notices[0].model_copy(update={"facts": facts})]})
    )
    assert page_of(message).links == {}
    assert "javascript:alert(1)" in page_of(message).texts


def test_an_integration_whose_name_cannot_be_seen_is_called_by_its_id() -> None:
    view = _poisoned(EVERY_MAIL["opened"], HOSTILE["nothing"])
    assert "we can no longer read quickbooks (QuickBooks Online)" in composed(view)["Subject"]


def test_a_name_in_other_letters_stays_whole() -> None:
    name = "Müller & Søn 株式会社 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    message = composed(_poisoned(EVERY_MAIL["opened"], name))
    assert name in str(message["Subject"])
    assert name in " ".join(page_of(message).texts)


def test_a_long_name_is_shortened_and_says_so() -> None:
    assert inert("Acme " * 40) == "Acme " * 19 + "Acme…"
    assert inert("Acme") == "Acme"


def test_an_address_of_the_settings_may_name_its_owner() -> None:
    view = EVERY_MAIL["engineer_lasting"].model_copy(
        update={"recipients": ["Data team <data@example.com>", "on-call@example.com\r\n"]}
    )
    addresses = [each.addr_spec for each in composed(view)["To"].addresses]
    assert addresses == ["data@example.com", "on-call@example.com"]


def test_whom_to_ask_and_what_a_type_is_called_are_made_harmless_too() -> None:
    model = catalogue.load("quickbooks").model.model_copy(update={"display_name": "Quick\r\nBcc: <b>"})
    message = composed(EVERY_MAIL["opened"], type_of=lambda _: model, contact="<i>us</i>\r\n" + "y" * 10_000)
    assert "(Quick Bcc: <b>)" in message["Subject"]
    assert {"b", "i"} & set(page_of(message).tags) == set()
    assert "y" * 1000 not in text_of(message)


def test_the_time_left_of_what_has_ended_is_not_told() -> None:
    note = warning()
    facts = note.facts.model_copy(update={"expires_at": NOW})
    view = mail(NotificationKind.EXPIRING, note.model_copy(update={"facts": facts}))
    assert "left)" not in text_of(composed(view))


def test_a_finding_of_another_kind_leaves_the_owner_with_its_explanation() -> None:
    odd = finding(Cause.UNKNOWN, explanation="Nobody has mapped this answer.")
    view = EVERY_MAIL["opened"]
    note = view.notices[0].model_copy(
        update={
            "facts": view.notices[0].facts.model_copy(update={"finding": odd, "reason": Reason.LOST}),
            "incident": view.notices[0].incident.model_copy(update={"finding": odd}),  # type: ignore[union-attr]
        }
    )
    assert "“Acme Europe books”: Nobody has mapped this answer." in " ".join(
        text_of(composed(view.model_copy(update={"notices": [note]}))).split()
    )
