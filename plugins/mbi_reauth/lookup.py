"""Find the registry that a DAG file means, and the integrations in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mbi_reauth import catalogue, settings
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.registry import Registry, RegistryError, load_registry

if TYPE_CHECKING:
    from airflow.sdk import DAG

FILE_NAME = "integrations.yaml"


def registry_of(path: str | Path | None = None, *, near: str | Path | None = None) -> Registry:
    """Read the registry: ``path``, else the one that Airflow's configuration names, else the nearest one.

    The nearest is ``integrations.yaml`` in the folder of ``near`` (a DAG file) or in one above it; without
    ``near``, in the DAGs folder.

    :raises RegistryError: there is none, or it has faults; the message lists them all with file and line
    """
    found = Path(path) if path else settings.registry_path() or _nearest(near)
    folder = settings.catalogue_folder()
    return load_registry(found, known_types=catalogue.type_ids(folder))


def integrations_of(
    entries: str | Sequence[str | Integration], registry: str | Path | None, *, dag: DAG | None
) -> list[Integration]:
    """Resolve ids against the registry; entries of it pass through, without reading it again."""
    listed = [entries] if isinstance(entries, str) else list(entries)
    if not listed:
        raise ValueError("Name at least one integration of the registry")
    near = dag.fileloc if dag is not None else None
    return [
        entry if isinstance(entry, Integration) else registry_of(registry, near=near).get(entry)
        for entry in listed
    ]


def _nearest(near: str | Path | None) -> Path:
    start = Path(near).resolve().parent if near else settings.dags_folder()
    for folder in (start, *start.parents):
        candidate = folder / FILE_NAME
        if candidate.is_file():
            return candidate
    raise RegistryError(
        f"There is no {FILE_NAME} in {start} or above it. Write one, or name it in Airflow's configuration:"
        " [mbi_reauth] registry"
    )
