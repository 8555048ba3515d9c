"""Read YAML so that every fault can name its line: in the text itself, and in what a model says about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml
from yaml.constructor import SafeConstructor

Loc = Sequence[str | int]
"""Where in a document: keys and positions, from the top."""

# libyaml's parser is about ten times faster; PyYAML is built without it on some machines.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MAX_DEPTH = 60


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong in a file; ``line`` counts from 1 and is 0 where the whole file is meant."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        """Write it as compilers do."""
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class Locator(Protocol):
    """Knows where each part of a document stands."""

    def fault(self, loc: Loc, message: str) -> Fault:
        """Write a fault about what is at ``loc``."""


@dataclass(frozen=True)
class Document:
    """A YAML file's value, the faults found in reading it, and where each part of it stands."""

    file: str
    value: Any = None
    faults: tuple[Fault, ...] = ()
    root: yaml.Node | None = field(default=None, repr=False, compare=False)
    _keys: dict[yaml.Node, dict[str, tuple[yaml.Node, int]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def line(self, loc: Loc) -> int:
        """Return the line of what is at ``loc``, or of the nearest thing around it."""
        node, line = self.root, 1
        for step in loc:
            found = self._child(node, step)
            if found is None:
                continue  # a model's own name for an alternative, which is no step in the file
            node, line = found
        return line

    def _child(self, node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, int] | None:
        if isinstance(node, yaml.MappingNode):
            if node not in self._keys:
                # From the end, so that of a key that is there twice the first one counts, as in the value.
                pairs = reversed(node.value)
                self._keys[node] = {str(key.value): (value, key.start_mark.line + 1) for key, value in pairs}
            return self._keys[node].get(str(step))
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            item = node.value[step]
            return item, item.start_mark.line + 1
        return None

    def fault(self, loc: Loc, message: str) -> Fault:
        """Write a fault about what is at ``loc``."""
        return Fault(self.file, self.line(loc), message)


def read_document(path: Path, *, file: str | None = None) -> Document:
    """Read a YAML file; whatever is wrong with it is in the document's faults, never raised.

    :param file: what to call the file in faults; its name by default
    """
    name = file or path.name
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return Document(name, faults=(Fault(name, 0, f"there is no such file: {path}"),))
    except OSError as error:
        return Document(name, faults=(Fault(name, 0, f"cannot be read: {error.strerror}"),))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return Document(name, faults=(Fault(name, line, "this is not UTF-8 text; save the file as UTF-8"),))
    return parse_document(text, file=name)


def parse_document(text: str, *, file: str) -> Document:
    """Read YAML text."""
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        return Document(file, faults=(Fault(file, mark.line + 1 if mark else 0, f"not valid YAML: {what}"),))
    except (yaml.YAMLError, RecursionError) as error:
        what = str(error).splitlines()[0]
        return Document(file, faults=(Fault(file, 0, f"not valid YAML: {what}"),))
    builder = _Builder(file)
    value = builder.build(root) if root is not None else None
    return Document(file, value, tuple(builder.faults), root)


class _Builder:
    """Makes values of nodes, and notes what is wrong instead of stopping at it."""

    def __init__(self, file: str) -> None:
        self.faults: list[Fault] = []
        self._file = file
        self._constructor = SafeConstructor()
        self._built: dict[yaml.Node, Any] = {}
        self._depth = 0

    def build(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node in self._built:
            return self._built[node]  # an alias
        if self._depth > _MAX_DEPTH:
            return self._fault(node, "nested too deeply")
        self._built[node] = None  # stands in an alias to itself
        self._depth += 1
        made = self._mapping(node) if isinstance(node, yaml.MappingNode) else self._sequence(node)
        self._depth -= 1
        self._built[node] = made
        return made

    def _sequence(self, node: yaml.Node) -> list[Any]:
        return [self.build(item) for item in node.value]

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        if any(key.tag == _TAG + "merge" for key, _ in node.value):
            return self._merged(node)
        made: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(key, "a key must be a plain name")
            elif key.value in made:
                self._fault(key, f'"{key.value}" is here twice; the first is on line {first[key.value]}')
            else:
                made[key.value] = self.build(value)
                first[key.value] = key.start_mark.line + 1
        return made

    def _merged(self, node: yaml.MappingNode) -> dict[str, Any]:
        try:
            self._constructor.flatten_mapping(node)
        except yaml.YAMLError:
            self._fault(node, "<<: must name a mapping")
            return {}
        # What is merged in stands first, and the mapping's own keys overrule it.
        return {key.value: self.build(value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            return node.value
        make = _SCALARS.get(kind)
        if make is None:
            return self._fault(node, f"{node.tag} is not supported here; write plain text")
        try:
            return make(self._constructor, node)
        except (ValueError, KeyError, yaml.YAMLError):
            what = "not a date of the calendar" if kind == "timestamp" else f"not a valid {kind}"
            self._fault(node, f'"{node.value}" is {what}')
            return _Unreadable(node.value)

    def _fault(self, node: yaml.Node, message: str) -> None:
        self.faults.append(Fault(self._file, node.start_mark.line + 1, message))


class _Unreadable(str):
    """A value whose fault is already noted; models may take it for text."""

    __slots__ = ()


_SCALARS: dict[str, Callable[[SafeConstructor, yaml.ScalarNode], Any]] = {
    "null": SafeConstructor.construct_yaml_null,
    "bool": SafeConstructor.construct_yaml_bool,
    "int": SafeConstructor.construct_yaml_int,
    "float": SafeConstructor.construct_yaml_float,
    "timestamp": SafeConstructor.construct_yaml_timestamp,
}


def is_noted(value: Any) -> bool:
    """Tell whether reading the document already found fault with this value."""
    return isinstance(value, _Unreadable)


def quoted(value: Any) -> str:
    """Show a value in a message: on one line, and not too long."""
    text = re.sub(r"\s+", " ", str(value))
    return f'"{text if len(text) <= 60 else text[:59] + "…"}"'
