"""The shape of a resource: the records of an HTTP integration, and how its third party pages through them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from typing_extensions import Self

from mbi_reauth.core.rule import CatalogueModel, RuleId, Text

POSITION = "{position}"
WATERMARK = "{watermark}"
WATERMARK_UTC = "{watermark.utc}"

_SIZED = frozenset({"size", "size_param"})
_TOLD = frozenset({"end", "more"})
_ASKED_AGAIN = frozenset({"first_only", "carry"})
_COUNTED = frozenset({"start", "format", "total"})

# What a style cannot do without, and what else it has a use for.
_STYLES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "none": (frozenset(), frozenset()),
    "next_url": (frozenset({"path"}), _SIZED | _TOLD),
    "link": (frozenset(), _SIZED | _TOLD),
    "token": (frozenset({"path", "param"}), _SIZED | _TOLD | _ASKED_AGAIN),
    "last_record": (frozenset({"path", "param"}), _SIZED | _TOLD | _ASKED_AGAIN),
    "page": (frozenset({"param"}), _SIZED | _TOLD | _ASKED_AGAIN | _COUNTED),
    "offset": (frozenset({"param"}), _SIZED | _TOLD | _ASKED_AGAIN | _COUNTED),
}


class Paging(CatalogueModel):
    """How a resource continues.

    ``next_url``: a path to the next page's address. ``link``: the Link header (RFC 8288). ``token``: a path
    to a token, sent back in ``param``. ``last_record``: a path inside the last record of a page, sent back in
    ``param``. ``page`` and ``offset``: a number in ``param``, counted in pages or in records from ``start``
    on, which is 1 for pages and 0 for offsets where it is not given; ``format`` is what ``param`` holds,
    around ``{position}``.

    ``size_param`` asks for pages of ``size`` records. ``first_only`` names parameters that only the first
    request has. ``carry`` gives further parameters of each next request, with their paths in the answer
    before it.

    Pages end where no address, no token or no record comes. A page that is merely short proves nothing: third
    parties cap and filter pages. One of these says it sooner: ``end``, a path to a value that is true on the
    last page; ``more``, a path to one that is true before it and false there; ``total``, a path to the number
    of records of all pages.
    """

    style: Literal["none", "next_url", "link", "token", "last_record", "page", "offset"]
    path: Text | None = None
    param: Text | None = None
    size: PositiveInt | None = None
    size_param: Text | None = None
    first_only: list[Text] = Field(default_factory=list)
    carry: dict[str, Text] = Field(default_factory=dict)
    start: NonNegativeInt | None = None
    format: str = POSITION
    end: Text | None = None
    more: Text | None = None
    total: Text | None = None

    @property
    def counts(self) -> bool:
        """Whether the next page is found by counting."""
        return self.style in ("page", "offset")

    @property
    def first_position(self) -> int:
        """The number of the first page, or of the first record."""
        return self.start if self.start is not None else int(self.style == "page")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        _refuse(self._faults())
        return self

    def _faults(self) -> Iterator[str]:
        needed, useful = _STYLES[self.style]
        given = {name for name in self.model_fields_set - {"style"} if getattr(self, name) is not None}
        for name in sorted(needed - given):
            yield f"style {self.style} needs {name}"
        for name in sorted(given - needed - useful):
            yield f"style {self.style} has no use for {name}"
        if len(given & _SIZED) == 1:
            yield "size and size_param go together"
        if len(given & {"end", "more", "total"}) > 1:
            yield "end, more and total say the same in three ways; give one of them"
        if POSITION not in self.format:
            yield f"format has no {POSITION}"


class HttpRequest(CatalogueModel):
    """A request as templates; ``form`` is sent as a web page's form is."""

    method: Literal["GET", "POST"] = "GET"
    url: Text
    params: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    json_body: dict[str, Any] | None = None
    form: dict[str, str] | None = None


class Resource(HttpRequest):
    """Records to extract; ``records`` is the path to their list (``$``: the answer itself is the list).

    Values of paging and of the watermark go into ``json_body`` where there is one, and their parameters may
    be dotted paths into it; else into ``form`` where there is one, else into the query.
    ``body`` is the shape of the answer: ``json``; ``jsonl``, one JSON object a line; ``csv``, whose first
    line names the columns. The latter two are read as a stream of any length, also out of a zip archive of
    one file, and have no pages.

    ``records_optional``: the third party leaves the list out when it is empty.
    ``watermark`` is the path, inside a record, of a value that only grows; ``since_param`` is the request
    parameter that takes it, through ``since_format``, where ``{watermark.utc}`` is a time in UTC, in whole
    seconds. ``{days_ago.30}`` in the address, the parameters or the body is the UTC date 30 days ago.
    """

    name: RuleId
    body: Literal["json", "jsonl", "csv"] = "json"
    records: Text
    records_optional: bool = False
    paging: Paging
    watermark: Text | None = None
    since_param: Text | None = None
    since_format: str = WATERMARK

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        _refuse(
            [
                *self._faults_of_bodies(),
                *self._faults_of_since(),
                *self._faults_of_parameters(),
                *self._faults_of_dates(),
            ]
        )
        return self

    def _faults_of_bodies(self) -> Iterator[str]:
        if self.body != "json" and (self.records != "$" or self.records_optional):
            yield f"an answer of {self.body} is records all through, so records must be $"
        if self.body != "json" and self.paging.style != "none":
            yield f"an answer of {self.body} has no pages, so paging.style must be none"
        if self.json_body is not None and self.form is not None:
            yield "a request has json_body or form, not both"
        if self.method == "GET" and (self.json_body is not None or self.form is not None):
            yield "a request with a body needs method POST"

    def _faults_of_since(self) -> Iterator[str]:
        if self.since_param is None:
            if "since_format" in self.model_fields_set:
                yield "since_format has no since_param to go into"
            return
        if self.watermark is None:
            yield "since_param needs a watermark"
        if WATERMARK not in self.since_format and WATERMARK_UTC not in self.since_format:
            yield f"since_format has no {WATERMARK}"
        shared = self.paging.counts and self.since_param == self.paging.param
        if shared and POSITION not in self.since_format:
            yield f"since_format has no {POSITION}, by which {self.since_param} counts"

    def _faults_of_parameters(self) -> Iterator[str]:
        paging = self.paging
        known = {*self.params, *(self.form or ()), *(self.json_body or ())}
        known |= {self.since_param or "", paging.size_param or ""}
        for name in sorted({*paging.first_only} - known):
            yield f"first_only: there is no parameter {name}"
        for path in (paging.param, paging.size_param, self.since_param, *paging.carry):
            if path and _is_blocked(self.json_body, path):
                yield f"json_body has no place for {path}: what is on the way to it is no mapping"

    def _faults_of_dates(self) -> Iterator[str]:
        given = json.dumps([self.url, self.params, self.json_body, self.form], default=str)
        for written in sorted(set(re.findall(r"\{days_ago[^}]*\}", given))):
            if not re.fullmatch(r"\{days_ago\.\d{1,4}\}", written):
                yield f"{written} must be like {{days_ago.30}}"


def _refuse(faults: Iterable[str]) -> None:
    if said := "; ".join(faults):
        raise ValueError(said)


def _is_blocked(body: dict[str, Any] | None, path: str) -> bool:
    head, _, rest = path.partition(".")
    inner = (body or {}).get(head)
    return bool(rest) and inner is not None and (not isinstance(inner, dict) or _is_blocked(inner, rest))
