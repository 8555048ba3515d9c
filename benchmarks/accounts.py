"""The integrations of a benchmark: accounts at the loopback's third party, each with a connection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from demo.webserver import LOOPBACK

TYPE_FOLDER = Path(__file__).resolve().parent.parent / "tests" / "e2e" / "integration_types"
TYPE = "keyshop"
OWNER = {"name": "Dana Example", "email": "dana@example.com"}


@dataclass(frozen=True)
class Accounts:
    """So many of them, dealt out over the third party's hosts; ``one_key``: all have the same API key."""

    count: int
    ports: Sequence[int]
    one_key: bool = False

    @property
    def ids(self) -> list[str]:
        """Their integrations' ids, which are the connections' too."""
        return [f"shop_{number}" for number in range(self.count)]

    def address(self, integration_id: str) -> str:
        """Where its API is, without a trailing slash."""
        port = self.ports[int(integration_id.rpartition("_")[2]) % len(self.ports)]
        return f"http://{LOOPBACK}:{port}/{integration_id}"

    def key(self, integration_id: str) -> str:
        """Its API key."""
        return f"fake-api-key-of-{'all' if self.one_key else integration_id}"

    def connection(self, integration_id: str) -> dict[str, Any]:
        """Its Airflow connection."""
        host = self.address(integration_id)
        return {"conn_type": "mbireauth", "host": host, "password": self.key(integration_id)}

    def registry(self, folder: Path) -> Path:
        """Write their registry into a folder."""
        path = folder / "integrations.yaml"
        entries = {each: {"type": TYPE, "owner": OWNER} for each in self.ids}
        path.write_text(yaml.safe_dump({"integrations": entries}))
        return path

    def as_json(self) -> str:
        """Write them down for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Accounts:
        """Read what :meth:`as_json` wrote."""
        return cls(**json.loads(text))
