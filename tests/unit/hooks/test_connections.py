from __future__ import annotations

import asyncio
import json

import pytest

from mbi_reauth.hooks.connections import AirflowConnections, ConnectionNotFoundError
from mbi_reauth.probes.credential import Credential, MisconfiguredError


def get(conn_id: str) -> Credential:
    return asyncio.run(AirflowConnections().get(conn_id))


def test_a_connection_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"conn_type": "mbireauth", "host": "h", "login": "l", "password": "fake", "extra": {"a": "b"}}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(fields))
    assert get("shop") == Credential(
        "shop", "mbireauth", host="h", login="l", password="fake", extra={"a": "b"}
    )


def test_a_missing_connection_is_named() -> None:
    with pytest.raises(ConnectionNotFoundError, match="nowhere"):
        get("nowhere")


@pytest.mark.parametrize("extra", ["not JSON", "[1]", '"text"'])
def test_an_extra_that_is_no_object_is_misconfigured(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "http", "extra": extra}))
    with pytest.raises(MisconfiguredError, match="'shop' is not a JSON object"):
        get("shop")


def test_connections_can_be_read_side_by_side_and_in_one_loop_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "http"}))

    async def many() -> list[Credential]:
        return list(await asyncio.gather(*(AirflowConnections().get("shop") for _ in range(20))))

    assert len(asyncio.run(many())) == len(asyncio.run(many())) == 20


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": "shop.example.com"}, "https://shop.example.com"),
        ({"host": "shop.example.com", "schema": "http", "port": 8080}, "http://shop.example.com:8080"),
        ({"host": "http://shop.example.com/"}, "http://shop.example.com"),
        ({"host": "shop.example.com", "schema": "public"}, "https://shop.example.com"),
        ({}, ""),
    ],
)
def test_the_host_is_an_address_and_encrypted_unless_it_says_otherwise(
    fields: dict[str, str], base_url: str
) -> None:
    assert Credential("c", "http", **fields).base_url == base_url  # type: ignore[arg-type]
