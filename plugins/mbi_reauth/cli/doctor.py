"""``doctor``: everything that the set-up needs, and how to mend what is missing."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from mbi_reauth.catalogue.model import IntegrationType
    from mbi_reauth.core.integration import Integration
    from mbi_reauth.core.registry import Registry

log = logging.getLogger(__name__)

_TIMEOUT = 5.0
_SWEEPS_WITHIN = timedelta(days=1)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PACKAGES = {
    "postgres": "airflow.providers.postgres",
    "mysql": "airflow.providers.mysql",
    "mssql": "airflow.providers.microsoft.mssql",
    "mongo": "airflow.providers.mongo",
}


@dataclass(frozen=True)
class Line:
    """One thing that was looked at; ``mend`` says how to put it right, and is empty where all is well."""

    subject: str
    state: str
    mend: str = ""

    def __str__(self) -> str:
        mark = "missing" if self.mend else "ok"
        text = f"{mark:<8} {self.subject}: {self.state}"
        return f"{text}\n{'':<8} {'':>2}-> {self.mend}" if self.mend else text


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand's arguments."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor",
        help="say what of the set-up is missing, and how to mend it",
        description="Look at everything that the set-up needs, on the machine where this runs. Exit status 1 "
        "if anything is missing.",
    )
    parser.add_argument("--registry", type=Path, help="the registry file, where Airflow's own does not do")
    parser.add_argument("--verbose", action="store_true", help="show the log of what is looked at")


def run(args: argparse.Namespace) -> int:
    """Examine everything, print a line for each, and return the exit status."""
    from mbi_reauth.cli.process import quieten, read_connections_as_airflow_does

    quieten(verbose=args.verbose)
    read_connections_as_airflow_does()
    healthy = True
    for line in examine(_EXAMINATIONS, args.registry):
        healthy = healthy and not line.mend
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0 if healthy else 1


Examination = Callable[[Path | None], Iterable[Line]]


def examine(examinations: Iterable[Examination], registry: Path | None) -> Iterator[Line]:
    """Run each examination; one that fails itself is a line too, and the others still run."""
    for examination in examinations:
        yield from _lines_of(examination, registry)


def _lines_of(examination: Examination, registry: Path | None) -> Iterator[Line]:
    try:
        yield from examination(registry)
    except Exception as error:
        log.exception("%s failed", examination.__name__)
        subject = examination.__name__.strip("_").replace("_", " ")
        yield Line(subject, f"could not be looked at ({type(error).__name__})", "Run with --verbose.")


def _catalogue(_: Path | None) -> Iterator[Line]:
    from mbi_reauth import catalogue, settings

    try:
        types = catalogue.load_all(folder=settings.catalogue_folder())
    except catalogue.CatalogueError as error:
        yield Line("catalogue", str(error), "Put right the files named.")
    else:
        yield Line("catalogue", f"{len(types)} integration types")


def _registry(path: Path | None) -> Iterator[Line]:
    from mbi_reauth.core.registry import RegistryError

    try:
        registry = _read(path)
    except RegistryError as error:
        yield Line("registry", str(error), "Put right what is named; the README describes the file.")
        return
    yield Line("registry", f"{len(registry.integrations)} integrations in {registry.path}")
    for integration in registry.integrations.values():
        yield from _integration(integration)


def _read(path: Path | None) -> Registry:
    from mbi_reauth.lookup import registry_of

    return registry_of(path)


def _integration(integration: Integration) -> Iterator[Line]:
    from mbi_reauth import catalogue, settings
    from mbi_reauth.hooks.connections import ConnectionNotFoundError, read_connection
    from mbi_reauth.probes.credential import MisconfiguredError

    subject = f"connection {integration.conn_id} of {integration.id}"
    where = "Airflow: Admin > Connections"
    try:
        model = catalogue.load(integration.type, folder=settings.catalogue_folder()).model
        if model.probe is None:
            yield Line(integration.id, "needs no connection")
            return
        credential = read_connection(integration.conn_id)
        if ssh_conn_id := credential.get("ssh_conn_id"):
            read_connection(ssh_conn_id)
    except catalogue.CatalogueError:
        return  # the catalogue's own line has it
    except ConnectionNotFoundError as error:
        yield Line(subject, f"there is no connection {error}", f"Create it. {where}.")
        return
    except MisconfiguredError as error:
        yield Line(subject, str(error), f"Edit it. {where}.")
        return
    missing = [
        name for name, field in model.connection.items() if field.required and not credential.has(name)
    ]
    if missing and not (model.base_url and missing == ["host"]):
        yield Line(subject, f"lacks {', '.join(missing)}", f"Fill in {', '.join(missing)}. {where}.")
    else:
        yield Line(subject, "has every field")
    yield from _driver(integration, model, credential.conn_type)


def _driver(integration: Integration, model: IntegrationType, conn_type: str) -> Iterator[Line]:
    from mbi_reauth.catalogue.model import DatabaseProbe
    from mbi_reauth.probes.database import ENGINES

    if not isinstance(model.probe, DatabaseProbe):
        return
    subject = f"driver of {integration.id}"
    fitting = [name for name, engine in ENGINES.items() if engine.driver in model.probe.drivers]
    if conn_type not in fitting:
        mend = f"Make the connection one of type {' or '.join(fitting) or 'that this version knows'}."
        yield Line(
            subject, f"{model.display_name} is not reached by a connection of type {conn_type!r}", mend
        )
    elif importlib.util.find_spec(_PACKAGES[conn_type]) is None:
        package = _PACKAGES[conn_type]
        yield Line(subject, f"{package} is not installed", f"pip install 'mbi-reauth[{conn_type}]'")
    else:
        yield Line(subject, f"{_PACKAGES[conn_type]} is installed")


def _mail(_: Path | None) -> Iterator[Line]:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    from mbi_reauth import settings
    from mbi_reauth.hooks.connections import ConnectionNotFoundError, read_connection

    conn_id = settings.smtp_conn_id()
    subject = f"mail through {conn_id}"
    try:
        credential = read_connection(conn_id)
    except ConnectionNotFoundError:
        yield Line(subject, "there is no such connection", f"Create {conn_id}, of type smtp.")
        return
    good, message = SmtpHook(smtp_conn_id=conn_id).test_connection()
    if not good:
        yield Line(
            subject, f"the mail server does not answer: {message}", "Put right host, port, TLS or login."
        )
    elif not credential.get("from_email"):
        yield Line(subject, "names no sender", "Set its extra from_email.")
    else:
        yield Line(subject, f"{credential.host} answers")


def _engineers(_: Path | None) -> Iterator[Line]:
    from mbi_reauth.api.services.surroundings import mailing
    from mbi_reauth.probes.credential import MisconfiguredError

    try:
        wanted = mailing()
    except MisconfiguredError as error:
        yield Line("emails", str(error), "Put it right in Airflow's configuration.")
        return
    if wanted.shadow:
        yield Line("shadow mode", "on: nothing is blocked, and nobody is emailed")
    if wanted.engineers:
        yield Line("engineers", f"are written to at {', '.join(wanted.engineers)}")
    else:
        yield Line("engineers", "have no address", "Set [mbi_reauth] engineer_email.")


def _sweep(_: Path | None) -> Iterator[Line]:
    from sqlalchemy.exc import SQLAlchemyError

    from mbi_reauth import settings
    from mbi_reauth.models.metadata_db import transact

    if settings.shadow():
        return  # it sends nothing then
    try:
        served_at = transact(_served_at, attempts=1)
    except SQLAlchemyError:
        return  # the tables' own line has it
    mend = (
        "Unpause mbi_authorization_sweep, or see why its runs fail; without it nobody is reminded, or hears "
        "that it works again."
    )
    if served_at is None:
        yield Line("sweep", "has never sent what is due", mend)
    else:
        late = datetime.now(timezone.utc) - served_at > _SWEEPS_WITHIN
        yield Line("sweep", f"last sent what was due at {served_at:%Y-%m-%d %H:%M} UTC", mend if late else "")


def _served_at(session: Session) -> datetime | None:
    from sqlalchemy import select

    from mbi_reauth.models.tables import Outbox

    return session.scalar(select(Outbox.served_at))


def _base_url(_: Path | None) -> Iterator[Line]:
    from mbi_reauth import settings
    from mbi_reauth.hooks.connections import ConnectionNotFoundError, read_connection

    address = settings.base_url()
    try:
        mail_host = read_connection(settings.smtp_conn_id()).host
    except ConnectionNotFoundError:
        mail_host = "localhost"
    if urlsplit(address).hostname in _LOOPBACK and mail_host not in _LOOPBACK:
        yield Line(
            "base URL",
            f"{address} is this machine only, but mail goes out through {mail_host}",
            "Set [api] base_url to the address at which owners reach Airflow.",
        )
    else:
        yield Line("base URL", address)


def _tables(_: Path | None) -> Iterator[Line]:
    from sqlalchemy.exc import SQLAlchemyError

    from mbi_reauth.models.metadata_db import transact

    try:
        current = transact(_at_newest_migration, attempts=1)
    except SQLAlchemyError as error:
        yield Line("tables", f"the database does not answer ({type(error).__name__})", "Start it.")
        return
    if current:
        yield Line("tables", "present, at the newest migration")
    else:
        yield Line("tables", "missing or of an older version", "airflow db migrate")


def _at_newest_migration(session: Session) -> bool:
    from mbi_reauth.models.db_manager import MbiReauthDBManager

    manager = MbiReauthDBManager(session)  # type: ignore[no-untyped-call]
    return bool(manager.check_migration())  # type: ignore[no-untyped-call]


def _app(_: Path | None) -> Iterator[Line]:
    from mbi_reauth import settings
    from mbi_reauth.api.datamodels import ClaimRequest
    from mbi_reauth.hooks.api import ApiRefusedError, ApiUnavailableError, ReauthApiHook

    subject = f"app at {settings.app_url()}"
    try:
        # No integration can have this id, so asking changes nothing; but the app answers only to the key.
        asyncio.run(ReauthApiHook().claim(ClaimRequest(integration_id="-")))
    except ApiUnavailableError as error:
        yield Line(subject, str(error), "Start the API server; [mbi_reauth] app_url names another address.")
    except ApiRefusedError as error:
        yield Line(subject, str(error), "Is the plugin installed there, and is its key this one?")
    else:
        yield Line(subject, "answers to the key")


def _components(_: Path | None) -> Iterator[Line]:
    import httpx

    from mbi_reauth import settings

    address = settings.app_url().removesuffix(settings.API_PREFIX) + "/api/v2/monitor/health"
    try:
        answer = httpx.get(address, timeout=_TIMEOUT).raise_for_status().json()
        states = {name: answer[name]["status"] for name in ("scheduler", "triggerer", "dag_processor")}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        yield Line("triggerer", f"{address} does not say ({type(error).__name__})", "Start the API server.")
        return
    for name, state in states.items():
        mend = "" if state == "healthy" else f"airflow {name.replace('_', '-')}"
        yield Line(name.replace("_", " "), state or "not running", mend)


_EXAMINATIONS: tuple[Examination, ...] = (
    _catalogue,
    _registry,
    _base_url,
    _mail,
    _engineers,
    _tables,
    _sweep,
    _app,
    _components,
)
