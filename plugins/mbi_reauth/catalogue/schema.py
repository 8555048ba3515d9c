"""The JSON schema of a catalogue file, made from the models, for editors."""

from __future__ import annotations

import json
from pathlib import Path

from mbi_reauth.catalogue.model import IntegrationType

SCHEMA_FILE = Path(__file__).with_name("schema.json")


def schema_text() -> str:
    """Write the schema as it stands in ``schema.json``."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **IntegrationType.model_json_schema(),
    }
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
