"""Copy a resource of an HTTP integration, from where the last run ended.

A third party pages through data that changes meanwhile. Where it counts (styles ``page`` and ``offset``), a
record that moves may come twice or slip between two pages: one that comes on two pages in a row is landed
once; prefer ``next_url``, ``link`` or ``token`` where a third party has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from mbi_reauth.catalogue.resource import WATERMARK, WATERMARK_UTC, Resource
from mbi_reauth.extraction.cursor import Cursor, Frontier
from mbi_reauth.extraction.errors import ExtractionError
from mbi_reauth.extraction.order import compare, in_utc
from mbi_reauth.extraction.pages import Pages, at_path
from mbi_reauth.extraction.rows import to_line
from mbi_reauth.extraction.stream import records_in
from mbi_reauth.extraction.transfer import Request, Transfer


class Render(Protocol):
    """Fills the placeholders of the catalogue's templates from a connection."""

    def url(self, template: str) -> str:
        """Render an address."""

    def text(self, template: str) -> str:
        """Render a parameter or a header."""

    def data(self, body: Any) -> Any:
        """Render every text of a JSON body."""


def columns_of(resource: Resource) -> tuple[str, ...]:
    """Name the path that a resource's cursor is made of: its watermark, if it has one."""
    return (resource.watermark,) if resource.watermark else ()


def frontier_of(start: Cursor) -> Frontier:
    """Follow a resource from ``start``; third parties give records in any order and the last ones again."""
    return Frontier(start, compare, unique=False)


def first_request(resource: Resource, render: Render, *, since: Any | None = None) -> Request:
    """Write the request for the first page, for what has changed ``since`` a watermark if one is given."""
    request = Request(
        method=resource.method,
        url=render.url(resource.url),
        params={name: render.text(value) for name, value in resource.params.items()},
        headers={name: render.text(value) for name, value in resource.headers.items()},
        json=render.data(resource.json_body) if resource.json_body is not None else None,
        form=render.data(resource.form) if resource.form is not None else None,
    )
    paging = resource.paging
    if paging.size_param:
        request = request.with_value(paging.size_param, paging.size)
    if paging.counts and paging.param:
        request = request.with_value(paging.param, paging.format)
    if since is not None and resource.since_param:
        # Where both are one parameter, a query in the third party's language, this is the whole of it.
        request = request.with_value(resource.since_param, _written(since, resource.since_format))
    return request


def _written(since: Any, template: str) -> Any:
    if template == WATERMARK:
        return since
    if WATERMARK_UTC in template:
        template = template.replace(WATERMARK_UTC, in_utc(since))
    return template.replace(WATERMARK, str(since))


def all_lines(transfer: Transfer, resource: Resource, first: Request) -> Iterator[str]:
    """Read the whole resource as JSON lines, a page or, of a stream, a record at a time."""
    for _, line in _records(transfer, resource, first):
        yield line


def new_lines(transfer: Transfer, resource: Resource, first: Request, frontier: Frontier) -> Iterator[str]:
    """Read as JSON lines, like :func:`all_lines`, the records that earlier batches do not have.

    :raises ExtractionError: when a record has no watermark: it could be neither landed once nor left out
    """
    for record, line in _records(transfer, resource, first):
        watermark = at_path(record, resource.watermark or "")
        if watermark is None:
            raise ExtractionError(
                f"resource {resource.name}: a record has nothing at its watermark {resource.watermark!r}. "
                "Name a path that every record has, or no watermark to copy the whole resource."
            )
        if frontier.admit((watermark,), line):
            yield line


def _records(transfer: Transfer, resource: Resource, first: Request) -> Iterator[tuple[Any, str]]:
    """Yield each record with its line, without those that the previous page had already."""
    if resource.body != "json":
        with transfer.stream(first) as answer:
            for record in records_in(answer, resource):
                yield record, to_line(record)
        return
    previous: set[str] = set()
    for page in Pages(transfer, resource, first):
        lines = [to_line(record) for record in page]
        for record, line in zip(page, lines, strict=True):
            if line not in previous:
                yield record, line
        previous = set(lines)
