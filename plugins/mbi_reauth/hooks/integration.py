"""An integration's connection: Airflow's test button, and a session for extraction code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk import Connection, timezone
from airflow.sdk.exceptions import AirflowException
from requests import HTTPError

from mbi_reauth import catalogue, settings
from mbi_reauth.api.datamodels import CheckRequest
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Finding, Verdict
from mbi_reauth.hooks.api import ApiError, ReauthApiHook
from mbi_reauth.hooks.connections import ConnectionNotFoundError, read_connection
from mbi_reauth.hooks.session import CredentialAdapter, Limits
from mbi_reauth.probes.candidate import as_message, candidate_in, try_out
from mbi_reauth.probes.credential import Credential, MisconfiguredError
from mbi_reauth.probes.http import HttpCredential
from mbi_reauth.probes.integration import Subject, probe
from mbi_reauth.probes.judge import judge
from mbi_reauth.probes.run_now import run_now
from mbi_reauth.probes.secret_values import SecretValues
from mbi_reauth.probes.template import Templates

if TYPE_CHECKING:
    from requests import Response, Session

    from mbi_reauth.catalogue.loader import LoadedType

TYPE_EXTRA = "integration_type"


class NotAuthorizedError(Exception):
    """There is no access token to be had; the message says why.

    ``finding`` is what the token endpoint's refusal means, where it refused.
    """

    def __init__(self, message: str, finding: Finding | None = None) -> None:
        super().__init__(message)
        self.finding = finding


class IntegrationHook(HttpHook):
    """Read an integration's API with its credential.

    An Airflow ``HttpHook`` (``run``, ``run_with_advanced_retry`` and the rest work as usual) with two
    differences: what authenticates comes from the integration type, and nothing else of the connection goes
    out. The credential goes to the type's own origins only, and not into responses, errors or logs.

    :param integration: the registry's entry; with it, OAuth types get a fresh access token from the app
    :param integration_conn_id: the connection, where there is no entry; its extra ``integration_type`` says
        what it is
    :param method: the method of :meth:`run`
    :param limits: time limits and retries of the session
    """

    conn_name_attr = "integration_conn_id"
    default_conn_name = "mbi_reauth_default"
    # Without an underscore: Airflow warns of one at every look-up (a URI scheme has none, RFC 3986).
    conn_type = "mbireauth"
    hook_name = "MBI integration"

    def __init__(
        self,
        integration: Integration | None = None,
        *,
        integration_conn_id: str = default_conn_name,
        method: str = "GET",
        limits: Limits = Limits(),  # noqa: B008 - frozen
        api: ReauthApiHook | None = None,
    ) -> None:
        self.integration = integration
        self.integration_conn_id = integration.conn_id if integration else integration_conn_id
        self._limits = limits
        self._api = api
        super().__init__(method=method, http_conn_id=self.integration_conn_id, tcp_keep_alive=False)

    @cached_property
    def credential(self) -> Credential:
        """The connection's fields, read once."""
        return read_connection(self.integration_conn_id)

    @cached_property
    def loaded_type(self) -> LoadedType:
        """The integration's type.

        :raises MisconfiguredError: neither the registry nor the connection names one
        """
        type_id = self.integration.type if self.integration else self.credential.get(TYPE_EXTRA)
        if not type_id:
            raise MisconfiguredError(
                f"The Airflow connection {self.integration_conn_id!r} does not say what it is; fill in its "
                "Integration type, for example zendesk"
            )
        return catalogue.load(type_id, folder=settings.catalogue_folder())

    @property
    def render(self) -> Templates:
        """Fills in the catalogue's templates over the connection; without secrets."""
        return self._templates(None)

    def get_connection(self, conn_id: str) -> Connection:  # type: ignore[override]
        """Return the bare address: of anything more, the HTTP hook would make headers."""
        base_url = self.render.url("{base_url}")
        return Connection(conn_id=conn_id, conn_type="http", host=base_url)

    def get_conn(
        self, headers: Mapping[str, str] | None = None, extra_options: dict[str, Any] | None = None
    ) -> Session:
        """Return an authenticated session.

        :raises MisconfiguredError: the connection lacks a field
        :raises NotAuthorizedError: the third party's token endpoint refuses, or the app cannot be asked
        """
        self.adapter = CredentialAdapter(
            self._http_credential(None), renew=self._renewed, origins=self._origins(), limits=self._limits
        )
        session = super().get_conn(dict(headers or {}), extra_options)
        session.mount("https://", self.adapter)
        session.mount("http://", self.adapter)
        return session

    def check_response(self, response: Response) -> None:
        """Raise on a refusal, as any HTTP hook does; what it logs of the answer has no secret in it."""
        if response.ok:
            return
        reason = self.hide(response.reason or "")
        self.log.error("HTTP error: %s", reason)
        self.log.error("%s", self.hide(response.text))
        # As Airflow's own hook does, so that a retry policy finds the answer.
        raise AirflowException(f"{response.status_code}:{reason}") from HTTPError(response=response)

    def hide(self, text: str) -> str:
        """Put stars in the place of what the connection keeps secret, and of what the session sends."""
        sent = self.adapter.secrets if isinstance(self.adapter, CredentialAdapter) else SecretValues(())
        return SecretValues.of(self.credential).hide(sent.hide(text))

    def test_connection(self) -> tuple[bool, str]:
        """Probe with what the connection holds; nothing is refreshed, reported or saved.

        It asks at once, since a person does: also where a third party wants few questions. Where the
        connection carries a candidate, that is verified, and the message is the finding as JSON.
        """
        try:
            if (candidate := candidate_in(self.credential.extra)) is not None:
                found = try_out(candidate)
                return found.verdict is Verdict.AUTHORIZED, as_message(found)
            finding = self._tested()
        except (MisconfiguredError, catalogue.CatalogueError) as error:
            return False, str(error)
        except ConnectionNotFoundError:
            return False, f"There is no Airflow connection {self.integration_conn_id!r}"
        if finding.verdict is Verdict.AUTHORIZED:
            return True, f"Authorized{f' as {finding.account}' if finding.account else ''}."
        if finding.verdict is Verdict.NEEDS_REFRESH:
            return False, "The access token has expired, which is normal: the next check refreshes it."
        words = f' It said: "{finding.vendor_words}"' if finding.vendor_words else ""
        return False, f"{finding.verdict.value}: {finding.explanation}{words}"

    def _tested(self) -> Finding:
        model = self.loaded_type.model
        token = self.credential.get("access_token") or None
        subject = Subject(model, self.credential, self.integration)
        evidence = run_now(probe(subject, access_token=token))
        expected = self.render.account or None
        return judge(self.loaded_type, subject, evidence, account=expected, now=timezone.utcnow())

    def _templates(self, access_token: str | None) -> Templates:
        return Templates(
            self.loaded_type.model,
            self.credential,
            integration=self.integration,
            access_token=access_token,
        )

    def _origins(self) -> set[str]:
        model = self.loaded_type.model
        addresses = [resource.url for resource in model.resources]
        question = getattr(model.probe, "url", None)
        return {self.render.url(address) for address in (*addresses, question) if address}

    def _http_credential(self, refused_token: str | None) -> HttpCredential:
        token = self._access_token(refused_token) if self.loaded_type.model.oauth else None
        return HttpCredential.of(self.loaded_type.model.auth, self._templates(token))

    def _renewed(self, refused: HttpCredential) -> HttpCredential | None:
        """Get another credential in place of a refused one; only access tokens have a successor."""
        if self.loaded_type.model.oauth is None or self.integration is None:
            return None
        digest = hashlib.sha256(refused.values[0].encode()).hexdigest()
        renewed = self._http_credential(digest)
        return renewed if renewed != refused else None

    def _access_token(self, refused_token: str | None) -> str | None:
        stored = self.credential.get("access_token") or None
        if self.integration is None:
            return stored
        request = CheckRequest(integration=self.integration, refused_token=refused_token)
        try:
            prepared = run_now((self._api or ReauthApiHook()).prepare(request))
        except ApiError as error:
            if stored is None or refused_token is not None:
                raise NotAuthorizedError(f"No access token for {self.integration.label}: {error}") from error
            self.log.warning("Using the stored access token of %s. %s", self.integration.label, error)
            return stored
        if prepared.token_evidence is not None:
            finding = self.loaded_type.classify(prepared.token_evidence)
            words = f"No access token for {self.integration.label}: {finding.explanation}"
            raise NotAuthorizedError(words, finding)
        return prepared.access_token
