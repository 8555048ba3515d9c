"""What integration types share, and what is said about a shared file that is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

import pytest

from mbi_reauth import catalogue
from mbi_reauth.catalogue.model import HttpProbe, IntegrationType
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.verdict import Cause

FAMILY = """\
kind: http
base_url: https://api.example.com
connection:
  login: {title: Email address}
  password: {title: Key, secret: true}
auth: {method: basic}
probe: {url: "{base_url}/me", min_interval: 60}
rules:
  - id: refused
    when: {status: [401], field: {error: [revoked]}}
    cause: grant_revoked
    because: It was revoked.
    samples:
      - evidence: {endpoint: probe, status_code: 401, body: {error: revoked}}
owner_steps:
  repair:
    grant_revoked: {steps: [Allow it again.], minutes: 3}
  airflow: [Enter the key.]
  mbi: [Enter the key there.]
"""
TYPE = """\
extends: shops
display_name: Example
docs: https://example.com/docs
connection:
  shop: {title: Shop}
probe: {url: "{base_url}/shops/{extra.shop}"}
rules:
  - id: closed
    when: {status: [403], field: {error: [closed]}}
    cause: account_suspended
    because: It was closed.
    samples:
      - evidence: {endpoint: probe, status_code: 403, body: {error: closed}}
owner_steps:
  repair:
    account_suspended: {steps: [Open it again.], reconnect: false}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "shops.yaml").write_text(FAMILY)
    (tmp_path / "example.yaml").write_text(TYPE)
    return tmp_path


def model_in(folder: Path) -> IntegrationType:
    return catalogue.load("example", folder=folder).model


def faults_in(folder: Path) -> list[str]:
    with pytest.raises(catalogue.CatalogueError) as caught:
        catalogue.load_all(folder=folder)
    return str(caught.value).splitlines()[1:]


def test_a_type_has_what_its_family_has_and_overrules_it_key_by_key(folder: Path) -> None:
    model = model_in(folder)
    assert list(model.connection) == ["login", "password", "shop"]
    assert isinstance(model.probe, HttpProbe)
    assert (model.probe.url, model.probe.min_interval) == ("{base_url}/shops/{extra.shop}", 60)


def test_a_types_own_rules_go_first_and_its_familys_report_under_its_name(folder: Path) -> None:
    loaded = catalogue.load("example", folder=folder)
    assert [rule.id for rule in loaded.model.rules] == ["closed", "refused"]
    refused = Evidence(endpoint=Endpoint.PROBE, status_code=401, body={"error": "revoked"})
    assert loaded.classify(refused).rule == "example.refused"


def test_a_null_leaves_out_what_the_family_has(folder: Path) -> None:
    (folder / "example.yaml").write_text(TYPE.replace("  shop:", "  login: null\n  shop:"))
    assert list(model_in(folder).connection) == ["password", "shop"]


def test_of_two_families_the_first_overrules(folder: Path) -> None:
    (folder / "families" / "slow.yaml").write_text("probe: {min_interval: 900, cost: dear}\n")
    (folder / "example.yaml").write_text(TYPE.replace("extends: shops", "extends: [shops, slow]"))
    probe = model_in(folder).probe
    assert isinstance(probe, HttpProbe)
    assert (probe.min_interval, probe.cost) == (60, "dear")


def test_a_changed_family_is_read_again(folder: Path) -> None:
    assert model_in(folder).auth.method == "basic"
    family = folder / "families" / "shops.yaml"
    family.write_text(FAMILY.replace("method: basic", "method: bearer"))
    stamp = family.stat().st_mtime_ns + 1_000_000_000
    os.utime(family, ns=(stamp, stamp))
    assert model_in(folder).auth.method == "bearer"


def test_a_type_that_was_put_back_is_read_again_though_its_family_is_newer(folder: Path) -> None:
    (folder / "families" / "later.yaml").write_text("docs: https://example.com\n")
    assert model_in(folder).display_name == "Example"
    (folder / "example.yaml").write_text(TYPE.replace("display_name: Example", "display_name: Before"))
    os.utime(folder / "example.yaml", ns=(0, 0))
    assert model_in(folder).display_name == "Before"


def test_a_fault_in_a_family_names_the_familys_line(folder: Path) -> None:
    (folder / "families" / "shops.yaml").write_text(FAMILY.replace("cause: grant_revoked", "cause: revoked"))
    (fault,) = faults_in(folder)
    assert fault.startswith('families/shops.yaml:11: rules[refused].cause: "revoked" is not one of')


def test_a_fault_in_a_type_names_the_types_own_line(folder: Path) -> None:
    (folder / "example.yaml").write_text(TYPE.replace("{title: Shop}", "{titel: Shop}"))
    assert faults_in(folder) == [
        'example.yaml:5: connection.shop.titel: unknown key; did you mean "title"?',
        "example.yaml:5: connection.shop.title: is missing",
    ]


def test_a_familys_rule_that_the_type_shadows_is_a_fault_of_the_familys_line(folder: Path) -> None:
    (folder / "example.yaml").write_text(
        TYPE.replace("status: [403], field: {error: [closed]}", "field: {error: [closed, revoked]}")
    )
    (fault,) = faults_in(folder)
    assert fault.startswith(
        "families/shops.yaml:14: rules[refused]: this sample is decided by example.closed"
    )


@pytest.mark.parametrize(
    ("extends", "fault"),
    [
        ("shop", 'there is no family "shop"; did you mean "shops"?'),
        ("../shops", 'there is no family "../shops"; did you mean "shops"?'),
        ("[shops, 7]", 'there is no family "7"'),
    ],
)
def test_an_unknown_family_is_named(folder: Path, extends: str, fault: str) -> None:
    (folder / "example.yaml").write_text(TYPE.replace("extends: shops", f"extends: {extends}"))
    assert any(each.startswith(f"example.yaml:1: extends: {fault}") for each in faults_in(folder))


def test_a_family_that_extends_another_is_refused(folder: Path) -> None:
    (folder / "families" / "shops.yaml").write_text("extends: others\n" + FAMILY)
    assert "families/shops.yaml:1: extends: a family extends nothing; name both in the type" in faults_in(
        folder
    )


def test_a_family_that_is_no_mapping_is_a_fault(folder: Path) -> None:
    (folder / "families" / "shops.yaml").write_text("- kind: http\n")
    assert "families/shops.yaml: must be a mapping of some of a type's keys" in faults_in(folder)


def test_a_repair_is_followed_by_entering_the_credential_unless_nothing_has_to_be_entered(
    folder: Path,
) -> None:
    steps = model_in(folder).owner_steps
    assert steps.for_cause(Cause.GRANT_REVOKED, "airflow") == ["Allow it again.", "Enter the key."]
    assert steps.for_cause(Cause.GRANT_REVOKED, "mbi") == ["Allow it again.", "Enter the key there."]
    assert steps.for_cause(Cause.ACCOUNT_SUSPENDED, "airflow") == ["Open it again."]
    assert steps.for_cause(Cause.USER_DEACTIVATED, "airflow") == ["Enter the key."]
    assert [steps.minutes_for(cause) for cause in (Cause.GRANT_REVOKED, Cause.USER_DEACTIVATED)] == [3, 2]


def test_an_outage_has_no_repair_by_the_owner(folder: Path) -> None:
    (folder / "example.yaml").write_text(TYPE.replace("account_suspended: {steps", "provider_outage: {steps"))
    (fault,) = (each for each in faults_in(folder) if "repair" in each)
    assert fault.startswith(
        "example.yaml:16: owner_steps.repair.provider_outage: provider_outage does not need"
    )


def test_the_whole_of_a_missing_key_is_said_about_the_type(folder: Path) -> None:
    (folder / "families" / "shops.yaml").write_text(dedent(FAMILY).replace("kind: http\n", ""))
    assert "example.yaml:1: kind: is missing" in faults_in(folder)
