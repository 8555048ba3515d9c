"""What people read: every kind of email, in both languages, alone and several at once."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from urllib.parse import urlsplit

import pytest

from mbi_reauth import catalogue
from mbi_reauth.catalogue.model import IntegrationType, Repair
from mbi_reauth.core.notice import NotificationKind, Reason
from mbi_reauth.core.ticket import ADVICE
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Verdict
from mbi_reauth.notifications.engineers import WHAT_IS_WRONG
from mbi_reauth.notifications.language import language
from mbi_reauth.notifications.owners import WHAT_HAPPENED
from mbi_reauth.notifications.translate import texts_of
from tests.unit.notifications.mails import (
    ADS,
    AIRFLOW,
    BOOKS,
    BROKEN,
    EVERY_MAIL,
    IN_BOTH,
    KEY_ROLLED,
    LANGUAGES,
    OPENED,
    OPENING_ID,
    OWNER,
    PAGE,
    SHOP,
    TO_ENGINEERS,
    TO_OWNERS,
    composed,
    finding,
    for_engineers,
    in_a_line,
    in_locale,
    mail,
    notice,
    page_of,
    runs,
    text_of,
    warning,
    written,
)

EVERYTHING = [*IN_BOTH, *((name, "en") for name in TO_ENGINEERS)]
BUTTON_AND_LINK = {"en": ("Press the button", "Open the link"), "nl": ("Klik op de knop", "Open de link")}
CHECK = "I have put it right: check now"
OPENED_KIND = NotificationKind.OPENED


def plain(name: str, locale: str = "en") -> str:
    return in_a_line(text_of(written(name, locale)))


@pytest.mark.parametrize(("name", "locale"), EVERYTHING)
def test_the_plain_text_has_every_word_and_every_address_of_the_page(name: str, locale: str) -> None:
    message = written(name, locale)
    text, page = in_a_line(text_of(message)), page_of(message)
    texts = [each.replace(*BUTTON_AND_LINK[locale]) for each in page.texts]
    assert [each for each in texts if each not in text] == []
    assert [url for url in page.links.values() if url not in text] == []


@pytest.mark.parametrize(("name", "locale"), EVERYTHING)
def test_a_page_says_its_language_and_has_one_heading_of_the_first_level(name: str, locale: str) -> None:
    message = written(name, locale)
    page = page_of(message)
    assert page.language == message["Content-Language"] == locale
    assert page.tags.count("h1") == 1


@pytest.mark.parametrize(("name", "locale"), EVERYTHING)
def test_links_lead_only_to_airflow_and_to_what_the_catalogue_names(name: str, locale: str) -> None:
    hosts = {urlsplit(url).hostname for url in page_of(written(name, locale)).links.values()}
    assert hosts <= {"airflow.example.com", "experienceleague.adobe.com", "docs.mixpanel.com"}


@pytest.mark.parametrize(("name", "locale"), EVERYTHING)
def test_a_plain_text_has_no_gaps_and_fits_a_window(name: str, locale: str) -> None:
    text = text_of(written(name, locale))
    assert "\n\n\n" not in text
    copied = re.compile(r"(https://|What we see: |What it says: |Seen by: ).*")
    assert [line for line in text.splitlines() if len(line) > 78 and not copied.match(line)] == []


@pytest.mark.parametrize(
    ("name", "buttons"),
    [
        ("opened", ["Restore access"]),
        ("opened_at_mbi", ["Show me MBI's page for this"]),
        ("opened_unpaid", [CHECK]),
        ("opened_digest", ["Restore access", "Restore access"]),
        ("reminder", ["Restore access"]),
        ("escalation", ["Restore access"]),
        ("recovered", []),
        ("recovered_digest", []),
        ("expiring", ["Renew access"]),
        ("expiring_digest", ["Renew access", "Renew access", "Show me MBI's page for this"]),
        ("engineer_misconfigured", ["Open the connection"]),
        ("engineer_update_failed", []),
        ("engineer_works_again", []),
    ],
)
def test_there_is_a_button_for_each_thing_to_do_and_none_where_nothing_is(
    name: str, buttons: list[str]
) -> None:
    assert page_of(written(name)).buttons == buttons


FACTS: dict[str, dict[str, list[str]]] = {
    "opened": {
        "en": [
            "Hello Dana Example,",
            "QuickBooks Online has stopped letting us read “Acme Europe books”",
            "the permission that was given to us is no longer accepted",
            "in about 5 minutes",
            "Not working since: 24 November 2026, 03:15 (Amsterdam time)",
            "Account to use: 4620816365",
            "QuickBooks Online said: “Token revoked”",
            "Waiting for this: extract_books (1 run), extract_tax (1 run)",
            PAGE,
            "Ask the data team, data@example.com.",
            "open a support ticket there with this text:",
            "Not working since: 2026-11-24 02:15 UTC",
            "you are named as the owner of Acme Europe books",
            "Reference: 42",
        ],
        "nl": [
            "Beste Dana Example,",
            "Via QuickBooks Online kunnen wij “Acme Europe books” niet meer lezen",
            "de toestemming die ons is gegeven, wordt niet meer geaccepteerd",
            "in ongeveer 5 minuten",
            "Werkt niet sinds: 24 november 2026, 03:15 (tijd in Amsterdam)",
            "Te gebruiken account: 4620816365",
            "Melding van QuickBooks Online: “Token revoked”",
            "Wacht hierop: extract_books (1 uitvoering), extract_tax (1 uitvoering)",
            f"Toegang herstellen: {PAGE}",
            "Vraag het aan the data team, data@example.com.",
            "deze tekst (in het Engels, zodat die helpdesk hem kan lezen):",
            "Not working since: 2026-11-24 02:15 UTC",
            "omdat u als eigenaar van Acme Europe books bent aangewezen",
            "Kenmerk: 42",
        ],
    },
    "opened_digest": {
        "en": [
            "3 of your integrations need you",
            "- Acme Europe books (QuickBooks Online) - Web shop (MySQL over SSH) - google_ads (Google Ads)",
            "has stopped letting us read “Web shop”: the saved password or key is no longer accepted",
            "has stopped letting us read “google_ads”: the account is suspended, unpaid or closed",
            "Account to use: 123-456-7890",
            "extract_shop (2 runs)",
            "you are named as the owner of these integrations",
        ],
        "nl": [
            "3 van uw koppelingen hebben u nodig",
            "als eigenaar van deze koppelingen",
            "extract_shop (2 uitvoeringen)",
        ],
    },
    "reminder": {
        "en": [
            "Acme Europe books still needs you",
            "For 3 days now, QuickBooks Online has not let us read “Acme Europe books”",
            "Reminders stop by themselves as soon as it works again",
            PAGE,
        ],
        "nl": ["heeft u nog steeds nodig", "Al 3 dagen kunnen wij", "houden vanzelf op zodra het weer werkt"],
    },
    "reminder_lost_again": {
        "en": ["has stopped working again", "worked again for a short while", PAGE],
        "nl": ["werkt opnieuw niet meer", "heeft even weer gewerkt"],
    },
    "reminder_replacement_refused": {
        "en": [
            "What was entered for Web shop is refused as well",
            "does not accept it either: the saved password or key is no longer accepted",
            "Please see that it was copied whole",
            "Access denied for user 'magentobi'@'192.0.2.7' (using password: YES)",
            "pass this text on to whoever administers the database:",
        ],
        "nl": ["wordt ook geweigerd", "accepteert dat ook niet", "aan de beheerder van de database"],
    },
    "reminder_to_backup": {
        "en": ["Hello,", "you stand in for Dana Example, the owner of Acme Europe books"],
        "nl": ["Goedendag,", "omdat u de vervanger bent van Dana Example"],
    },
    "reminder_digest": {
        "en": ["2 of your integrations still need you", "For 3 days now", "worked again for a short while"],
        "nl": ["2 van uw koppelingen hebben u nog steeds nodig", "Al 3 dagen", "heeft even weer gewerkt"],
    },
    "escalation": {
        "en": [
            "We have been asking Dana Example, who looks after “Acme Europe books”, since 24 November 2026,",
            "24 November 2026, 03:17 (Amsterdam time), and it still does not work.",
            "please do it instead, or pass this on",
            "QuickBooks Online has stopped letting us read",
            "Account to use: 4620816365",
            PAGE,
            "open a support ticket there with this text:",
            "you stand in for Dana Example",
        ],
        "nl": [
            "Sinds 24 november 2026, 03:17 (tijd in Amsterdam) vragen wij Dana Example",
            "Daarom vragen wij het nu aan u",
            "Te gebruiken account: 4620816365",
        ],
    },
    "escalation_address_refused": {
        "en": ["Dana Example looks after", "the mail server does not know the address dana@example.com"],
        "nl": ["niet te bereiken: de mailserver kent het adres dana@example.com niet"],
    },
    "escalation_to_engineers": {
        "en": ["dags/integrations.yaml names no backup for the owner who can be reached"],
        "nl": ["geen vervanger van de eigenaar (backup) staat die te bereiken is"],
    },
    "escalation_digest": {
        "en": [
            "2 integrations need somebody to act",
            "We have been asking Dana Example",
            "the mail server does not know the address dana@example.com",
            "you stand in for the owners of these integrations",
        ],
        "nl": ["Actie nodig voor 2 koppelingen", "de vervanger bent van de eigenaren"],
    },
    "recovered": {
        "en": [
            "Acme Europe books works again",
            "since 27 November 2026, 10:05 (Amsterdam time), QuickBooks Online lets us read",
            "It had stopped on 24 November 2026, 03:15 (Amsterdam time).",
            "There is nothing left for you to do.",
            "you were told when it stopped working",
        ],
        "nl": [
            "Acme Europe books werkt weer",
            "Goed nieuws: sinds 27 november 2026, 10:05",
            "U hoeft niets meer te doen.",
        ],
    },
    "recovered_digest": {
        "en": ["2 integrations work again", "“Acme Europe books” again", "“Web shop” again"],
        "nl": ["2 koppelingen werken weer", "“Acme Europe books” weer", "“Web shop” weer"],
    },
    "expiring": {
        "en": [
            "Acme Europe books stops working on 11 December 2026",
            "still works. On 11 December 2026 the permission that was given to us ends",
            "it takes about 5 minutes",
            "Works until: 11 December 2026 (14 days left)",
            "Account to use: 4620816365",
            PAGE,
            "If something is not clear, ask the data team, data@example.com.",
        ],
        "nl": [
            "Acme Europe books werkt vanaf 11 december 2026 niet meer",
            "eindigt de toestemming die ons is gegeven",
            "Werkt tot: 11 december 2026 (nog 14 dagen)",
        ],
    },
    "expiring_password": {
        "en": ["On 28 November 2026 the saved password expires", "(1 day left)", "set a new password"],
        "nl": ["Op 28 november 2026 verloopt het opgeslagen wachtwoord", "(nog 1 dag)"],
    },
    "expiring_digest": {
        "en": [
            "3 of your integrations stop working soon",
            "the saved password expires",
            "permission",
            "ends",
        ],
        "nl": ["3 van uw koppelingen werken binnenkort niet meer"],
    },
    "engineer_misconfigured": {
        "en": [
            "Since: 24 November 2026, 02:15 UTC",
            "Integration: Web shop (shop_database)",
            "Integration type: mysql_ssh",
            "Connection: shop_database",
            "What we see: The SSH server's host key is not the enrolled one.",
            "Cause: host_key_changed, by rule default_ssh.host_key",
            "Last time it worked: 24 November 2026, 01:15 UTC",
            "https://airflow.example.com/prod/connections?name_pattern=shop_database",
            "no owner was mailed",
        ]
    },
    "engineer_update_failed": {
        "en": [
            ADVICE,
            "Subject: Commerce Intelligence: last update was not successful (Web shop)",
            "MBI said: “Completed with errors”",
        ]
    },
    "engineer_lasting": {
        "en": [
            "3 checks since 24 November 2026, 02:15 UTC could not tell",
            "Nobody else was mailed",
            "QuickBooks Online said: “I am a teapot”",
            "No rule of the catalogue knows this answer",
        ]
    },
    "engineer_sunset": {
        "en": [
            "Mixpanel ends project secrets; a service account must be used by then.",
            "On: 3 March 2027",
            "Announced at: https://docs.mixpanel.com/reference/project-secret",
            "Affected -------- - Web events",
        ]
    },
    "engineer_many_at_once": {
        "en": [
            "lost within minutes of each other, from 24 November 2026, 02:15 UTC on",
            "their owners are not mailed until 24 November 2026, 03:15 UTC",
            "- Shop north - Shop south - Shop west",
        ]
    },
    "engineer_works_again": {"en": ["The trouble is over since 27 November 2026, 09:15 UTC."]},
    "engineer_digest": {
        "en": [
            "- Web shop (MySQL over SSH): the SSH server's host key is another one",
            "Connection: shop_database",
            "3 checks since",
            "Announced at:",
        ]
    },
}


@pytest.mark.parametrize(
    ("name", "locale", "facts"),
    [(name, locale, facts) for name, told in FACTS.items() for locale, facts in told.items()],
)
def test_an_email_says_what_its_reader_has_to_know(name: str, locale: str, facts: list[str]) -> None:
    text = plain(name, locale)
    assert [fact for fact in facts if fact not in text] == []


def test_these_are_all_the_reasons_and_kinds_there_are() -> None:
    written_about = {note.facts.reason for view in EVERY_MAIL.values() for note in view.notices}
    assert written_about == set(Reason)
    assert {view.kind for view in EVERY_MAIL.values()} == set(NotificationKind)
    assert set(FACTS) >= set(EVERY_MAIL) - {"opened_database", "opened_at_mbi", "opened_unpaid"}


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("kind", ["opened", "reminder", "escalation"])
def test_every_step_of_the_catalogue_is_there_in_order_and_in_the_readers_language(
    kind: str, locale: str
) -> None:
    steps = catalogue.load("quickbooks").model.owner_steps.for_cause(Cause.GRANT_INVALID, "airflow")
    told = [f"{number}. {language(locale).gettext(step)}" for number, step in enumerate(steps, 1)]
    listed = " ".join(told).replace(*BUTTON_AND_LINK[locale])
    assert listed in plain(kind, locale)


def _fragments() -> set[str]:
    """What of the English texts no Dutch email may have."""
    texts = [message.id for domain in ("messages", "catalogue") for message in texts_of(domain) if message.id]
    forms = [form for text in texts for form in ([text] if isinstance(text, str) else text)]
    pieces = [piece.strip() for form in forms for piece in re.split(r"%\(\w+\)s", in_a_line(form))]
    return {piece for piece in pieces if len(piece) > 20}


@pytest.mark.parametrize("name", TO_OWNERS)
def test_nothing_of_the_english_is_left_in_a_dutch_email(name: str) -> None:
    fragments = _fragments()
    english, dutch = plain(name), plain(name, "nl")
    assert any(fragment in english for fragment in fragments)
    assert [fragment for fragment in fragments if fragment in dutch] == []


@pytest.mark.parametrize("name", TO_OWNERS)
def test_a_language_without_texts_reads_english(name: str) -> None:
    assert text_of(written(name, "xx")) == text_of(written(name, "en"))


@pytest.mark.parametrize("name", TO_ENGINEERS)
def test_engineers_read_english_whatever_the_locale(name: str) -> None:
    assert text_of(written(name, "nl")) == text_of(written(name, "en"))


@pytest.mark.parametrize(
    ("name", "locale", "subject"),
    [
        ("opened", "en", "Action needed: we can no longer read Acme Europe books (QuickBooks Online)"),
        ("opened", "nl", "Actie nodig: wij kunnen Acme Europe books (QuickBooks Online) niet meer lezen"),
        ("opened_digest", "en", "Action needed: we can no longer read 3 of your integrations"),
        ("opened_digest", "nl", "Actie nodig: wij kunnen 3 van uw koppelingen niet meer lezen"),
        ("reminder_digest", "en", "Reminder: we still cannot read 2 of your integrations"),
        ("escalation_digest", "en", "Action needed: nobody has restored 2 integrations yet"),
        ("recovered_digest", "nl", "2 koppelingen werken weer"),
        ("expiring", "en", "Acme Europe books (QuickBooks Online) stops working on 11 December 2026"),
        ("expiring", "nl", "Acme Europe books (QuickBooks Online) werkt vanaf 11 december 2026 niet meer"),
        ("expiring_digest", "en", "3 of your integrations stop working soon"),
        ("engineer_misconfigured", "en",
         "Web shop (MySQL over SSH): the SSH server's host key is another one"),
        ("engineer_lasting", "en",
         "Acme Europe books (QuickBooks Online) has given no certain answer since 24 November 2026, 02:15 UTC"
         ),
        ("engineer_sunset", "en", "Mixpanel: something we use ends on 3 March 2027"),
        ("engineer_many_at_once", "en", "3 integrations of Stripe were lost at once"),
        ("engineer_works_again", "en", "Acme Europe books (QuickBooks Online) works again"),
        ("engineer_digest", "en", "3 notices about integrations"),
    ],
)  # fmt: skip
def test_the_subject_says_what_it_is_about(name: str, locale: str, subject: str) -> None:
    assert written(name, locale)["Subject"] == subject


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize(
    "name", [name for name in TO_OWNERS if name.startswith(("remind", "escal", "recov"))]
)
def test_what_follows_an_opening_email_replies_to_it(name: str, locale: str) -> None:
    view = in_locale(TO_OWNERS[name], locale).model_copy(update={"in_reply_to": OPENING_ID})
    message = composed(view)
    opening = composed(mail(OPENED_KIND, *view.notices, locale=locale))
    assert message["In-Reply-To"] == message["References"] == OPENING_ID
    assert message["Subject"] == f"Re: {opening['Subject']}"


@pytest.mark.parametrize("name", ["opened", "expiring", "engineer_misconfigured"])
def test_what_begins_a_thread_replies_to_nothing(name: str) -> None:
    message = written(name)
    assert "In-Reply-To" not in message
    assert "References" not in message


def test_a_long_message_id_goes_out_as_it_is() -> None:
    long = f"<mbi-reauth.{'0123456789' * 6}.opened@airflow.a-long-name.example.com>"
    sent = composed(
        mail(NotificationKind.REMINDER, notice(Reason.STILL_LOST), in_reply_to=long, message_id=long)
    )
    lines = sent.as_bytes(policy=sent.policy.clone(linesep="\r\n")).split(b"\r\n")
    for header in (b"Message-ID", b"In-Reply-To", b"References"):
        assert header + b": " + long.encode() in lines


@pytest.mark.parametrize("name", EVERY_MAIL)
def test_an_email_survives_the_wire(name: str) -> None:
    sent = written(name)
    received = message_from_bytes(sent.as_bytes(), policy=policy.default)
    assert received["Subject"] == sent["Subject"]
    assert text_of(received) == text_of(sent)
    assert text_of(received, "html") == text_of(sent, "html")
    assert sent.as_bytes().isascii()


def test_an_email_says_that_no_person_wrote_it_and_to_whom_it_is() -> None:
    view = EVERY_MAIL["recovered_digest"]
    message = composed(view)
    assert message["Auto-Submitted"] == "auto-generated"
    assert [each.addr_spec for each in message["To"].addresses] == ["dana@example.com", "team@example.com"]
    assert message["Message-ID"] == view.message_id
    assert message["Date"].datetime is not None
    assert "From" not in message


def test_the_subject_never_changes_with_the_cause() -> None:
    subjects = {
        composed(mail(OPENED_KIND, notice(Reason.LOST, finding=finding(cause))))["Subject"]
        for cause in WHAT_HAPPENED
    }
    assert subjects == {"Action needed: we can no longer read Acme Europe books (QuickBooks Online)"}


def test_every_cause_that_needs_somebody_is_put_in_words_for_them() -> None:
    by_verdict = {
        verdict: {cause for cause, of in VERDICT_OF.items() if of is verdict}
        for verdict in (Verdict.NEEDS_REAUTH, Verdict.MISCONFIGURED)
    }
    assert set(WHAT_HAPPENED) == by_verdict[Verdict.NEEDS_REAUTH]
    assert set(WHAT_IS_WRONG) == by_verdict[Verdict.MISCONFIGURED]


@pytest.mark.parametrize(("name", "locale"), [("opened", "en"), ("opened", "nl"), ("expiring", "nl")])
def test_a_plain_text_speaks_of_a_link_where_the_page_speaks_of_a_button(name: str, locale: str) -> None:
    button, link = BUTTON_AND_LINK[locale]
    page, text = " ".join(page_of(written(name, locale)).texts), plain(name, locale)
    assert button in page
    assert link not in page
    assert link in text
    assert button not in text


@pytest.mark.parametrize("name", [name for name in TO_OWNERS if not name.endswith("_to_engineers")])
@pytest.mark.parametrize("subtype", ["plain", "html"])
def test_no_owner_reads_of_airflow_or_of_a_connection(name: str, subtype: str) -> None:
    text = text_of(written(name), subtype).replace(AIRFLOW, "")
    assert re.findall(r"(?i)airflow|connection page|the connection", text) == []


@pytest.mark.parametrize("subtype", ["plain", "html"])
@pytest.mark.parametrize("held_by", ["airflow", "mbi"])
def test_an_owner_who_has_nothing_to_enter_is_not_sent_where_one_enters(subtype: str, held_by: str) -> None:
    model = catalogue.load("quickbooks").model
    repair = Repair(steps=["Pay the bill."], reconnect=False, minutes=15)
    steps = model.owner_steps.model_copy(update={"repair": {Cause.ACCOUNT_SUSPENDED: repair}})
    note = notice(Reason.LOST, {**BOOKS, "held_by": held_by}, finding=finding(Cause.ACCOUNT_SUSPENDED))

    def type_of(_: str) -> IntegrationType:
        return model.model_copy(update={"owner_steps": steps})

    message = composed(mail(OPENED_KIND, note), type_of=type_of)
    text = in_a_line(text_of(message, subtype))
    assert "Pay the bill." in text
    assert "about 15 minutes" in text
    assert "you do not have to enter anything again" in text
    assert page_of(message).links == {CHECK: PAGE}
    assert model.docs not in text
    assert "to re-authorize it" not in text
    assert not [step for step in (*steps.airflow, *steps.mbi) if step in text]


@pytest.mark.parametrize("locale", LANGUAGES)
def test_an_integration_held_by_mbi_sends_the_owner_to_mbi_and_then_to_our_check(locale: str) -> None:
    page = page_of(written("opened_at_mbi", locale))
    (button, docs), (check, address) = page.links.items()
    assert page.buttons == [button]
    assert docs == catalogue.load("google_adwords").model.docs
    assert address == PAGE
    assert check == language(locale).gettext(CHECK)


def test_of_what_still_works_at_mbi_there_is_nothing_to_check() -> None:
    page = page_of(composed(mail(NotificationKind.EXPIRING, warning(ADS))))
    assert list(page.links) == ["Show me MBI's page for this"]


@pytest.mark.parametrize("entry", [BOOKS, ADS], ids=["airflow", "mbi"])
@pytest.mark.parametrize("name", ["opened", "expiring"])
def test_without_a_page_none_is_offered(name: str, entry: dict[str, object]) -> None:
    note = notice(Reason.LOST, entry) if name == "opened" else warning(entry)
    view = mail(NotificationKind(name), note.model_copy(update={"link": None}))
    assert {*page_of(composed(view)).links} <= {"Show me MBI's page for this"}
    assert "None" not in text_of(composed(view))


def test_each_of_a_digest_leads_to_its_own_page() -> None:
    pages = [f"{PAGE}{number}" for number in range(2)]
    notes = [notice(Reason.LOST, BOOKS, link=pages[0]), notice(Reason.LOST, SHOP, link=pages[1])]
    text = text_of(composed(mail(OPENED_KIND, *notes)))
    assert re.findall(r"^Restore access:\n(.*)$", text, re.MULTILINE) == pages
    html = text_of(composed(mail(OPENED_KIND, *notes)), "html")
    assert re.findall(r'class="button" href="([^"]*)"', html) == pages


@pytest.mark.parametrize(
    ("rule", "told"),
    [("default_mysql.login_refused", "database administrator"), ("default_ssh.login_refused", "SSH server")],
)
def test_the_owner_hears_whether_the_database_or_the_ssh_server_refused(rule: str, told: str) -> None:
    refused = finding(Cause.CREDENTIALS_REJECTED, rule=rule)
    text = text_of(composed(mail(OPENED_KIND, notice(Reason.LOST, SHOP, finding=refused))))
    first = re.search(r"^1\. (.*\n)+?2\.", text, re.MULTILINE)
    assert first is not None
    assert told in in_a_line(first[0])


def test_a_login_that_leads_to_another_account_is_told_as_that() -> None:
    elsewhere = finding(Cause.ACCOUNT_UNLINKED, rule="quickbooks.account", account="99", vendor_words=None)
    text = in_a_line(text_of(composed(mail(OPENED_KIND, notice(Reason.LOST, finding=elsewhere)))))
    assert "the login we use leads to another account" in text
    assert "Account to use: 4620816365 Account it leads to: 99" in text


def test_a_reminder_tells_of_the_newest_refusal() -> None:
    rejected = finding(Cause.CREDENTIALS_REJECTED, vendor_words="Wrong key")
    note = notice(Reason.REPLACEMENT_REFUSED, facts={"finding": rejected})
    text = in_a_line(text_of(composed(mail(NotificationKind.REMINDER, note))))
    assert "the saved password or key is no longer accepted" in text
    assert 'What it says: "Wrong key"' in text
    assert "Token revoked" not in text


def test_a_connection_of_any_name_is_found_on_its_page() -> None:
    note = for_engineers(Reason.MISCONFIGURED, {**BOOKS, "conn_id": "a/b?c&d=<e>"}, finding=BROKEN)
    links = page_of(composed(mail(NotificationKind.ENGINEER, note))).links
    assert links == {"Open the connection": f"{AIRFLOW}/connections?name_pattern=a%2Fb%3Fc%26d%3D%3Ce%3E"}


def test_a_recovery_says_what_was_lost_and_nothing_of_the_proof() -> None:
    text = plain("recovered")
    assert "What to do" not in text
    assert "support ticket" not in text


def test_stopped_tasks_of_one_run_are_one_waiting_run() -> None:
    stopped = runs("extract_books/r1/0", "extract_books/r1/1", "extract_books/r2/0")
    view = mail(OPENED_KIND, notice(Reason.LOST, runs=stopped))
    assert "extract_books (2 runs)" in text_of(composed(view))


@pytest.mark.parametrize(("locale", "more"), [("en", "and 2 more"), ("nl", "en nog 2")])
def test_of_many_waiting_dags_only_some_are_named(locale: str, more: str) -> None:
    stopped = runs(*(f"extract_{number:02}/r1" for number in range(12)))
    view = mail(OPENED_KIND, notice(Reason.LOST, runs=stopped), locale=locale)
    text = in_a_line(text_of(composed(view)))
    assert "extract_09" in text
    assert "extract_10" not in text
    assert more in text


def test_of_many_integrations_lost_at_once_only_some_are_named() -> None:
    names = tuple(f"Shop {number:02}" for number in range(60))
    note = for_engineers(Reason.MANY_AT_ONCE, None, "stripe", affected=names, since=OPENED)
    message = composed(mail(NotificationKind.ENGINEER, note))
    text = in_a_line(text_of(message))
    assert message["Subject"] == "60 integrations of Stripe were lost at once"
    assert "Shop 49" in text
    assert "Shop 50" not in text
    assert "and 10 more" in text


def test_an_owner_without_a_time_zone_reads_utc() -> None:
    entry = {**BOOKS, "owner": {name: value for name, value in OWNER.items() if name != "time_zone"}}
    text = text_of(composed(mail(OPENED_KIND, notice(Reason.LOST, entry))))
    assert "Not working since: 24 November 2026, 02:15 UTC" in text


def test_the_day_of_an_expiry_is_the_owners_day() -> None:
    entry = {**ADS, "owner": {**OWNER, "time_zone": "Pacific/Auckland"}}
    subjects = [
        composed(mail(NotificationKind.EXPIRING, warning(given, days=14)))["Subject"]
        for given in (ADS, entry)
    ]
    assert "11 December 2026" in subjects[0]
    assert "11 December 2026" in subjects[1]
    late = warning(entry).facts.model_copy(update={"expires_at": OPENED.replace(hour=12, minute=30)})
    note = warning(entry).model_copy(update={"facts": late})
    assert "25 November 2026" in composed(mail(NotificationKind.EXPIRING, note))["Subject"]


def test_a_reminder_of_the_first_day_does_not_speak_of_no_days() -> None:
    view = mail(NotificationKind.REMINDER, notice(Reason.STILL_LOST))
    text = text_of(composed(view, now=OPENED))
    assert "0 days" not in text
    assert "has stopped letting us read" in text


def test_whom_to_ask_is_translated_where_nobody_is_named() -> None:
    view = in_locale(EVERY_MAIL["opened"], "nl")
    assert "Vraag het aan uw datateam." in in_a_line(text_of(composed(view, contact="your data team")))


def test_a_notice_about_a_whole_type_is_no_email_to_an_owner() -> None:
    note = for_engineers(Reason.SUNSET, None, "mixpanel")
    with pytest.raises(ValueError, match="no single integration"):
        composed(mail(OPENED_KIND, note))


def test_what_has_ended_is_told_as_past() -> None:
    view = EVERY_MAIL["engineer_sunset"]
    later = OPENED.replace(year=2027, month=3, day=3)
    assert composed(view, now=later)["Subject"] == "Mixpanel: something we use ended on 3 March 2027"


def no_type(_: str) -> IntegrationType:
    raise catalogue.CatalogueError("quickbooks.yaml has faults")


def test_an_owner_is_not_written_to_from_a_catalogue_with_faults() -> None:
    with pytest.raises(catalogue.CatalogueError):
        composed(EVERY_MAIL["opened"], type_of=no_type)


def test_engineers_hear_of_a_catalogue_with_faults_all_the_same() -> None:
    broken = finding(Cause.PROBE_MISCONFIGURED, explanation="quickbooks.yaml has faults.")
    note = for_engineers(Reason.MISCONFIGURED, finding=broken, since=OPENED)
    message = composed(mail(NotificationKind.ENGINEER, note), type_of=no_type)
    assert "(quickbooks): the set-up is wrong" in message["Subject"]
    assert "quickbooks.yaml has faults." in text_of(message)


def test_the_vendors_words_about_a_database_reach_the_owner() -> None:
    text = in_a_line(text_of(composed(mail(OPENED_KIND, notice(Reason.LOST, SHOP, finding=KEY_ROLLED)))))
    assert "“Access denied for user 'magentobi'@'192.0.2.7' (using password: YES)”" in text
