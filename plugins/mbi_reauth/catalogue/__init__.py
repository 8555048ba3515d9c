"""One YAML file per integration type, with its schema and loader.

A file ``<id>.yaml`` here, or in a site's own folder, is the integration type ``<id>``; the site's file wins.
Importing this costs little: what reads the files is imported with the first type that is needed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mbi_reauth.catalogue.loader import LoadedType

__all__ = ["CatalogueError", "load", "load_all", "type_ids"]

PACKAGED = Path(__file__).parent


class CatalogueError(Exception):
    """Catalogue files are not usable, or there is no such type; the message lists every fault."""


def type_ids(folder: Path | None = None) -> frozenset[str]:
    """Name the integration types there are; reads no file.

    :param folder: a site's own folder of further types
    """
    return _packaged_ids() | (_ids_in(folder) if folder is not None else frozenset())


def load(type_id: str, *, folder: Path | None = None) -> LoadedType:
    """Read one integration type; an unchanged file is read once a process.

    :raises CatalogueError: the file has faults, or there is no such type
    """
    from mbi_reauth.catalogue.loader import load_type

    return load_type(type_id, folder)


def load_all(*, folder: Path | None = None) -> dict[str, LoadedType]:
    """Read every integration type and default table, and try every rule on its own samples.

    :raises CatalogueError: some files have faults; the message lists all faults of all files
    """
    from mbi_reauth.catalogue.loader import load_types

    return load_types(folder)


@cache
def _packaged_ids() -> frozenset[str]:
    return _ids_in(PACKAGED)


def _ids_in(folder: Path) -> frozenset[str]:
    return frozenset(path.stem for path in folder.glob("*.yaml"))
