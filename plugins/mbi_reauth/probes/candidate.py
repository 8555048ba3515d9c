"""A credential that is not saved yet: what is asked of it, and how it travels to a worker and back."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from mbi_reauth import catalogue, settings
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.standing import misconfigured, unknown
from mbi_reauth.core.verdict import Finding
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.database import TUNNEL_EXTRA
from mbi_reauth.probes.integration import Probe, Subject, probe
from mbi_reauth.probes.judge import judge
from mbi_reauth.probes.run_now import run_now
from mbi_reauth.probes.secret_values import SecretValues

if TYPE_CHECKING:
    from mbi_reauth.catalogue.loader import LoadedType

CANDIDATE_EXTRA = "mbi_reauth_candidate"
"""The extra of a test connection that carries a whole candidate."""

LONGEST_MESSAGE = 2000
"""Characters that Airflow keeps of what a connection test says; it cuts off the rest (3.3.2)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A credential that is verified before it replaces the present one.

    ``ssh`` is the SSH server in front of a database: the candidate itself, or the present one.
    ``access_token`` is for OAuth types. ``account`` is the one that it must lead to; None: any.
    """

    integration: Integration
    credential: Credential
    ssh: Credential | None = None
    access_token: str | None = field(default=None, repr=False)
    account: str | None = None

    @property
    def secrets(self) -> SecretValues:
        """What of it must not be seen anywhere."""
        secrets = SecretValues.of(self.credential, self.access_token or "")
        return secrets if self.ssh is None else secrets.with_those_of(self.ssh)


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(timezone.utc)


def load_type(type_id: str) -> LoadedType:
    """Load an integration type, also one of the folder that Airflow's configuration names."""
    return catalogue.load(type_id, folder=settings.catalogue_folder())


def try_out(
    candidate: Candidate,
    *,
    now: Callable[[], datetime] = utc_now,
    load: Callable[[str], LoadedType] = load_type,
    probe: Probe = probe,
) -> Finding:
    """Ask the third party once, from this process, and judge the answer in full; never raises.

    What is found has no times yet. It blocks, whether or not the caller is in an event loop.
    """
    try:
        return run_now(_asked(candidate, now, load, probe))
    except (MisconfiguredError, catalogue.CatalogueError) as error:
        return misconfigured(candidate.secrets.hide(str(error)))
    except Exception:  # noqa: BLE001 - a fault of ours or of a driver is no word about the credential
        # Not log.exception: a driver's error may repeat what it was given.
        log.error(  # noqa: TRY400
            "The verification of %s failed by a fault of its own\n%s",
            candidate.integration.id,
            candidate.secrets.hide(traceback.format_exc()),
        )
        return unknown("fault", "The verification itself failed; the log has the reason.")


async def _asked(
    candidate: Candidate, now: Callable[[], datetime], load: Callable[[str], LoadedType], probe: Probe
) -> Finding:
    loaded = load(candidate.integration.type)
    token = _token_of(candidate, loaded)
    if token is None and loaded.model.oauth is not None and loaded.model.oauth.refresh != "none":
        return unknown("no_token", "There is no access token to ask with.")
    subject = _subject(candidate, loaded)
    evidence = await probe(subject, access_token=token)
    return judge(loaded, subject, evidence, account=candidate.account, now=now())


def _token_of(candidate: Candidate, loaded: LoadedType) -> str | None:
    if loaded.model.oauth is None:
        return None
    return candidate.access_token or candidate.credential.get("access_token") or None


def _subject(candidate: Candidate, loaded: LoadedType) -> Subject:
    ssh_conn_id = candidate.credential.get(TUNNEL_EXTRA) if loaded.model.kind == "database" else ""
    if ssh_conn_id and candidate.ssh is None:
        raise MisconfiguredError(f"There is no Airflow connection {ssh_conn_id!r}, the SSH server; create it")
    ssh = candidate.ssh if ssh_conn_id else None
    return Subject(loaded.model, candidate.credential, candidate.integration, ssh)


def as_extra(candidate: Candidate) -> dict[str, Any]:
    """Put a candidate into the extra of a test connection; it holds every secret."""
    return {CANDIDATE_EXTRA: _CANDIDATE.dump_python(candidate, mode="json")}


def candidate_in(extra: Mapping[str, Any]) -> Candidate | None:
    """Take the candidate out of a test connection's extra; None: it carries none.

    :raises MisconfiguredError: it is not of this version
    """
    if CANDIDATE_EXTRA not in extra:
        return None
    try:
        return _CANDIDATE.validate_python(extra[CANDIDATE_EXTRA])
    except ValidationError:
        # Its message would repeat what was given.
        raise MisconfiguredError(
            "The worker has another version of the plugin than the API server; install the same one"
        ) from None


def as_message(finding: Finding) -> str:
    """Write a finding as JSON of at most :data:`LONGEST_MESSAGE` characters; what decides is never cut."""
    for limit in (None, 600, 300, 150, 40):
        message = _shortened(finding, limit).model_dump_json(exclude_defaults=True)
        if len(message) <= LONGEST_MESSAGE:
            return message
    unfit = unknown("unfit", "What the worker found is too long to be told.")
    return unfit.model_dump_json(exclude_defaults=True)


def finding_in(message: str | None) -> Finding | None:
    """Read what :func:`as_message` wrote; None: it is anything else."""
    try:
        return Finding.model_validate_json(message or "")
    except ValidationError:
        return None


def _shortened(finding: Finding, limit: int | None) -> Finding:
    if limit is None:
        return finding
    words = finding.vendor_words
    shorter: dict[str, Any] = {
        "explanation": _cut(finding.explanation, limit),
        "vendor_words": None if words is None else _cut(words, limit),
        "facts": {},
    }
    return finding.model_copy(update=shorter)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


_CANDIDATE = TypeAdapter(Candidate)
