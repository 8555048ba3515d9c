"""The types that are databases: what they share, and what each has of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mbi_reauth import catalogue
from mbi_reauth.catalogue.families import EXTENDS, FOLDER
from mbi_reauth.catalogue.loader import DEFAULTS, LoadedType, read_model
from mbi_reauth.catalogue.model import DatabaseProbe, DefaultTable
from mbi_reauth.core.evidence import Driver, Evidence
from mbi_reauth.core.verdict import Cause

TYPES = catalogue.load_all()
DATABASES = {name: loaded for name, loaded in TYPES.items() if loaded.model.kind == "database"}
MBI_ADDRESSES = ("54.88.76.97", "34.250.211.151")


def drivers_of(loaded: LoadedType) -> list[Driver]:
    assert isinstance(loaded.model.probe, DatabaseProbe)
    return loaded.model.probe.drivers


def judges_of(driver: Driver) -> dict[str, LoadedType]:
    return {name: loaded for name, loaded in DATABASES.items() if driver in drivers_of(loaded)}


def samples_of(driver: Driver) -> Iterator[Evidence]:
    table = read_model(DEFAULTS / f"{driver.value}.yaml", DefaultTable)[2]
    assert table is not None
    for rule in table.rules:
        yield from (sample.evidence for sample in rule.samples)


def written(name: str) -> dict[str, Any]:
    text = (catalogue.PACKAGED / f"{name}.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))


def families_of(name: str) -> list[dict[str, Any]]:
    named = written(name).get(EXTENDS, [])
    return [written(f"{FOLDER}/{family}") for family in ([named] if isinstance(named, str) else named)]


def repeated(own: Any, shared: list[Any], at: str = "") -> Iterator[str]:
    """Name the keys of a file whose value a family of it has as well, and would give it."""
    if isinstance(own, dict):
        for key, value in own.items():
            inner = [each[key] for each in shared if isinstance(each, dict) and key in each]
            yield from repeated(value, inner, f"{at}.{key}" if at else str(key))
    elif shared and shared[0] == own:
        yield at


@pytest.mark.parametrize("type_id", sorted(name for name in TYPES if EXTENDS in written(name)))
def test_a_variants_file_repeats_nothing_of_its_families(type_id: str) -> None:
    assert list(repeated(written(type_id), families_of(type_id))) == []


def test_the_search_for_repetitions_finds_one() -> None:
    own = {"auth": {"method": "login"}, "probe": {"drivers": ["mysql"], "cost": "dear"}}
    family = {"auth": {"method": "login"}, "probe": {"drivers": ["mysql"], "cost": "cheap"}}
    assert list(repeated(own, [family])) == ["auth.method", "probe.drivers"]


MYSQL = {"mysql_cpanel", "mysql_direct", "mysql_ssh", "adobe_commerce", "prestashop", "woocommerce"}


@pytest.mark.parametrize(
    ("driver", "types"),
    [
        (Driver.MYSQL, {*MYSQL, "amazon_rds", "database_vpn"}),
        (Driver.POSTGRESQL, {"postgresql_ssh", "spree", "amazon_rds", "database_vpn"}),
        (Driver.MSSQL, {"microsoft_sql_server", "amazon_rds", "database_vpn"}),
        (Driver.MONGODB, {"mongodb_ssh", "database_vpn"}),
    ],
)
def test_every_type_on_one_engine_judges_by_the_same_rules(driver: Driver, types: set[str]) -> None:
    judges = judges_of(driver)
    assert set(judges) == types
    for evidence in samples_of(driver):
        findings = {(each.classify(evidence).rule, each.classify(evidence).cause) for each in judges.values()}
        assert len(findings) == 1, evidence


def test_a_type_with_several_engines_judges_each_by_its_own_numbers() -> None:
    rds = TYPES["amazon_rds"]
    found = {
        driver: rds.classify(Evidence(endpoint="probe", driver=driver, error_code=1045)).cause
        for driver in Driver
        if driver is not Driver.SSH
    }
    assert found.pop(Driver.MYSQL) is Cause.CREDENTIALS_REJECTED
    assert set(found.values()) == {Cause.UNKNOWN}


def test_a_type_with_several_engines_judges_no_number_of_an_unnamed_one() -> None:
    evidence = Evidence(endpoint="probe", error_code=1045, message="Access denied for user 'mbi'@'%'")
    assert TYPES["amazon_rds"].classify(evidence).cause is Cause.UNKNOWN
    assert TYPES["mysql_direct"].classify(evidence).cause is Cause.CREDENTIALS_REJECTED


@pytest.mark.parametrize("type_id", sorted(DATABASES))
def test_a_refusal_of_the_ssh_server_is_judged_whatever_the_engine(type_id: str) -> None:
    evidence = Evidence(
        endpoint="probe", driver="ssh", error_code="AuthenticationException", message="Authentication failed."
    )
    assert DATABASES[type_id].classify(evidence).rule == "default_ssh.login_refused"


@pytest.mark.parametrize("type_id", sorted(DATABASES))
def test_the_steps_on_mbis_page_name_both_of_mbis_addresses(type_id: str) -> None:
    steps = " ".join(DATABASES[type_id].model.owner_steps.mbi)
    assert all(address in steps for address in MBI_ADDRESSES)


@pytest.mark.parametrize("type_id", sorted(DATABASES))
def test_no_step_names_only_one_of_mbis_addresses(type_id: str) -> None:
    steps = DATABASES[type_id].model.owner_steps
    first = (*steps.repair.values(), *steps.tunnel_repair.values())
    repairs = [step for repair in first for step in repair.steps]
    for step in (*repairs, *steps.airflow, *steps.mbi):
        assert len({address in step for address in MBI_ADDRESSES}) == 1, step


@pytest.mark.parametrize("cause", [Cause.USER_DEACTIVATED, Cause.INSUFFICIENT_SCOPE])
@pytest.mark.parametrize("type_id", sorted(DATABASES))
def test_what_the_administrator_gives_back_needs_no_new_password(type_id: str, cause: Cause) -> None:
    assert not DATABASES[type_id].model.owner_steps.reconnects(cause)


@pytest.mark.parametrize(
    "cause", [Cause.CREDENTIALS_REJECTED, Cause.PASSWORD_EXPIRED, Cause.ACCOUNT_UNLINKED]
)
@pytest.mark.parametrize("type_id", sorted(DATABASES))
def test_a_new_password_is_entered_where_it_is_held_and_at_mbi(type_id: str, cause: Cause) -> None:
    steps = DATABASES[type_id].model.owner_steps
    assert "Manage Data > Integrations" in " ".join(steps.for_cause(cause, "airflow"))
    assert "Save" in " ".join(steps.for_cause(cause, "mbi")) or type_id == "microsoft_sql_server"


TUNNELLED = sorted(set(DATABASES) - {"mysql_direct", "mysql_cpanel", "microsoft_sql_server"})


@pytest.mark.parametrize("type_id", TUNNELLED)
def test_a_type_behind_ssh_asks_for_its_connection_and_tells_who_refuses(type_id: str) -> None:
    model = DATABASES[type_id].model
    assert isinstance(model.probe, DatabaseProbe)
    assert model.probe.tunnel == "optional"
    assert not model.connection["ssh_conn_id"].required
    told = model.owner_steps.for_cause(Cause.CREDENTIALS_REJECTED, "airflow", at_tunnel=True)
    assert "authorized_keys" in " ".join(told)


@pytest.mark.parametrize("type_id", TUNNELLED)
@pytest.mark.parametrize("held_by", ["airflow", "mbi"])
def test_a_refusal_at_the_ssh_server_needs_no_new_database_password(type_id: str, held_by: Any) -> None:
    steps = DATABASES[type_id].model.owner_steps
    assert steps.tunnel_repair
    for cause in steps.tunnel_repair:
        assert not steps.reconnects(cause, at_tunnel=True)
        listed = steps.for_cause(cause, held_by, at_tunnel=True)
        assert "SSH server" in " ".join(listed)
        assert "Save & Test" not in " ".join(listed)


@pytest.mark.parametrize("type_id", sorted(set(DATABASES) - set(TUNNELLED)))
def test_a_direct_type_does_not_speak_of_ssh(type_id: str) -> None:
    model = DATABASES[type_id].model
    assert "ssh_conn_id" not in model.connection
    assert "SSH" not in model.model_dump_json()


@pytest.mark.parametrize(
    ("type_id", "cause", "held_by", "words"),
    [
        ("adobe_commerce", Cause.CREDENTIALS_REJECTED, "airflow", "MAGENTO_CLOUD_RELATIONSHIPS"),
        ("adobe_commerce", Cause.USER_DEACTIVATED, "mbi", "Contributor on the primary environment"),
        ("adobe_commerce", Cause.ACCOUNT_UNLINKED, "airflow", "main"),
        ("amazon_rds", Cause.CREDENTIALS_REJECTED, "mbi", "security group"),
        ("amazon_rds", Cause.CREDENTIALS_REJECTED, "airflow", "Secrets Manager"),
        ("database_vpn", Cause.PASSWORD_EXPIRED, "mbi", "Cisco IPsec VPN"),
        ("microsoft_sql_server", Cause.CREDENTIALS_REJECTED, "airflow", "error 18456"),
        ("microsoft_sql_server", Cause.PASSWORD_EXPIRED, "mbi", "mixed mode"),
        ("microsoft_sql_server", Cause.ACCOUNT_UNLINKED, "airflow", "db_datareader"),
        ("mongodb_ssh", Cause.INSUFFICIENT_SCOPE, "mbi", "listDatabases"),
        ("mysql_cpanel", Cause.CREDENTIALS_REJECTED, "airflow", "Remote MySQL"),
        ("mysql_direct", Cause.CREDENTIALS_REJECTED, "airflow", "a user for each address apart"),
        ("mysql_ssh", Cause.CREDENTIALS_REJECTED, "mbi", "Refresh SSH Host Keys"),
        ("postgresql_ssh", Cause.INSUFFICIENT_SCOPE, "airflow", "default privileges"),
        ("prestashop", Cause.ACCOUNT_UNLINKED, "airflow", "parameters.php"),
        ("spree", Cause.ACCOUNT_UNLINKED, "airflow", "database.yml"),
        ("woocommerce", Cause.ACCOUNT_UNLINKED, "airflow", "wp-config.php"),
    ],
)
def test_the_owner_is_told_what_is_peculiar_to_the_type(
    type_id: str, cause: Cause, held_by: Any, words: str
) -> None:
    assert words in " ".join(DATABASES[type_id].model.owner_steps.for_cause(cause, held_by))
