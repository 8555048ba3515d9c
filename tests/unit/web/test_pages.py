"""What each page of the owner says, and what can be pressed on it, in both languages."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from mbi_reauth import catalogue
from mbi_reauth.api.services.cases import SSH_FIELDS
from mbi_reauth.core.reauthorization import FieldFault, Outcome, Result, Way
from mbi_reauth.core.verdict import Cause
from mbi_reauth.notifications.language import language
from mbi_reauth.web import pages
from mbi_reauth.web.views import Message
from mbi_reauth.web.wording import FAULTS, MESSAGES, OF_SSH_SERVERS, OUTCOMES, Asked, asked
from tests.unit.notifications.mails import CONTACT
from tests.unit.web.drawn import (
    BOOKS_LOST,
    CONSENT,
    EVERY_PAGE,
    FORM,
    IN_BOTH,
    KEY_LOST,
    LANGUAGES,
    LINK,
    RESTRICTED_KEY,
    SHOP_LOST,
    Page,
    draw,
    ended,
    form,
    found,
    frame,
    in_locale,
    overview,
    page,
    result,
    subject,
)

FAILED = [outcome for outcome in Outcome if not outcome.is_success]
UNTOUCHED = {
    "en": "Nothing was changed: what was saved before is still there.",
    "nl": "Er is niets veranderd: wat al was opgeslagen, is er nog.",
}


def offered(drawn: Page) -> list[tuple[str | None, str | None, str]]:
    """List each form's address, the way that it posts, and the words on its button."""
    ways = [each.get("value") for each in drawn.all("input") if each.get("name") == "way"]
    forms, buttons = drawn.all("form"), drawn.all("button")
    assert len(forms) == len(ways) == len(buttons)
    assert {form.get("method") for form in forms} <= {"post"}
    return [
        (form.get("action"), way, button.text) for form, way, button in zip(forms, ways, buttons, strict=True)
    ]


def test_the_overview_says_what_stopped_what_waits_which_account_and_who_asks() -> None:
    text = page("overview_consent").text
    assert "We can no longer read Acme Europe books" in text
    assert "QuickBooks Online has stopped letting us read Acme Europe books" in text
    assert "the permission that was given to us is no longer accepted" in text
    assert "Not working since 24 November 2026, 03:15 (Amsterdam time)" in text
    assert "Waiting for this extract_books (1 run) extract_tax (1 run)" in text
    assert "Account to use 4620816365" in text
    assert "QuickBooks Online said “Token revoked”" in text
    assert "Looked after by Dana Example" in text
    assert f"Asked by {CONTACT}" in text
    assert "Reference: 42" in text


def test_the_overview_says_it_in_dutch() -> None:
    text = page("overview_consent", "nl").text
    assert "Wij kunnen Acme Europe books niet meer lezen" in text
    assert "de toestemming die ons is gegeven, wordt niet meer geaccepteerd" in text
    assert "Werkt niet sinds 24 november 2026, 03:15 (tijd in Amsterdam)" in text
    assert "Te gebruiken account 4620816365" in text
    assert "Eigenaar Dana Example" in text
    assert f"Gevraagd door {CONTACT}" in text
    assert "Kenmerk: 42" in text


def test_the_account_that_was_proved_last_is_named_where_the_registry_names_none() -> None:
    view = overview(replace(KEY_LOST, expected_account="acct_1Example"), Way.FORM)
    assert "Account to use acct_1Example" in Page(draw(view)).text
    assert "Account to use" not in page("overview_key").text


def test_no_account_stands_above_the_user_name_of_a_database_or_an_ssh_server() -> None:
    assert "Account to use" not in page("form_login").text
    assert "Account to use" not in page("form_tunnel").text
    assert "Account to use" not in page("overview_tunnel").text


@pytest.mark.parametrize(
    ("name", "buttons"),
    [
        (
            "overview_consent",
            [("consent", "Continue to QuickBooks Online"), ("check", "I have put it right: check now")],
        ),
        ("overview_key", [("form", "Enter the new key"), ("check", "I have put it right: check now")]),
        (
            "overview_password",
            [("form", "Enter the new password"), ("check", "I have put it right: check now")],
        ),
        (
            "overview_tunnel",
            [("check", "I have put it right: check now"), ("form", "Enter the new login details")],
        ),
        ("overview_at_mbi", [("check", "I have put it right: check now")]),
        ("overview_elsewhere", [("check", "I have put it right: check now")]),
        ("overview_nothing_to_press", []),
        ("overview_working", []),
        ("overview_expiring", [("consent", "Continue to QuickBooks Online")]),
    ],
)
def test_each_way_is_a_form_that_posts_it_in_the_order_given(
    name: str, buttons: list[tuple[str, str]]
) -> None:
    assert offered(page(name)) == [(LINK, way, text) for way, text in buttons]


def test_the_buttons_are_dutch_for_who_reads_dutch() -> None:
    assert [text for _, _, text in offered(page("overview_key", "nl"))] == [
        "Nieuwe sleutel invullen",
        "Ik heb het hersteld: nu controleren",
    ]


@pytest.mark.parametrize("name", [name for name in EVERY_PAGE if name.startswith("overview")])
def test_only_the_first_button_is_the_prominent_one(name: str) -> None:
    drawn = page(name)
    prominent = [button for button in drawn.all("button") if button.get("class") == "button"]
    assert prominent == drawn.all("button")[:1] or name == "overview_elsewhere"


@pytest.mark.parametrize(
    ("titles", "kind"),
    [
        (["Password"], Asked.PASSWORD),
        (["API token"], Asked.TOKEN),
        (["Restricted key"], Asked.KEY),
        (["Secret"], Asked.SECRET),
        (["Password", "Private key"], Asked.LOGIN),
        ([], Asked.LOGIN),
    ],
)
def test_what_is_entered_is_called_as_the_third_party_calls_it(titles: list[str], kind: Asked) -> None:
    assert asked(titles) is kind


def test_the_steps_are_those_of_the_cause() -> None:
    steps = [each.text for each in page("overview_key").all("li") if "ol" in each.within]
    first, *_ = catalogue.load("stripe").model.owner_steps.repair[Cause.CREDENTIALS_REJECTED].steps
    assert steps[0] == first
    assert len(steps) > 2


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("overview_consent", "form"),
        ("overview_elsewhere", "form"),
        ("overview_unpaid", "section"),
        ("overview_at_mbi", "section"),
    ],
)
def test_what_is_put_right_elsewhere_comes_before_the_button_to_check_it(name: str, first: str) -> None:
    order = [each.tag for each in page(name).elements if each.tag == "form" or each.get("class") == "steps"]
    assert order[0] == first
    (columns,) = page(name).of_class("columns")
    assert columns.get("class") == f"columns {'acts' if first == 'form' else 'steps'}-first"


def test_what_mbi_holds_is_renewed_on_its_own_page() -> None:
    drawn = page("overview_at_mbi")
    (link,) = [each for each in drawn.all("a") if each.text == "Show me MBI's page for this"]
    assert link.get("href") == catalogue.load("google_adwords").model.docs
    assert "Manage Data > Integrations" in drawn.text


def test_what_is_kept_elsewhere_cannot_be_entered_here_and_names_who_can() -> None:
    text = page("overview_elsewhere").text
    assert "This cannot be changed here" in text
    assert "under the name stripe_shop" in text
    assert f"It has to be changed there by {CONTACT}." in text
    assert "Connection: stripe_shop" in text
    assert "Press the button" not in text
    everything = overview(KEY_LOST, Way.CONSENT, Way.FORM, Way.CHECK, elsewhere=True)
    assert [way for _, way, _ in offered(Page(draw(everything)))] == ["check"]


def test_where_there_is_nothing_to_press_the_reader_is_told_whom_to_ask() -> None:
    text = page("overview_nothing_to_press").text
    assert f"Please ask {CONTACT}." in text
    assert "Press the button" not in text


def test_what_works_again_leaves_nothing_to_do() -> None:
    drawn = page("overview_working")
    assert drawn.one("h1").text == "Acme Europe books works again"
    assert "There is nothing left to do, and you may close this page." in drawn.text
    assert "What waited for it goes on by itself." in drawn.text
    assert drawn.all("form") == []
    assert page("overview_renewed").one("h1").text == "Acme Europe books works"


def test_what_is_about_to_end_says_when() -> None:
    drawn = page("overview_expiring")
    assert drawn.one("h1").text == "Acme Europe books stops working on 11 December 2026"
    assert "the permission that was given to us ends" in drawn.text
    assert "If you renew it in time, nothing stops." in drawn.text
    assert "the saved password expires" in page("overview_expiring_password").text
    assert page("overview_expiring_some_day").one("h1").text == "Renew the access to Acme Europe books"


def test_the_wrong_account_is_named_beside_the_right_one() -> None:
    text = page("overview_wrong_account").text
    assert "Account it leads to 9130350000000001" in text
    assert "Account to use 4620816365" in text


def test_who_is_on_the_way_to_the_third_party_gets_there_at_once_or_by_a_button() -> None:
    drawn = page("leaving")
    (refresh,) = [each for each in drawn.all("meta") if each.get("http-equiv") == "refresh"]
    assert refresh.get("content") == f"0; url={CONSENT}"
    (button,) = drawn.of_class("button")
    assert (button.get("href"), button.text) == (CONSENT, "Continue to QuickBooks Online")
    assert "Account to use 4620816365" in drawn.text


def test_the_form_has_the_fields_and_the_steps_beside_them() -> None:
    drawn = page("form_login")
    assert drawn.one("h1").text == "Enter the new password for Web shop"
    assert (drawn.one("form").get("method"), drawn.one("form").get("action")) == ("post", FORM)
    login, password = drawn.all("input")
    assert (login.get("name"), login.get("type"), login.get("value")) == ("login", "text", "magentobi")
    assert (password.get("name"), password.get("type")) == ("password", "password")
    assert "The read-only database user For example: rjmetric" in drawn.text
    assert "Ask the database administrator" in drawn.one("ol").text
    assert drawn.one("button").text == "Check and save"


def test_the_form_is_dutch_for_who_reads_dutch() -> None:
    drawn = page("form_login", "nl")
    assert drawn.one("h1").text == "Vul het nieuwe wachtwoord in voor Web shop"
    assert [label.text for label in drawn.all("label")] == ["Gebruikersnaam", "Wachtwoord"]
    assert "De databasegebruiker die alleen mag lezen Bijvoorbeeld: rjmetric" in drawn.text


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("name", [name for name in EVERY_PAGE if name.startswith("form")])
def test_who_has_the_form_already_is_not_told_to_press_a_button_for_it(name: str, locale: str) -> None:
    pressing = language(locale).gettext("Press the button")
    assert pressing not in page(name, locale).text


def test_a_private_key_goes_into_a_field_of_several_lines() -> None:
    drawn = page("form_tunnel")
    assert drawn.one("textarea").get("name") == "private_key"
    labels = [label.text for label in drawn.all("label")]
    assert labels == [
        "Username",
        "Password (may stay empty)",
        "Private key (may stay empty)",
        "Passphrase of the private key (may stay empty)",
    ]
    required = [each.get("name") for each in drawn.elements if "required" in each.attributes]
    assert required == ["login"]


def test_a_refusal_is_told_above_the_form_in_plain_words_with_the_third_partys_own() -> None:
    drawn = page("form_refused")
    alert = drawn.of_class("alert")[0]
    assert alert.get("role") == "alert"
    assert "Stripe does not accept it" in alert.text
    assert "this password or key is wrong, or was not copied as a whole" in alert.text
    assert "Nothing was saved." in alert.text
    assert "Stripe said: “Invalid API Key: sk_…”" in alert.text
    assert drawn.one("title").text.startswith("Not saved: ")


def test_a_login_to_another_account_is_refused_with_both_accounts() -> None:
    view = form(BOOKS_LOST, RESTRICTED_KEY, refusal=result(Outcome.WRONG_ACCOUNT))
    assert "It leads to 9130350000000001; it must be 4620816365." in Page(draw(view)).text


@pytest.mark.parametrize("fault", FieldFault)
@pytest.mark.parametrize("locale", LANGUAGES)
def test_every_fault_of_a_field_is_told_at_the_field_and_above_the_form(
    fault: FieldFault, locale: str
) -> None:
    view = form(KEY_LOST, replace(RESTRICTED_KEY, fault=fault))
    drawn = Page(draw(in_locale(view, locale)))
    told = language(locale).gettext(FAULTS[fault])
    field = drawn.one("input")
    assert drawn.by_id("field-0-fault").text == told
    assert "field-0-fault" in (field.get("aria-describedby") or "").split()
    assert field.get("aria-invalid") == "true"
    alert = drawn.of_class("alert")[0]
    assert alert.get("role") == "alert"
    assert told in alert.text
    assert [each.get("href") for each in drawn.all("a") if "li" in each.within][-1] == "#field-0"


def test_what_an_ssh_servers_form_says_is_translated() -> None:
    said = {word for each in SSH_FIELDS.values() for word in (each.title, each.help) if word}
    dutch = language("nl")
    assert set(OF_SSH_SERVERS) <= said
    assert [word for word in said if dutch.gettext(word) == word] == []


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_says_what_happened_and_what_to_do(outcome: Outcome, locale: str) -> None:
    drawn = page(f"outcome_{outcome.value}", locale)
    names = {"label": "Acme Europe books", "third_party": "QuickBooks Online", "contact": CONTACT}
    words = language(locale)
    wording = OUTCOMES[outcome].put(words, {**names, "what_happened": ""}, retry=True)
    assert drawn.one("h1").text == wording.heading
    assert wording.said.partition(":")[0] in drawn.text
    assert wording.next in drawn.text


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("outcome", Outcome)
def test_a_failure_says_that_nothing_was_changed(outcome: Outcome, locale: str) -> None:
    told = UNTOUCHED[locale] in page(f"outcome_{outcome.value}", locale).text
    assert told == (outcome in FAILED and outcome is not Outcome.REPLACED)


@pytest.mark.parametrize("outcome", FAILED)
@pytest.mark.parametrize("way", Way)
def test_trying_again_posts_the_same_way(outcome: Outcome, way: Way) -> None:
    again = "Check again" if way is Way.CHECK else "Try again"
    assert offered(Page(draw(ended(outcome, way, retry=LINK)))) == [(LINK, way.value, again)]


@pytest.mark.parametrize("outcome", FAILED)
def test_without_a_button_nobody_is_told_to_press_it(outcome: Outcome) -> None:
    drawn = Page(draw(ended(outcome, retry=None)))
    assert drawn.all("form") == []
    assert re.search(r"(?:^|\. )Try again(?:,| with the right|\.)", drawn.text) is None


@pytest.mark.parametrize("outcome", [Outcome.SAVED, Outcome.WORKS])
def test_a_success_says_what_goes_on_by_itself_and_that_nothing_is_left_to_do(outcome: Outcome) -> None:
    drawn = page(f"outcome_{outcome.value}")
    assert "goes on by itself within a minute: extract_books (1 run) extract_tax (1 run)" in drawn.text
    assert "There is nothing left to do. You may close this page." in drawn.text
    assert drawn.one("body").get("class") == "good"
    assert drawn.all("form") == []


def test_a_success_that_nothing_waited_for_promises_nothing() -> None:
    alone = BOOKS_LOST.notice.model_copy(update={"blocked_runs": []})
    view = ended(Outcome.SAVED, subject=subject(about=alone))
    assert "within a minute" not in Page(draw(view)).text


def test_the_scopes_that_were_not_allowed_are_listed() -> None:
    listed = [each.text for each in page("outcome_scopes_missing").all("code")]
    assert listed == ["com.intuit.quickbooks.accounting", "openid"]


def test_another_account_is_named_beside_the_right_one() -> None:
    text = page("outcome_wrong_account").text
    assert "Account it leads to 9130350000000001 Account to use 4620816365" in text
    assert f"tell {CONTACT}" in text


def test_what_the_authorization_server_said_is_quoted() -> None:
    assert "QuickBooks Online said: “The user denied your request”" in page("outcome_denied").text


@pytest.mark.parametrize("outcome", [Outcome.UNVERIFIED, Outcome.MISCONFIGURED, Outcome.ELSEWHERE])
def test_what_an_engineer_must_do_comes_with_a_text_to_pass_on(outcome: Outcome) -> None:
    drawn = page(f"outcome_{outcome.value}", "nl")
    passed_on = drawn.one("pre")
    assert passed_on.get("lang") == "en"
    for fact in ("Acme Europe books", "quickbooks_acme", f"Outcome: {outcome.value}", "Reference: 42"):
        assert fact in passed_on.text
    assert f"Geef de tekst hieronder door aan {CONTACT}." in drawn.text or outcome is Outcome.UNVERIFIED


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (Way.FORM, "this password or key is wrong, or was not copied as a whole"),
        (Way.CHECK, "the saved password or key is no longer accepted"),
    ],
)
def test_a_refusal_speaks_of_what_was_just_given_or_of_what_there_was(way: Way, said: str) -> None:
    refused = result(Outcome.REFUSED, finding=found(Cause.CREDENTIALS_REJECTED))
    assert said in Page(draw(ended(Outcome.REFUSED, way, subject=KEY_LOST, result=refused))).text


def test_a_refusal_gives_the_steps_for_what_was_found_now() -> None:
    drawn = page("outcome_refused")
    repair = catalogue.load("quickbooks").model.owner_steps.repair[Cause.INSUFFICIENT_SCOPE].steps
    assert repair[0] in drawn.text


def test_a_refusal_without_a_finding_says_so_all_the_same() -> None:
    bare = Result(outcome=Outcome.REFUSED)
    assert "it is not accepted." in Page(draw(ended(Outcome.REFUSED, result=bare))).text


def test_a_page_without_an_outcome_yet_asks_again_by_itself() -> None:
    drawn = page("pending")
    (refresh,) = [each for each in drawn.all("meta") if each.get("http-equiv") == "refresh"]
    assert refresh.get("content") == str(pages.RELOAD_SECONDS)
    (status,) = [each for each in drawn.elements if each.get("aria-live") == "polite"]
    assert "We are asking QuickBooks Online whether it works." in status.text


def test_no_other_page_loads_itself_again() -> None:
    by_itself = {name for name in EVERY_PAGE if 'http-equiv="refresh"' in draw(EVERY_PAGE[name])}
    assert by_itself == {"pending", "leaving"}


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("message", Message)
def test_a_page_about_no_integration_says_what_to_do(message: Message, locale: str) -> None:
    drawn = page(f"message_{message.value}", locale)
    wording = MESSAGES[message].put(language(locale), {"contact": CONTACT})
    assert drawn.one("h1").text == wording.heading
    assert wording.said in drawn.text
    assert wording.next in drawn.text
    assert "Reference" not in drawn.text


@pytest.mark.parametrize(("name", "locale"), IN_BOTH)
def test_every_page_leads_to_the_same_page_in_the_other_language(name: str, locale: str) -> None:
    drawn = page(name, locale)
    other, itself = ("nl", "Nederlands") if locale == "en" else ("en", "English")
    link = next(each for each in drawn.all("a") if each.get("hreflang"))
    assert (link.get("hreflang"), link.get("lang"), link.text) == (other, other, itself)
    assert link.get("href") == f"{LINK}?lang={other}"


def test_where_there_is_no_other_language_there_is_no_choice() -> None:
    view = replace(EVERY_PAGE["overview_consent"], frame=frame(other_languages={}))
    assert Page(draw(view)).all("nav") == []


@pytest.mark.parametrize(("locale", "somebody"), [("en", "your data team"), ("nl", "uw datateam")])
@pytest.mark.parametrize("contact", ["", "your data team"])
def test_where_nobody_is_named_one_may_ask_the_data_team(locale: str, somebody: str, contact: str) -> None:
    view = replace(EVERY_PAGE["message_no_such_link"], frame=frame(locale, contact=contact))
    assert f"{somebody}." in Page(draw(view)).text


WORDS_OF_THE_TRADE = re.compile(
    r"\b(airflow|oauth|scopes?|dag|incident|tokens?|refresh|http\w*)\b", re.IGNORECASE
)


@pytest.mark.parametrize("name", [name for name in EVERY_PAGE if name.startswith(("outcome", "message"))])
def test_no_outcome_or_message_uses_words_of_the_trade(name: str) -> None:
    html = draw(plain(EVERY_PAGE[name]))
    drawn = Page(re.sub(r"<(pre|code|blockquote)\b.*?</\1>", "", html, flags=re.DOTALL))
    assert WORDS_OF_THE_TRADE.findall(drawn.text) == []


def plain(view: Any) -> Any:
    """Leave out the steps of the catalogue, which name what the third party's own pages show."""
    given = getattr(view, "result", None)
    return replace(view, result=given.model_copy(update={"finding": None})) if given else view


def test_a_database_is_called_by_its_name() -> None:
    view = ended(Outcome.UNAVAILABLE, Way.FORM, subject=SHOP_LOST)
    assert "MySQL over SSH is out of reach" in Page(draw(view)).text
