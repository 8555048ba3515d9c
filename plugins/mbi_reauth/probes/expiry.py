"""When the password of a login that works will stop working, where the database says so.

PostgreSQL tells everybody (``pg_roles``). MariaDB tells an ordinary login about itself from 11.5 on
(``information_schema.USERS``); an older one, and MySQL, keep the day of the last change in tables that only
logins with rights on the schema ``mysql`` can read. SQL Server tells a login about itself.

https://www.postgresql.org/docs/current/view-pg-roles.html,
https://mariadb.com/kb/en/information-schema-users-table/, https://mariadb.com/kb/en/mysqlglobal_priv-table/,
https://dev.mysql.com/doc/refman/8.4/en/password-management.html,
https://learn.microsoft.com/sql/t-sql/functions/loginproperty-transact-sql
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from mbi_reauth.core.evidence import Driver

log = logging.getLogger(__name__)

_SAVEPOINT = "mbi_reauth_expiry"
# The session's user, since a role may be configured to act as another one once it has logged in.
_OF_ROLE = """
    SELECT CASE WHEN isfinite(rolvaliduntil) THEN extract(epoch FROM rolvaliduntil) END
    FROM pg_catalog.pg_roles WHERE rolname = session_user"""

# Shows only columns that the login may read, so nothing is refused; one schema and one table in each part,
# since MariaDB would open every table of the server for less.
_COLUMN = """
    SELECT '{table}' FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = '{schema}' AND TABLE_NAME = '{table}' AND COLUMN_NAME = '{column}'"""
_READABLE = " UNION ALL ".join((
    _COLUMN.format(schema="information_schema", table="USERS", column="PASSWORD_EXPIRATION_TIME"),
    _COLUMN.format(schema="mysql", table="global_priv", column="Priv"),
    _COLUMN.format(schema="mysql", table="user", column="password_last_changed"),
))  # fmt: skip
# In the order of preference; a lifetime of 0 days means for ever.
_MYSQL_SOURCES = {
    "USERS": """
        SELECT UNIX_TIMESTAMP(PASSWORD_EXPIRATION_TIME) FROM information_schema.USERS
        WHERE REPLACE(REPLACE(USER, '''', ''), '`', '') = CURRENT_USER()""",
    "global_priv": """
        SELECT JSON_VALUE(Priv, '$.password_last_changed') + 86400 * NULLIF(
            IF(COALESCE(JSON_VALUE(Priv, '$.password_lifetime'), -1) < 0,
               @@GLOBAL.default_password_lifetime, JSON_VALUE(Priv, '$.password_lifetime')), 0)
        FROM mysql.global_priv WHERE CONCAT(User, '@', Host) = CURRENT_USER()""",
    "user": """
        SELECT UNIX_TIMESTAMP(password_last_changed)
            + 86400 * NULLIF(COALESCE(password_lifetime, @@GLOBAL.default_password_lifetime), 0)
        FROM mysql.user WHERE CONCAT(user, '@', host) = CURRENT_USER()
            AND plugin IN ('caching_sha2_password', 'mysql_native_password', 'sha256_password')""",
}

# A day and no time is told: the day's beginning, which is never too late. -1 means for ever.
_OF_SQL_SERVER_LOGIN = """
    SELECT CONVERT(varchar(10), DATEADD(
        day, NULLIF(CONVERT(int, LOGINPROPERTY(SUSER_SNAME(), 'DaysUntilExpiration')), -1), SYSUTCDATETIME()
    ), 23) AS expires_on"""


def expiry_of(cursor: Any, driver: Driver) -> datetime | None:
    """Ask an open database session when its own password expires, with two short statements at most.

    Never raises, and leaves PostgreSQL's transaction usable.

    :return: an aware time in UTC; None where the password does not expire or nothing is told
    """
    ask = _QUESTIONS.get(driver)
    if ask is None:
        return None
    try:
        return ask(cursor)
    except Exception:
        # Versions and rights differ; a login that works must not look lost because it cannot tell its age.
        log.debug("%s did not say when the password expires", driver.value, exc_info=True)
        return None


def _ask_postgresql(cursor: Any) -> datetime | None:
    cursor.execute(f"SAVEPOINT {_SAVEPOINT}")
    try:
        return _time(_first_value(cursor, _OF_ROLE))
    except Exception:
        with suppress(Exception):
            cursor.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        raise


def _ask_mysql(cursor: Any) -> datetime | None:
    cursor.execute(_READABLE)
    readable = {row[0] for row in cursor.fetchall()}
    source = next((query for table, query in _MYSQL_SOURCES.items() if table in readable), None)
    return _time(_first_value(cursor, source)) if source is not None else None


def _ask_sql_server(cursor: Any) -> datetime | None:
    day = _first_value(cursor, _OF_SQL_SERVER_LOGIN)
    return datetime.fromisoformat(day).replace(tzinfo=timezone.utc) if day is not None else None


_QUESTIONS: dict[Driver, Callable[[Any], datetime | None]] = {
    Driver.POSTGRESQL: _ask_postgresql,
    Driver.MYSQL: _ask_mysql,
    Driver.MSSQL: _ask_sql_server,
}


def _first_value(cursor: Any, query: str) -> Any:
    cursor.execute(query)
    rows = cursor.fetchall()
    return rows[0][0] if rows else None


def _time(seconds: Any) -> datetime | None:
    return datetime.fromtimestamp(float(seconds), timezone.utc) if seconds is not None else None
