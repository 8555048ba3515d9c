"""The placeholders of a type's templates: what no connection can fill is found when the file is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mbi_reauth.catalogue.families import Extended
from mbi_reauth.catalogue.model import IntegrationType
from mbi_reauth.core.document import Fault
from mbi_reauth.core.faults import about, nearest

PLACEHOLDER = re.compile(r"\{([a-z_]+(?:\.\w+)?)\}")
DAYS_AGO = re.compile(r"days_ago\.(\d{1,4})")
SECRETS = ("password", "access_token")

_TEMPLATES = ("base_url", "auth", "oauth", "probe", "resources")
_ALWAYS = ("base_url", "account", "host", "port", "schema", "login", *SECRETS)
_OF_PAGING = ("position", "watermark", "watermark.utc")


def placeholder_faults(made: IntegrationType, document: Extended) -> Iterator[Fault]:
    """Find placeholders that nothing fills, and secrets outside the part that authenticates."""
    fields = made.connection
    known = {*_ALWAYS, *_OF_PAGING, *fields, *(f"extra.{name}" for name in (*fields, *made.extra_defaults))}
    secrets = {*SECRETS, *(name for name, field in fields.items() if field.secret)}
    for part in _TEMPLATES:
        for loc, text in _texts(document.value.get(part), (part,)):
            for name in PLACEHOLDER.findall(text):
                words = ""
                if name not in known and not DAYS_AGO.fullmatch(name):
                    words = f"{{{name}}} is no field of the connection" + nearest(name, known)
                elif name.removeprefix("extra.") in secrets and part != "auth":
                    words = f"{{{name}}} is secret, so it may stand only in auth"
                if words:
                    yield document.fault(loc, about(loc, words, document.value))


def _texts(value: Any, loc: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, (dict, list)):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, (*loc, step))
