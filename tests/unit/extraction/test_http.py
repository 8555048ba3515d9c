"""Resources extracted run after run: what is new, once, or nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from mbi_reauth.catalogue.resource import Resource
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.http import columns_of, first_request, frontier_of, new_lines
from mbi_reauth.extraction.landing import Landed, land_batch, read_cursor
from mbi_reauth.extraction.transfer import Transfer
from tests.unit.extraction.mortal import Killed, Mortal, MortalObjectStore, folder_on, names, visible
from tests.unit.extraction.third_party import Plain, Record, Reply, ThirdParty, resource


def extract(folder: ObjectStoragePath, transfer: Transfer, of: Resource) -> Landed:
    """Run once, as the task does."""
    frontier = frontier_of(read_cursor(folder, by=columns_of(of)))
    since = frontier.start.last[0] if frontier.start.last else None
    first = first_request(of, Plain(), since=since)
    return land_batch(folder, frontier, new_lines(transfer, of, first, frontier))


Answering = Callable[[dict[str, Any]], Reply]


class Shop:
    """Orders that change; filtered from a moment on, that moment included or not, newest first."""

    def __init__(self, *, inclusive: bool = True, precision: int = 20) -> None:
        self.orders: list[Record] = []
        self.inclusive = inclusive
        self.precision = precision

    def put(self, number: int, at: str) -> None:
        self.orders.append({"id": number, "meta": {"at": at}})

    def since(self, given: dict[str, Any]) -> list[Record]:
        since = given.get("since", "")[: self.precision]
        return [
            order
            for order in self.orders
            if order["meta"]["at"] > since or (self.inclusive and order["meta"]["at"] == since)
        ]

    def answer(self, given: dict[str, Any]) -> Reply:
        page = int(given["page"])
        return 200, {}, {"rows": self.since(given)[::-1][2 * (page - 1) : 2 * page]}

    def stream(self, given: dict[str, Any]) -> Reply:
        return 200, {}, (f"{json.dumps(order)}\n".encode() for order in self.since(given))


WATERMARK = {"watermark": "meta.at", "since_param": "since"}


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("precision", [20, 10])
def test_runs_land_every_record_once_even_those_that_share_a_watermark(
    party: ThirdParty, transfer: Transfer, folder: ObjectStoragePath, inclusive: bool, precision: int
) -> None:
    shop = Shop(inclusive=inclusive, precision=precision)
    party.answer = shop.answer
    of = resource(party, {"style": "page", "param": "page"}, **WATERMARK)
    for number, at in enumerate(["2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z", "2026-03-01T11:00:00Z"]):
        shop.put(number, at)
    assert extract(folder, transfer, of).rows == 3
    assert extract(folder, transfer, of).rows == 0
    if inclusive or precision == 10:
        shop.put(3, "2026-03-01T11:00:00Z")
    shop.put(4, "2026-03-01T12:00:00Z")
    extract(folder, transfer, of)
    assert sorted(row["id"] for row in visible(folder)) == sorted(order["id"] for order in shop.orders)
    assert party.asked[-1]["since"] == "2026-03-01T11:00:00Z"


def test_a_run_that_fails_on_a_later_page_leaves_nothing(
    party: ThirdParty, transfer: Transfer, folder: ObjectStoragePath
) -> None:
    replies: Iterator[Reply] = iter(
        [(200, {}, {"rows": [{"id": 1, "meta": {"at": 1}}], "next": "/rows?at=2"}), (404, {}, {})]
    )
    party.answer = lambda _: next(replies)
    with pytest.raises(ExtractionError, match="HTTP 404"):
        extract(folder, transfer, resource(party, {"style": "next_url", "path": "next"}, **WATERMARK))
    assert names(folder) == []


def test_a_record_without_a_watermark_stops_the_run(
    party: ThirdParty, transfer: Transfer, folder: ObjectStoragePath
) -> None:
    party.answer = lambda _: (200, {}, {"rows": [{"id": 1, "meta": {"at": 5}}, {"id": 2, "meta": {}}]})
    with pytest.raises(ExtractionError, match=r"nothing at its watermark 'meta\.at'"):
        extract(folder, transfer, resource(party, {"style": "none"}, **WATERMARK))
    assert names(folder) == []


STREAM = {"body": "jsonl", "records": "$"}


def dying(store: Mortal, answer: Answering) -> Answering:
    """Count each request as a step, and refuse it once the store has died."""

    def answered(given: dict[str, Any]) -> Reply:
        try:
            store.step()
        except Killed:
            return 404, {}, {}
        return answer(given)

    return answered


@pytest.mark.parametrize("streamed", [False, True])
def test_a_run_may_die_at_any_request_and_at_any_step_of_landing(
    party: ThirdParty, transfer: Transfer, streamed: bool
) -> None:
    of = resource(party, {"style": "none"} if streamed else {"style": "page", "param": "page"}, **WATERMARK)
    of = of.model_copy(update=STREAM if streamed else {})
    for dies_at in itertools.count():
        store, shop = MortalObjectStore(), Shop()
        folder = folder_on(store, "/rows")
        answer = party.answer = shop.stream if streamed else shop.answer
        shop.put(0, "2026-03-01T10:00:00Z")
        extract(folder, transfer, of)
        for number in (1, 2, 3):
            shop.put(number, f"2026-03-01T1{number // 2}:00:00Z")
        party.answer = dying(store, answer)
        store.revive(dies_at=dies_at)
        survived = False
        with suppress(Killed, ExtractionError):
            extract(folder, transfer, of)
            survived = True
        store.revive(dies_at=None)
        party.answer = answer
        shop.put(4, "2026-03-01T11:00:00Z")
        extract(folder, transfer, of)
        assert sorted(row["id"] for row in visible(folder)) == [0, 1, 2, 3, 4], f"after step {dies_at}"
        if survived:
            break
    assert dies_at >= (7 if streamed else 9)  # requests, two files written, two copied and two removed
