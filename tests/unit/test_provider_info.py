from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import airflow
import jsonschema  # type: ignore[import-untyped]
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from mbi_reauth import catalogue
from mbi_reauth.provider_info import get_provider_info

CONNECTION_TYPE = get_provider_info()["connection-types"][0]
SECRET = {"client_secret", "refresh_token", "access_token"}


def test_it_has_the_shape_that_airflow_wants() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_hook_is_what_the_connection_type_says() -> None:
    module, _, name = CONNECTION_TYPE["hook-class-name"].rpartition(".")
    hook = getattr(import_module(module), name)
    assert (hook.conn_type, hook.hook_name) == (
        CONNECTION_TYPE["connection-type"],
        CONNECTION_TYPE["hook-name"],
    )
    assert hook(**{hook.conn_name_attr: "shop"}).integration_conn_id == "shop"


def test_every_secret_is_typed_as_a_password() -> None:
    hidden = {
        name
        for name, field in CONNECTION_TYPE["conn-fields"].items()
        if field["schema"].get("format") == "password"
    }
    assert hidden == SECRET


def test_airflows_form_shows_every_field() -> None:
    widgets = ProvidersManager().connection_form_widgets  # type: ignore[no-untyped-call]
    shown = {key for key in widgets if key.startswith("extra__mbireauth__")}
    assert shown == {f"extra__mbireauth__{name}" for name in CONNECTION_TYPE["conn-fields"]}


def test_the_form_has_each_field_that_a_packaged_api_asks_for() -> None:
    of_airflow = {"host", "login", "password"}
    for name, loaded in catalogue.load_all().items():
        if loaded.model.kind != "database":
            fields = set(loaded.model.connection)
            assert fields <= of_airflow | set(CONNECTION_TYPE["conn-fields"]), name


def test_airflow_finds_the_hook_by_the_connection_type() -> None:
    hook = ProvidersManagerTaskRuntime().hooks["mbireauth"]  # type: ignore[no-untyped-call]
    assert hook is not None
    assert hook.connection_id_attribute_name == "integration_conn_id"
