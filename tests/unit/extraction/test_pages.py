"""Every style of paging, against a real HTTP server on the loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mbi_reauth.catalogue.model import Paging
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.http import first_request
from mbi_reauth.extraction.pages import Pages, at_path
from mbi_reauth.extraction.transfer import Transfer
from tests.unit.extraction.third_party import Plain, Reply, ThirdParty, read, resource, rows

ALL = list(range(7))


def by_next_url(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    def answer(given: dict[str, Any]) -> Reply:
        at = int(given.get("at", 0))
        following = f"/rows?at={at + 3}" if at + 3 < 7 else None
        return 200, {}, {"rows": rows(*ALL[at : at + 3]), "paging": {"next": following}}

    return answer


def by_link(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    def answer(given: dict[str, Any]) -> Reply:
        at = int(given.get("at", 0))
        link = (
            {"Link": f'<{party.url}?at={at + 3}>; rel="next", <{party.url}>; rel="first"'}
            if at + 3 < 7
            else {}
        )
        return 200, link, {"rows": rows(*ALL[at : at + 3])}

    return answer


def by_token(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    def answer(given: dict[str, Any]) -> Reply:
        at = int(given.get("after", "t0")[1:])
        return 200, {}, {"rows": rows(*ALL[at : at + 3]), "token": f"t{at + 3}" if at + 3 < 7 else ""}

    return answer


def by_token_with_end(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    def answer(given: dict[str, Any]) -> Reply:
        at = int(given.get("after", "t0")[1:])
        return 200, {}, {"rows": rows(*ALL[at : at + 3]), "token": f"t{at + 3}", "end": at + 3 >= 7}

    return answer


def by_page(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    return lambda given: (
        200,
        {},
        {"rows": rows(*ALL[3 * (int(given["page"]) - 1) : 3 * int(given["page"])])},
    )


def by_offset(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    return lambda given: (200, {}, {"rows": rows(*ALL[int(given["offset"]) : int(given["offset"]) + 3])})


def by_query(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    def answer(given: dict[str, Any]) -> Reply:
        at = int(given["query"].split()[-1]) - 1
        return 200, {}, {"rows": rows(*ALL[at : at + 3])}

    return answer


TOKEN = {"style": "token", "path": "token", "param": "after"}
QUERY = {"style": "offset", "param": "query", "size": 3, "start": 1, "format": "select * start {position}"}
STYLES = [
    pytest.param(by_next_url, {"style": "next_url", "path": "paging.next"}, id="next_url"),
    pytest.param(by_link, {"style": "link"}, id="link"),
    pytest.param(by_token, TOKEN, id="token"),
    pytest.param(
        by_token_with_end,
        {"style": "token", "path": "token", "param": "after", "end": "end"},
        id="token_with_end",
    ),
    pytest.param(by_page, {"style": "page", "param": "page", "size": 3}, id="page"),
    pytest.param(by_offset, {"style": "offset", "param": "offset", "size": 3}, id="offset"),
    pytest.param(by_query, QUERY, id="position_in_a_query"),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("answer", "paging"), STYLES)
def test_every_style_of_paging_reads_every_record_once(
    party: ThirdParty, transfer: Transfer, answer: Any, paging: dict[str, Any], method: str
) -> None:
    party.answer = answer(party)
    body = {"json_body": {"fields": ["id"]}} if method == "POST" else {}
    assert read(transfer, resource(party, paging, method=method, **body)) == ALL
    assert len(party.asked) == 3


def test_the_size_of_a_page_is_asked_for(party: ThirdParty, transfer: Transfer) -> None:
    party.answer = by_page(party)
    read(transfer, resource(party, {"style": "page", "param": "page", "size": 3, "size_param": "limit"}))
    assert [asked["limit"] for asked in party.asked] == ["3", "3", "3"]


@pytest.mark.parametrize(
    "elsewhere",
    [
        "http://localhost:{port}/rows",
        "https://127.0.0.1:{port}/rows",
        "http://127.0.0.1:9/rows",
        "//evil.example/rows",
    ],
)
def test_the_credential_is_never_sent_to_another_origin(
    party: ThirdParty, transfer: Transfer, elsewhere: str
) -> None:
    following = elsewhere.format(port=party.server.server_address[1])
    party.answer = lambda _: (200, {}, {"rows": rows(1), "next": following})
    with pytest.raises(ExtractionError, match="refused"):
        read(transfer, resource(party, {"style": "next_url", "path": "next"}))
    assert len(party.asked) == 1


@pytest.mark.parametrize(
    ("paging", "reply"),
    [
        ({"style": "next_url", "path": "next"}, {"rows": rows(1), "next": "/rows"}),
        ({"style": "token", "path": "next", "param": "after"}, {"rows": [], "next": "same"}),
        ({"style": "page", "param": "page", "size": 2}, {"rows": rows(1, 2)}),
        ({"style": "offset", "param": "offset", "size": 2}, {"rows": rows(1, 2)}),
    ],
)
def test_a_loop_is_an_error_not_an_endless_run(
    party: ThirdParty, transfer: Transfer, paging: dict[str, Any], reply: Any
) -> None:
    party.answer = lambda _: (200, {}, reply)
    with pytest.raises(ExtractionError, match="same page came twice"):
        read(transfer, resource(party, paging))
    assert len(party.asked) <= 2


def test_pages_without_end_are_bounded(party: ThirdParty, transfer: Transfer) -> None:
    party.answer = lambda given: (200, {}, {"rows": rows(int(given["page"]))})
    of = resource(party, {"style": "page", "param": "page", "size": 1})
    pages = Pages(transfer, of, first_request(of, Plain()), max_pages=5)
    with pytest.raises(ExtractionError, match="no end after 5 pages"):
        list(pages)


@pytest.mark.parametrize(
    ("paging", "needs"),
    [
        ({"style": "next_url"}, "path"),
        ({"style": "token"}, "path and param"),
        ({"style": "page"}, "param"),
        ({"style": "offset"}, "param"),
    ],
)
def test_paging_that_could_not_continue_is_refused_before_the_first_page(
    party: ThirdParty, transfer: Transfer, paging: dict[str, Any], needs: str
) -> None:
    with pytest.raises(ExtractionError, match=f"needs {needs} in the catalogue"):
        read(transfer, resource(party, paging))
    assert party.asked == []


def test_a_record_that_slips_from_one_page_to_the_next_is_read_once(
    party: ThirdParty, transfer: Transfer
) -> None:
    pages = iter([rows(1, 2), rows(2, 3), rows(4)])
    party.answer = lambda _: (200, {}, {"rows": next(pages)})
    assert read(transfer, resource(party, {"style": "page", "param": "page", "size": 2})) == [1, 2, 3, 4]


def test_a_third_party_may_leave_out_an_empty_list_where_the_catalogue_says_so(
    party: ThirdParty, transfer: Transfer
) -> None:
    party.answer = lambda _: (200, {}, {"fields": "id"})
    assert read(transfer, resource(party, {"style": "none"}, records_optional=True)) == []


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", {"a": {"b": [{"c": [1]}, {"c": [2, 3]}, {}]}}),
        ("a.b.0.c", [1]),
        ("a.b.*.c", [1, 2, 3]),
        ("a.x", None),
        ("a.b.9", None),
        ("a.b.c.d", None),
    ],
)
def test_a_path_leads_into_an_answer(path: str, found: Any) -> None:
    assert at_path({"a": {"b": [{"c": [1]}, {"c": [2, 3]}, {}]}}, path) == found


def test_the_watermark_goes_into_the_query_that_also_counts(party: ThirdParty) -> None:
    since = "select * since '{watermark}' start {position}"
    of = resource(party, QUERY, since_param="query", since_format=since)
    first = first_request(of, Plain(), since="2026-03-01")
    assert first.at_position(4).params == {"query": "select * since '2026-03-01' start 4"}


def test_these_are_all_the_styles_that_the_catalogue_has() -> None:
    styles = Paging.model_json_schema()["properties"]["style"]["enum"]
    assert set(styles) == {"none", "next_url", "link", "token", "page", "offset"}
