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
from mbi_reauth.catalogue.families import FOLDER, Extended, read_extended
from mbi_reauth.catalogue.model import (
    CatalogueModel,
    DatabaseProbe,
    DefaultTable,
    HttpProbe,
    IntegrationType,
    never_the_owners,
)
from mbi_reauth.catalogue.placeholders import placeholder_faults
from mbi_reauth.core.classify import Table, classify
from mbi_reauth.core.document import Fault, quoted
from mbi_reauth.core.evidence import Driver, Endpoint, Evidence
from mbi_reauth.core.faults import model_faults, nearest
from mbi_reauth.core.rule import Rule
from mbi_reauth.core.table import in_shape
from mbi_reauth.core.verdict import VERDICT_OF, Finding, Verdict

DEFAULTS = PACKAGED / "defaults"
# What the authorization request itself says (RFC 6749 section 4.1.1, RFC 7636 section 4.3).
_OWN_PARAMS = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
)
_TYPE_ID = re.compile(r"\w{1,100}")  # more would be no file's name
_Model = TypeVar("_Model", bound=CatalogueModel)


@dataclass(frozen=True)
class LoadedType:
    """An integration type, ready to judge evidence."""

    id: str
    model: IntegrationType

    def classify(self, evidence: Evidence) -> Finding:
        """Judge by the type's own rules, then by the default tables that fit, else not at all."""
        drivers, probe = self._drivers, self.model.probe
        return classify(
            in_shape(evidence, probe.body) if isinstance(probe, HttpProbe) else evidence,
            self.model.rules,
            type_id=self.id,
            tables=self._tables(evidence),
            driver=drivers[0] if len(drivers) == 1 else None,
        )

    @property
    def _drivers(self) -> Sequence[Driver]:
        return self.model.probe.drivers if isinstance(self.model.probe, DatabaseProbe) else ()

    def _tables(self, evidence: Evidence) -> Sequence[Table]:
        drivers = self._drivers
        if drivers:
            driver = evidence.driver or (drivers[0] if len(drivers) == 1 else None)
            return _tables(driver.value) if driver in (*drivers, Driver.SSH) and driver else ()
        if evidence.driver is not None or self.model.kind == "mbi":
            return ()  # an API has no database's errors, and what MBI answers is never the owner's to mend
        if evidence.endpoint is Endpoint.TOKEN:
            return _tables("token")
        refreshable = self.model.oauth is not None and self.model.oauth.refresh != "none"
        names = ("bearer", "http") if refreshable else ("http",)
        return _tables(*names) if self.model.error_model == "open" else _tables_without_words(*names)


def load_type(type_id: str, folder: Path | None) -> LoadedType:
    """Read one integration type (see :func:`mbi_reauth.catalogue.load`)."""
    path = _path_of(type_id, folder)
    if path is None:
        known = type_ids(folder)
        hint = nearest(type_id[:100], known) or f"; there are {', '.join(sorted(known))}"
        raise CatalogueError(f"There is no integration type {quoted(type_id)}{hint}")
    return LoadedType(type_id, _load_model(path, folder, _version(path, folder)))


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
    rules: Sequence[Rule], judge: Callable[[Evidence], Finding], name: str, document: Extended
) -> Iterator[Fault]:
    """Try each rule on its own samples: where another takes one, it is shadowed, or its condition wrong."""
    for number, rule in enumerate(rules):
        for position, sample in enumerate(rule.samples):
            finding = judge(sample.evidence)
            if finding.rule != f"{name}.{rule.id}":
                message = f"this sample is decided by {finding.rule}, as {finding.cause.value}"
                if finding.rule not in {f"{name}.{earlier.id}" for earlier in rules[:number]}:
                    message += f"; the condition does not hold, or no such answer can mean {rule.cause.value}"
                at = ("rules", number, "samples", position)
                yield document.fault(at, f"rules[{rule.id}]: {message}")


def read_model(
    path: Path, model: type[_Model], folder: Path | None = None
) -> tuple[Extended, list[Fault], _Model | None]:
    """Read a file, with the families that it extends, as one of the catalogue's models.

    :param folder: a site's own folder, which may have families too
    """
    document = read_extended(path, [root for root in (folder, PACKAGED) if root is not None])
    faults = list(document.faults)
    if not isinstance(document.value, dict):
        if not faults:
            faults.append(Fault(path.name, 0, "must be a mapping; see schema.json beside the packaged types"))
        return document, faults, None
    try:
        made = model.model_validate(document.value)
    except ValidationError as error:
        return document, faults + model_faults(error, document, model, value=document.value), None
    if isinstance(made, (IntegrationType, DefaultTable)):
        faults += _repeated("rules", "id", [rule.id for rule in made.rules], document)
    if isinstance(made, IntegrationType):
        faults += _repeated("resources", "name", [each.name for each in made.resources], document)
        faults += _contradictions(made, document)
        faults += placeholder_faults(made, document)
    return document, faults, None if faults else made


def _table_faults(path: Path) -> list[Fault]:
    document, faults, model = read_model(path, DefaultTable)
    if model is None:
        return faults
    table = Table(f"default_{path.stem}", model.rules)

    def judge(evidence: Evidence) -> Finding:
        return classify(evidence, (), type_id="", tables=(table,))

    return [*faults, *sample_faults(model.rules, judge, table.name, document)]


def _read_type(type_id: str, folder: Path | None) -> tuple[Extended, list[Fault], IntegrationType | None]:
    path = _path_of(type_id, folder)
    if path is None:
        unfit = Fault(f"{type_id}.yaml", 0, "the name of a type has only letters, digits and _")
        return Extended(None, (unfit,), {}), [unfit], None
    return read_model(path, IntegrationType, folder)


@lru_cache(maxsize=256)
def _load_model(path: Path, folder: Path | None, _version: tuple[int, ...]) -> IntegrationType:
    _, faults, model = read_model(path, IntegrationType, folder)
    if model is None:
        raise CatalogueError(_message(faults))
    return model


def _version(path: Path, folder: Path | None) -> tuple[int, ...]:
    """Return the times of the last changes; of the site's families too, as any of them may be in it."""
    families = sorted((folder / FOLDER).glob("*.yaml")) if folder is not None else ()
    return tuple(each.stat().st_mtime_ns for each in (path, *families))


@cache
def _table(name: str) -> Table:
    _, faults, model = read_model(DEFAULTS / f"{name}.yaml", DefaultTable)
    if model is None:
        raise CatalogueError(_message(faults))
    return Table(f"default_{name}", model.rules)


@cache
def _tables(*names: str) -> tuple[Table, ...]:
    return tuple(_table(name) for name in names)


@cache
def _tables_without_words(*names: str) -> tuple[Table, ...]:
    """Leave out what judges a credential by words: where a third party has its own, they are a stranger's."""
    return tuple(
        Table(name, [rule for rule in rules if not judges_a_credential_by_words(rule)])
        for name, rules in _tables(*names)
    )


def judges_a_credential_by_words(rule: Rule) -> bool:
    """Tell whether a rule refuses a credential, or has it refreshed, by more than a status."""
    refuses = VERDICT_OF[rule.cause] in (Verdict.NEEDS_REAUTH, Verdict.NEEDS_REFRESH)
    return refuses and rule.when.may_name_words


def _path_of(type_id: str, folder: Path | None) -> Path | None:
    if not _TYPE_ID.fullmatch(type_id):
        return None
    candidates = [root / f"{type_id}.yaml" for root in (folder, PACKAGED) if root is not None]
    return next((path for path in candidates if path.is_file()), None)


def _repeated(part: str, key: str, names: Sequence[str], document: Extended) -> Iterator[Fault]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield document.fault((part, number, key), f"{part}: the {key} {quoted(name)} is here twice")


def _contradictions(made: IntegrationType, document: Extended) -> Iterator[Fault]:
    """Find what the schema cannot say: parts that do not go together."""
    yield from _unfit_for_its_kind(made, document)
    if (made.auth.method == "login") != (made.kind == "database"):
        yield document.fault(("auth", "method"), "auth.method: databases, and only they, use login")
    if made.auth.method in ("header", "query") and not made.auth.name:
        yield document.fault(("auth",), f"auth.name: is missing; what is the {made.auth.method} called?")
    if made.oauth is not None and made.auth.method != "bearer":
        yield document.fault(("auth", "method"), "auth.method: an OAuth type uses bearer")
    if made.kind == "http" and made.base_url is None and "host" not in made.connection:
        yield document.fault((), "base_url: is missing; give it, or a connection field called host")
    yield from _unfit_for_consent(made, document)


def _unfit_for_consent(made: IntegrationType, document: Extended) -> Iterator[Fault]:
    for name, each in made.connection.items():
        if each.owner and never_the_owners(name):
            message = f"connection.{name}.owner: no owner may change this; an engineer does"
            yield document.fault(("connection", name, "owner"), message)
    for name in made.oauth.authorization_params if made.oauth is not None else ():
        if name in _OWN_PARAMS:
            message = f"oauth.authorization_params.{name}: is sent anyway; leave it out"
            yield document.fault(("oauth", "authorization_params", name), message)


def _unfit_for_its_kind(made: IntegrationType, document: Extended) -> Iterator[Fault]:
    if made.probe is None and made.kind != "mbi":
        yield document.fault(("probe",), "probe: is missing; only a type of kind mbi has nothing to check")
    elif (made.kind == "database") != isinstance(made.probe, DatabaseProbe):
        yield document.fault(("probe",), f"probe: a type of kind {made.kind} needs the other kind of probe")
    if made.kind != "mbi" and isinstance(made.probe, HttpProbe) and made.probe.fresh is not None:
        yield document.fault(("probe", "fresh"), "probe.fresh: only a type of kind mbi can be stale")
    if made.kind != "http" and made.error_model == "closed":
        message = "error_model: only what a type of kind http answers is judged by other APIs' words"
        yield document.fault(("error_model",), message)
    for number, rule in enumerate(made.rules if made.kind == "mbi" else ()):
        if VERDICT_OF[rule.cause] is Verdict.NEEDS_REAUTH:
            message = f"rules[{rule.id}].cause: no owner can mend what a type of kind mbi answers"
            yield document.fault(("rules", number, "cause"), message)


def _message(faults: Sequence[Fault]) -> str:
    ordered = sorted(set(faults))
    count = "1 fault" if len(ordered) == 1 else f"{len(ordered)} faults"
    return "\n".join([f"The catalogue of integration types has {count}:", *map(str, ordered)])
