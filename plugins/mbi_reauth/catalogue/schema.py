"""The JSON schema of a catalogue file, made from the models, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mbi_reauth.catalogue.families import EXTENDS
from mbi_reauth.catalogue.model import IntegrationType

SCHEMA_FILE = Path(__file__).with_name("schema.json")

# A type that extends a family leaves out what the family has; only the loader knows whether it is all there.
_SHARED = (
    "Auth",
    "ConnectionField",
    "DatabaseProbe",
    "HttpProbe",
    "LongLived",
    "OAuth",
    "OwnerSteps",
    "Repair",
)


def schema_text() -> str:
    """Write the schema as it stands in ``schema.json``."""
    schema: dict[str, Any] = IntegrationType.model_json_schema()
    for each in (schema, *(schema["$defs"][name] for name in _SHARED)):
        each.pop("required", None)
    name = {"type": "string"}
    schema["properties"][EXTENDS] = {
        "description": "The families whose keys this file has too, unless it has them itself.",
        "anyOf": [name, {"type": "array", "items": name}],
    }
    return json.dumps({"$schema": _DIALECT, **schema}, indent=1, sort_keys=True) + "\n"


_DIALECT = "https://json-schema.org/draft/2020-12/schema"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
