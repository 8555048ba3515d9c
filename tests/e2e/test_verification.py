"""A credential is verified on a real Airflow's worker, and nothing of it stays anywhere."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Any

from demo import standalone
from demo.options import Options
from demo.source_database import DATABASE, READER
from tests.e2e.conftest import CHECKOUT, Demo

CANARY = "fake-canary-that-must-not-be-seen"

VERIFY = """
import json, sys
from mbi_reauth.api.services.verification import Candidate, verify
from mbi_reauth.core.integration import Integration
from mbi_reauth.probes.credential import Credential
given = json.load(sys.stdin)
candidate = Candidate(
    integration=Integration.model_validate(given["integration"]), credential=Credential(**given["credential"])
)
sys.stdout.write("\\nFOUND " + verify(candidate).model_dump_json() + "\\n")
"""


def verified(demo: Demo, password: str) -> dict[str, Any]:
    """Verify a login to the shop's database as the API server does; return the finding."""
    given = {
        "integration": {
            "id": "shop_database",
            "type": "postgresql_ssh",
            "conn_id": "shop_database",
            "owner": {"name": "Robin Example", "email": "robin@example.com"},
            "tables": [{"name": "shop.orders"}],
        },
        "credential": {
            "conn_id": "shop_database",
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": demo.ports["database"],
            "schema": DATABASE,
            "login": READER,
            "password": password,
        },
    }
    done = subprocess.run(
        [sys.executable, "-c", VERIFY],
        input=json.dumps(given),
        env=standalone.environment(Options(home=demo.home, ports=demo.ports, fresh=False)),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert password not in done.stdout + done.stderr
    (found,) = (line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    return dict(json.loads(found.removeprefix("FOUND ")))


def finished_by_workers(demo: Demo) -> int:
    """Count the verifications that a worker has finished, by what Airflow logs."""
    log = standalone.log_file(Options(home=demo.home, ports=demo.ports, fresh=False)).read_text()
    return sum(
        "Connection test finished" in line and "mbi_reauth_verification_" in line for line in log.splitlines()
    )


def rows(demo: Demo) -> int:
    with closing(sqlite3.connect(demo.home / "airflow.db")) as database:
        return int(database.execute("SELECT count(*) FROM connection_test_request").fetchone()[0])


def files_with(demo: Demo, secret: str) -> list[str]:
    """Name what Airflow has written with a secret in it: the logs, and the database with its journal."""
    written = [*demo.home.rglob("*.log"), *demo.home.glob("airflow.db*"), *demo.home.glob("logs/**/*")]
    return [str(path) for path in written if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_worker_accepts_the_right_login_and_refuses_a_wrong_one_and_nothing_of_them_stays(
    demo: Demo,
) -> None:
    right = json.loads((demo.home / "keys.json").read_text())["database_reader"]
    before = finished_by_workers(demo)
    good = verified(demo, right)
    assert good["cause"] == "authorized", good
    assert good["checked_at"] == good["proved_at"]
    bad = verified(demo, CANARY)
    assert bad["cause"] == "credentials_rejected", bad
    assert bad["proved_at"] is None
    assert finished_by_workers(demo) - before == 2
    assert rows(demo) == 0
    assert files_with(demo, "mbi_reauth_verification_") != []
    assert files_with(demo, CANARY) == []
    assert files_with(demo, right) == []
