"""What holds for each of the integrations that MBI documents."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Literal

import pytest

from mbi_reauth import catalogue
from mbi_reauth.catalogue.loader import DEFAULTS, LoadedType, judges_a_credential_by_words, read_model
from mbi_reauth.catalogue.model import DatabaseProbe, DefaultTable, HttpProbe
from mbi_reauth.core.rule import Rule
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Verdict

DATABASES = {
    "adobe_commerce",
    "amazon_rds",
    "database_vpn",
    "microsoft_sql_server",
    "mongodb_ssh",
    "mysql_cpanel",
    "mysql_direct",
    "mysql_ssh",
    "postgresql_ssh",
    "prestashop",
    "spree",
    "woocommerce",
}
SAAS = {
    "adobe_analytics",
    "facebook_ads",
    "google_adwords",
    "google_analytics",
    "google_analytics_warehoused",
    "google_ecommerce",
    "mixpanel",
    "quickbooks",
    "salesforce",
    "stripe",
    "zendesk",
}
MBI = {
    "mbi_export_api",
    "mbi_file_upload",
    "mbi_import_api",
    "mbi_integration_freshness",
    "mbi_update_cycle",
}
# Whose probes cost the owner something that MBI needs as well, or that the vendor limits.
METERED = {"google_adwords", "google_analytics", "mbi_update_cycle", "mixpanel", "quickbooks", *DATABASES}

TYPES = catalogue.load_all()
TABLES = {path.stem: read_model(path, DefaultTable)[2] for path in DEFAULTS.glob("*.yaml")}


def rules_for(loaded: LoadedType) -> Iterator[Rule]:
    """Give all rules that may judge what this type answers."""
    model = loaded.model
    yield from model.rules
    names: list[str] = []
    if isinstance(model.probe, DatabaseProbe):
        names += [driver.value for driver in model.probe.drivers]
        names += ["ssh"] if model.probe.tunnel == "optional" else []
    elif model.kind == "http":
        names += ["http", "bearer", "token"] if model.oauth else ["http"]
    for name in names:
        table = TABLES[name]
        assert table is not None
        kept = model.error_model == "open" or name == "token"
        yield from (rule for rule in table.rules if kept or not judges_a_credential_by_words(rule))


def test_every_integration_that_mbi_documents_is_there() -> None:
    assert set(TYPES) == DATABASES | SAAS | MBI


def test_the_error_model_of_each_vendor_is_closed_and_only_theirs() -> None:
    assert {name for name, loaded in TYPES.items() if loaded.model.error_model == "closed"} == SAAS


@pytest.mark.parametrize("type_id", sorted(TYPES))
def test_the_owner_has_steps_for_each_cause_that_needs_the_owner(type_id: str) -> None:
    loaded = TYPES[type_id]
    causes = {rule.cause for rule in rules_for(loaded)}
    needed = {cause for cause in causes if VERDICT_OF[cause] is Verdict.NEEDS_REAUTH}
    assert needed - set(loaded.model.owner_steps.repair) == set()


@pytest.mark.parametrize("type_id", sorted(TYPES))
@pytest.mark.parametrize("held_by", ["airflow", "mbi"])
def test_the_steps_for_each_cause_are_whole_sentences_and_no_step_comes_twice(
    type_id: str, held_by: str
) -> None:
    steps = TYPES[type_id].model.owner_steps
    where: Literal["airflow", "mbi"] = "mbi" if held_by == "mbi" else "airflow"
    cases = [*itertools.product((*steps.repair, Cause.UNKNOWN), [False])]
    cases += itertools.product(steps.tunnel_repair, [True])
    for cause, at_tunnel in cases:
        listed = steps.for_cause(cause, where, at_tunnel=at_tunnel)
        assert len(set(listed)) == len(listed), cause
        for step in listed:
            assert re.fullmatch(r"(?s)[A-Z].*[.!?]", step), step
            assert len(step) < 300, step


@pytest.mark.parametrize("type_id", sorted(TYPES))
def test_an_owner_at_mbi_is_never_sent_to_airflow(type_id: str) -> None:
    steps = TYPES[type_id].model.owner_steps
    for cause in (*steps.repair, Cause.UNKNOWN):
        assert "connection page" not in " ".join(steps.for_cause(cause, "mbi"))


@pytest.mark.parametrize("type_id", sorted(DATABASES | SAAS))
def test_what_airflow_holds_is_renewed_by_pressing_the_button_once(type_id: str) -> None:
    steps = TYPES[type_id].model.owner_steps
    assert [step.startswith("Press the button") for step in steps.airflow].count(True) == 1
    others = itertools.chain(steps.mbi, *(repair.steps for repair in steps.repair.values()))
    assert [step for step in others if "the button" in step] == []


@pytest.mark.parametrize("type_id", sorted(DATABASES | SAAS))
def test_no_step_of_an_owner_speaks_of_airflow(type_id: str) -> None:
    steps = TYPES[type_id].model.owner_steps
    repairs = (*steps.repair.values(), *steps.tunnel_repair.values())
    every = [*steps.airflow, *steps.mbi, *(step for repair in repairs for step in repair.steps)]
    assert [step for step in every if "Airflow" in step or "connection page" in step] == []


@pytest.mark.parametrize("type_id", sorted(DATABASES | SAAS))
def test_what_mbi_holds_is_entered_on_mbis_own_page(type_id: str) -> None:
    assert "Manage Data > Integrations" in " ".join(TYPES[type_id].model.owner_steps.mbi)


@pytest.mark.parametrize("type_id", sorted(SAAS))
def test_each_saas_type_has_a_resource_that_pages(type_id: str) -> None:
    resources = TYPES[type_id].model.resources
    assert resources
    assert any(each.paging.style != "none" or each.body == "jsonl" for each in resources)


@pytest.mark.parametrize("type_id", sorted(METERED))
def test_a_probe_that_the_vendor_meters_is_not_sent_at_every_gate(type_id: str) -> None:
    probe = TYPES[type_id].model.probe
    assert probe is not None
    assert probe.min_interval >= 60


@pytest.mark.parametrize("type_id", sorted(TYPES))
def test_a_probe_says_what_it_costs(type_id: str) -> None:
    probe = TYPES[type_id].model.probe
    assert probe is None or probe.cost


@pytest.mark.parametrize("type_id", sorted(TYPES))
def test_a_secret_field_shows_no_example(type_id: str) -> None:
    fields = TYPES[type_id].model.connection
    secret = {name for name, field in fields.items() if field.secret}
    assert not any(fields[name].example for name in secret)
    assert secret >= {"password", "client_secret", "refresh_token", "access_token"} & set(fields)


@pytest.mark.parametrize("type_id", sorted(TYPES))
def test_an_oauth_type_says_how_its_permission_ends(type_id: str) -> None:
    oauth = TYPES[type_id].model.oauth
    if oauth is not None:
        assert oauth.access_token_lifetime or oauth.refresh == "none"
        assert oauth.refresh_token_lifetime


@pytest.mark.parametrize(
    ("type_id", "on"),
    [
        ("zendesk", "2026-10-27"),
        ("zendesk", "2027-04-30"),
        ("mixpanel", "2027-03-03"),
        ("google_adwords", "2026-09-09"),
        ("google_analytics_warehoused", "2024-07-01"),
        ("adobe_analytics", "2026-08-12"),
    ],
)
def test_a_known_sunset_has_its_date(type_id: str, on: str) -> None:
    assert on in {str(sunset.on) for sunset in TYPES[type_id].model.sunsets}


@pytest.mark.parametrize("type_id", sorted(TYPES))
def test_no_rule_sends_mail_for_our_own_client_or_for_mbis_faults(type_id: str) -> None:
    for rule in TYPES[type_id].model.rules:
        if rule.cause.value.startswith("mbi_"):
            assert VERDICT_OF[rule.cause] is not Verdict.NEEDS_REAUTH


@pytest.mark.parametrize("type_id", sorted(name for name in TYPES if name not in DATABASES))
def test_the_probe_sends_no_secret_in_its_address_but_mbis_import_key(type_id: str) -> None:
    model = TYPES[type_id].model
    assert (model.auth.method == "query") == (type_id == "mbi_import_api")
    if isinstance(model.probe, HttpProbe):
        secrets = {name for name, field in model.connection.items() if field.secret}
        asked = " ".join([model.probe.url, *model.probe.params.values()])
        assert not any(f"{{{name}}}" in asked or f"{{extra.{name}}}" in asked for name in secrets)
