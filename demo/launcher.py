"""Start everything in the right order, watch it, and stop everything."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from demo import connections, standalone, story
from demo.airflow_client import AirflowClient, AirflowError
from demo.keeper import Kept
from demo.keys import Keys, load_or_create
from demo.mailbox import Mailbox
from demo.options import Options
from demo.page import Board, create_page, database_panel, shopdemo_panel
from demo.page.panels import Panel
from demo.ports import taken
from demo.source_database import SourceDatabase
from demo.third_party import ThirdParty
from demo.webserver import WebServer

log = logging.getLogger(__name__)

GROWTH_PERIOD = 20.0
"""Seconds between two new orders in the database."""
_DAGS_TIMEOUT = 60.0
_MARK = "made-by-mbi-reauth-demo"


class DemoError(Exception):
    """The demo cannot start or go on; the message says what to do."""


def run(options: Options) -> None:
    """Start everything, tell the story, and stay until interrupted; leaving stops whatever was started."""
    if faults := taken(options.ports_by_option()):
        raise DemoError("\n".join(faults))
    with ExitStack() as stack, interruptible():
        _prepare_home(options, stack)
        keys = load_or_create(options.home / "keys.json")
        client = AirflowClient(standalone.url(options), user=standalone.USER, password=keys.airflow_password)
        _say("Starting the third party, the mailbox and the database")
        third_party, mailbox, database = _start_surroundings(options, keys, stack)
        panels = [shopdemo_panel(third_party, client), database_panel(database, client)]
        board = Board(client, panels, mailbox)
        page = WebServer(create_page(board, options), options.ports["demo"])
        page.start()
        stack.callback(page.stop)
        airflow = _start_airflow(options, keys, third_party=third_party, database=database)
        stack.callback(_stop_airflow, airflow)
        standalone.wait_until_healthy(client, alive=lambda: airflow.alive, log=standalone.log_file(options))
        _unpause(client, panels)
        stack.callback(board.stop)
        board.start()
        _say(story.told(options, keys))
        _stay(airflow, database, options)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn signals, and the death of whoever started this process, into KeyboardInterrupt; only one."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(*_: object) -> None:
        for number in numbers:  # a second Ctrl-C must not cut the cleaning up short
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    yield


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _prepare_home(options: Options, stack: ExitStack) -> None:
    """Make the folder for everything that is written, hold it for this process, and empty it if asked."""
    home, mark = options.home, options.home / _MARK
    if home.exists() and not mark.exists() and any(home.iterdir()):
        raise DemoError(f"{home} holds something that this demo did not make; choose another with --home")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    holder = stack.enter_context(mark.open("a"))
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DemoError(f"a demo already runs in {home}; stop it, or choose another with --home") from error
    if options.fresh:
        for entry in home.iterdir():
            _remove(entry, keep=mark)


def _remove(entry: Path, *, keep: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    elif entry != keep:
        entry.unlink()


def _start_surroundings(
    options: Options, keys: Keys, stack: ExitStack
) -> tuple[ThirdParty, Mailbox, SourceDatabase]:
    callback = f"{standalone.url(options)}/mbi-reauth/oauth/{connections.SHOPDEMO}/callback"
    third_party = ThirdParty(port=options.ports["shop"], redirect_uris=(callback,))
    database = SourceDatabase(
        options.home / "postgresql",
        admin_password=keys.database_admin,
        reader_password=keys.database_reader,
        port=options.ports["database"],
    )
    stack.callback(third_party.stop)
    third_party.start()
    mailbox = stack.enter_context(Mailbox(port=options.ports["smtp"]))
    stack.callback(database.stop)
    database.start()
    return third_party, mailbox, database


def _start_airflow(
    options: Options, keys: Keys, *, third_party: ThirdParty, database: SourceDatabase
) -> Kept:
    _say("Preparing Airflow's database and the connections")
    standalone.prepare(options, keys.airflow_password)
    connections.import_all(
        {
            connections.SHOPDEMO: connections.shopdemo(third_party),
            connections.SHOP_DATABASE: connections.shop_database(database),
            connections.SMTP: connections.mailbox(options.ports["smtp"]),
        },
        home=options.home,
        environment=standalone.environment(options),
    )
    _say(f"Starting Airflow; its output is in {standalone.log_file(options)}")
    return standalone.start(options)


def _stop_airflow(airflow: Kept) -> None:
    _say("Stopping Airflow and everything else")
    airflow.stop()


def _unpause(client: AirflowClient, panels: list[Panel]) -> None:
    """Let the demo's DAGs run once Airflow has read them; a demo without them still starts."""
    waiting = {panel.dag_id for panel in panels} | {story.SWEEP}
    deadline = time.monotonic() + _DAGS_TIMEOUT
    while waiting and time.monotonic() < deadline:
        for dag_id in waiting & client.dags().keys():
            client.unpause(dag_id)
            waiting.discard(dag_id)
        time.sleep(0.5)
    if waiting:
        faults = "\n".join(client.import_errors()) or "Airflow has not read them from the dags folder."
        _say(f"Missing DAGs: {', '.join(sorted(waiting))}.\n{faults}")


def _stay(airflow: Kept, database: SourceDatabase, options: Options) -> None:
    """Let the database grow, and notice when something has ended by itself."""
    grown = time.monotonic()
    while True:
        time.sleep(1)
        if not airflow.alive:
            raise DemoError(f"Airflow has ended; see {standalone.log_file(options)}")
        if not database.alive:
            raise DemoError(f"PostgreSQL has ended; see {options.home / 'postgresql.log'}")
        if time.monotonic() - grown >= GROWTH_PERIOD:
            grown = time.monotonic()
            _grow(database)


def _grow(database: SourceDatabase) -> None:
    try:
        database.grow()
    except psycopg.OperationalError:
        log.warning("no order was added to the database", exc_info=True)


__all__ = ["AirflowError", "DemoError", "interruptible", "run"]
