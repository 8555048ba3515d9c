"""What is never on a page: a secret, other people's markup, what is run or fetched, Airflow's address."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import pytest

from mbi_reauth.core.notice import Reason
from mbi_reauth.core.reauthorization import Outcome, Result, Way
from mbi_reauth.core.verdict import Cause
from mbi_reauth.web import pages
from mbi_reauth.web.views import FormField, Leaving
from tests.unit.notifications.mails import AIRFLOW, BOOKS, notice
from tests.unit.web.drawn import (
    BOOKS_LOST,
    CONSENT,
    EVERY_PAGE,
    FORM,
    IN_BOTH,
    LINK,
    SECRET,
    Page,
    draw,
    drawn,
    ended,
    form,
    found,
    frame,
    overview,
    page,
    subject,
)

MARKUP = "</title></style></pre><script>alert(1)</script><img src=x onerror=\"alert('2')\">"
DIRECTIONS = "\u202e\u2066\u200f\u0000\ufeff"
HOSTILE = f"{DIRECTIONS}{MARKUP}%(label)s {{{{ 7 * 7 }}}} &lt;b&gt; =?utf-8?q?=0A?="
SAFE_TAGS = {tag for name in EVERY_PAGE for tag in {each.tag for each in page(name).elements}}

LOST = found(
    Cause.UNKNOWN, vendor_words=HOSTILE, explanation=HOSTILE, account=HOSTILE, rule="quickbooks.account"
)
ENTRY = {**BOOKS, "name": HOSTILE, "account": HOSTILE, "owner": {**BOOKS["owner"], "name": HOSTILE}}
HARMFUL = subject(ENTRY, notice(Reason.LOST, ENTRY, finding=LOST), expected_account=HOSTILE, conn_id=HOSTILE)
FIELD = FormField(name=HOSTILE, label=HOSTILE, help=HOSTILE, example=HOSTILE, value=HOSTILE)
RESULT = Result(
    outcome=Outcome.WRONG_ACCOUNT,
    finding=LOST,
    missing=(HOSTILE,),
    found_account=HOSTILE,
    expected_account=HOSTILE,
    words=HOSTILE,
)
HARMFUL_PAGES = {
    "overview": overview(HARMFUL, *Way),
    "elsewhere": overview(HARMFUL, Way.CHECK, elsewhere=True),
    "leaving": Leaving(frame=frame(), subject=HARMFUL, address=CONSENT),
    "form": form(HARMFUL, FIELD, replace(FIELD, multiline=True), refusal=RESULT),
    **{
        each.value: ended(each, subject=HARMFUL, result=RESULT.model_copy(update={"outcome": each}))
        for each in Outcome
    },
    "message": replace(EVERY_PAGE["message_trouble"], frame=frame(contact=HOSTILE)),
}


@pytest.mark.parametrize("name", HARMFUL_PAGES)
def test_other_peoples_words_are_only_words(name: str) -> None:
    html = draw(replace(HARMFUL_PAGES[name], frame=frame(contact=HOSTILE)))
    read = Page(html)
    assert {each.tag for each in read.elements} <= SAFE_TAGS
    assert not [key for each in read.elements for key in each.attributes if key.startswith("on")]
    assert "<script>alert(1)</script>" in read.text
    assert "49" not in read.text.replace("4620816365", "")
    assert read.one("html").get("lang") == "en"


@pytest.mark.parametrize("name", HARMFUL_PAGES)
def test_nothing_turns_the_direction_of_the_text_round(name: str) -> None:
    """What the reader has typed stays as it is: it is what they post again."""
    html = draw(replace(HARMFUL_PAGES[name], frame=frame(contact=HOSTILE)))
    told = re.sub(r' (?:value|name)="[^"]*"|<textarea.*?</textarea>', "", html, flags=re.DOTALL)
    assert [sign for sign in DIRECTIONS if sign in told] == []


@pytest.mark.parametrize(
    "address",
    [
        "https://third.example.com/consent?a=\"><script>alert(1)</script>&b='",
        "https://third.example.com/consent?state=a;b&amp;=c&redirect_uri=https%3A%2F%2Fx",
        "https://third.example.com/consent?x=';javascript:alert(1)",
        "http://[2001:db8::1]:8080/consent",
    ],
)
def test_the_address_of_the_consent_page_is_followed_as_it_is_and_as_nothing_else(address: str) -> None:
    read = Page(draw(Leaving(frame=frame(), subject=BOOKS_LOST, address=address)))
    (refresh,) = [each for each in read.all("meta") if each.get("http-equiv")]
    assert refresh.get("content") == f"0; url={address}"
    assert read.of_class("button")[0].get("href") == address
    assert read.all("script") == []


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JavaScript://third.example.com/%0aalert(1)",
        " https://third.example.com/",
        "https://third.example.com/\n; url=javascript:alert(1)",
        "https://third.example.com/\x00",
        "https:\\\\third.example.com",
        "https://third.example.com\\@other.example.com/",
        "data:text/html,x",
        "//third.example.com/consent",
        "/consent",
        "https:///consent",
        "https://[third.example.com/",
        "'https://third.example.com/'",
        "",
    ],
)
def test_only_the_address_of_a_web_page_is_followed(address: str) -> None:
    with pytest.raises(ValueError, match="no address of a web page") as refused:
        draw(Leaving(frame=frame(), subject=BOOKS_LOST, address=address))
    assert not address or address not in str(refused.value)


@pytest.mark.parametrize(("name", "locale"), IN_BOTH)
def test_a_secret_is_never_shown_back(name: str, locale: str) -> None:
    assert SECRET not in drawn(name, locale)


@pytest.mark.parametrize("multiline", [False, True])
def test_a_secret_field_is_empty_whatever_it_was_given(multiline: bool) -> None:
    field = FormField(
        name="password", label="Key", secret=True, value=SECRET, example=SECRET, multiline=multiline
    )
    assert SECRET not in draw(form(BOOKS_LOST, field))


def test_a_value_of_several_lines_is_shown_as_it_is() -> None:
    field = FormField(name="note", label="Note", value="\nfirst\nsecond", multiline=True)
    assert '">\n\nfirst\nsecond</textarea>' in draw(form(BOOKS_LOST, field))


@pytest.mark.parametrize(("name", "locale"), IN_BOTH)
def test_a_page_runs_and_fetches_nothing(name: str, locale: str) -> None:
    read = page(name, locale)
    tags = {each.tag for each in read.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "svg", "video"}
    attributes = {key for each in read.elements for key in each.attributes}
    assert not attributes & {"style", "src", "srcset", "background", "formaction", "ping"}
    assert "url(" not in read.one("style").text
    assert "@import" not in read.one("style").text


@pytest.mark.parametrize(("name", "locale"), IN_BOTH)
def test_the_stylesheet_is_the_one_that_the_policy_names(name: str, locale: str) -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", drawn(name, locale), flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" == pages.STYLE_SOURCE


@pytest.mark.parametrize(("name", "locale"), IN_BOTH)
def test_no_page_leads_into_airflow(name: str, locale: str) -> None:
    read = page(name, locale)
    assert AIRFLOW not in drawn(name, locale)
    own = {LINK, FORM, f"{LINK}?lang=en", f"{LINK}?lang=nl", ""}
    targets = {each.get(key) for each in read.elements for key in ("href", "action") if each.get(key)}
    inside = {target for target in targets if target and target.startswith("/")}
    assert inside <= own


@pytest.mark.parametrize(("name", "locale"), IN_BOTH)
def test_nothing_is_posted_but_to_ourselves(name: str, locale: str) -> None:
    assert {each.get("action") for each in page(name, locale).all("form")} <= {LINK, FORM}
    assert {each.get("method") for each in page(name, locale).all("form")} <= {"post"}


@pytest.mark.parametrize("name", [name for name in EVERY_PAGE if name.startswith("message")])
def test_a_page_about_no_integration_names_none(name: str) -> None:
    html = drawn(name)
    for told in ("Acme", "QuickBooks", "quickbooks", "Dana", "4620816365"):
        assert told not in html
