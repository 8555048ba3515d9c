"""One probe of an integration, whatever its kind."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

import httpx

from mbi_reauth.catalogue.model import DatabaseProbe, HttpProbe, IntegrationType
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.http import probe_http
from mbi_reauth.probes.secret_values import SecretValues
from mbi_reauth.probes.template import Templates


@dataclass(frozen=True)
class Subject:
    """What is probed: a credential of an integration type, with the registry's entry where there is one.

    ``ssh`` is the connection of the SSH server in front of a database.
    """

    model: IntegrationType
    credential: Credential
    integration: Integration | None = None
    ssh: Credential | None = None


class Probe(Protocol):
    """The one question to the third party (:func:`probe`)."""

    def __call__(
        self, subject: Subject, *, access_token: str | None = None, timeout: float = 10
    ) -> Awaitable[Evidence]:
        """Ask it."""


async def probe(
    subject: Subject,
    *,
    access_token: str | None = None,
    timeout: float = 10,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Evidence:
    """Ask the third party once.

    :param access_token: a fresh one, for OAuth types
    :param timeout: seconds for each step
    :raises MisconfiguredError: the question cannot even be asked
    """
    question = subject.model.probe
    if isinstance(question, HttpProbe):
        return await _probe_http(subject, question, access_token, timeout, transport)
    if question is None:
        raise MisconfiguredError(f"{subject.model.display_name} has nothing to ask")
    return await _probe_database(subject, question, timeout)


async def _probe_http(
    subject: Subject,
    question: HttpProbe,
    access_token: str | None,
    timeout: float,
    transport: httpx.AsyncBaseTransport | None,
) -> Evidence:
    templates = Templates(
        subject.model, subject.credential, integration=subject.integration, access_token=access_token
    )
    secrets = SecretValues.of(subject.credential, access_token or "")
    return await probe_http(
        question, subject.model.auth, templates, secrets=secrets, timeout=timeout, transport=transport
    )


async def _probe_database(subject: Subject, question: DatabaseProbe, timeout: float) -> Evidence:
    # Airflow's hooks and a driver come with these; an API needs neither.
    from mbi_reauth.probes.database import engine_of
    from mbi_reauth.probes.database_probe import probe_database

    if engine_of(subject.credential).driver not in question.drivers:
        raise MisconfiguredError(
            f"The Airflow connection {subject.credential.conn_id!r} is of type "
            f"{subject.credential.conn_type!r}, but {subject.model.display_name} is a "
            f"{' or '.join(driver.value for driver in question.drivers)} database"
        )
    tables = subject.integration.tables if subject.integration else ()
    return await probe_database(subject.credential, tables, ssh=subject.ssh, timeout=timeout)
