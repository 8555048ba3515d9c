"""``classify``: evidence as JSON lines on standard input, findings as JSON lines on standard output."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from mbi_reauth import catalogue
from mbi_reauth.catalogue import CatalogueError
from mbi_reauth.core.document import quoted
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.faults import nearest
from mbi_reauth.core.verdict import Finding

FOLDER_VARIABLE = "AIRFLOW__MBI_REAUTH__CATALOGUE_FOLDER"
_KEYS = ("id", "integration_type", "evidence")
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "status_code": ((int,), "a whole number"),
    "headers": ((dict,), "an object"),
    "error_code": ((int, str), "a number or text"),
    "sqlstate": ((str,), "text"),
    "message": ((str,), "text"),
}


class LineError(ValueError):
    """A line that cannot be answered; the message says why."""

    def __init__(self, message: str, line_id: Any = None) -> None:
        super().__init__(message)
        self.line_id = line_id


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand's arguments."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "classify",
        help="judge evidence given as JSON lines on standard input",
        description="Read one JSON object a line, with id, integration_type and evidence; write a finding "
        "for each, in the same order. Exit status 1 if a line could not be answered.",
    )
    parser.add_argument(
        "--catalogue-folder",
        type=Path,
        default=os.environ.get(FOLDER_VARIABLE) or None,
        help=f"a folder of further integration types (default: ${FOLDER_VARIABLE})",
    )


def run(args: argparse.Namespace) -> int:
    """Answer standard input line by line."""
    folder = Path(args.catalogue_folder) if args.catalogue_folder else None
    judge = Judge(folder)
    failed = False
    try:
        for number, line in enumerate(_lines(), start=1):
            answer = judge.answer(line, number)
            if answer is None:
                continue
            if "error" in answer:
                failed = True
                sys.stderr.write(answer["error"] + "\n")
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the answers has gone; what Python flushes at its end must not fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 1 if failed else 0


class Judge:
    """Answers lines; each integration type is read once, and only if a line asks for it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._classify: dict[str, Callable[[Evidence], Finding]] = {}

    def answer(self, line: str | bytes, number: int) -> dict[str, Any] | None:
        """Return what to write for one line; None for a blank one."""
        try:
            text = line if isinstance(line, str) else line.decode("utf-8")
            text = text.lstrip("\ufeff") if number == 1 else text
            return self._judged(text) if text.strip() else None
        except UnicodeDecodeError:
            error = LineError("not UTF-8 text")
        except LineError as raised:
            error = raised
        return {"id": error.line_id, "error": f"line {number}: {error}"}

    def _judged(self, text: str) -> dict[str, Any]:
        asked = _parsed(text)
        line_id = _line_id(asked)
        try:
            _refuse_unknown_keys(asked)
            finding = self._classifier(asked)(_evidence(asked))
        except LineError as error:
            error.line_id = line_id
            raise
        return {
            "id": line_id,
            "verdict": finding.verdict.value,
            "cause": finding.cause.value,
            "actor": finding.actor.value,
            "rule": finding.rule,
            "explanation": finding.explanation,
        }

    def _classifier(self, asked: dict[str, Any]) -> Callable[[Evidence], Finding]:
        type_id = asked.get("integration_type")
        if not isinstance(type_id, str):
            raise LineError("integration_type: " + ("must be text" if type_id is not None else "is missing"))
        if type_id not in self._classify:
            try:
                self._classify[type_id] = catalogue.load(type_id, folder=self._folder).classify
            except CatalogueError as error:
                raise LineError(f"integration_type: {' '.join(str(error).splitlines())}") from None
        return self._classify[type_id]


def _lines() -> Iterable[str | bytes]:
    source: Iterable[str | bytes] = getattr(sys.stdin, "buffer", sys.stdin)
    return source


def _parsed(text: str) -> dict[str, Any]:
    try:
        asked = _DECODER.decode(text.strip())
    except json.JSONDecodeError as error:
        raise LineError(f"not valid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise LineError("not valid JSON: nested too deeply") from None
    except ValueError as error:
        raise LineError(f"not valid JSON: {error}") from None
    if not isinstance(asked, dict):
        raise LineError("must be a JSON object with id, integration_type and evidence")
    return asked


def _refuse_unknown_keys(asked: dict[str, Any]) -> None:
    if unknown := [f"{quoted(name)}{nearest(name[:100], _KEYS)}" for name in asked if name not in _KEYS]:
        raise LineError("; ".join(f"unknown key {each}" for each in unknown[:5]))


def _line_id(asked: dict[str, Any]) -> Any:
    line_id = asked.get("id")
    if line_id is not None and (isinstance(line_id, bool) or not isinstance(line_id, (str, int, float))):
        raise LineError("id: must be text or a number")
    if isinstance(line_id, float) and not math.isfinite(line_id):
        raise LineError("id: is too large for a number")
    return line_id


def _evidence(asked: dict[str, Any]) -> Evidence:
    given = asked.get("evidence")
    if not isinstance(given, dict):
        raise LineError("evidence: " + ("must be an object" if "evidence" in asked else "is missing"))
    for name, (kinds, wanted) in _KINDS.items():
        value = given.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            raise LineError(f"evidence.{name}: must be {wanted}")
    # Headers may be null, and text may have halves of characters, which JSON can write and pydantic refuses.
    filled = {name: _whole(value) for name, value in given.items() if name != "headers" or value is not None}
    try:
        return Evidence.model_validate(filled)
    except ValidationError as error:
        raise LineError("; ".join(_said(error))) from None


def _said(error: ValidationError) -> Iterator[str]:
    for each in error.errors(include_url=False, include_input=False):
        name = ".".join(str(step) for step in each["loc"])
        if each["type"] == "extra_forbidden":
            yield f"evidence: unknown key {quoted(name)}{nearest(name, Evidence.model_fields)}"
        elif each["type"] == "missing":
            yield f"evidence.{name}: is missing"
        else:
            yield f"evidence.{name}: {each['msg'][:1].lower()}{each['msg'][1:]}"


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return (
            value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
    if isinstance(value, dict) and all(isinstance(inner, str) for inner in value.values()):
        return {_whole(name): _whole(inner) for name, inner in value.items()}
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
