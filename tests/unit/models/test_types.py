from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateTable

from mbi_reauth.models.tables import Base
from mbi_reauth.models.types import UtcDateTime, airflow_id

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
DIALECTS: list[Dialect] = [module.dialect() for module in (sqlite, postgresql, mysql)]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_time_of_any_zone_comes_back_as_utc(dialect: Dialect) -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    stored = UtcDateTime().process_bind_param(elsewhere, dialect)
    read = UtcDateTime().process_result_value(stored, dialect)
    assert read == NOON
    assert read.tzinfo is timezone.utc


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_time_without_a_zone_is_refused(dialect: Dialect) -> None:
    with pytest.raises(ValueError, match="without a zone"):
        UtcDateTime().process_bind_param(NOON.replace(tzinfo=None), dialect)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("table", Base.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_table_can_be_made_on_every_database(table: Table, dialect: Dialect) -> None:
    assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))


def test_mysql_keeps_microseconds_and_fits_three_ids_into_one_index() -> None:
    dialect = DIALECTS[-1]
    assert UtcDateTime().compile(dialect) == "DATETIME(6)"
    assert "utf8mb3" in airflow_id().compile(dialect)
    assert (3 * 250 * 3) + (36 * 4) + 4 <= 3072
