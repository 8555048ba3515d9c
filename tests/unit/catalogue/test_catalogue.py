"""The packaged catalogue, and what is said about a site's own files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from mbi_reauth import catalogue
from mbi_reauth.catalogue.loader import DEFAULTS, read_model
from mbi_reauth.catalogue.model import DefaultTable, HttpProbe, Resource, Rule
from mbi_reauth.catalogue.schema import SCHEMA_FILE, schema_text
from mbi_reauth.core.classify import Table, classify
from mbi_reauth.core.evidence import Driver
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Verdict

TYPES = catalogue.load_all()
TABLES = {path.stem: read_model(path, DefaultTable)[2] for path in sorted(DEFAULTS.glob("*.yaml"))}
RULES = [
    pytest.param(name, rule, id=f"{name}.{rule.id}")
    for name, loaded in TYPES.items()
    for rule in loaded.model.rules
]
DEFAULT_RULES = [
    pytest.param(name, rule, id=f"{name}.{rule.id}")
    for name, table in TABLES.items()
    if table
    for rule in table.rules
]


@pytest.mark.parametrize(("type_id", "rule"), RULES)
def test_every_sample_is_decided_by_the_rule_above_it(type_id: str, rule: Rule) -> None:
    for sample in rule.samples:
        finding = TYPES[type_id].classify(sample.evidence)
        assert (finding.rule, finding.cause) == (f"{type_id}.{rule.id}", rule.cause)


@pytest.mark.parametrize(("name", "rule"), DEFAULT_RULES)
def test_every_sample_of_a_default_table_is_decided_by_the_rule_above_it(name: str, rule: Rule) -> None:
    table = TABLES[name]
    assert table is not None
    for sample in rule.samples:
        finding = classify(sample.evidence, (), type_id="", tables=[Table(name, table.rules)])
        assert finding.rule == f"{name}.{rule.id}"


def test_there_is_a_default_table_for_everything_that_answers() -> None:
    assert set(TABLES) == {"http", "bearer", "token", *(driver.value for driver in Driver)}


@pytest.mark.parametrize("driver", [driver.value for driver in Driver])
def test_a_drivers_table_knows_each_way_of_ending(driver: str) -> None:
    table = TABLES[driver]
    assert table is not None
    verdicts = {VERDICT_OF[rule.cause] for rule in table.rules}
    wanted = {Verdict.NEEDS_REAUTH, Verdict.UNAVAILABLE, Verdict.MISCONFIGURED}
    assert verdicts >= (wanted if driver == "ssh" else {*wanted, Verdict.AUTHORIZED})


@pytest.mark.parametrize("type_id", [name for name, loaded in TYPES.items() if loaded.model.kind == "http"])
def test_every_api_type_says_what_proves_it(type_id: str) -> None:
    assert Cause.AUTHORIZED in {rule.cause for rule in TYPES[type_id].model.rules}


@pytest.mark.parametrize("type_id", sorted(TYPES))
def test_every_placeholder_is_a_field_of_the_connection(type_id: str) -> None:
    model = TYPES[type_id].model
    if not isinstance(model.probe, HttpProbe):
        return
    texts = [model.probe.url, model.base_url or "", *model.probe.headers.values()]
    texts += [model.auth.username] if model.auth.method == "basic" else []
    texts += [text for resource in model.resources for text in (resource.url, *resource.headers.values())]
    for name in re.findall(r"\{([a-z_.]+)\}", " ".join(texts)):
        field = name.removeprefix("extra.")
        assert name in ("base_url", "account") or field in model.connection or field in model.extra_defaults


RESOURCES = [
    pytest.param(resource, id=f"{name}.{resource.name}")
    for name, loaded in TYPES.items()
    for resource in loaded.model.resources
]


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_query_that_asks_for_what_is_new_still_asks_for_its_page(resource: Resource) -> None:
    if resource.since_param is not None:
        assert "{watermark}" in resource.since_format or "{watermark.utc}" in resource.since_format
        shared = resource.since_param == resource.paging.param
        assert not shared or resource.paging.style == "token" or "{position}" in resource.since_format


def test_apis_that_leave_out_an_empty_list_are_known() -> None:
    optional = {
        name
        for name, loaded in TYPES.items()
        if any(resource.records_optional for resource in loaded.model.resources)
    }
    assert optional == {
        "google_adwords",
        "google_analytics",
        "google_analytics_warehoused",
        "google_ecommerce",
        "quickbooks",
    }


@pytest.mark.parametrize("type_id", sorted(TYPES))
def test_the_owners_steps_are_whole_sentences(type_id: str) -> None:
    steps = TYPES[type_id].model.owner_steps
    for step in (*steps.airflow, *steps.mbi):
        assert step[0].isupper()
        assert step.endswith(".")


@pytest.mark.parametrize("type_id", sorted(TYPES))
def test_no_owner_changes_where_a_connection_leads_or_the_client_of_an_oauth_type(type_id: str) -> None:
    engineers = {"host", "port", "schema", "account", "client_id", "client_secret", "refresh_token"}
    assert not {
        name
        for name in TYPES[type_id].model.owner_fields()
        if name in engineers or name.endswith(("_conn_id", "_host"))
    }


@pytest.mark.parametrize(
    ("type_id", "names"),
    [
        ("mysql_ssh", ["login", "password"]),
        ("zendesk", ["login", "password"]),
        ("stripe", ["password"]),
        ("facebook_ads", ["access_token"]),
        ("salesforce", []),
        ("google_adwords", []),
    ],
)
def test_an_owner_changes_a_login_and_what_is_secret(type_id: str, names: list[str]) -> None:
    assert list(TYPES[type_id].model.owner_fields()) == names


def test_a_file_may_offer_more_to_the_owner_and_keep_a_secret_back() -> None:
    model = TYPES["zendesk"].model
    fields = {
        "subdomain": model.connection["subdomain"].model_copy(update={"owner": True}),
        "login": model.connection["login"],
        "password": model.connection["password"].model_copy(update={"owner": False}),
    }
    assert list(model.model_copy(update={"connection": fields}).owner_fields()) == ["subdomain", "login"]


def test_zendesk_is_not_asked_what_it_tells_everybody() -> None:
    probe = TYPES["zendesk"].model.probe
    assert isinstance(probe, HttpProbe)
    assert "users/me" not in probe.url


def test_zendesks_end_of_tokens_is_known() -> None:
    assert [str(sunset.on) for sunset in TYPES["zendesk"].model.sunsets] == ["2026-10-27", "2027-04-30"]


def test_the_schema_file_is_current_and_fits_the_packaged_files() -> None:
    """Write it anew with ``python -m mbi_reauth.catalogue.schema``."""
    assert SCHEMA_FILE.read_text("utf-8") == schema_text()
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    for type_id in TYPES:
        text = (catalogue.PACKAGED / f"{type_id}.yaml").read_text("utf-8")
        jsonschema.validate(
            json.loads(json.dumps(yaml.safe_load(text.replace("- on:", '- "on":')), default=str)), schema
        )


TYPE = """\
display_name: Example
docs: https://example.com/docs
kind: http
base_url: https://api.example.com
connection: {{password: {{title: Key, secret: true}}}}
auth: {auth}
probe: {{url: "{{base_url}}/me"}}
rules:
  - id: refused
    when: {{status: [401], field: {{error: [revoked]}}}}
    cause: {cause}
    because: It was revoked.
    samples:
      - evidence: {{endpoint: probe, status_code: 401, body: {{error: {word}}}}}
owner_steps: {{airflow: [Do it.], mbi: [Do it.]}}
"""
RIGHT = {"auth": "{method: bearer}", "cause": "grant_revoked", "word": "revoked"}


def test_a_sites_own_type_is_loaded_beside_the_packaged_ones(tmp_path: Path) -> None:
    (tmp_path / "example.yaml").write_text(TYPE.format(**RIGHT))
    assert "example" in catalogue.type_ids(tmp_path)
    assert catalogue.load("example", folder=tmp_path).model.display_name == "Example"
    assert set(catalogue.load_all(folder=tmp_path)) == {"example", *TYPES}


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(TYPE.format(**RIGHT))
    first = catalogue.load("example", folder=tmp_path).model
    assert catalogue.load("example", folder=tmp_path).model is first
    path.write_text(TYPE.format(**RIGHT).replace("Example", "Changed"))
    assert catalogue.load("example", folder=tmp_path).model.display_name == "Changed"


def test_an_unknown_type_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(catalogue.CatalogueError, match='"zendeks"; did you mean "zendesk"'):
        catalogue.load("zendeks", folder=tmp_path)
    with pytest.raises(catalogue.CatalogueError, match="There is no integration type"):
        catalogue.load("../secrets", folder=tmp_path)


PARTS = """\
resources:
  - name: orders
    url: "{base_url}/orders"
    records: data
    paging: {style: none}
  - name: orders
    url: "{base_url}/refunds"
    records: data
    paging: {style: none}
"""


def faults_of(folder: Path, text: str, name: str = "example") -> list[str]:
    (folder / f"{name}.yaml").write_text(text)
    with pytest.raises(catalogue.CatalogueError) as raised:
        catalogue.load_all(folder=folder)
    return str(raised.value).splitlines()[1:]


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        (
            "{base_url}/me",
            "{base_ur}/me",
            'url: {base_ur} is no field of the connection; did you mean "base_url"?',
        ),
        ("{base_url}/me", "{base_url}/{extra.shop}", "url: {extra.shop} is no field of the connection"),
        (
            "{base_url}/me",
            "{base_url}/me?key={password}",
            "url: {password} is secret, so it may stand only in auth",
        ),
    ],
)
def test_a_placeholder_that_nothing_fills_is_a_fault_before_anything_is_asked(
    tmp_path: Path, right: str, wrong: str, says: str
) -> None:
    assert faults_of(tmp_path, TYPE.format(**RIGHT).replace(right, wrong)) == [
        f"example.yaml:7: probe.{says}"
    ]


def test_a_placeholder_in_a_resource_is_looked_at_too(tmp_path: Path) -> None:
    text = TYPE.format(**RIGHT) + PARTS.replace("name: orders", "name: sales", 1).replace(
        "/orders", "/{shop}"
    )
    says = "resources[sales].url: {shop} is no field of the connection"
    assert faults_of(tmp_path, text) == [f"example.yaml:18: {says}"]


def test_two_resources_of_one_name_would_land_in_one_folder(tmp_path: Path) -> None:
    says = 'resources: the name "orders" is here twice'
    assert faults_of(tmp_path, TYPE.format(**RIGHT) + PARTS) == [f"example.yaml:21: {says}"]


@pytest.mark.parametrize(
    "name", ["host", "port", "schema", "account", "ssh_conn_id", "query_host", "token_url", "client_secret"]
)
def test_no_file_can_let_an_owner_change_where_a_connection_leads(tmp_path: Path, name: str) -> None:
    text = TYPE.format(**RIGHT)
    (found,) = re.findall(r"(?m)^connection: .*$", text)
    fields = f"connection: {{{name}: {{title: Other, owner: true}}, password: {{title: Key, secret: true}}}}"
    faults = faults_of(tmp_path, text.replace(found, fields))
    assert [fault.partition(": ")[2] for fault in faults] == [
        f"connection.{name}.owner: no owner may change this; an engineer does"
    ]


def test_a_parameter_that_every_authorization_request_has_is_no_further_one(tmp_path: Path) -> None:
    oauth = (
        "oauth: {authorization_url: https://a.example/a, token_url: https://a.example/t, refresh: static, "
        "authorization_params: {prompt: consent, state: fixed}}\n"
    )
    faults = faults_of(tmp_path, TYPE.format(**RIGHT | {"auth": "{method: bearer}"}) + oauth)
    assert [fault.partition(": ")[2] for fault in faults] == [
        "oauth.authorization_params.state: is sent anyway; leave it out"
    ]


def test_a_file_whose_name_is_no_types_is_named(tmp_path: Path) -> None:
    says = "my-shop.yaml: the name of a type has only letters, digits and _"
    assert faults_of(tmp_path, TYPE.format(**RIGHT), "my-shop") == [says]


def test_a_rule_that_says_more_than_an_answer_can_mean_is_told_so(tmp_path: Path) -> None:
    text = TYPE.format(**RIGHT).replace(", field: {error: [revoked]}", "")
    (fault,) = faults_of(tmp_path, text)
    assert fault.endswith("; the condition does not hold, or no such answer can mean grant_revoked")


def test_all_faults_of_all_files_come_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(TYPE.format(**RIGHT | {"cause": "grant_revokd"}))
    (tmp_path / "b.yaml").write_text(TYPE.format(**RIGHT | {"word": "other"}))
    (tmp_path / "c.yaml").write_text(TYPE.format(**RIGHT | {"auth": "{method: header}"}))
    (tmp_path / "d.yaml").write_text(dedent(TYPE.format(**RIGHT)) + "displayname: x\n")
    (tmp_path / "e.yaml").write_text("")
    (tmp_path / "f.yaml").write_text("a: [\n")
    with pytest.raises(catalogue.CatalogueError) as raised:
        catalogue.load_all(folder=tmp_path)
    said = str(raised.value)
    assert 'a.yaml:11: rules[refused].cause: "grant_revokd" is not one of' in said
    assert 'did you mean "grant_revoked"?' in said
    assert "b.yaml:14: rules[refused]: this sample is decided by unmapped, as unknown" in said
    assert "c.yaml:6: auth.name: is missing" in said
    assert 'd.yaml:16: displayname: unknown key; did you mean "display_name"?' in said
    assert "e.yaml: must be a mapping" in said
    assert "f.yaml:2: not valid YAML" in said
