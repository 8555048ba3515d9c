"""The form over real servers: an API key at Shopdemo, the login of an SSH server before PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection
from cryptography.hazmat.primitives import serialization

from demo import connections
from demo.source_database import SourceDatabase
from demo.third_party import ThirdParty
from mbi_reauth.api.datamodels import FindingReport
from mbi_reauth.api.services import findings
from mbi_reauth.core.verdict import Cause
from mbi_reauth.models.metadata_db import find_credential, transact
from mbi_reauth.probes.candidate import Candidate
from tests.integration.test_reauthorization import Page, outcome
from tests.metadata_db import extra_of, put_connection
from tests.owners_browser import ORIGIN
from tests.servers import Sshd, new_key, ssh_server

pytestmark = pytest.mark.usefixtures("metadata_db")

FORM = "/mbi-reauth/credential"
SHOP_BY_KEY = """
display_name: Shopdemo by key
docs: demo/third_party
kind: http
base_url: https://shop.example
connection:
  password: {title: API key, secret: true}
auth: {method: bearer}
probe: {url: "{base_url}/api/me", account: account}
rules:
  - id: whose_key
    when: {status: [200], present: [account]}
    cause: authorized
    because: It says whose key it is.
    samples:
      - evidence: {endpoint: probe, status_code: 200, body: {account: shop-north}}
  - id: unknown_key
    when: {status: [401], field: {error: [invalid_token]}}
    cause: credentials_rejected
    because: It does not know the key.
    samples:
      - evidence: {endpoint: probe, status_code: 401, body: {error: invalid_token}}
owner_steps:
  airflow: [Make a key and enter it.]
  mbi: [Make a key and enter it.]
"""


def password_of(conn_id: str) -> str | None:
    row = transact(lambda session: session.query(Connection).filter_by(conn_id=conn_id).one())
    return None if row.password is None else str(row.password)


def enter(page: Page, **values: str) -> Any:
    """Open the form and send it; return the page at the end."""
    page.browser.press(page.link, "form")
    answer = page.browser.post(FORM, values)
    return page.browser.follow(answer) if answer.status_code == 303 else answer


@pytest.fixture
def vendor() -> Iterator[ThirdParty]:
    with ThirdParty(redirect_uris=[f"{ORIGIN}/nowhere"], access_token_lifetime=3600) as running:
        yield running


@pytest.fixture
def keyed(vendor: ThirdParty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    (tmp_path / "shop_by_key.yaml").write_text(SHOP_BY_KEY)
    monkeypatch.setenv("AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER", str(tmp_path))
    put_connection("shop", password="fake-old-key", host=vendor.url)
    return Page({"id": "shop", "type": "shop_by_key", "account": "shop-north"}, Cause.CREDENTIALS_REJECTED)


def key_of(vendor: ThirdParty, account: str) -> str:
    return str(vendor.issue_grant(account)["access_token"])


def test_a_pasted_key_is_tried_at_the_third_party_and_saved(keyed: Page, vendor: ThirdParty) -> None:
    page = enter(keyed, password="fake-wrong-key")
    assert outcome() == "refused"
    assert password_of("shop") == "fake-old-key"
    key = key_of(vendor, "shop-north")
    page = enter(keyed, password=f"\ufeff{key}\r\n")
    assert outcome() == "saved"
    assert password_of("shop") == key
    assert key not in page.text


def test_another_accounts_key_is_not_taken(keyed: Page, vendor: ThirdParty) -> None:
    page = enter(keyed, password=key_of(vendor, "shop-south"))
    assert outcome() == "wrong_account"
    assert "It leads to shop-south; it must be shop-north." in page.text
    assert password_of("shop") == "fake-old-key"


@pytest.mark.parametrize("trouble", ["go_down", "throttle", "answer_html"])
def test_a_key_that_could_not_be_checked_is_entered_again_when_it_can(
    keyed: Page, vendor: ThirdParty, trouble: str
) -> None:
    key = key_of(vendor, "shop-north")
    vendor.switch(trouble)
    enter(keyed, password=key)
    assert outcome() in ("unavailable", "unverified")
    assert password_of("shop") == "fake-old-key"
    vendor.normal()
    keyed.browser.post(FORM, {"password": key})
    assert outcome() == "saved"


@pytest.fixture(scope="module")
def bastion() -> Iterator[Sshd]:
    pytest.importorskip("paramiko")
    with ssh_server() as server:
        yield server


@pytest.fixture
def tunnelled(bastion: Sshd, postgresql: SourceDatabase) -> Page:
    """A PostgreSQL behind an SSH server that does not know our key any more."""
    database = connections.shop_database(postgresql)
    put_connection("source", **{**database, "extra": {"ssh_conn_id": "bastion"}})
    extra = {"private_key": new_key()[0], "host_key": bastion.host_key}
    put_connection(
        "bastion", conn_type="ssh", host="127.0.0.1", port=bastion.port, login=bastion.user, extra=extra
    )
    entry = {"id": "source", "type": "postgresql_ssh", "tables": [{"name": "shop.orders"}]}
    page = Page(entry, Cause.CREDENTIALS_REJECTED)
    source, ssh = find_credential("source"), find_credential("bastion")
    assert source is not None
    assert ssh is not None
    lost = page.outside.verify(
        Candidate(integration=page.integration, credential=source.credential, ssh=ssh.credential)
    )
    assert lost.at_tunnel
    found = lost.model_copy(update={"checked_at": page.outside.now()})
    findings.report(FindingReport(integration=page.integration, finding=found), page.outside)
    return page


def test_an_ssh_key_pasted_by_a_windows_browser_opens_the_way_to_the_database(
    tunnelled: Page, bastion: Sshd, postgresql: SourceDatabase
) -> None:
    pasted = bastion.private_key.strip().replace("\n", "\r\n")
    page = enter(tunnelled, login=bastion.user, password="", private_key=pasted)
    assert outcome() == "saved", page.text
    assert extra_of("bastion")["private_key"] == bastion.private_key
    assert extra_of("bastion")["host_key"] == bastion.host_key
    assert password_of("source") == postgresql.reader_password
    assert not tunnelled.is_open


def test_the_ssh_key_of_somebody_else_is_refused(tunnelled: Page, bastion: Sshd) -> None:
    before = extra_of("bastion")
    enter(tunnelled, login=bastion.user, password="", private_key=new_key()[0])
    assert outcome() == "refused"
    assert extra_of("bastion") == before


@pytest.mark.parametrize("half", [slice(0, 120), slice(60, None), slice(0, 9)])
def test_half_an_ssh_key_is_asked_for_again(tunnelled: Page, bastion: Sshd, half: slice) -> None:
    page = enter(tunnelled, login=bastion.user, password="", private_key=bastion.private_key[half])
    assert page.status_code == 422
    assert "private key cannot be read" in page.text
    assert bastion.private_key[half].strip() not in page.text


def test_a_locked_ssh_key_needs_its_passphrase(tunnelled: Page, bastion: Sshd) -> None:
    key = serialization.load_ssh_private_key(bastion.private_key.encode(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.BestAvailableEncryption(b"fake-passphrase"),
    ).decode()
    values = {"login": bastion.user, "password": "", "private_key": locked}
    for passphrase in ("", "fake-wrong-passphrase"):
        assert enter(tunnelled, **values, private_key_passphrase=passphrase).status_code == 422
    enter(tunnelled, **values, private_key_passphrase="fake-passphrase")
    assert outcome() == "saved"
