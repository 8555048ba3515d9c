"""The Airflow connections of the demo, as data and as the documented ways of saving them want them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from demo.keys import write_private
from demo.source_database import DATABASE, READER, SourceDatabase
from demo.third_party import ThirdParty
from demo.webserver import LOOPBACK

SHOPDEMO = "shopdemo"
SHOP_DATABASE = "shop_database"
SMTP = "smtp_default"
ACCOUNT = "shop-north"
SENDER = "airflow@example.com"

Connection = dict[str, Any]


def shopdemo(third_party: ThirdParty) -> Connection:
    """Consent anew, and put what the owner would paste into a connection."""
    token = third_party.issue_grant(ACCOUNT)
    expires_at = datetime.fromtimestamp(token["expires_at"], timezone.utc)
    return {
        "conn_type": "mbireauth",
        "description": "Shopdemo, the demo's third party (OAuth 2)",
        "host": third_party.url,
        "extra": {
            "client_id": third_party.client.id,
            "client_secret": third_party.client.secret,
            "refresh_token": token["refresh_token"],
            "access_token": token["access_token"],
            "expires_at": expires_at.isoformat(),
            "account": ACCOUNT,
        },
    }


def shop_database(database: SourceDatabase) -> Connection:
    """Give the reader's login."""
    return {
        "conn_type": "postgres",
        "description": "The demo's shop database (embedded PostgreSQL)",
        "host": LOOPBACK,
        "port": database.port,
        "schema": DATABASE,
        "login": READER,
        "password": database.reader_password,
    }


def mailbox(port: int) -> Connection:
    """Point Airflow's SMTP provider at the mailbox, which speaks neither SSL nor STARTTLS."""
    return {
        "conn_type": "smtp",
        "description": "The demo's mailbox",
        "host": LOOPBACK,
        "port": port,
        "extra": {"disable_ssl": True, "disable_tls": True, "from_email": SENDER},
    }


def as_request_body(conn_id: str, connection: Connection) -> Connection:
    """Shape a connection for Airflow's REST API, which wants ``extra`` as text."""
    return {**connection, "connection_id": conn_id, "extra": json.dumps(connection.get("extra", {}))}


def import_all(connections: Mapping[str, Connection], *, home: Path, environment: Mapping[str, str]) -> None:
    """Save connections with ``airflow connections import``; the file with the secrets is gone afterwards."""
    path = home / "connections.json"
    write_private(path, json.dumps(connections))
    command = [sys.executable, "-m", "airflow", "connections", "import", str(path), "--overwrite"]
    try:
        done = subprocess.run(  # noqa: S603
            command, env=dict(environment), capture_output=True, text=True, check=False
        )
    finally:
        path.unlink()
    if done.returncode:
        raise RuntimeError(f"`airflow connections import` failed:\n{done.stderr.strip()[-2000:]}")
