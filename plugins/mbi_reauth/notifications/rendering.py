"""Turn a template into HTML and into plain text.

A template of ``templates/`` says things once. What a paragraph, a list of facts or a button is, and the page
around them, it takes from ``parts.jinja`` and ``page.jinja``; ``templates/html`` and ``templates/text`` have
one each.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from mbi_reauth.notifications.language import language

Form = Literal["html", "text"]

TEMPLATES = Path(__file__).parent / "templates"
WIDTH = 72


def render(form: Form, template: str, locale: str, values: dict[str, Any]) -> str:
    """Render ``template`` in the language of ``locale``; in HTML every value is escaped."""
    rendered = environment(form, language(locale).code).get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", rendered).strip() + "\n"


@cache
def environment(form: Form, locale: str) -> Environment:
    """Return the templates' environment; what else reads templates, reads them with it."""
    made = reading([TEMPLATES / form, TEMPLATES], locale, escapes=form == "html")
    made.filters["wrapped"] = wrapped
    return made


def reading(folders: Sequence[Path], locale: str, *, escapes: bool) -> Environment:
    """Read templates of ``folders`` in the language of ``locale``; ``escapes``: they are HTML."""
    texts = language(locale)
    made = Environment(
        loader=FileSystemLoader(folders),
        autoescape=select_autoescape((), default=escapes),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_callables(  # type: ignore[attr-defined]  # the extension adds it
        texts.gettext, texts.ngettext, newstyle=True
    )
    made.globals["language"] = texts
    return made


def wrapped(text: str, first: str = "", rest: str = "") -> str:
    """Break a line where it is too long for a mail program, but never an address in it.

    :param first: what begins the first line
    :param rest: what begins the others
    """
    return textwrap.fill(
        " ".join(text.split()),
        width=WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
