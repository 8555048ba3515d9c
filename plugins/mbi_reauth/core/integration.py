"""The registry's values: which integrations there are, where their credential is, who can re-authorize."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, Field, StringConstraints

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,99}$")]
"""An id usable as a task group id: small letters, digits and underscores."""


Name = Annotated[str, StringConstraints(pattern=r"^[\w$][\w$-]*(\.[\w$][\w$-]*)*$", max_length=200)]
"""A table, a collection, a column or a path into a document; nothing in it ends a quoted name or a folder."""


def _known_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {name!r}; use an IANA name such as Europe/Amsterdam"
        ) from None
    return name


TimeZone = Annotated[str, AfterValidator(_known_time_zone)]


class RegistryModel(BaseModel):
    """Closed and frozen: an unknown key is a fault, not an extension."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Owner(RegistryModel):
    """The person who can re-authorize; not the DAG's ``owner``.

    ``backup`` is written to when they do not act or cannot be reached. ``time_zone`` is an IANA name; without
    one, theirs is Airflow's ``default_timezone``.
    """

    name: Annotated[str, StringConstraints(min_length=1)]
    email: EmailStr
    locale: Literal["en", "nl"] = "en"
    backup: EmailStr | None = None
    time_zone: TimeZone | None = None


class Table(RegistryModel):
    """A table to extract from a database integration, or a MongoDB collection.

    ``name`` may have a schema in front; of a collection it is the whole name, dots and all. ``watermark`` is
    a column that only grows (a modification time, a sequence) and ``key`` the column that tells rows of one
    watermark apart; without a watermark the whole table is copied each time. With a key, a row that changes
    within the last watermark's own second or day, and has a smaller key, is not seen again: leave the key out
    where watermarks are that coarse, and the last watermark is read once more instead. Of a document, both
    may be paths (``meta.changed``).
    """

    name: Name
    watermark: Name | None = None
    key: Name | None = None


SIGNAL_TYPES = frozenset({"mbi_update_cycle", "mbi_integration_freshness"})
"""The integration types that tell how MBI itself fares."""

SIGNALLED_TYPES = frozenset({"mbi_file_upload"})
"""The integration types that have nothing to check but such a signal."""


class Integration(RegistryModel):
    """One authorized account that extraction DAGs read.

    ``account`` is the account that must stay the same after a re-authorization, in the third party's own
    notation. ``held_by`` says where the owner acts: on the Airflow side, or on MBI's own page. ``mbi_signal``
    is the id of another integration, of one of the :data:`SIGNAL_TYPES`, which tells whether MBI itself works
    on; ``signal`` is that entry, and put in by the registry.
    """

    id: Identifier
    type: Identifier
    conn_id: Annotated[str, StringConstraints(min_length=1)]
    owner: Owner
    name: str | None = None
    account: str | None = None
    held_by: Literal["airflow", "mbi"] = "airflow"
    expires_at: date | None = None
    tables: tuple[Table, ...] = Field(default=())
    mbi_signal: Identifier | None = None
    signal: Integration | None = None

    @property
    def label(self) -> str:
        """What people call it, for emails and pages."""
        return self.name or self.id

    @property
    def full_label(self) -> str:
        """What people call it, with the id that DAGs name, for logs."""
        return f"{self.name} ({self.id})" if self.name and self.name != self.id else self.id
