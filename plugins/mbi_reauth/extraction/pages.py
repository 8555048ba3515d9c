"""Go through the pages of a resource, in whichever way the third party continues."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from itertools import chain
from typing import Any

from mbi_reauth.catalogue.resource import Resource
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.transfer import Answer, Request, Transfer

log = logging.getLogger(__name__)

MAX_PAGES = 100_000
"""Pages of one run; more means that the third party never says that it has ended."""


def at_path(body: Any, path: str) -> Any:
    """Find the value at a dotted path of JSON; None where there is none.

    A step is a name, the number of an item, or ``*`` for all items, whose own lists are joined; ``$`` alone
    is the whole.
    """
    steps = [] if path == "$" else path.split(".")
    for position, step in enumerate(steps):
        if isinstance(body, dict):
            body = body.get(step)
        elif isinstance(body, list) and step == "*":
            rest = ".".join(steps[position + 1 :]) or "$"
            return list(chain.from_iterable(_as_list(at_path(item, rest)) for item in body))
        elif isinstance(body, list) and step.isdigit() and int(step) < len(body):
            body = body[int(step)]
        else:
            return None
    return body


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


class Pages:
    """The pages of one resource, from ``first`` on; each is a list of records."""

    def __init__(
        self, transfer: Transfer, resource: Resource, first: Request, *, max_pages: int = MAX_PAGES
    ) -> None:
        self._transfer = transfer
        self._resource = resource
        self._paging = resource.paging
        self._first = first
        self._max_pages = max_pages

    def __iter__(self) -> Iterator[list[Any]]:
        """Read page after page.

        :raises ExtractionError: when a page comes twice, is not as declared, or there is no end of them
        """
        seen: set[bytes] = set()
        position = self._paging.first_position
        count = 0
        request: Request | None = self._first
        for number in range(1, self._max_pages + 1):
            if request is None:
                return
            asked = request.at_position(position)
            self._refuse_repeated(seen, [asked.url, asked.params, asked.json, asked.form], number)
            answer = self._transfer.ask(asked)
            records = self._records(answer.body, number)
            if records:
                self._refuse_repeated(seen, records, number)
            yield records
            count += len(records)
            position += 1 if self._paging.style == "page" else len(records)
            request = self._next(request, answer, records, count)
        if request is not None:
            raise self._fault(
                f"no end after {self._max_pages} pages; narrow it by a watermark, or ask for larger pages"
            )

    def _records(self, body: Any, number: int) -> list[Any]:
        path = self._resource.records
        records = at_path(body, path)
        if records is None and self._resource.records_optional:
            # Only the list itself may be missing: a failure that comes with HTTP 200 has not even its place.
            around = at_path(body, path.rpartition(".")[0] or "$")
            records = [] if isinstance(around, dict) else None
        if isinstance(records, list):
            log.info("Resource %s, page %d: %d records", self._resource.name, number, len(records))
            return records
        keys = ", ".join(sorted(body)[:10]) if isinstance(body, dict) else type(body).__name__
        raise self._fault(
            f"page {number}: no list at {self._resource.records!r}; the answer has {keys}. Mend `records` in "
            "the catalogue, or see what the third party changed."
        )

    def _refuse_repeated(self, seen: set[bytes], page: Any, number: int) -> None:
        digest = hashlib.sha256(json.dumps(page, sort_keys=True).encode()).digest()
        if digest in seen:
            raise self._fault(
                f"page {number}: the same page came twice, without end. Nothing was landed; mend `paging` in "
                "the catalogue, or tell the third party."
            )
        seen.add(digest)

    def _next(self, request: Request, answer: Answer, records: list[Any], count: int) -> Request | None:
        """Find the request for the next page, if there is one.

        A third party that promises more and gives no way to it must not look like one that has ended.
        """
        if self._paging.style == "none":
            return None
        promised = self._promised(answer.body, count)
        following = None if promised is False else self._following(request, answer, records)
        if promised and following is None:
            raise self._fault(
                f"after {count} records, the third party says that there are more, but gives no way to them. "
                "Nothing was landed; a retry may find them."
            )
        return following

    def _promised(self, body: Any, count: int) -> bool | None:
        """Tell whether the third party says that there is more; None where it says nothing."""
        paging = self._paging
        if paging.more:
            more = at_path(body, paging.more)
            if not isinstance(more, bool):
                raise self._fault(f"neither true nor false at {paging.more!r}, which says if there is more")
            return more
        if paging.end:
            end = at_path(body, paging.end)
            return not end if isinstance(end, bool) else None
        total = _number(at_path(body, paging.total)) if paging.total else None
        return None if total is None else count < total

    def _following(self, request: Request, answer: Answer, records: list[Any]) -> Request | None:
        paging = self._paging
        if paging.counts:
            return self._asked_again(request, answer) if records else None
        if paging.style == "last_record":
            return self._after(records[-1], request, answer) if records else None
        following = answer.link if paging.style == "link" else at_path(answer.body, paging.path or "")
        if not following:
            return None
        if paging.style == "token":
            return self._asked_again(request, answer).with_value(paging.param or "", following)
        return request.at_url(str(following))

    def _after(self, record: Any, request: Request, answer: Answer) -> Request:
        value = at_path(record, self._paging.path or "")
        if value is None:
            raise self._fault(f"the last record of a page has nothing at {self._paging.path!r}")
        return self._asked_again(request, answer).with_value(self._paging.param or "", value)

    def _asked_again(self, request: Request, answer: Answer) -> Request:
        again = request.without(self._paging.first_only)
        for name, path in self._paging.carry.items():
            value = at_path(answer.body, path)
            if value is None:
                raise self._fault(f"nothing at {path!r}, which the next request needs as {name}")
            again = again.with_value(name, value)
        return again

    def _fault(self, message: str) -> ExtractionError:
        return ExtractionError(f"resource {self._resource.name}: {message}")


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
