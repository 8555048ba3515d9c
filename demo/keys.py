"""The demo's own passwords: made at the first start, kept in one file that only its user can read."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path


def _new() -> str:
    return secrets.token_urlsafe(18)


@dataclass(frozen=True)
class Keys:
    """Generated, never shown; except the Airflow password, which a person needs."""

    airflow_password: str = field(default_factory=lambda: secrets.token_hex(6))
    database_admin: str = field(default_factory=_new, repr=False)
    database_reader: str = field(default_factory=_new, repr=False)


def load_or_create(path: Path) -> Keys:
    """Read the keys, or make and keep new ones."""
    if path.exists():
        kept = json.loads(path.read_text())
        return Keys(**{known.name: kept[known.name] for known in fields(Keys) if known.name in kept})
    keys = Keys()
    write_private(path, json.dumps(asdict(keys)))
    return keys


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read at any moment, whole or not at all."""
    aside = path.with_name(f"{path.name}.part")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    aside.replace(path)
