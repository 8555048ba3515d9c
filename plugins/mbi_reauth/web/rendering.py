"""Turn a template of ``templates/`` into a page."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from mbi_reauth.notifications.rendering import reading

_HERE = Path(__file__).parent
TEMPLATES = _HERE / "templates"

STYLE = (_HERE / "page.css").read_text("utf-8")
"""The stylesheet, as it stands in every page."""


def source_of(style: str) -> str:
    """Name a stylesheet in a Content-Security-Policy, so that a browser applies no other (CSP 3, 2.3.1)."""
    digest = hashlib.sha256(style.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def render(template: str, locale: str, values: dict[str, Any]) -> str:
    """Render ``template`` in the language of ``locale``; every value is escaped."""
    # a file of this package, without anything in it that could end the element
    style = Markup(STYLE)  # noqa: S704
    return _environment(locale).get_template(template).render(values, style=style)


@cache
def _environment(locale: str) -> Environment:
    return reading([TEMPLATES], locale, escapes=True)
