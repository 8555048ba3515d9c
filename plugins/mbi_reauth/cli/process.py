"""How a command of ours reads Airflow's connections and keeps its output clean."""

from __future__ import annotations

import logging
import os

_LEVEL = "AIRFLOW__LOGGING__LOGGING_LEVEL"


def read_connections_as_airflow_does() -> None:
    """Let this process read connections from Airflow's database too, beside environment and secrets backends.

    Airflow 3.3 has no public way for a command that is not its own: the Task SDK leaves the database out
    unless this variable names a server process, which Airflow's ``connections`` command sets for itself as
    well (airflow.cli.commands.connection_command). A test fails when that changes.
    """
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"


def quieten(*, verbose: bool) -> None:
    """Show the findings only; the log of a check is for those who ask for it.

    To be called before Airflow is imported, which sets its log up once.
    """
    if not verbose:
        os.environ[_LEVEL] = "CRITICAL"
        logging.disable(logging.ERROR)
