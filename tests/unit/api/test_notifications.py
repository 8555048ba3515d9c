"""The outbox as senders meet it: claim one email, settle it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from mbi_reauth.api.services import links
from mbi_reauth.api.services.links import Link
from mbi_reauth.core.verdict import Cause
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.models.tables import ERROR_LENGTH, Notification
from tests.app import App
from tests.metadata_db import put_connection

RUN = {"dag_id": "extract", "run_id": "run 1", "task_id": "shop.check", "map_index": -1, "try_number": 1}
OTHER_RUN = {**RUN, "run_id": "run 2"}
SENT = "sent to dana@example.com at 2026-03-01T12:00:00+00:00"


@pytest.fixture
def lost(app: App) -> App:
    app.report(Cause.GRANT_REVOKED, blocked_run=RUN)
    return app


def test_a_claim_brings_everything_to_write_the_email_with(lost: App) -> None:
    mail = lost.claim()["mail"]
    [notice] = mail["notices"]
    assert (mail["kind"], mail["recipients"], mail["locale"]) == ("opened", ["dana@example.com"], "en")
    assert mail["addressee"] == "Dana Example"
    assert mail["message_id"].endswith("@localhost>")
    assert mail["in_reply_to"] is None
    assert notice["integration"]["id"] == "shop"
    assert notice["blocked_runs"] == [RUN]
    assert notice["facts"]["reason"] == "lost"
    assert notice["incident"]["finding"]["cause"] == "grant_revoked"


def test_only_one_claim_is_granted_at_a_time(lost: App) -> None:
    assert lost.claim(claimed_by=RUN)["mail"]
    second = lost.claim(claimed_by=OTHER_RUN)
    assert second["mail"] is None
    assert second["reason"] == "being sent by extract/run 1 until 2026-03-01T12:05:00+00:00"


def test_after_sending_there_is_nothing_to_claim(lost: App) -> None:
    lost.settle(lost.claim()["mail"])
    claim = lost.claim()
    assert (claim["mail"], claim["reason"]) == (None, SENT)


def test_an_unsent_email_is_due_again_at_once(lost: App) -> None:
    first = lost.claim()["mail"]
    lost.settle(first, "unsent", error="Connection refused")
    second = lost.claim(claimed_by=OTHER_RUN)["mail"]
    assert second["lease"] != first["lease"]
    assert second["message_id"] == first["message_id"]


def test_what_the_asker_failed_to_send_just_now_is_not_handed_out_to_it_again(lost: App) -> None:
    first = lost.claim()["mail"]
    lost.settle(first, "unsent", error="Connection refused")
    assert lost.claim(passed_over=[first["notices"][0]["id"]])["mail"] is None


def test_why_sending_failed_is_kept_without_the_secrets_in_it(lost: App) -> None:
    error = "SMTP AUTH failed for password=fake-hunter2-hunter2 " + "x" * 2000
    lost.settle(lost.claim()["mail"], "unsent", error=error)
    kept = transact(lambda session: session.scalars(select(Notification)).one())
    assert (kept.attempts, kept.sent_at) == (1, None)
    assert kept.last_error is not None
    assert kept.last_error.startswith("SMTP AUTH failed")
    assert "hunter2" not in kept.last_error
    assert len(kept.last_error) <= ERROR_LENGTH


def test_a_claimer_that_died_loses_its_lease_after_five_minutes(lost: App) -> None:
    first = lost.claim(claimed_by=RUN)["mail"]
    lost.outside.pass_time(299)
    assert lost.claim(claimed_by=OTHER_RUN)["mail"] is None
    lost.outside.pass_time(1)
    again = lost.claim(claimed_by=OTHER_RUN)["mail"]
    assert (again["notices"][0]["id"], again["message_id"]) == (
        first["notices"][0]["id"],
        first["message_id"],
    )


def test_a_retry_takes_over_from_its_own_earlier_try(lost: App) -> None:
    lost.claim(claimed_by=RUN)
    assert lost.claim(claimed_by={**RUN, "try_number": 2})["mail"]
    assert lost.claim(claimed_by={**RUN, "try_number": 2})["mail"] is None


@pytest.mark.parametrize("outcome", ["sent", "unsent", "refused"])
def test_settling_under_another_lease_is_refused(lost: App, outcome: str) -> None:
    mail = lost.claim()["mail"]
    body = {"lease": "another", "outcome": outcome}
    assert lost.client.post("/api/notifications/settle", json=body).status_code == 409
    lost.settle(mail)


@pytest.mark.parametrize("again", ["sent", "unsent", "refused"])
def test_what_was_sent_stays_sent(lost: App, again: str) -> None:
    mail = lost.claim()["mail"]
    lost.settle(mail)
    lost.settle(mail, again)
    assert lost.claim()["reason"] == SENT


def test_nothing_is_due_about_an_integration_nobody_reported(app: App) -> None:
    assert app.claim()["reason"].startswith("nothing is due")


def test_nothing_is_due_while_one_ambiguous_refusal_stands_alone(app: App) -> None:
    app.report(Cause.CREDENTIALS_REJECTED, ambiguous=True)
    assert app.claim()["reason"].startswith("nothing is due")


def test_an_email_that_was_not_sent_is_not_sent_once_it_works_again(lost: App) -> None:
    lost.outside.pass_time(1)
    lost.report(Cause.AUTHORIZED)
    assert lost.claim()["reason"].startswith("nothing is due")
    assert lost.send_all() == []


def test_the_recipient_is_the_owner_at_the_time_of_sending(lost: App) -> None:
    moved = lost.about("shop", owner={"email": "new.owner@example.com"})
    lost.outside.pass_time(1)
    moved.report(Cause.GRANT_REVOKED)
    assert moved.claim()["mail"]["recipients"] == ["new.owner@example.com"]


def test_a_gate_is_given_nothing_about_other_integrations(lost: App) -> None:
    assert lost.about("other").claim()["mail"] is None


def test_an_email_is_written_in_the_owners_language(app: App) -> None:
    dutch = app.about("winkel", owner={"locale": "nl"})
    dutch.report(Cause.GRANT_REVOKED)
    assert dutch.claim()["mail"]["locale"] == "nl"


def mails_of(mails: list[dict[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """Tell kind, reason and recipients of each."""
    return [(mail["kind"], mail["notices"][0]["facts"]["reason"], mail["recipients"]) for mail in mails]


DANA, TEAM = ["dana@example.com"], ["team@example.com"]
DAY = 86400.0


def days_pass(app: App, days: int) -> list[tuple[int, str, str, list[str]]]:
    """Serve the outbox every six hours; tell on which day what was sent."""
    sent = []
    for quarter in range(1, 4 * days + 1):
        app.outside.pass_time(DAY / 4)
        sent += [(quarter // 4, *mail) for mail in mails_of(app.send_all())]
    return sent


def test_reminders_follow_after_one_three_and_seven_days_and_the_backup_hears_after_the_second(
    app: App,
) -> None:
    shop = app.about("shop", owner={"backup": "team@example.com"})
    shop.report(Cause.GRANT_REVOKED)
    assert mails_of(shop.send_all()) == [("opened", "lost", DANA)]
    assert days_pass(shop, 30) == [
        (1, "reminder", "still_lost", DANA),
        (3, "reminder", "still_lost", DANA),
        (3, "escalation", "owner_silent", TEAM),
        (7, "reminder", "still_lost", DANA),
    ]


def linked(app: App, mail: dict[str, Any]) -> Link | None:
    """Read the link of an email's only notice."""
    link = mail["notices"][0]["link"]
    return links.read(link.rpartition("/")[2], now=app.outside.now()) if link else None


def test_who_is_asked_to_act_is_given_the_page_of_the_incident_and_who_hears_good_news_is_not(
    app: App,
) -> None:
    shop = app.about("shop", owner={"backup": "team@example.com"})
    incident = shop.report(Cause.GRANT_REVOKED)["incident"]["id"]
    mails = shop.send_all()
    for _ in range(3):
        shop.outside.pass_time(DAY)
        mails += shop.send_all()
    assert {mail["kind"] for mail in mails} == {"opened", "reminder", "escalation"}
    for mail in mails:
        assert mail["notices"][0]["link"].startswith("http://localhost:8080/mbi-reauth/reauthorize/")
        link = linked(shop, mail)
        assert link is not None
        assert (link.about, link.id) == ("incident", incident)
    shop.report(Cause.AUTHORIZED)
    [recovered] = shop.send_all()
    assert (recovered["kind"], linked(shop, recovered)) == ("recovered", None)


def test_each_email_has_a_link_of_its_own_age(lost: App) -> None:
    [opening] = lost.send_all()
    lost.outside.pass_time(29 * DAY)
    [reminder, *_] = lost.send_all()
    lost.outside.pass_time(2 * DAY)
    assert linked(lost, opening) is None
    assert linked(lost, reminder) is not None


def test_each_of_a_digest_has_a_link_of_its_own(app: App) -> None:
    for name in ("shop", "books"):
        app.about(name).report(Cause.GRANT_REVOKED)
    mail = app.serve()["mail"]
    tokens = [notice["link"].rpartition("/")[2] for notice in mail["notices"]]
    read = [links.read(token, now=app.outside.now()) for token in tokens]
    assert [link and link.id for link in read] == [each["incident"]["id"] for each in mail["notices"]]
    assert len(set(tokens)) == 2


def test_replies_name_the_opening_email(lost: App) -> None:
    [opening] = lost.send_all()
    lost.outside.pass_time(DAY)
    [reminder] = lost.send_all()
    lost.report(Cause.AUTHORIZED)
    [recovered] = lost.send_all()
    assert reminder["in_reply_to"] == recovered["in_reply_to"] == opening["message_id"]
    assert len({opening["message_id"], reminder["message_id"], recovered["message_id"]}) == 3


def test_everybody_who_was_written_to_hears_once_that_it_works_again(app: App) -> None:
    shop = app.about("shop", owner={"backup": "team@example.com"})
    shop.report(Cause.GRANT_REVOKED)
    shop.send_all()
    days_pass(shop, 4)
    shop.report(Cause.AUTHORIZED)
    assert mails_of(shop.send_all()) == [("recovered", "works_again", DANA + TEAM)]
    assert days_pass(shop, 10) == []


def test_a_refused_address_escalates_at_once(app: App) -> None:
    shop = app.about("shop", owner={"backup": "team@example.com"})
    shop.report(Cause.GRANT_REVOKED)
    shop.settle(shop.claim()["mail"], "refused", error="550 5.1.1 no such user")
    escalation = shop.claim()["mail"]
    assert mails_of([escalation]) == [("escalation", "address_refused", TEAM)]
    assert escalation["addressee"] is None
    shop.settle(escalation)
    assert {mail[3][0] for mail in days_pass(shop, 10)} == set(TEAM)


def test_engineers_hear_where_the_backup_is_refused_too_and_that_ends_it(app: App) -> None:
    app.outside.mailing = app.outside.mailing_with(engineers=("eng@example.com",))
    shop = app.about("shop", owner={"backup": "team@example.com"})
    shop.report(Cause.GRANT_REVOKED)
    told = []
    for _ in range(5):
        if mail := shop.serve()["mail"]:
            told += mails_of([mail])
            shop.settle(mail, "refused", error="550")
    assert [recipients for _, _, recipients in told] == [DANA, TEAM, ["eng@example.com"]]


def test_without_anybody_else_to_write_to_an_escalation_waits_for_an_address(app: App) -> None:
    app.report(Cause.GRANT_REVOKED)
    app.settle(app.claim()["mail"], "refused", error="550")
    assert "give the owner a backup" in app.claim()["reason"]
    app.outside.pass_time(3600)
    app.outside.mailing = app.outside.mailing_with(engineers=("eng@example.com",))
    assert mails_of(app.send_all()) == [("escalation", "address_refused", ["eng@example.com"])]


TYPES = {"ads": "static", "books": "none", "desk": "plain"}


def lose(app: App, *names: str) -> None:
    """Lose integrations of one owner, each of another type."""
    for name in names:
        app.about(name, type=TYPES[name]).report(Cause.GRANT_REVOKED)


def test_several_losses_found_by_one_sweep_reach_their_owner_as_one_email(app: App) -> None:
    lose(app, "ads", "books")
    app.about("desk", type="plain", owner={"email": "sam@example.com"}).report(Cause.GRANT_REVOKED)
    mails = app.send_all()
    assert sorted(len(mail["notices"]) for mail in mails) == [1, 2]
    assert len({mail["message_id"] for mail in mails}) == 2


def test_a_further_loss_within_ten_minutes_waits_for_the_digest(app: App) -> None:
    app.serve()
    lose(app, "ads")
    app.settle(app.about("ads").claim()["mail"])
    for name in ("books", "desk"):
        app.outside.pass_time(60)
        lose(app, name)
        assert "written to just now" in app.about(name).claim()["reason"]
    app.outside.pass_time(8 * 60)
    [digest] = app.send_all()
    assert [notice["integration"]["id"] for notice in digest["notices"]] == ["books", "desk"]


def test_another_loss_of_the_same_integration_waits_for_no_digest(app: App) -> None:
    app.serve()
    app.report(Cause.CREDENTIALS_REJECTED)
    app.settle(app.claim()["mail"])
    app.outside.pass_time(60)
    app.report(Cause.AUTHORIZED)
    app.outside.pass_time(60)
    app.report(Cause.USER_DEACTIVATED)
    assert app.claim()["mail"]["kind"] == "opened"


def test_no_email_waits_for_a_digest_that_no_sweep_would_send(app: App) -> None:
    app.about("ads").report(Cause.GRANT_REVOKED)
    app.settle(app.about("ads").claim()["mail"])
    app.about("books").report(Cause.GRANT_REVOKED)
    assert app.about("books").claim()["mail"]


def test_a_digest_whose_sender_died_is_sent_again_as_it_was(app: App) -> None:
    lose(app, "ads", "books")
    first = app.serve()["mail"]
    app.outside.pass_time(301)
    lose(app, "desk")
    mails = app.send_all()
    again = next(mail for mail in mails if mail["message_id"] == first["message_id"])
    assert [n["id"] for n in again["notices"]] == [n["id"] for n in first["notices"]]


def lose_many(app: App, lost: int, healthy: int) -> None:
    for number in range(lost + healthy):
        each = app.about(f"shop_{number}", owner={"email": f"owner{number}@example.com"})
        each.report(Cause.GRANT_REVOKED if number < lost else Cause.AUTHORIZED)


def test_most_of_a_type_lost_at_once_is_held_as_an_outage_and_engineers_hear_once(app: App) -> None:
    app.outside.mailing = app.outside.mailing_with(engineers=("eng@example.com",))
    lose_many(app, 3, 2)
    [told] = app.send_all()
    assert mails_of([told]) == [("engineer", "many_at_once", ["eng@example.com"])]
    assert told["notices"][0]["facts"]["affected"] == ["shop_0", "shop_1", "shop_2"]
    app.outside.pass_time(59 * 60)
    assert app.send_all() == []
    app.outside.pass_time(60)
    assert len(app.send_all()) == 3


def test_a_further_loss_of_that_type_waits_with_the_others_and_is_no_second_outage(app: App) -> None:
    app.outside.mailing = app.outside.mailing_with(engineers=("eng@example.com",))
    lose_many(app, 3, 2)
    app.send_all()
    app.outside.pass_time(15 * 60)
    app.about("shop_3", owner={"email": "owner3@example.com"}).report(Cause.GRANT_REVOKED)
    assert app.send_all() == []
    app.outside.pass_time(45 * 60)
    assert len(app.send_all()) == 4


def test_a_held_email_is_never_sent_when_it_works_again_within_the_hour(app: App) -> None:
    lose_many(app, 3, 0)
    assert "looks like an outage" in app.about("shop_1").claim()["reason"]
    app.outside.pass_time(600)
    lose_many(app, 0, 3)
    app.outside.pass_time(2 * 3600)
    assert app.send_all() == []


@pytest.mark.parametrize(("lost", "healthy"), [(2, 0), (3, 3)])
def test_few_or_not_most_of_a_type_are_no_outage(app: App, lost: int, healthy: int) -> None:
    lose_many(app, lost, healthy)
    assert len(app.send_all()) == lost


def test_reminders_and_warnings_wait_for_the_owners_morning(app: App) -> None:
    app.outside.mailing = app.outside.mailing_with(quiet="20:00-08:00")
    shop = app.about("shop", owner={"time_zone": "Pacific/Auckland"})
    shop.report(Cause.GRANT_REVOKED)
    assert len(shop.send_all()) == 1  # an opening email goes out at night as well; it is 01:00 there
    shop.outside.pass_time(DAY)
    assert "it is night for dana@example.com until 2026-03-02T19:00" in shop.serve()["reason"]
    shop.outside.pass_time(6 * 3600)
    assert shop.serve()["mail"] is None
    shop.outside.pass_time(3600)
    assert mails_of(shop.send_all()) == [("reminder", "still_lost", DANA)]


def test_in_shadow_mode_nobody_is_emailed_until_it_ends(lost: App) -> None:
    lost.outside.mailing = lost.outside.mailing_with(shadow=True)
    assert lost.claim()["reason"] == "shadow mode: nobody is emailed"
    assert lost.serve()["mail"] is None
    lost.outside.mailing = lost.outside.mailing_with()
    assert mails_of(lost.send_all()) == [("opened", "lost", DANA)]


def test_a_new_owner_hears_at_once_in_the_thread_of_the_loss(lost: App) -> None:
    [opening] = lost.send_all()
    lost.outside.pass_time(8 * DAY)
    lost.send_all()
    successor = lost.about("shop", owner={"name": "Kim Example", "email": "kim@example.com"})
    successor.report(Cause.GRANT_REVOKED)
    [mail] = lost.send_all()
    assert mails_of([mail]) == [("reminder", "lost", ["kim@example.com"])]
    assert (mail["addressee"], mail["in_reply_to"]) == ("Kim Example", opening["message_id"])
    successor.report(Cause.AUTHORIZED)
    assert [mail["recipients"] for mail in lost.send_all()] == [[*DANA, "kim@example.com"]]


def test_a_corrected_address_hears_at_once_and_nobody_else_is_asked_instead(lost: App) -> None:
    lost.settle(lost.claim()["mail"], "refused", error="550 5.1.1 no such user")
    assert "give the owner a backup" in lost.claim()["reason"]
    lost.outside.pass_time(60)
    lost.about("shop", owner={"email": "dana@shop.example.com"}).report(Cause.GRANT_REVOKED)
    lost.outside.mailing = lost.outside.mailing_with(engineers=("eng@example.com",))
    assert mails_of(lost.send_all()) == [("reminder", "lost", ["dana@shop.example.com"])]


def test_nobody_is_asked_to_mend_what_the_registry_does_not_have_any_more(app: App) -> None:
    app.report(Cause.GRANT_REVOKED)
    app.send_all()
    other = app.about("other", type="plain")
    for _ in range(8):
        app.outside.pass_time(DAY / 4)
        other.report(Cause.AUTHORIZED)
    assert "is it still in the registry?" in app.serve()["reason"]
    assert app.send_all() == []
    app.report(Cause.GRANT_REVOKED)
    app.outside.pass_time(DAY / 4)
    assert mails_of(app.send_all()) == [("reminder", "still_lost", DANA)]


def test_what_left_the_registry_is_in_no_digest_of_what_is_still_there(app: App) -> None:
    lose(app, "ads")
    app.outside.pass_time(1)
    lose(app, "desk")
    app.send_all()
    for _ in range(8):
        app.outside.pass_time(DAY / 4)
        lose(app, "ads")
    [reminder] = app.send_all()
    assert [notice["integration"]["id"] for notice in reminder["notices"]] == ["ads"]


def test_one_report_from_a_clock_that_ran_ahead_puts_nothing_else_out_of_use(lost: App) -> None:
    lost.send_all()
    lost.outside.pass_time(365 * DAY)
    lost.about("other", type="plain").report(Cause.AUTHORIZED)
    lost.outside.pass_time(-364 * DAY)
    assert mails_of(lost.send_all()) == [("reminder", "still_lost", DANA)]


def test_what_the_mail_server_did_not_take_keeps_nothing_else_from_its_turn(app: App) -> None:
    for name in ("ads", "books"):
        app.about(name, type=TYPES[name], owner={"email": f"{name}@example.com"}).report(Cause.GRANT_REVOKED)
        app.outside.pass_time(1)
    first = app.serve()["mail"]
    app.settle(first, "unsent", error="451 later")
    assert app.serve()["mail"]["recipients"] != first["recipients"]


def test_what_was_lost_while_there_was_no_mail_server_reaches_its_owner_as_one_email(app: App) -> None:
    for name in TYPES:
        lose(app, name)
        app.settle(app.about(name).claim()["mail"], "untried", error="no route to host")
        app.outside.pass_time(DAY / 4)
    [mail] = app.send_all()
    assert len(mail["notices"]) == 3


def test_coming_back_before_anybody_heard_of_the_recovery_goes_on_as_one_loss(lost: App) -> None:
    lost.send_all()
    lost.outside.pass_time(600)
    lost.report(Cause.AUTHORIZED)
    lost.outside.pass_time(600)
    lost.report(Cause.GRANT_REVOKED)
    assert lost.send_all() == []
    lost.outside.pass_time(DAY)
    assert mails_of(lost.send_all()) == [("reminder", "still_lost", DANA)]


def test_lost_again_after_the_recovery_was_told_is_said_at_once_but_once_a_day(lost: App) -> None:
    lost.send_all()
    told = []
    for _ in range(4):
        lost.outside.pass_time(600)
        lost.report(Cause.AUTHORIZED)
        told += mails_of(lost.send_all())
        lost.outside.pass_time(600)
        lost.report(Cause.GRANT_REVOKED)
        told += mails_of(lost.send_all())
    assert [reason for _, reason, _ in told] == ["works_again", "lost_again", "works_again"]


def test_an_email_that_it_is_lost_again_says_since_when_it_is_this_time(lost: App) -> None:
    lost.send_all()
    lost.outside.pass_time(600)
    lost.report(Cause.AUTHORIZED)
    lost.send_all()
    lost.outside.pass_time(600)
    lost.report(Cause.GRANT_REVOKED)
    [mail] = lost.send_all()
    assert mail["notices"][0]["facts"]["since"] == "2026-03-01T12:20:00Z"


def test_a_newly_entered_credential_that_is_refused_too_is_said_at_once(lost: App) -> None:
    lost.check()
    lost.send_all()
    put_connection("shop", password="fake-new")
    version = lost.check()["credential_version"]
    lost.outside.pass_time(60)
    lost.report(Cause.CREDENTIALS_REJECTED, credential_version=version)
    assert mails_of(lost.send_all()) == [("reminder", "replacement_refused", DANA)]


def test_an_ambiguous_refusal_of_a_newly_entered_credential_needs_a_second_look(lost: App) -> None:
    lost.check()
    put_connection("shop", password="fake-new")
    version = lost.check()["credential_version"]
    lost.outside.pass_time(10)
    first = lost.report(Cause.CREDENTIALS_REJECTED, ambiguous=True, credential_version=version)
    assert first["incident"]["confirmed_at"] is None
    lost.outside.pass_time(60)
    second = lost.report(Cause.CREDENTIALS_REJECTED, ambiguous=True, credential_version=version)
    assert second["incident"]["confirmed_at"] is not None


def test_a_notification_that_cannot_be_read_keeps_no_other_from_going_out(app: App) -> None:
    lose(app, "ads")
    app.about("books", type="none", owner={"email": "sam@example.com"}).report(Cause.GRANT_REVOKED)

    def break_first(session: Any) -> None:
        row = session.scalars(select(Notification).order_by(Notification.id)).first()
        row.facts = {"reason": "nobody knows"}

    transact(break_first)
    assert [mail["recipients"] for mail in app.send_all()] == [["sam@example.com"]]
    assert app.about("ads").claim()["mail"] is None


def test_an_email_holds_fifty_notifications_at_most(app: App) -> None:
    app.outside.mailing = app.outside.mailing_with(engineers=("eng@example.com",))
    for number in range(60):
        app.about(f"shop_{number}").report(Cause.PROBE_MISCONFIGURED)
    assert [len(mail["notices"]) for mail in app.send_all()] == [50, 10]


def test_a_wrong_setting_of_the_emails_loses_no_finding(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__QUIET_HOURS", "at night")
    app.client.app.dependency_overrides.clear()  # type: ignore[attr-defined]
    integration = app.about("shop", type="zendesk").integration.model_dump(mode="json")
    finding = {"cause": "grant_revoked", "rule": "test.rule", "explanation": "-"}
    receipt = app.post("findings", {"integration": integration, "finding": finding})
    assert receipt["accepted"]
    answer = app.client.post("/api/notifications/claim", json={"integration_id": "shop"})
    assert (answer.status_code, "quiet_hours" in answer.text) == (422, True)
