from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import Any

import pytest

from mbi_reauth.catalogue.model import DatabaseProbe
from mbi_reauth.core.evidence import Driver
from mbi_reauth.probes.airflow_value import as_connection
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.database import ENGINES, open_database
from mbi_reauth.probes.database_probe import probe_database
from mbi_reauth.probes.integration import Subject, probe
from tests.checking import a_credential, a_type

LOGIN = a_credential(conn_type="mysql", host="db.example.com", login="reader")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"conn_type": "http"}, "must be postgres or mysql or mssql or mongo"),
        ({"host": ""}, "has no host"),
        ({"login": ""}, "has no login"),
        ({"conn_type": "mssql", "login": ""}, "has no login"),
        ({"conn_type": "mongo", "host": ""}, "has no host"),
        ({"conn_type": "mongo", "login": ""}, "has no schema"),
        ({"extra": {"client": "pymysql"}}, "mysqlclient or mysql-connector-python, not 'pymysql'"),
    ],
)
def test_what_a_database_login_lacks_is_said_with_the_connection(fields: dict[str, Any], words: str) -> None:
    with (
        pytest.raises(MisconfiguredError, match="'shop_conn'") as raised,
        open_database(replace(LOGIN, **fields)),
    ):
        pass
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("conn_type", "module", "extra"),
    [
        ("mysql", "MySQLdb", "mysql"),
        ("mysql", "airflow.providers.mysql.hooks.mysql", "mysql"),
        ("postgres", "airflow.providers.postgres.hooks.postgres", "postgres"),
        ("mssql", "airflow.providers.microsoft.mssql.hooks.mssql", "mssql"),
        ("mongo", "airflow.providers.mongo.hooks.mongo", "mongo"),
    ],
)
def test_a_missing_package_is_said_with_the_line_to_type(
    conn_type: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    if module != "MySQLdb":
        monkeypatch.setitem(sys.modules, "MySQLdb", sys)
    login = replace(LOGIN, conn_type=conn_type, schema="shop")
    with pytest.raises(MisconfiguredError) as raised, open_database(login):
        pass
    assert f"pip install 'mbi-reauth[{extra}]'" in str(raised.value)


@pytest.mark.parametrize(
    ("conn_type", "name", "quoted"),
    [
        ("postgres", "orders", '"orders"'),
        ("postgres", "shop.Orders", '"shop"."Orders"'),
        ("mysql", "shop.orders", "`shop`.`orders`"),
        ("mssql", "shop.dbo.web-orders", "[shop].[dbo].[web-orders]"),
        ("mssql", "a]b", "[a]]b]"),
        ("postgres", 'a"b', '"a""b"'),
        ("mysql", "a`b", "`a``b`"),
    ],
)
def test_names_are_quoted_part_by_part(conn_type: str, name: str, quoted: str) -> None:
    assert ENGINES[conn_type].quoted(name) == quoted


def test_a_columns_name_is_quoted_as_one() -> None:
    assert ENGINES["mssql"].quoted_part("meta.at") == "[meta.at]"


@pytest.mark.parametrize(
    ("conn_type", "module"),
    [
        ("mssql", "airflow.providers.microsoft.mssql.hooks.mssql"),
        ("mongo", "airflow.providers.mongo.hooks.mongo"),
    ],
)
def test_a_missing_package_is_said_by_a_whole_probe(
    conn_type: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    login = replace(LOGIN, conn_type=conn_type, schema="shop")
    with pytest.raises(MisconfiguredError) as raised:
        asyncio.run(probe_database(login, ()))
    assert str(raised.value).endswith(f": pip install 'mbi-reauth[{conn_type}]'")


@pytest.mark.parametrize("module", ["hooks.ssh", "tunnel"])
def test_a_missing_package_of_the_tunnel_is_said_too(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"airflow.providers.ssh.{module}", None)
    login = replace(LOGIN, conn_type="postgres", schema="shop")
    ssh = a_credential(conn_type="ssh", host="bastion.example.com", login="reader")
    with pytest.raises(MisconfiguredError) as raised, open_database(login, ssh=ssh):
        pass
    assert str(raised.value).endswith(": pip install 'mbi-reauth[ssh]'")
    assert "\n" not in str(raised.value)


def test_a_package_that_lacks_a_library_of_the_system_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError(f"libmariadb.so.3: cannot open shared object file, for {name}")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(MisconfiguredError, match=r"libmariadb\.so\.3"), open_database(LOGIN):
        pass


def test_another_database_than_the_types_is_for_the_engineer() -> None:
    model = a_type(kind="database").model_copy(update={"probe": DatabaseProbe(drivers=[Driver.POSTGRESQL])})
    with pytest.raises(MisconfiguredError, match="is a postgresql database"):
        asyncio.run(probe(Subject(model, LOGIN)))


def test_a_providers_hook_gets_the_connection_as_it_is() -> None:
    credential = Credential(
        "c",
        "postgres",
        host="h",
        port=5,
        schema="s",
        login="l",
        password="fake",
        extra={"sslmode": "require"},
    )
    connection = as_connection(credential)
    assert Credential.of(connection) == credential
    assert connection.extra_dejson == {"sslmode": "require"}
