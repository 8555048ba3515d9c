"""Third parties as their documentation says that they page; what it does not allow, they refuse.

Pages are shorter than the documented ones, and shorter than asked for: third parties cap them.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from tests.unit.extraction.third_party import Asked, Record, Reply

PAGE = 3
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class RefusedError(Exception):
    """The request is not one that the documentation allows."""


def allow(condition: object, otherwise: str) -> None:
    if not condition:
        raise RefusedError(otherwise)


class Vendor:
    """Seven records, to begin with; ``records`` are all that a run must land, ``grow`` adds two."""

    def __init__(self) -> None:
        self.records = [self.record(number) for number in range(7)]

    def record(self, number: int) -> Record:
        return {"id": number}

    def grow(self) -> None:
        """Add two records, of which the first shares its watermark with the last one so far."""
        self.records += [self.record(len(self.records) + more) for more in (0, 1)]

    def reply(self, asked: Asked) -> Reply:
        try:
            return self.answer(asked)
        except RefusedError as error:
            return 400, {}, {"error": str(error)}

    def answer(self, asked: Asked) -> Reply:
        raise NotImplementedError


class GoogleAds(Vendor):
    """developers.google.com/google-ads/api/docs/reporting/paging."""

    def record(self, number: int) -> Record:
        return {"campaign": {"id": str(number)}}

    def answer(self, asked: Asked) -> Reply:
        allow(asked.path.endswith("/googleAds:search"), "path")
        allow(asked.json.keys() <= {"query", "pageToken"}, "PAGE_SIZE_NOT_SUPPORTED")
        query = asked.json["query"]
        made_for, _, at = asked.json.get("pageToken", f"{query}|0").rpartition("|")
        allow(made_for == query, "a token goes with the very same query")
        end = int(at) + PAGE
        body: dict[str, Any] = {"fieldMask": "campaign.id"}
        if page := self.records[int(at) : end]:
            body["results"] = page
        if end < len(self.records):
            body["nextPageToken"] = f"{query}|{end}"
        return 200, {}, body


class GoogleAnalytics(Vendor):
    """developers.google.com/analytics/devguides/reporting/data/v1/rest/v1beta/properties/runReport."""

    def record(self, number: int) -> Record:
        return {"dimensionValues": [{"value": f"2026030{number}"}], "metricValues": [{"value": "1"}]}

    def answer(self, asked: Asked) -> Reply:
        allow(asked.path.endswith(":runReport"), "path")
        offset, limit = int(asked.json.get("offset", 0)), int(asked.json.get("limit", 10_000))
        allow(offset >= 0 and limit > 0 and not asked.query, "offset and limit")
        page = self.records[offset : offset + min(limit, PAGE)]
        # As protocol buffers do in JSON: what is empty or zero is left out.
        body = {"rows": page, "rowCount": len(self.records)}
        return 200, {}, {"kind": "analyticsData#runReport"} | {name: it for name, it in body.items() if it}


class AdobeAnalytics(Vendor):
    """developer.adobe.com/analytics-apis/docs/2.0/guides/endpoints/reports."""

    def record(self, number: int) -> Record:
        return {"itemId": str(number), "value": f"Mar {number}, 2026", "data": [1.0]}

    def answer(self, asked: Asked) -> Reply:
        allow(asked.path.endswith("/reports"), "path")
        settings = asked.json["settings"]
        for span in (each["dateRange"] for each in asked.json["globalFilters"]):
            start, end = (datetime.fromisoformat(moment) for moment in span.split("/"))
            allow(start < end, "dateRange")
        page, limit = settings["page"], min(settings["limit"], PAGE)
        rows = self.records[page * limit : (page + 1) * limit]
        pages = -(-len(self.records) // limit)
        last = page + 1 >= pages
        body = {"totalPages": pages, "firstPage": page == 0, "lastPage": last, "number": page, "rows": rows}
        return 200, {}, body | {"numberOfElements": len(rows), "totalElements": len(self.records)}


class Facebook(Vendor):
    """developers.facebook.com/docs/graph-api/results: only a missing ``next`` ends it, not an empty page."""

    def answer(self, asked: Asked) -> Reply:
        entries = [*self.records[:PAGE], *[None] * PAGE, *self.records[PAGE:]]
        at = int(asked.query.get("after", 0))
        page = [entry for entry in entries[at : at + PAGE] if entry is not None]
        paging: dict[str, Any] = {"cursors": {"before": str(at), "after": str(at + PAGE)}} if page else {}
        if at + PAGE < len(entries):
            again = urlencode(asked.query | {"after": at + PAGE, "access_token": "fake-token"})
            paging["next"] = f"http://{asked.headers['Host']}{asked.path}?{again}"
        return 200, {}, {"data": page, "paging": paging}


class Salesforce(Vendor):
    """developer.salesforce.com/docs/platform/api-rest/guide/resources-query-more-results.html."""

    def record(self, number: int) -> Record:
        at = NOON + timedelta(hours=number // 2)
        return {"Id": f"006{number}", "SystemModstamp": at.strftime("%Y-%m-%dT%H:%M:%S.000+0000")}

    def answer(self, asked: Asked) -> Reply:
        path, _, locator = asked.path.partition("/01gRO")
        allow(re.fullmatch(r"/services/data/v\d+\.\d/query(All)?", path), "path")
        if locator:
            allow(not asked.query, "a locator has no parameters")
            since, at = locator.split("-")[0].replace("_", ":"), int(locator.split("-")[-1])
            return self.batch(path, since, at)
        literal = re.search(r"SystemModstamp >= (\S+)", asked.query["q"])
        since = literal[1] if literal else "1970-01-01T00:00:00Z"
        allow(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", since), "MALFORMED_QUERY")
        return self.batch(path, since.replace("-", ""), 0)

    def batch(self, path: str, since: str, at: int) -> Reply:
        moment = datetime.strptime(since, "%Y%m%dT%H:%M:%S%z")
        found = [
            record
            for record in self.records
            if datetime.strptime(record["SystemModstamp"], "%Y-%m-%dT%H:%M:%S.%f%z") >= moment
        ]
        done = at + PAGE >= len(found)
        body = {"totalSize": len(found), "done": done, "records": found[at : at + PAGE]}
        further = {"nextRecordsUrl": f"{path}/01gRO{since.replace(':', '_')}-{at + PAGE}"}
        return 200, {}, body if done else body | further


class Stripe(Vendor):
    """docs.stripe.com/api/pagination: newest first, from the last one of the page before."""

    def record(self, number: int) -> Record:
        return {"id": f"ch_{number}", "object": "charge", "created": 1_772_366_400 + number // 2}

    def answer(self, asked: Asked) -> Reply:
        allow(1 <= int(asked.query.get("limit", 10)) <= 100, "limit")
        found = [r for r in self.records[::-1] if r["created"] >= int(asked.query.get("created[gte]", 0))]
        at = 0
        if after := asked.query.get("starting_after"):
            places = [number for number, record in enumerate(found) if record["id"] == after]
            allow(places, "resource_missing")
            at = places[0] + 1
        body = {"object": "list", "url": asked.path, "data": found[at : at + PAGE]}
        return 200, {}, body | {"has_more": at + PAGE < len(found)}


class Zendesk(Vendor):
    """developer.zendesk.com/documentation/ticketing/managing-tickets/using-the-incremental-export-api."""

    def record(self, number: int) -> Record:
        return {"id": number, "generated_timestamp": 1_772_366_400 + number // 2}

    def answer(self, asked: Asked) -> Reply:
        allow(asked.path == "/api/v2/incremental/tickets/cursor.json", "path")
        allow(("cursor" in asked.query) != ("start_time" in asked.query), "a start time first, then a cursor")
        allow(int(asked.query.get("per_page", 100)) <= 1000, "per_page")
        since, at = (int(part) for part in asked.query.get("cursor", "0|0").split("|"))
        since = int(asked.query.get("start_time", since))
        found = [record for record in self.records if record["generated_timestamp"] >= since]
        cursor = f"{since}|{min(at + PAGE, len(found))}"
        body = {"tickets": found[at : at + PAGE], "after_cursor": cursor, "before_cursor": None}
        return 200, {}, body | {"end_of_stream": at + PAGE >= len(found)}


class QuickBooks(Vendor):
    """developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries."""

    def record(self, number: int) -> Record:
        return {
            "Id": str(number),
            "MetaData": {"LastUpdatedTime": f"2026-03-01T{10 + number // 2}:00:00-08:00"},
        }

    def answer(self, asked: Asked) -> Reply:
        query = asked.query["query"]
        clauses = re.search(r" ORDERBY (.+) STARTPOSITION ([1-9]\d*) MAXRESULTS (\d+)$", query)
        allow(clauses and int(clauses[3]) <= 1000, "QueryParserError")
        since = re.search(r" WHERE MetaData.LastUpdatedTime >= '([^']+)' ", query)
        found = [r for r in self.records if not since or r["MetaData"]["LastUpdatedTime"] >= since[1]]
        if clauses and clauses[1] == "MetaData.LastUpdatedTime DESC, Id DESC":
            found.sort(key=lambda r: (r["MetaData"]["LastUpdatedTime"], r["Id"]), reverse=True)
        at = int(clauses[2]) - 1 if clauses else 0
        body: dict[str, Any] = {}
        if page := found[at : at + PAGE]:
            body = {"Invoice": page, "startPosition": at + 1, "maxResults": len(page)}
        return 200, {}, {"QueryResponse": body, "time": "2026-03-01T12:00:00.000-08:00"}


class MixpanelExport(Vendor):
    """docs.mixpanel.com/reference/raw-event-export: one answer, JSON lines, compressed for who takes that."""

    def record(self, number: int) -> Record:
        properties = {"time": 1_772_366_400, "mp_processing_time_ms": 1_772_366_400_000 + number // 2}
        return {"event": "Signed up", "properties": properties | {"$insert_id": f"i{number}"}}

    def answer(self, asked: Asked) -> Reply:
        allow(asked.path == "/api/2.0/export", "path")
        days = [date.fromisoformat(asked.query[name]) for name in ("from_date", "to_date")]
        allow(days == sorted(days), "to_date before from_date")
        allow("gzip" in asked.headers["Accept-Encoding"], "this one always compresses")
        packed = gzip.compress("".join(f"{json.dumps(record)}\n" for record in self.records).encode())
        return 200, {"Content-Encoding": "gzip"}, (packed[at : at + 40] for at in range(0, len(packed), 40))


class MixpanelEngage(Vendor):
    """docs.mixpanel.com/reference/engage-query: a page is asked for within the session of the first one."""

    def record(self, number: int) -> Record:
        return {"$distinct_id": str(number), "$properties": {}}

    def answer(self, asked: Asked) -> Reply:
        allow(asked.method == "POST" and not {"page", "session_id"} & asked.query.keys(), "a form")
        page, session = int(asked.form.get("page", 0)), asked.form.get("session_id")
        allow(page == 0 or session == "1772366400-EXAMPLE", "a further page needs the session")
        results = self.records[page * PAGE : (page + 1) * PAGE]
        body = {"page": page, "page_size": PAGE, "session_id": "1772366400-EXAMPLE", "results": results}
        return 200, {}, body | {"total": len(self.records), "status": "ok"}


class MbiExport(Vendor):
    """developer.adobe.com/commerce/services/reporting/export-api: CSV, in a zip archive or as it is."""

    def record(self, number: int) -> Record:
        return {"id": str(number), "name": f'Dana "{number}", Example'}

    def answer(self, asked: Asked) -> Reply:
        text = io.StringIO()
        rows = csv.DictWriter(text, ["id", "name"])
        if asked.method == "POST":
            allow(asked.path.startswith("/figure/") and asked.form.get("format") == "csv", "format")
            allow(asked.form.get("includeColumnHeaders") == "1", "without the columns' names")
        rows.writeheader()
        rows.writerows(self.records)
        if asked.method == "POST":
            return 200, {"Content-Type": "text/csv"}, text.getvalue().encode()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("export_51.csv", text.getvalue())
        return 200, {"Content-Type": "application/zip"}, packed.getvalue()


class LinkHeader(Vendor):
    """RFC 8288: relative addresses, several links in a header and several relations in a link."""

    def answer(self, asked: Asked) -> Reply:
        at = int(asked.query.get("at", 0))
        links = ['</issues>; rel="first"']
        if at + PAGE < len(self.records):
            links.append(f'<?at={at + PAGE}>; title="more, later"; rel="Next last"')
        return 200, {"Link": ", ".join(links)}, self.records[at : at + PAGE]
