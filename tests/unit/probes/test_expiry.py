"""When a password ends, as databases tell that no test can start; and what is made of a refusal to tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pytest

from mbi_reauth.core.evidence import Driver
from mbi_reauth.probes.expiry import expiry_of

SOON = datetime(2026, 12, 1, 10, 30, tzinfo=timezone.utc)
REFUSED = Exception(1142, "SELECT command denied")


@dataclass
class Cursor:
    """Answers each statement in turn; an exception among the answers is raised."""

    answers: list[Any]
    asked: list[str] = field(default_factory=list)

    def execute(self, statement: str) -> None:
        self.asked.append(" ".join(statement.split()))
        self._answer = self.answers[len(self.asked) - 1] if len(self.asked) <= len(self.answers) else []
        if isinstance(self._answer, Exception):
            raise self._answer

    def fetchall(self) -> Any:
        return self._answer


def test_sql_server_tells_the_day() -> None:
    found = expiry_of(Cursor([[("2026-12-01",)]]), Driver.MSSQL)
    assert found == datetime(2026, 12, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("told", [[], [(None,)], REFUSED, [("soon",)]], ids=str)
def test_what_sql_server_does_not_tell_is_unknown(told: Any) -> None:
    assert expiry_of(Cursor([told]), Driver.MSSQL) is None


@pytest.mark.parametrize(
    ("readable", "source"),
    [
        (["user"], "FROM mysql.user"),
        (["global_priv"], "FROM mysql.global_priv"),
        (["user", "global_priv"], "FROM mysql.global_priv"),
        (["global_priv", "USERS", "user"], "FROM information_schema.USERS"),
    ],
)
def test_mysql_is_asked_where_it_tells_most(readable: list[str], source: str) -> None:
    cursor = Cursor([[(table,) for table in readable], [(SOON.timestamp(),)]])
    assert expiry_of(cursor, Driver.MYSQL) == SOON
    assert len(cursor.asked) == 2
    assert source in cursor.asked[1]


def test_a_mysql_login_that_may_read_nothing_about_itself_is_asked_once() -> None:
    cursor = Cursor([[]])
    assert expiry_of(cursor, Driver.MYSQL) is None
    assert len(cursor.asked) == 1


@pytest.mark.parametrize(
    "answers",
    [
        [REFUSED],
        [[("user",)], REFUSED],
        [[("user",)], []],
        [[("user",)], [(None,)]],
        [[("user",)], [(1e300,)]],
    ],
    ids=["refused", "refused later", "no such user", "never", "beyond all dates"],
)
def test_what_mysql_does_not_tell_is_unknown(answers: list[Any]) -> None:
    assert expiry_of(Cursor(answers), Driver.MYSQL) is None


def test_postgresql_is_asked_behind_a_savepoint() -> None:
    cursor = Cursor([[], [(SOON.timestamp(),)]])
    assert expiry_of(cursor, Driver.POSTGRESQL) == SOON
    assert [statement.split()[0] for statement in cursor.asked] == ["SAVEPOINT", "SELECT"]


def test_postgresql_goes_on_after_a_refusal() -> None:
    cursor = Cursor([[], REFUSED])
    assert expiry_of(cursor, Driver.POSTGRESQL) is None
    assert cursor.asked[-1].startswith("ROLLBACK TO SAVEPOINT")


def test_a_connection_that_breaks_meanwhile_is_nobodys_expiry() -> None:
    assert expiry_of(Cursor([ConnectionResetError()]), Driver.POSTGRESQL) is None
    assert expiry_of(Cursor([[], REFUSED, ConnectionResetError()]), Driver.POSTGRESQL) is None


def test_a_database_without_such_passwords_is_not_asked() -> None:
    cursor = Cursor([])
    assert expiry_of(cursor, Driver.MONGODB) is None
    assert cursor.asked == []
