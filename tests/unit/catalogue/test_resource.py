"""Contradictory or incomplete paging is a fault of the catalogue, named with its line when the type loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mbi_reauth import catalogue
from mbi_reauth.catalogue.resource import Paging, Resource

TOKEN = {"style": "token", "path": "next", "param": "cursor"}
PAGE = {"style": "page", "param": "page"}
NONE = {"style": "none"}


def a_resource(paging: dict[str, Any], **more: Any) -> Resource:
    fields = {"name": "rows", "url": "{base_url}/rows", "records": "rows", "paging": paging, **more}
    return Resource.model_validate(fields)


@pytest.mark.parametrize(
    ("paging", "says"),
    [
        ({"style": "next_url"}, "style next_url needs path"),
        ({"style": "token", "param": "cursor"}, "style token needs path"),
        ({"style": "token", "path": "next", "param": None}, "style token needs param"),
        ({"style": "last_record", "param": "after"}, "style last_record needs path"),
        ({"style": "page"}, "style page needs param"),
        ({"style": "offset"}, "style offset needs param"),
        (NONE | {"more": "has_more"}, "style none has no use for more"),
        (NONE | {"size": 9, "size_param": "limit"}, "style none has no use for size"),
        (TOKEN | {"total": "count"}, "style token has no use for total"),
        (TOKEN | {"start": 0}, "style token has no use for start"),
        ({"style": "link", "path": "next"}, "style link has no use for path"),
        ({"style": "next_url", "path": "next", "carry": {"a": "b"}}, "has no use for carry"),
        (PAGE | {"path": "next"}, "style page has no use for path"),
        (PAGE | {"size": 100}, "size and size_param go together"),
        (PAGE | {"size_param": "limit"}, "size and size_param go together"),
        (PAGE | {"end": "last", "total": "count"}, "give one of them"),
        (TOKEN | {"end": "last", "more": "more"}, "give one of them"),
        (PAGE | {"format": "page"}, "format has no {position}"),
        (PAGE | {"size": 0, "size_param": "limit"}, "greater than 0"),
    ],
)
def test_paging_that_does_not_go_together_is_refused(paging: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as raised:
        a_resource(paging)
    assert says in str(raised.value)


POST = {"method": "POST"}
QUERY = {"watermark": "at", "since_param": "page"}


@pytest.mark.parametrize(
    ("paging", "more", "says"),
    [
        (NONE, {"body": "jsonl"}, "records must be $"),
        (NONE, {"body": "csv", "records": "$", "records_optional": True}, "records must be $"),
        (PAGE, {"body": "csv", "records": "$"}, "has no pages"),
        (NONE, POST | {"json_body": {}, "form": {}}, "not both"),
        (NONE, {"json_body": {"a": 1}}, "needs method POST"),
        (NONE, {"form": {"a": "1"}}, "needs method POST"),
        (NONE, {"since_param": "since"}, "since_param needs a watermark"),
        (NONE, {"since_format": "{watermark}"}, "no since_param to go into"),
        (NONE, {"watermark": "at", "since_param": "since", "since_format": "x"}, "no {watermark}"),
        (PAGE, QUERY | {"since_format": "since {watermark}"}, "no {position}, by which page counts"),
        (TOKEN | {"first_only": ["sinze"]}, {"params": {"since": "0"}}, "there is no parameter sinze"),
        (PAGE | {"param": "a.page"}, POST | {"json_body": {"a": "text"}}, "no place for a.page"),
        (NONE, {"url": "{base_url}/{days_ago.x}"}, "{days_ago.x} must be like {days_ago.30}"),
        (NONE, POST | {"json_body": {"from": ["{days_ago}"]}}, "must be like {days_ago.30}"),
    ],
)
def test_a_resource_that_does_not_go_together_is_refused(
    paging: dict[str, Any], more: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        a_resource(paging, **more)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("paging", "more"),
    [
        (TOKEN | {"first_only": ["since"]}, {"watermark": "at", "since_param": "since"}),
        (TOKEN, {"watermark": "at", "since_param": "cursor"}),
        (PAGE, QUERY | {"since_format": "since {watermark.utc} page {position}"}),
        (PAGE | {"param": "a.page"}, POST | {"json_body": {"a": {"size": 3}}}),
        (PAGE | {"param": "a.page"}, POST | {"json_body": {}}),
        (NONE, {"params": {"range": '{"since":"{days_ago.30}","until":"{days_ago.1}"}'}}),
    ],
)
def test_what_goes_together_is_taken(paging: dict[str, Any], more: dict[str, Any]) -> None:
    assert a_resource(paging, **more).paging == Paging.model_validate(paging)


TYPE = """\
display_name: Example
docs: https://example.com/docs
kind: http
base_url: https://api.example.com
connection: {password: {title: Key, secret: true}}
auth: {method: bearer}
probe: {url: "{base_url}/me"}
rules: []
resources:
  - name: orders
    url: "{base_url}/orders"
    records: orders
    paging:
      style: token
      param: cursor
      start: 0
  - name: events
    url: "{base_url}/events"
    records: events
    body: jsonl
    paging: {style: none}
owner_steps: {airflow: [Do it.], mbi: [Do it.]}
"""


def test_every_such_fault_is_named_with_file_and_line_when_the_type_loads(tmp_path: Path) -> None:
    (tmp_path / "example.yaml").write_text(TYPE)
    with pytest.raises(catalogue.CatalogueError) as raised:
        catalogue.load("example", folder=tmp_path)
    said = str(raised.value).splitlines()[1:]
    assert [line.rpartition("/")[2] for line in said] == [
        "example.yaml:13: resources[orders].paging: style token needs path; style token has no use for start",
        "example.yaml:17: resources[events]: an answer of jsonl is records all through, so records must be $",
    ]
