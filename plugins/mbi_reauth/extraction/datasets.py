"""What there is to extract of an integration, by name; cheap enough for a DAG file."""

from __future__ import annotations

from collections.abc import Sequence

from mbi_reauth import catalogue, settings
from mbi_reauth.catalogue.model import Resource
from mbi_reauth.core.integration import Integration, Table
from mbi_reauth.extraction.errors import ExtractionError


def datasets_of(integration: Integration) -> list[str]:
    """Name the registry's tables of a database, else the catalogue's resources of its type."""
    if integration.tables:
        return [table.name for table in integration.tables]
    return [resource.name for resource in resources_of(integration)]


def dataset(integration: Integration, name: str) -> Table | Resource:
    """Find a table or resource by its name.

    :raises ExtractionError: when the integration has none of that name
    """
    entries: Sequence[Table | Resource] = integration.tables or resources_of(integration)
    for entry in entries:
        if entry.name == name:
            return entry
    raise ExtractionError(
        f"integration {integration.id} has no table or resource {name!r}; it has "
        f"{', '.join(entry.name for entry in entries) or 'none'}"
    )


def resources_of(integration: Integration) -> list[Resource]:
    """Read the resources of the integration's type from the catalogue."""
    return catalogue.load(integration.type, folder=settings.catalogue_folder()).model.resources


def task_id_of(name: str) -> str:
    """Write a dataset's name as the id of its task: Airflow takes no ``$``, and few tables have a ``-``."""
    return f"extract_{name.replace('$', '-')}"
