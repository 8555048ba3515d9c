"""The catalogue's templates over a connection: ``{base_url}/v1/{account}`` and the like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

from mbi_reauth.catalogue.model import IntegrationType
from mbi_reauth.catalogue.placeholders import DAYS_AGO, PLACEHOLDER, SECRETS
from mbi_reauth.core.integration import Integration
from mbi_reauth.probes.credential import Credential, MisconfiguredError


class Templates:
    """Fills templates in for one integration; secrets only where they authenticate.

    :param access_token: a fresh one, for OAuth types; then it also stands for ``{password}``
    :param today: the date, in UTC, that ``{days_ago.30}`` counts from
    """

    def __init__(
        self,
        integration_type: IntegrationType,
        credential: Credential,
        *,
        integration: Integration | None = None,
        access_token: str | None = None,
        today: date | None = None,
    ) -> None:
        self._type = integration_type
        self._credential = credential
        self._integration = integration
        self._secret = access_token or credential.password or credential.get("access_token")
        self._today = today or datetime.now(timezone.utc).date()

    @property
    def conn_id(self) -> str:
        """The connection that the values come from."""
        return self._credential.conn_id

    @property
    def account(self) -> str:
        """The registry's account, else the connection's."""
        registered = self._integration.account if self._integration else None
        return registered or self._extra("account")

    def has(self, name: str) -> bool:
        """Whether the connection, or the type's defaults, give a placeholder a value."""
        return bool(self._value(name))

    def url(self, template: str) -> str:
        """Render an address; what is not at its front is quoted, so that a value cannot change the host."""
        return self._render(template, lambda value, at: value if at == 0 else quote(value, safe=""))

    def text(self, template: str) -> str:
        """Render a parameter, a header or a text of a body."""
        return self._render(template, lambda value, _: value)

    def data(self, body: Any) -> Any:
        """Render every text of a JSON body."""
        if isinstance(body, str):
            return self.text(body)
        if isinstance(body, Mapping):
            return {key: self.data(value) for key, value in body.items()}
        if isinstance(body, list):
            return [self.data(value) for value in body]
        return body

    def secret(self, template: str) -> str:
        """Render what authenticates; only so do ``{password}`` and ``{access_token}`` have a value."""
        return self._render(template, lambda value, _: value, secrets=True)

    def header(self, template: str, *, secret: bool = False) -> str:
        """Render a header's value.

        :raises MisconfiguredError: a line break or another character is in it that no header can carry
        """
        rendered = self.secret(template) if secret else self.text(template)
        if not (rendered.isascii() and rendered.isprintable()):
            names = ", ".join(match.group(1) for match in PLACEHOLDER.finditer(template))
            raise MisconfiguredError(
                f"The Airflow connection {self.conn_id!r} has a line break or another invisible or foreign "
                f"character in its {names}; paste it again without"
            )
        return rendered

    def _render(self, template: str, spell: Callable[[str, int], str], *, secrets: bool = False) -> str:
        def value_of(match: re.Match[str]) -> str:
            name = match.group(1)
            if name in SECRETS and not secrets:
                raise MisconfiguredError(f"{{{name}}} may stand only in the auth part of a catalogue file")
            value = self._value(name)
            if not value:
                raise MisconfiguredError(self._missing(name))
            return spell(value, match.start())

        return PLACEHOLDER.sub(value_of, template)

    def _value(self, name: str) -> str:
        if name == "base_url":
            return self._base_url()
        if name == "account":
            return self.account
        if name in SECRETS:
            return self._secret
        if ago := DAYS_AGO.fullmatch(name):
            return (self._today - timedelta(days=int(ago[1]))).isoformat()
        return self._extra(name) if name.startswith("extra.") else self._credential.get(name)

    def _base_url(self) -> str:
        own = self._type.base_url
        return self._credential.base_url or (self.url(own).rstrip("/") if own else "")

    def _extra(self, name: str) -> str:
        return self._credential.get(name) or self._type.extra_defaults.get(name.removeprefix("extra."), "")

    def _missing(self, name: str) -> str:
        connection = f"The Airflow connection {self.conn_id!r}"
        if name == "account":
            return f"{connection} has no extra 'account', nor does the registry name one; fill in either"
        if name in SECRETS:
            return f"{connection} has no {'access token' if self._type.oauth else 'password'}; fill it in"
        where = "host" if name == "base_url" else name
        return f"{connection} has no {where}, which {self._type.display_name} needs; fill it in"
