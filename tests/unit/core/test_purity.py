"""The core does no input or output: what it imports shows it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mbi_reauth.core

CORE = sorted(Path(next(iter(mbi_reauth.core.__path__))).glob("*.py"))
FORBIDDEN = {
    "airflow", "aiohttp", "asyncio", "asyncssh", "fastapi", "httpx", "MySQLdb", "paramiko", "psycopg",
    "psycopg2", "pymongo", "pymysql", "requests", "smtplib", "socket", "sqlalchemy", "sqlite3", "starlette",
    "subprocess", "urllib3",
}  # fmt: skip
INSIDE = "mbi_reauth.core"


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_the_core_imports_neither_airflow_nor_a_client(path: Path) -> None:
    assert not {name for name in _imports(path) if name.partition(".")[0] in FORBIDDEN}


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_the_core_imports_nothing_of_ours_but_the_core(path: Path) -> None:
    ours = {name for name in _imports(path) if name.partition(".")[0] == "mbi_reauth"}
    assert not {name for name in ours if name != INSIDE and not name.startswith(INSIDE + ".")}
