"""Create the tables that the app uses, and save the accounts' connections.

Run with ``python -m benchmarks.seed ACCOUNTS``, on the database that Airflow's configuration names.
"""

from __future__ import annotations

import sys

from airflow.models.connection import Connection

from benchmarks.accounts import Accounts
from benchmarks.scene import APP_KEY
from mbi_reauth.models.metadata_db import transact
from mbi_reauth.settings import API_CONN_ID
from tests.metadata_db import create_tables


def main() -> None:
    """Fill an empty database."""
    accounts = Accounts.of_json(sys.argv[1])
    create_tables()
    rows = [Connection(conn_id=API_CONN_ID, conn_type="generic", password=APP_KEY)]
    rows += [Connection(conn_id=each, **accounts.connection(each)) for each in accounts.ids]
    transact(lambda session: session.add_all(rows))


if __name__ == "__main__":
    main()
