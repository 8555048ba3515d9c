"""The shape of a catalogue file: one integration type, with its probe, its rules and its owner's steps.

``schema.json`` beside this file is made from these models; editors use it to complete and check a file.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from mbi_reauth.catalogue.resource import HttpRequest, Paging, Resource
from mbi_reauth.core.evidence import Driver
from mbi_reauth.core.rule import (
    CatalogueModel,
    Condition,
    Confidence,
    JsonType,
    Regex,
    Rule,
    RuleId,
    Sample,
    Scalar,
    Text,
)
from mbi_reauth.core.verdict import VERDICT_OF, Cause, Verdict

__all__ = [
    "Auth",
    "CatalogueModel",
    "Condition",
    "Confidence",
    "ConnectionField",
    "DatabaseProbe",
    "DefaultTable",
    "Fresh",
    "HttpProbe",
    "IntegrationType",
    "JsonType",
    "LongLived",
    "OAuth",
    "OwnerSteps",
    "Paging",
    "Regex",
    "Repair",
    "Resource",
    "Rule",
    "RuleId",
    "Sample",
    "Scalar",
    "Sunset",
    "Text",
]


# Where a connection leads and whom it names is for engineers, and nobody gets a refresh token by hand.
_NEVER_THE_OWNERS = frozenset(
    {"host", "port", "schema", "account", "client_id", "client_secret", "refresh_token"}
)


class ConnectionField(CatalogueModel):
    """One field of the Airflow connection, as its form and the owner's page show it.

    ``owner`` says whether the owner may change it on their page; where it says nothing, they may change a
    login and what is secret.
    """

    title: Text
    help: str = ""
    example: str | None = None
    secret: bool = False
    required: bool = True
    owner: bool | None = None


def never_the_owners(name: str) -> bool:
    """Tell whether no owner may ever change the field of this name."""
    return name in _NEVER_THE_OWNERS or name.endswith(("_conn_id", "_host", "_url"))


class Auth(CatalogueModel):
    """How a request carries the credential.

    ``basic``: HTTP Basic from ``username`` and ``password`` templates; with ``key_alone``, a connection
    without a login sends its password as the user name of an empty password. ``bearer``: the access token, or
    the password. ``header`` and ``query``: a parameter called ``name`` with the template ``value``.
    ``login``: a database login. ``none``: there is no credential.
    """

    method: Literal["basic", "bearer", "header", "query", "login", "none"]
    username: str = "{login}"
    password: str = "{password}"
    key_alone: bool = False
    name: str | None = None
    value: str = "{password}"


class LongLived(CatalogueModel):
    """How a short-lived access token is traded for a long-lived one, at the token endpoint.

    ``param`` is the parameter that carries the short-lived token; the client authenticates as ever.
    """

    grant_type: Text
    param: Text


class OAuth(CatalogueModel):
    """The authorization server (RFC 6749); ``client_auth`` is how the client names itself (section 2.3).

    ``authorization_params`` are sent to ``authorization_url`` beside those of RFC 6749 and RFC 7636.
    ``issuer`` is what the answer's ``iss`` must be, where it carries one (RFC 9207). ``account_param`` is the
    answer's parameter that names the account. ``long_lived`` is for servers without refresh tokens, whose
    code gives a token of hours only.
    """

    authorization_url: Text
    token_url: Text
    scopes: list[str] = Field(default_factory=list)
    scope_separator: str = " "
    authorization_params: dict[str, str] = Field(default_factory=dict)
    issuer: str | None = None
    account_param: str | None = None
    long_lived: LongLived | None = None
    refresh: Literal["rotating", "static", "none"]
    client_auth: Literal["basic", "body"] = "body"
    access_token_lifetime: int | None = None
    refresh_token_lifetime: str | None = None


class Fresh(CatalogueModel):
    """How recent the times must be that an accepted answer tells; judged after ``authorized``.

    ``path`` leads to a time, to several, or to lists of texts with at least one among them, as the rows of a
    table are: of a list the latest counts, and the oldest of all decides. ``what`` says what the time is of,
    in the middle of a sentence. ``zone`` (a name of the IANA database) and ``max_age_hours`` are templates;
    ``format`` is one of ``strptime``, where times are not written as databases and ISO 8601 write them.
    ``abbreviation`` is the path to what the third party calls its time zone.
    """

    path: Text
    what: Text
    zone: Text
    max_age_hours: Text
    format: str | None = None
    abbreviation: str | None = None


class HttpProbe(HttpRequest):
    """The cheapest read-only authenticated request; ``account`` is the path to the account's identity.

    ``body`` is the shape of the answer: rules see the cells of a
    ``csv`` at ``rows.*.*`` and the names of its columns at ``columns.*``. ``facts`` maps what people call a
    fact to its path in the answer; findings have them, for those who act. ``min_interval`` is in seconds: for
    so long the last proof is trusted, and of a type of fidelity ``mbi_signal`` whatever the last answer said.
    """

    body: Literal["json", "csv"] = "json"
    account: str | None = None
    account_format: str = "{account}"
    fresh: Fresh | None = None
    facts: dict[str, str] = Field(default_factory=dict)
    cost: str = ""
    min_interval: int = 0


class DatabaseProbe(CatalogueModel):
    """Log in and prove the right to read each declared table, or only the login where none is declared.

    Where there are several ``drivers``, the connection's own type says which it is.
    """

    drivers: Annotated[list[Driver], Field(min_length=1)]
    tunnel: Literal["never", "optional"] = "never"
    cost: str = ""
    min_interval: int = 0


def _kind_of_probe(probe: Any) -> str:
    """Choose by what is there, so that a fault in one kind is not reported as a fault in the other."""
    given = probe if isinstance(probe, dict) else vars(probe) if hasattr(probe, "__dict__") else {}
    return "database" if "drivers" in given else "http"


Probe = Annotated[
    Annotated[HttpProbe, Tag("http")] | Annotated[DatabaseProbe, Tag("database")],
    Discriminator(_kind_of_probe),
]


def _needs_the_owner(cause: Cause) -> Cause:
    if VERDICT_OF[cause] is not Verdict.NEEDS_REAUTH:
        raise ValueError(f"{cause.value} does not need the owner, so there is nothing to repair")
    return cause


Steps = Annotated[list[Text], Field(min_length=1)]


class Repair(CatalogueModel):
    """What the owner puts right first, for one cause.

    ``reconnect``: afterwards the credential is entered again; otherwise the next check finds it repaired.
    """

    steps: Steps
    reconnect: bool = True
    minutes: int | None = None


Repairs = dict[Annotated[Cause, AfterValidator(_needs_the_owner)], Repair]


class OwnerSteps(CatalogueModel):
    """What the owner does, a sentence a step.

    First the ``repair`` of the cause, where there is one, or its ``tunnel_repair`` where the SSH server in
    front of a database refused; then how the credential is entered again: where Airflow holds it, and on
    MBI's own page. ``minutes`` is how long it takes.
    """

    airflow: Steps
    mbi: Steps
    minutes: int = 2
    repair: Repairs = Field(default_factory=dict)
    tunnel_repair: Repairs = Field(default_factory=dict)

    def for_cause(
        self, cause: Cause, held_by: Literal["airflow", "mbi"], *, at_tunnel: bool = False
    ) -> list[str]:
        """List the steps for one cause; at least one.

        :param at_tunnel: the SSH server in front of a database refused, not the database
        """
        again = self.mbi if held_by == "mbi" else self.airflow
        first = self._first(cause, at_tunnel)
        if first is None:
            return again
        return [*first.steps, *again] if first.reconnect else first.steps

    def reconnects(self, cause: Cause, *, at_tunnel: bool = False) -> bool:
        """Tell whether the credential has to be entered again."""
        first = self._first(cause, at_tunnel)
        return first is None or first.reconnect

    def minutes_for(self, cause: Cause, *, at_tunnel: bool = False) -> int:
        """Tell how long the steps take."""
        first = self._first(cause, at_tunnel)
        return first.minutes if first and first.minutes is not None else self.minutes

    def _first(self, cause: Cause, at_tunnel: bool) -> Repair | None:
        return (self.tunnel_repair.get(cause) if at_tunnel else None) or self.repair.get(cause)


class Sunset(CatalogueModel):
    """The day on which the third party ends what the type depends on."""

    on: date
    what: Text
    source: str | None = None


class IntegrationType(CatalogueModel):
    """A kind of third party.

    ``mbi`` is the kind of MBI's own APIs and pages: an engineer minds them, so nothing that they answer ever
    needs an owner, and no default table judges it. Such a type may have no probe; then what the registry's
    ``mbi_signal`` says decides. ``unverified`` are the facts that nobody could check.

    ``error_model`` is ``closed`` where the rules have all the words by which the third party refuses a
    credential; words that other APIs have for it (``invalid_token``, ``ok: false``) are then a gateway's. It
    is ``open`` where the third party may use them, as most do.

    Addresses are templates over the connection: ``{base_url}`` (the connection's host where it has one, the
    type's own otherwise), ``{host}``, ``{login}``, ``{account}`` (the registry's, else the extra of that
    name) and ``{extra.<name>}``.
    """

    display_name: Text
    docs: Text
    kind: Literal["http", "database", "mbi"]
    base_url: str | None = None
    fidelity: Literal["same_credential", "parallel_grant", "mbi_signal"] = "same_credential"
    connection: dict[str, ConnectionField]
    extra_defaults: dict[str, str] = Field(default_factory=dict)
    auth: Auth
    oauth: OAuth | None = None
    probe: Probe | None = None
    error_model: Literal["open", "closed"] = "open"
    rules: list[Rule]
    resources: list[Resource] = Field(default_factory=list)
    owner_steps: OwnerSteps
    sunsets: list[Sunset] = Field(default_factory=list)
    unverified: list[Text] = Field(default_factory=list)

    @property
    def turn_seconds(self) -> int:
        """How far apart two questions must be, whoever asks; 0 where anybody may ask at any time."""
        return self.probe.min_interval if self.probe is not None and self.fidelity == "mbi_signal" else 0

    def owner_fields(self) -> dict[str, ConnectionField]:
        """List what the owner may change on their page, in the file's order.

        Never where the connection leads, nor whom it names, nor the client of an OAuth type, nor a refresh
        token, which nobody gets by hand.
        """
        return {
            name: each
            for name, each in self.connection.items()
            if not never_the_owners(name)
            and (each.owner if each.owner is not None else each.secret or name == "login")
        }


class DefaultTable(CatalogueModel):
    """Rules for what no type maps: one file for HTTP, one for token endpoints, one per database driver."""

    rules: list[Rule]
