"""Extract one dataset, a table or a resource, of an integration into the data folder."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypedDict

from mbi_reauth import settings
from mbi_reauth.core.evidence import Driver
from mbi_reauth.core.integration import Integration, Table
from mbi_reauth.extraction.datasets import dataset
from mbi_reauth.extraction.landing import Landed, land_batch, land_full_copy, read_cursor

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath
    from pymongo.database import Database

    from mbi_reauth.catalogue.model import Resource

log = logging.getLogger(__name__)


class Extracted(TypedDict):
    """What an extraction says in its XCom."""

    integration: str
    dataset: str
    rows: int
    file: str | None


def extract(integration: Integration, name: str) -> Extracted:
    """Land what is new in the table or resource ``name``, or all of it where it has no watermark.

    :raises ExtractionError: and leaves what was landed before as it was
    """
    from airflow.sdk import ObjectStoragePath

    found = dataset(integration, name)
    folder = ObjectStoragePath(settings.data_folder()) / integration.id / name
    log.info("Extracting %s of %s into %s", name, integration.label, folder)
    landed = (
        _extract_table(integration, found, folder)
        if isinstance(found, Table)
        else _extract_resource(integration, found, folder)
    )
    return Extracted(integration=integration.id, dataset=name, rows=landed.rows, file=landed.file)


def _extract_table(integration: Integration, table: Table, folder: ObjectStoragePath) -> Landed:
    from mbi_reauth.extraction import sql
    from mbi_reauth.hooks.connections import read_connection
    from mbi_reauth.hooks.database import database
    from mbi_reauth.probes.database import engine_of

    engine = engine_of(read_connection(integration.conn_id))
    with database(integration) as opened:
        if engine.driver is Driver.MONGODB:
            return _extract_collection(opened, table, folder)
        if not (by := sql.columns_of(table)):
            return land_full_copy(folder, sql.all_lines(opened, table, engine))
        frontier = sql.frontier_of(table, read_cursor(folder, by=by))
        return land_batch(folder, frontier, sql.new_lines(opened, table, engine, frontier))


def _extract_collection(opened: Database[Any], table: Table, folder: ObjectStoragePath) -> Landed:
    from mbi_reauth.extraction import mongodb, sql

    if not (by := sql.columns_of(table)):
        return land_full_copy(folder, mongodb.all_lines(opened, table))
    frontier = sql.frontier_of(table, read_cursor(folder, by=by))
    return land_batch(folder, frontier, mongodb.new_lines(opened, table, frontier))


def _extract_resource(integration: Integration, resource: Resource, folder: ObjectStoragePath) -> Landed:
    from mbi_reauth.extraction import http
    from mbi_reauth.extraction.transfer import Transfer
    from mbi_reauth.hooks.integration import IntegrationHook
    from mbi_reauth.hooks.session import Limits

    # Asking again is the transfer's part: it tells the log, and it may repeat a POST that only reads.
    hook = IntegrationHook(integration, limits=Limits(retries=0))
    with closing(hook.get_conn()) as session:
        transfer = Transfer(
            session,
            what=f"{integration.label}, resource {resource.name}",
            judge=hook.loaded_type.classify,
        )
        if not (by := http.columns_of(resource)):
            first = http.first_request(resource, hook.render)
            return land_full_copy(folder, http.all_lines(transfer, resource, first))
        frontier = http.frontier_of(read_cursor(folder, by=by))
        since = frontier.start.last[0] if frontier.start.last else None
        first = http.first_request(resource, hook.render, since=since)
        return land_batch(folder, frontier, http.new_lines(transfer, resource, first, frontier))
