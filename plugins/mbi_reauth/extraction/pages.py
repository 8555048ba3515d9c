"""Go through the pages of a resource, in whichever way the third party continues."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from itertools import chain
from typing import Any

from mbi_reauth.catalogue.model import Resource
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
        _refuse_incomplete(resource)
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
        position = self._paging.start if self._paging.start is not None else int(self._paging.style == "page")
        request: Request | None = self._first
        for number in range(1, self._max_pages + 1):
            if request is None:
                return
            asked = request.at_position(position)
            self._refuse_repeated(seen, [asked.url, asked.params, asked.json], number)
            answer = self._transfer.ask(asked)
            records = self._records(answer.body, number)
            if records:
                self._refuse_repeated(seen, records, number)
            yield records
            position += 1 if self._paging.style == "page" else len(records)
            request = self._next(request, answer, records)
        if request is not None:
            raise ExtractionError(
                f"resource {self._resource.name}: no end after {self._max_pages} pages; narrow it by a "
                "watermark, or ask for larger pages"
            )

    def _records(self, body: Any, number: int) -> list[Any]:
        records = at_path(body, self._resource.records)
        if records is None and self._resource.records_optional and isinstance(body, dict):
            records = []
        if isinstance(records, list):
            log.info("Resource %s, page %d: %d records", self._resource.name, number, len(records))
            return records
        keys = ", ".join(sorted(body)[:10]) if isinstance(body, dict) else type(body).__name__
        raise ExtractionError(
            f"resource {self._resource.name}, page {number}: no list at {self._resource.records!r}; "
            f"the answer has {keys}. Mend `records` in the catalogue, or see what the third party changed."
        )

    def _refuse_repeated(self, seen: set[bytes], page: Any, number: int) -> None:
        digest = hashlib.sha256(json.dumps(page, sort_keys=True).encode()).digest()
        if digest in seen:
            raise ExtractionError(
                f"resource {self._resource.name}, page {number}: the same page came twice, without end. "
                "Nothing was landed; mend `paging` in the catalogue, or tell the third party."
            )
        seen.add(digest)

    def _next(self, request: Request, answer: Answer, records: list[Any]) -> Request | None:
        paging = self._paging
        if paging.style == "none" or (paging.end and at_path(answer.body, paging.end) is True):
            return None
        if paging.style in ("page", "offset"):
            return None if len(records) < paging.size else request
        following = answer.link if paging.style == "link" else at_path(answer.body, paging.path or "")
        if following in (None, "", False):
            return None
        if paging.style == "token":
            return request.with_value(paging.param or "", following)
        return request.at_url(str(following))


_NEEDS = {"next_url": ("path",), "token": ("path", "param"), "page": ("param",), "offset": ("param",)}


def _refuse_incomplete(resource: Resource) -> None:
    """Stop before the first page rather than after it, as if there were no more."""
    style = resource.paging.style
    missing = [name for name in _NEEDS.get(style, ()) if not getattr(resource.paging, name)]
    if missing:
        raise ExtractionError(
            f"resource {resource.name}: paging {style!r} needs {' and '.join(missing)} in the catalogue"
        )
