"""Emails that belong to no incident."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mbi_reauth.api.services import links
from mbi_reauth.api.services.links import Link
from mbi_reauth.core.verdict import Cause
from tests.app import NOON, App
from tests.metadata_db import put_connection
from tests.unit.api.test_notifications import mails_of

ENGINEERS = ["eng@example.com", "ops@example.com"]
RUN = {"dag_id": "extract", "run_id": "run 1", "task_id": "shop.check"}
DAY = 86400.0


@pytest.fixture
def watched(app: App) -> App:
    app.outside.mailing = app.outside.mailing_with(engineers=tuple(ENGINEERS))
    return app


def test_engineers_hear_at_once_of_a_wrong_set_up_and_when_it_is_over(watched: App) -> None:
    watched.report(Cause.PROBE_MISCONFIGURED)
    assert mails_of(watched.send_all()) == [("engineer", "misconfigured", ENGINEERS)]
    watched.outside.pass_time(60)
    watched.report(Cause.PROBE_MISCONFIGURED)
    assert watched.send_all() == []
    watched.outside.pass_time(60)
    watched.report(Cause.AUTHORIZED)
    assert mails_of(watched.send_all()) == [("engineer", "works_again", ENGINEERS)]


def test_a_wrong_set_up_that_was_mended_before_anybody_heard_is_not_told(watched: App) -> None:
    watched.report(Cause.PROBE_MISCONFIGURED)
    watched.outside.pass_time(60)
    watched.report(Cause.AUTHORIZED)
    assert watched.send_all() == []


@pytest.mark.parametrize("cause", [Cause.PROVIDER_OUTAGE, Cause.RATE_LIMITED, Cause.UNKNOWN])
def test_engineers_hear_of_silence_after_three_checks_and_half_an_hour_and_owners_never(
    watched: App, cause: Cause
) -> None:
    told = []
    for _ in range(5):
        watched.report(cause)
        told.append(mails_of(watched.send_all()))
        watched.outside.pass_time(15 * 60)
    assert told == [[], [], [("engineer", "lasting", ENGINEERS)], [], []]


def test_many_checks_within_half_an_hour_are_no_lasting_outage(watched: App) -> None:
    for _ in range(60):
        watched.report(Cause.PROVIDER_OUTAGE)
        watched.outside.pass_time(29)
    assert watched.send_all() == []


def test_a_trouble_that_comes_and_goes_is_told_once_a_day(watched: App) -> None:
    told = []
    for _ in range(24):
        watched.report(Cause.NETWORK_DENIED)
        watched.outside.pass_time(1800)
        told += mails_of(watched.send_all())
        watched.report(Cause.AUTHORIZED)
        watched.outside.pass_time(1800)
        told += mails_of(watched.send_all())
    assert [reason for _, reason, _ in told].count("misconfigured") == 1


def test_engineers_troubles_reach_them_as_one_email(watched: App) -> None:
    for name in ("ads", "books", "desk"):
        watched.about(name).report(Cause.PROBE_MISCONFIGURED)
    [mail] = watched.send_all()
    assert len(mail["notices"]) == 3


def test_without_an_address_for_engineers_the_asker_is_told_so(app: App) -> None:
    app.report(Cause.PROBE_MISCONFIGURED)
    assert "set [mbi_reauth] engineer_email" in app.serve()["reason"]


def test_a_fault_of_mbi_is_told_to_engineers_and_never_to_the_owner(watched: App) -> None:
    watched.report(Cause.MBI_UPDATE_FAILED)
    assert mails_of(watched.send_all()) == [("engineer", "misconfigured", ENGINEERS)]


def test_owners_are_warned_before_the_credential_ends_at_thresholds_of_its_lifetime(app: App) -> None:
    app.check()
    put_connection("shop", password="fake-new")
    version = app.check()["credential_version"]
    end = NOON + timedelta(days=14)
    warned = []
    for day in range(15):
        app.report(Cause.AUTHORIZED, credential_version=version, expires_at=end)
        warned += [(day, *mail) for mail in mails_of(app.send_all())]
        app.outside.pass_time(DAY)
    assert warned == [
        (11, "expiring", "expires", ["dana@example.com"]),
        (13, "expiring", "expires", ["dana@example.com"]),
    ]


def test_a_warning_leads_to_the_page_about_the_credential_that_will_end(app: App) -> None:
    app.check()
    put_connection("shop", password="fake-new")
    version = app.check()["credential_version"]
    app.report(Cause.AUTHORIZED, credential_version=version, expires_at=NOON + timedelta(days=14))
    app.outside.pass_time(11 * DAY)
    app.report(Cause.AUTHORIZED, credential_version=version, expires_at=NOON + timedelta(days=14))
    [mail] = app.send_all()
    now = app.outside.now()
    link = links.read(mail["notices"][0]["link"].rpartition("/")[2], now=now)
    assert link == Link(about="expiry", id="shop", version=version, issued_at=now)


def test_engineers_get_no_link_to_an_owners_page(watched: App) -> None:
    watched.report(Cause.PROBE_MISCONFIGURED)
    [mail] = watched.send_all()
    assert mail["notices"][0]["link"] is None


def test_a_warning_that_waits_for_the_morning_is_not_sent_when_the_credential_was_renewed(app: App) -> None:
    app.outside.mailing = app.outside.mailing_with(quiet="11:00-13:00")
    app.report(Cause.AUTHORIZED, expires_at=NOON + timedelta(days=2))
    assert app.serve()["mail"] is None
    app.outside.pass_time(600)
    app.report(Cause.AUTHORIZED, expires_at=NOON + timedelta(days=300))
    app.outside.pass_time(3600)
    assert app.send_all() == []


def test_what_a_third_party_retires_is_told_at_each_of_its_stages_once(watched: App) -> None:
    watched.about("retiring", type="retiring").report(Cause.AUTHORIZED)
    told = []
    for day in range(120):
        told += [(day, *mail) for mail in mails_of(watched.send_all())]
        watched.outside.pass_time(DAY)
    assert told == [(day, "engineer", "sunset", ENGINEERS) for day in (10, 70, 93, 100)]


def test_of_two_stages_of_a_retirement_that_nobody_was_told_yet_only_the_last_is_told(app: App) -> None:
    retiring = app.about("retiring", type="retiring")
    for day in (15, 60):
        app.outside.pass_time(day * DAY)
        retiring.report(Cause.AUTHORIZED)
        assert app.serve()["mail"] is None
    app.outside.pass_time(3600)
    app.outside.mailing = app.outside.mailing_with(engineers=tuple(ENGINEERS))
    [mail] = app.send_all()
    assert [notice["facts"]["reason"] for notice in mail["notices"]] == ["sunset"]


def test_what_only_integrations_that_left_the_registry_used_is_retired_in_silence(watched: App) -> None:
    watched.about("old", type="retiring").report(Cause.AUTHORIZED)
    watched.outside.pass_time(15 * DAY)
    watched.report(Cause.AUTHORIZED)
    assert watched.send_all() == []
    watched.about("new", type="retiring").report(Cause.AUTHORIZED)
    [mail] = watched.send_all()
    assert mail["notices"][0]["facts"]["affected"] == ["new"]


def test_engineers_do_not_hear_late_of_an_outage_that_is_over(watched: App) -> None:
    shops = [watched.about(f"shop_{number}") for number in range(3)]
    for shop in shops:
        shop.report(Cause.GRANT_REVOKED)
    watched.settle(watched.serve()["mail"], "untried", error="no route to host")
    watched.outside.pass_time(600)
    for shop in shops:
        shop.report(Cause.AUTHORIZED)
    assert watched.send_all() == []


def test_a_gate_in_shadow_mode_only_counts_what_it_would_have_stopped(app: App) -> None:
    for _ in range(2):
        app.report(Cause.GRANT_REVOKED, shadow=True, blocked_run=RUN)
    app.outside.pass_time(60)
    app.report(Cause.ACCOUNT_SUSPENDED, shadow=True, blocked_run={**RUN, "run_id": "run 2"})
    assert app.post("would-block", {}) == {
        "would_block": [
            {
                "integration_id": "shop",
                "runs": 2,
                "first_at": "2026-03-01T12:00:00Z",
                "last_at": "2026-03-01T12:01:00Z",
                "causes": ["account_suspended", "grant_revoked"],
            }
        ],
        "waiting_mails": 0,
    }
    assert app.send_all() == []
