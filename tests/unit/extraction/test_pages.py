"""Every style of paging, against a real HTTP server on the loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mbi_reauth.catalogue.resource import Paging
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


def by_last_record(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    def answer(given: dict[str, Any]) -> Reply:
        at = int(given.get("after", -1)) + 1
        return 200, {}, {"rows": rows(*ALL[at : at + 3]), "more": at + 3 < 7}

    return answer


def by_page(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    return lambda given: (
        200,
        {},
        {
            "rows": rows(*ALL[3 * (int(given["page"]) - 1) : 3 * int(given["page"])]),
            "last": int(given["page"]) == 3,
        },
    )


def by_offset(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    return lambda given: (
        200,
        {},
        {"rows": rows(*ALL[int(given["offset"]) : int(given["offset"]) + 3]), "count": "7"},
    )


def by_query(party: ThirdParty) -> Callable[[dict[str, Any]], Reply]:
    def answer(given: dict[str, Any]) -> Reply:
        at = int(given["query"].split()[-1]) - 1
        return 200, {}, {"rows": rows(*ALL[at : at + 3])}

    return answer


TOKEN = {"style": "token", "path": "token", "param": "after"}
LAST_RECORD = {"style": "last_record", "path": "id", "param": "after"}
QUERY = {"style": "offset", "param": "query", "start": 1, "format": "select * start {position}"}
STYLES = [
    pytest.param(by_next_url, {"style": "next_url", "path": "paging.next"}, 3, id="next_url"),
    pytest.param(by_link, {"style": "link"}, 3, id="link"),
    pytest.param(by_token, TOKEN, 3, id="token"),
    pytest.param(by_token_with_end, TOKEN | {"end": "end"}, 3, id="token_with_end"),
    pytest.param(by_last_record, LAST_RECORD | {"more": "more"}, 3, id="last_record_with_more"),
    pytest.param(by_last_record, LAST_RECORD, 4, id="last_record"),
    pytest.param(by_page, {"style": "page", "param": "page", "end": "last"}, 3, id="page_with_end"),
    pytest.param(by_page, {"style": "page", "param": "page"}, 4, id="page"),
    pytest.param(
        by_offset, {"style": "offset", "param": "offset", "total": "count"}, 3, id="offset_with_total"
    ),
    pytest.param(by_offset, {"style": "offset", "param": "offset"}, 4, id="offset"),
    pytest.param(by_query, QUERY, 4, id="position_in_a_query"),
]
"""How many requests each style takes: one more where only an empty page tells the end."""

PLACES = {
    "query": {},
    "json": {"method": "POST", "json_body": {"fields": ["id"]}},
    "form": {"method": "POST", "form": {"fields": "id"}},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("answer", "paging", "requests"), STYLES)
def test_every_style_of_paging_reads_every_record_once(
    party: ThirdParty, transfer: Transfer, answer: Any, paging: dict[str, Any], requests: int, place: str
) -> None:
    party.answer = answer(party)
    assert read(transfer, resource(party, paging, **PLACES[place])) == ALL
    assert len(party.asked) == requests
    assert all(getattr(asked, place) for asked in party.requests[1:])


def test_a_dotted_parameter_leads_into_the_body(party: ThirdParty, transfer: Transfer) -> None:
    answer = by_offset(party)
    party.answer = lambda given: answer(given["settings"]["at"])
    paging = {"style": "offset", "param": "settings.at.offset", "size": 3, "size_param": "settings.limit"}
    body = {"method": "POST", "json_body": {"settings": {"sort": "id"}, "list": [{"from": "{position}"}]}}
    assert read(transfer, resource(party, paging, **body)) == ALL
    sent = party.requests[1].json
    assert sent == {"settings": {"sort": "id", "limit": 3, "at": {"offset": 3}}, "list": [{"from": 3}]}


@pytest.mark.parametrize("style", ["page", "offset"])
def test_a_third_party_that_caps_its_pages_is_read_to_the_end(
    party: ThirdParty, transfer: Transfer, style: str
) -> None:
    party.answer = by_page(party) if style == "page" else by_offset(party)
    paging = {"style": style, "param": style, "size": 100, "size_param": "limit"}
    assert read(transfer, resource(party, paging)) == ALL
    assert {asked["limit"] for asked in party.asked} == {"100"}


def test_the_size_of_a_page_is_asked_for(party: ThirdParty, transfer: Transfer) -> None:
    party.answer = by_page(party)
    read(transfer, resource(party, {"style": "page", "param": "page", "size": 3, "size_param": "limit"}))
    assert [asked["limit"] for asked in party.asked] == ["3"] * 4


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
        ({"style": "last_record", "path": "id", "param": "after"}, {"rows": rows(1, 2)}),
        ({"style": "page", "param": "page"}, {"rows": rows(1, 2)}),
        ({"style": "offset", "param": "offset"}, {"rows": rows(1, 2)}),
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
    of = resource(party, {"style": "page", "param": "page"})
    pages = Pages(transfer, of, first_request(of, Plain()), max_pages=5)
    with pytest.raises(ExtractionError, match="no end after 5 pages"):
        list(pages)


@pytest.mark.parametrize(
    ("paging", "answer", "says"),
    [
        (TOKEN | {"end": "end"}, {"rows": rows(1), "end": False}, "says that there are more"),
        (TOKEN | {"more": "more"}, {"rows": rows(1), "more": True, "token": ""}, "says that there are more"),
        ({"style": "page", "param": "page", "total": "n"}, {"rows": [], "n": 3}, "says that there are more"),
        ({"style": "next_url", "path": "next", "end": "done"}, {"rows": rows(1), "done": False}, "are more"),
        (LAST_RECORD | {"more": "more"}, {"rows": rows(1)}, "neither true nor false at 'more'"),
        (LAST_RECORD | {"path": "key"}, {"rows": rows(1)}, "last record of a page has nothing at 'key'"),
        (TOKEN | {"carry": {"s": "session"}}, {"rows": [], "token": "t"}, "nothing at 'session'"),
    ],
)
def test_an_answer_that_leads_no_further_does_not_look_like_the_end(
    party: ThirdParty, transfer: Transfer, paging: dict[str, Any], answer: dict[str, Any], says: str
) -> None:
    party.answer = lambda _: (200, {}, answer)
    with pytest.raises(ExtractionError, match=says):
        read(transfer, resource(party, paging))


def test_a_last_record_of_number_zero_is_no_end(party: ThirdParty, transfer: Transfer) -> None:
    pages = iter([rows(0), rows(1), []])
    party.answer = lambda _: (200, {}, {"rows": next(pages)})
    assert read(transfer, resource(party, LAST_RECORD)) == [0, 1]
    assert [asked.get("after") for asked in party.asked] == [None, "0", "1"]


def test_an_empty_page_that_names_a_next_one_is_not_the_end(party: ThirdParty, transfer: Transfer) -> None:
    pages = iter([{"rows": rows(1), "token": "a"}, {"rows": [], "token": "b"}, {"rows": rows(2)}])
    party.answer = lambda _: (200, {}, next(pages))
    assert read(transfer, resource(party, TOKEN)) == [1, 2]


@pytest.mark.parametrize("place", PLACES)
def test_some_parameters_are_for_the_first_request_only(
    party: ThirdParty, transfer: Transfer, place: str
) -> None:
    party.answer = by_token(party)
    given = {"since": "0", "fields": "id"}
    where = {"query": {"params": given}, "json": {"json_body": given}, "form": {"form": given}}[place]
    of = resource(party, TOKEN | {"first_only": ["since"]}, **PLACES[place] | where)
    assert read(transfer, of) == ALL
    assert [set(asked) for asked in party.asked] == [{"since", "fields"}] + [{"after", "fields"}] * 2


def test_a_total_that_is_no_number_does_not_end_the_pages(party: ThirdParty, transfer: Transfer) -> None:
    pages = iter([{"rows": rows(1), "n": "many"}, {"rows": rows(2)}, {"rows": [], "n": None}])
    party.answer = lambda _: (200, {}, next(pages))
    assert read(transfer, resource(party, {"style": "page", "param": "page", "total": "n"})) == [1, 2]


def test_a_record_that_slips_from_one_page_to_the_next_is_read_once(
    party: ThirdParty, transfer: Transfer
) -> None:
    pages = iter([rows(1, 2), rows(2, 3), rows(4), []])
    party.answer = lambda _: (200, {}, {"rows": next(pages)})
    assert read(transfer, resource(party, {"style": "page", "param": "page"})) == [1, 2, 3, 4]


def test_a_third_party_may_leave_out_an_empty_list_where_the_catalogue_says_so(
    party: ThirdParty, transfer: Transfer
) -> None:
    party.answer = lambda _: (200, {}, {"fields": "id"})
    assert read(transfer, resource(party, {"style": "none"}, records_optional=True)) == []


def test_a_failure_with_http_200_is_no_empty_list(party: ThirdParty, transfer: Transfer) -> None:
    pages = iter([{"answer": {"rows": rows(1)}}, {"Fault": {"Error": [{"code": "10000"}]}}])
    party.answer = lambda _: (200, {}, next(pages))
    of = resource(party, {"style": "page", "param": "page"}, records="answer.rows", records_optional=True)
    with pytest.raises(ExtractionError, match=r"page 2: no list at .answer\.rows.; the answer has Fault"):
        read(transfer, of)


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
    of = resource(party, QUERY, watermark="at", since_param="query", since_format=since)
    first = first_request(of, Plain(), since="2026-03-01")
    assert first.at_position(4).params == {"query": "select * since '2026-03-01' start 4"}


@pytest.mark.parametrize(
    ("since_format", "since", "asked"),
    [
        ("{watermark}", 1750000000, 1750000000),
        ("at {watermark}", 1750000000, "at 1750000000"),
        ("{watermark.utc}", "2026-03-01T12:30:00.999+0200", "2026-03-01T10:30:00Z"),
    ],
)
def test_a_watermark_is_written_as_the_third_party_reads_it(
    party: ThirdParty, since_format: str, since: Any, asked: Any
) -> None:
    since_how = {"watermark": "at", "since_param": "filter.since", "since_format": since_format}
    body = {"method": "POST", "json_body": {"filter": {"kind": "order"}}}
    of = resource(party, {"style": "none"}, **body, **since_how)
    assert first_request(of, Plain(), since=since).json == {"filter": {"kind": "order", "since": asked}}


def test_a_watermark_that_is_no_time_is_not_written_as_one(party: ThirdParty) -> None:
    since_how = {"watermark": "at", "since_param": "since", "since_format": "{watermark.utc}"}
    with pytest.raises(ExtractionError, match="'7' is no time"):
        first_request(resource(party, {"style": "none"}, **since_how), Plain(), since="7")


def test_these_are_all_the_styles_that_the_catalogue_has() -> None:
    styles = Paging.model_json_schema()["properties"]["style"]["enum"]
    assert set(styles) == {"none", "next_url", "link", "token", "last_record", "page", "offset"}
