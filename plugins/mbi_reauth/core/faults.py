"""What a model found wrong in a document, in words that say where it is and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mbi_reauth.core.document import Fault, Loc, Locator, is_noted, quoted

_KINDS = {
    "string": "text",
    "int": "a whole number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
}


def nearest(word: str, known: Iterable[str]) -> str:
    """Write what was probably meant, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def model_faults(
    error: ValidationError, document: Locator, model: type[BaseModel], *, at: Loc = (), value: Any = None
) -> list[Fault]:
    """Write each of a model's errors as a fault.

    :param at: where in the document the model stands
    :param value: what the model was given there
    """
    messages: dict[tuple[str | int, ...], list[str]] = {}
    for each in error.errors(include_url=False):
        steps = _steps_in(value, each["loc"])
        if is_noted(each["input"]):
            continue
        said = messages.setdefault(steps, [])
        if (words := _words(each, steps, model)) not in said:
            said.append(words)
    return [
        document.fault([*at, *steps], about(steps, " or ".join(said), value))
        for steps, said in messages.items()
    ]


def _steps_in(value: Any, loc: Sequence[str | int]) -> tuple[str | int, ...]:
    """Leave out what pydantic puts between: names of alternatives, a mark for a key. A missing key stays."""
    steps: list[str | int] = []
    for number, step in enumerate(loc):
        last = number == len(loc) - 1 and step != "[key]"
        if isinstance(value, Mapping) and (step in value or (last and isinstance(step, str))):
            value = value.get(step)
        elif isinstance(value, (list, tuple)) and isinstance(step, int):
            value = value[step] if step < len(value) else None
        else:
            continue
        steps.append(step)
    return tuple(steps)


def about(steps: tuple[str | int, ...], words: str, value: Any) -> str:
    """Put the path before the words; an item of a list is called by its own id where it has one."""
    path = ""
    for step in steps:
        inner = _inner(value, step)
        if isinstance(step, int):
            own = inner.get("id") or inner.get("name") if isinstance(inner, Mapping) else None
            path += f"[{own if isinstance(own, str) else step + 1}]"
        else:
            path += f".{step}" if path else step
        value = inner
    return f"{path}: {words}" if path else words


def _inner(value: Any, step: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(step)
    return (
        value[step]
        if isinstance(value, (list, tuple)) and isinstance(step, int) and step < len(value)
        else None
    )


def _words(error: ErrorDetails, steps: tuple[str | int, ...], model: type[BaseModel]) -> str:
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "unknown key" + nearest(str(steps[-1]), _keys_at(model, error["loc"][:-1]))
    if kind in ("literal_error", "enum"):
        allowed = str(context.get("expected", "")).replace("'", '"')
        return f"{quoted(given)} is not one of {allowed}" + nearest(str(given), _split(allowed))
    if kind.startswith(("date_", "datetime_", "date")):
        return f"{quoted(given)} is not a date like 2027-03-01"
    if kind == "value_error":
        return _value_error(error["msg"].removeprefix("Value error, "), given)
    return _wrong_kind(kind, given) or f"{quoted(given)}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _value_error(message: str, given: Any) -> str:
    if "email address" in message:
        reason = message.partition(": ")[2]
        plain = isinstance(given, str) and "@" in given
        return f"{quoted(given)} is not an email address" + (
            f" ({reason.rstrip('.')})" if plain and reason else ""
        )
    return message


def _wrong_kind(kind: str, given: Any) -> str:
    if kind == "string_too_short" or (kind == "string_type" and given is None):
        return "is empty"
    wanted = _KINDS.get(kind.partition("_")[0]) if kind.endswith(("_type", "_parsing")) else None
    if wanted is None:
        return ""
    if wanted == "text" and isinstance(given, (bool, int, float, date)):
        return f"{quoted(given)} is read as {_named(given)}; put it in quotes"
    return f"{_named(given)} is given where {wanted} belongs"


def _named(given: Any) -> str:
    names: list[tuple[type, str]] = [
        (bool, "true or false"), (int, "a number"), (float, "a number"), (date, "a date"), (str, "text"),
        (Mapping, "a mapping"), (list, "a list"),
    ]  # fmt: skip
    return next((name for kind, name in names if isinstance(given, kind)), "nothing")


def _split(allowed: str) -> list[str]:
    return [word.strip(' "') for word in allowed.replace(" or ", ",").split(",")]


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """Find the keys that belong at ``loc``, by the model's JSON schema."""
    schema = model.model_json_schema()
    found = [schema]
    for step in loc:
        found = [inner for each in found for inner in _inside(_resolved(each, schema), step, schema)] or found
    return [name for each in found for one in _resolved(each, schema) for name in one.get("properties", {})]


def _resolved(each: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in each:
        return _resolved(schema["$defs"][each["$ref"].rpartition("/")[2]], schema)
    alternatives = [*each.get("anyOf", ()), *each.get("oneOf", ())]
    return [inner for one in alternatives for inner in _resolved(one, schema)] or [each]


def _inside(schemas: list[dict[str, Any]], step: str | int, schema: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for each in schemas:
        if isinstance(step, int):
            inner = each.get("items")
        else:
            inner = each.get("properties", {}).get(step) or each.get("additionalProperties")
        if isinstance(inner, dict):
            found += _resolved(inner, schema)
    return found
