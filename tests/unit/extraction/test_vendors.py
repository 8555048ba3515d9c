"""Each packaged resource, extracted as its task does it from a third party that pages as documented."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from mbi_reauth import catalogue
from mbi_reauth.core.integration import Integration
from mbi_reauth.extraction.extract import extract
from mbi_reauth.hooks.integration import NotAuthorizedError
from tests.checking import an_integration
from tests.unit.extraction import vendors
from tests.unit.extraction.mortal import visible
from tests.unit.extraction.third_party import Asked, Reply, ThirdParty, serving

OTHERS = """
display_name: Others
docs: https://docs.example.com
kind: http
connection: {host: {title: Host}, password: {title: Password, secret: true}}
auth: {method: bearer}
probe: {url: "{base_url}/me"}
rules: []
resources:
  - name: issues
    url: "{base_url}/issues"
    records: $
    paging: {style: link}
  - name: export
    url: "{base_url}/export/51"
    body: csv
    records: $
    paging: {style: none}
  - name: figure
    method: POST
    url: "{base_url}/figure/360531/export"
    form: {format: csv, includeColumnHeaders: "1"}
    body: csv
    records: $
    paging: {style: none}
owner_steps: {airflow: [Paste a new key.], mbi: [Paste a new key.]}
"""

VENDORS: dict[str, type[vendors.Vendor]] = {
    "adobe_analytics": vendors.AdobeAnalytics,
    "facebook_ads": vendors.Facebook,
    "google_adwords": vendors.GoogleAds,
    "google_analytics": vendors.GoogleAnalytics,
    "google_analytics_warehoused": vendors.GoogleAnalytics,
    "google_ecommerce": vendors.GoogleAnalytics,
    "mixpanel": vendors.MixpanelExport,
    "mixpanel.profiles": vendors.MixpanelEngage,
    "others": vendors.MbiExport,
    "others.issues": vendors.LinkHeader,
    "quickbooks": vendors.QuickBooks,
    "salesforce": vendors.Salesforce,
    "stripe": vendors.Stripe,
    "zendesk": vendors.Zendesk,
}
PACKAGED = [
    (type_id, resource.name)
    for type_id in sorted(catalogue.type_ids())
    for resource in catalogue.load(type_id).model.resources
]
ALL = [*PACKAGED, ("others", "issues"), ("others", "export"), ("others", "figure")]


class App:
    """The plugin's app: gives an access token, and another one in place of a refused one."""

    def __init__(self) -> None:
        self.refreshes = 0
        self.grant_is_lost = False

    def reply(self, asked: Asked) -> Reply:
        refused = asked.json["refused_token"] is not None
        if refused and self.grant_is_lost:
            refusal = {"endpoint": "token", "status_code": 400, "body": '{"error": "invalid_grant"}'}
            return 200, {}, {"credential_version": 1, "token_evidence": refusal}
        self.refreshes += refused
        return 200, {}, {"credential_version": 1, "access_token": f"fake-token-{self.refreshes}"}


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    made = App()
    with serving() as server:
        server.reply = made.reply
        connection = {"conn_type": "generic", "host": server.host, "password": "fake-key"}
        monkeypatch.setenv("AIRFLOW_CONN_MBI_REAUTH_API", json.dumps(connection))
        yield made


Connect = Callable[[str], Integration]


@pytest.fixture
def connect(party: ThirdParty, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Make an integration of a type whose third party is the one on the loopback."""

    def connected(type_id: str) -> Integration:
        (tmp_path / "others.yaml").write_text(OTHERS)
        if type_id == "mixpanel":
            text = (catalogue.PACKAGED / "mixpanel.yaml").read_text()
            (tmp_path / "mixpanel.yaml").write_text(text.replace("https://{extra.query_host}", "{base_url}"))
        monkeypatch.setenv("AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER", str(tmp_path))
        monkeypatch.setenv("AIRFLOW__MBI_REAUTH__DATA_FOLDER", (tmp_path / "data").as_uri())
        fields: dict[str, Any] = {"conn_type": "mbireauth", "host": party.host}
        fields |= {"login": "dana", "password": "fake-password"}
        extra = dict.fromkeys(catalogue.load(type_id, folder=tmp_path).model.connection, "fake")
        monkeypatch.setenv("AIRFLOW_CONN_VENDOR", json.dumps(fields | {"extra": json.dumps(extra)}))
        return an_integration(type=type_id, conn_id="vendor", account="123")

    return connected


def landed(tmp_path: Path, name: str) -> list[Any]:
    folder = ObjectStoragePath((tmp_path / "data").as_uri()) / "shop" / name
    return sorted(visible(folder), key=json.dumps)


@pytest.mark.parametrize(("type_id", "name"), ALL)
def test_a_packaged_resource_is_read_to_the_end_run_after_run(
    party: ThirdParty, connect: Connect, tmp_path: Path, type_id: str, name: str
) -> None:
    vendor = (VENDORS.get(f"{type_id}.{name}") or VENDORS[type_id])()
    party.reply = vendor.reply
    integration = connect(type_id)
    assert extract(integration, name)["rows"] == 7
    assert landed(tmp_path, name) == sorted(vendor.records, key=json.dumps)
    vendor.grow()
    extract(integration, name)
    assert landed(tmp_path, name) == sorted(vendor.records, key=json.dumps)


def test_an_invoice_that_changes_behind_the_reader_is_new_to_the_next_run(
    party: ThirdParty, connect: Connect, tmp_path: Path
) -> None:
    vendor = vendors.QuickBooks()
    first, *_, last = vendor.records

    def reply(asked: Asked) -> Reply:
        answered = copy.deepcopy(vendor.reply(asked))
        first["MetaData"] = {"LastUpdatedTime": "2026-03-01T20:00:00-08:00"}
        last["MetaData"] = {"LastUpdatedTime": "2026-03-01T20:01:00-08:00"}
        return answered

    party.reply = reply
    integration = connect("quickbooks")
    extract(integration, "invoices")
    party.reply = vendor.reply
    extract(integration, "invoices")
    assert [record for record in vendor.records if record not in landed(tmp_path, "invoices")] == []


def test_an_event_that_mixpanel_gives_only_tomorrow_is_not_taken_for_landed(
    party: ThirdParty, connect: Connect, tmp_path: Path
) -> None:
    """Today's events are not asked for; yesterday's that come late are, and have a later time of receipt."""
    vendor = vendors.MixpanelExport()
    party.reply = vendor.reply
    today, *yesterday = vendor.records
    integration = connect("mixpanel")
    vendor.records = yesterday
    extract(integration, "events")
    vendor.records = [*yesterday, today]
    extract(integration, "events")
    assert today in landed(tmp_path, "events")


def test_every_api_that_mbi_documents_has_a_resource() -> None:
    apis = {type_id for type_id in catalogue.type_ids() if catalogue.load(type_id).model.kind == "http"}
    assert apis == {type_id for type_id, _ in PACKAGED}


class Expiring:
    """A third party whose access tokens live for two requests."""

    def __init__(self, vendor: vendors.Vendor) -> None:
        self.vendor = vendor
        self.uses: dict[str, int] = {}

    def reply(self, asked: Asked) -> Reply:
        token = asked.headers["Authorization"].removeprefix("Bearer ")
        self.uses[token] = self.uses.get(token, 0) + 1
        return self.vendor.reply(asked) if self.uses[token] <= 2 else (401, {}, {})


@pytest.mark.parametrize(
    ("type_id", "name"),
    [("quickbooks", "invoices"), ("google_adwords", "campaigns"), ("salesforce", "accounts")],
)
def test_an_extraction_outlasts_its_access_tokens(
    party: ThirdParty, connect: Connect, app: App, tmp_path: Path, type_id: str, name: str
) -> None:
    vendor = VENDORS[type_id]()
    for _ in range(4):
        vendor.grow()
    expiring = Expiring(vendor)
    party.reply = expiring.reply
    assert extract(connect(type_id), name)["rows"] == len(vendor.records)
    assert landed(tmp_path, name) == sorted(vendor.records, key=json.dumps)
    assert app.refreshes >= 2
    assert list(expiring.uses) == [f"fake-token-{number}" for number in range(app.refreshes + 1)]


def test_an_authorization_that_is_lost_meanwhile_lands_nothing(
    party: ThirdParty, connect: Connect, app: App, tmp_path: Path
) -> None:
    app.grant_is_lost = True
    party.reply = Expiring(vendors.QuickBooks()).reply
    with pytest.raises(NotAuthorizedError, match="No access token for shop"):
        extract(connect("quickbooks"), "invoices")
    assert landed(tmp_path, "invoices") == []
    assert len(party.requests) == 3
