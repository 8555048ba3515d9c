"""Which names a table, a collection or a column may have in the registry."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mbi_reauth.core.integration import Table


@pytest.mark.parametrize(
    "name",
    ["orders", "dbo.Orders", "shop.dbo.orders", "web-shop.2024.visits", "_a$b", "2024_orders", "große"],
)
def test_names_of_tables_and_collections_are_taken(name: str) -> None:
    assert Table(name=name, watermark="meta.changed", key="_id").name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a b",
        "a/b",
        "a\\b",
        "a;b",
        'a"b',
        "a`b",
        "a'b",
        "a]b",
        "a\n",
        "a%sb",
    ],
)
def test_what_could_end_a_quoted_name_or_leave_a_folder_is_refused(name: str) -> None:
    for field in ("name", "watermark", "key"):
        with pytest.raises(ValidationError):
            Table.model_validate({"name": "orders", field: name})
