"""Read catalogue files, and say everything that is wrong with them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from mbi_reauth.catalogue import PACKAGED, CatalogueError, type_ids
from mbi_reauth.catalogue.model import CatalogueModel, DefaultTable, IntegrationType, SqlProbe
from mbi_reauth.core.classify import Table, classify
from mbi_reauth.core.document import Document, Fault, quoted, read_document
from mbi_reauth.core.evidence import Driver, Endpoint, Evidence
from mbi_reauth.core.faults import model_faults, nearest
from mbi_reauth.core.rule import Rule
from mbi_reauth.core.verdict import Finding

DEFAULTS = PACKAGED / "defaults"
_TYPE_ID = re.compile(r"\w{1,100}")  # more would be no file's name
_Model = TypeVar("_Model", bound=CatalogueModel)


@dataclass(frozen=True)
class LoadedType:
    """An integration type, ready to judge evidence."""

    id: str
    model: IntegrationType

    def classify(self, evidence: Evidence) -> Finding:
        """Judge by the type's own rules, then by the default table that fits, else not at all."""
        return classify(
            evidence, self.model.rules, type_id=self.id, tables=self._tables(evidence), driver=self._driver
        )

    @property
    def _driver(self) -> Driver | None:
        return self.model.probe.driver if isinstance(self.model.probe, SqlProbe) else None

    def _tables(self, evidence: Evidence) -> Sequence[Table]:
        own = self._driver
        if own is not None:
            driver = evidence.driver or own
            return _tables(driver.value) if driver in (own, Driver.SSH) else ()
        if evidence.driver is not None:
            return ()  # an API has no database's errors
        if evidence.endpoint is Endpoint.TOKEN:
            return _tables("token")
        refreshable = self.model.oauth is not None and self.model.oauth.refresh != "none"
        return _tables("bearer", "http") if refreshable else _tables("http")


def load_type(type_id: str, folder: Path | None) -> LoadedType:
    """Read one integration type (see :func:`mbi_reauth.catalogue.load`)."""
    path = _path_of(type_id, folder)
    if path is None:
        known = type_ids(folder)
        hint = nearest(type_id[:100], known) or f"; there are {', '.join(sorted(known))}"
        raise CatalogueError(f"There is no integration type {quoted(type_id)}{hint}")
    return LoadedType(type_id, _load_model(path, path.stat().st_mtime_ns))


def load_types(folder: Path | None) -> dict[str, LoadedType]:
    """Read everything (see :func:`mbi_reauth.catalogue.load_all`)."""
    faults: list[Fault] = []
    for path in sorted(DEFAULTS.glob("*.yaml")):
        faults += _table_faults(path)
    loaded = {}
    for type_id in sorted(type_ids(folder)):
        document, found, model = _read_type(type_id, folder)
        faults += found
        if model is not None:
            loaded[type_id] = LoadedType(type_id, model)
            faults += sample_faults(model.rules, loaded[type_id].classify, type_id, document)
    if faults:
        raise CatalogueError(_message(faults))
    return loaded


def sample_faults(
    rules: Sequence[Rule], judge: Callable[[Evidence], Finding], name: str, document: Document
) -> Iterator[Fault]:
    """Try each rule on its own samples: where another takes one, it is shadowed, or its condition wrong."""
    for number, rule in enumerate(rules):
        for position, sample in enumerate(rule.samples):
            finding = judge(sample.evidence)
            if finding.rule != f"{name}.{rule.id}":
                message = f"this sample is decided by {finding.rule}, as {finding.cause.value}"
                at = ("rules", number, "samples", position)
                yield document.fault(at, f"rules[{rule.id}]: {message}")


def read_model(path: Path, model: type[_Model]) -> tuple[Document, list[Fault], _Model | None]:
    """Read a file as one of the catalogue's models."""
    document = read_document(path)
    faults = list(document.faults)
    if not isinstance(document.value, dict):
        if not faults:
            faults.append(
                Fault(document.file, 0, "must be a mapping; see schema.json beside the packaged types")
            )
        return document, faults, None
    try:
        made = model.model_validate(document.value)
    except ValidationError as error:
        return document, faults + model_faults(error, document, model, value=document.value), None
    if isinstance(made, (IntegrationType, DefaultTable)):
        faults += _repeated_ids(made.rules, document)
    if isinstance(made, IntegrationType):
        faults += _contradictions(made, document)
    return document, faults, None if faults else made


def _table_faults(path: Path) -> list[Fault]:
    document, faults, model = read_model(path, DefaultTable)
    if model is None:
        return faults
    table = Table(f"default_{path.stem}", model.rules)

    def judge(evidence: Evidence) -> Finding:
        return classify(evidence, (), type_id="", tables=(table,))

    return [*faults, *sample_faults(model.rules, judge, table.name, document)]


def _read_type(type_id: str, folder: Path | None) -> tuple[Document, list[Fault], IntegrationType | None]:
    path = _path_of(type_id, folder)
    return read_model(path or PACKAGED / f"{type_id}.yaml", IntegrationType)


@lru_cache(maxsize=256)
def _load_model(path: Path, _version: int) -> IntegrationType:
    _, faults, model = read_model(path, IntegrationType)
    if model is None:
        raise CatalogueError(_message(faults))
    return model


@cache
def _table(name: str) -> Table:
    _, faults, model = read_model(DEFAULTS / f"{name}.yaml", DefaultTable)
    if model is None:
        raise CatalogueError(_message(faults))
    return Table(f"default_{name}", model.rules)


@cache
def _tables(*names: str) -> tuple[Table, ...]:
    return tuple(_table(name) for name in names)


def _path_of(type_id: str, folder: Path | None) -> Path | None:
    if not _TYPE_ID.fullmatch(type_id):
        return None
    candidates = [root / f"{type_id}.yaml" for root in (folder, PACKAGED) if root is not None]
    return next((path for path in candidates if path.is_file()), None)


def _repeated_ids(rules: Sequence[Rule], document: Document) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule.id in seen:
            yield document.fault(("rules", number, "id"), f"rules: the id {quoted(rule.id)} is here twice")
        seen.add(rule.id)


def _contradictions(made: IntegrationType, document: Document) -> Iterator[Fault]:
    """Find what the schema cannot say: parts that do not go together."""
    if (made.kind == "sql") != isinstance(made.probe, SqlProbe):
        yield document.fault(("probe",), f"probe: a type of kind {made.kind} needs the other kind of probe")
    if (made.auth.method == "login") != (made.kind == "sql"):
        yield document.fault(("auth", "method"), "auth.method: databases, and only they, use login")
    if made.auth.method in ("header", "query") and not made.auth.name:
        yield document.fault(("auth",), f"auth.name: is missing; what is the {made.auth.method} called?")
    if made.oauth is not None and made.auth.method != "bearer":
        yield document.fault(("auth", "method"), "auth.method: an OAuth type uses bearer")
    if made.kind == "http" and made.base_url is None and "host" not in made.connection:
        yield document.fault((), "base_url: is missing; give it, or a connection field called host")


def _message(faults: Sequence[Fault]) -> str:
    ordered = sorted(set(faults))
    count = "1 fault" if len(ordered) == 1 else f"{len(ordered)} faults"
    return "\n".join([f"The catalogue of integration types has {count}:", *map(str, ordered)])
