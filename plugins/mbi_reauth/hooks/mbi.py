"""Magento Business Intelligence's own APIs, for DAG authors.

.. code-block:: python

    cycle = MbiHook(integration_conn_id="mbi_updates").update_cycle()
    if cycle.last_completed and cycle.last_completed.is_successful:
        rows = MbiHook(integration_conn_id="mbi_exports").export_figure(360531).records()
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from airflow.sdk import timezone

from mbi_reauth import catalogue, settings
from mbi_reauth.api.datamodels import CheckRequest, CheckResponse, FindingReport
from mbi_reauth.catalogue.model import HttpProbe
from mbi_reauth.core.evidence import Endpoint, Evidence, TransportFailure
from mbi_reauth.core.freshness import Limit
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.mbi import (
    Export,
    ExportNotReadyError,
    Figure,
    MbiError,
    TooSoonError,
    UpdateCycle,
    UpdateJob,
)
from mbi_reauth.core.redact import redact
from mbi_reauth.core.standing import stamped
from mbi_reauth.core.verdict import Cause, Finding, Verdict
from mbi_reauth.hooks.api import ApiError, ReauthApiHook
from mbi_reauth.hooks.integration import IntegrationHook
from mbi_reauth.hooks.session import Limits
from mbi_reauth.hooks.turns import take_turn
from mbi_reauth.probes.credential import MisconfiguredError
from mbi_reauth.probes.integration import Subject, probe
from mbi_reauth.probes.judge import judge, limit_of
from mbi_reauth.probes.run_now import run_now

if TYPE_CHECKING:
    from requests import Response

    from mbi_reauth.catalogue.loader import LoadedType

__all__ = [
    "Export",
    "ExportNotReadyError",
    "Figure",
    "MbiError",
    "MbiHook",
    "TooSoonError",
    "UpdateCycle",
    "UpdateJob",
]

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of a list or a figure; raw exports, which may be of ten million rows, are downloaded to files."""

_IMPORT_API, _EXPORT_API, _UPDATE_CYCLE = "mbi_import_api", "mbi_export_api", "mbi_update_cycle"
_CHUNK = 1024 * 1024
_ZIP = b"PK"


class MbiHook(IntegrationHook):
    """Ask Magento Business Intelligence itself: Data Import API, Export API and Update Cycle Status API.

    One hook has one connection, and so one key: an Import API key (type ``mbi_import_api``) opens
    :meth:`is_up` and :meth:`authenticate`, an Export API key (``mbi_export_api``, ``mbi_update_cycle`` or
    ``mbi_integration_freshness``) the rest. The login is the client id. The Import API takes its key in the
    address only; this hook shows neither that address nor the key, in no result, error or log.

    MBI recommends a minute between two questions about the update cycle of a client id. :meth:`update_cycle`
    keeps to it within a process, and with an ``integration`` of type ``mbi_update_cycle`` among all processes
    and gates, as the plugin's app gives one turn in each interval. So let one integration stand for a client
    id. Nothing is tried again here; a task's own retries do that.

    :param integration: the registry's entry
    :param integration_conn_id: the connection, where there is no entry; its extra ``integration_type`` says
        which key it has
    :param limits: time limits of a request
    """

    default_conn_name = "mbi_default"
    hook_name = "MBI"

    def __init__(
        self,
        integration: Integration | None = None,
        *,
        integration_conn_id: str = default_conn_name,
        limits: Limits = Limits(retries=0),  # noqa: B008 - frozen
        api: ReauthApiHook | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(integration, integration_conn_id=integration_conn_id, limits=limits, api=api)
        self._clock = clock

    def is_up(self) -> bool:
        """Tell whether the Data Import API is there at all; sends no key."""
        self._expect("query", "Import API")
        wait = (self._limits.connect, self._limits.read)
        try:
            answer = requests.get(self.render.url("{base_url}"), timeout=wait, allow_redirects=False)
        except requests.RequestException:
            return False
        return answer.status_code == 200

    def authenticate(self) -> None:
        """Make sure that MBI accepts the Import API key.

        :raises MbiError: it does not, or does not say
        """
        self._expect("query", "Import API")
        finding, _ = self._probed(_IMPORT_API)
        if finding.verdict is not Verdict.AUTHORIZED:
            raise MbiError(finding)

    def update_cycle(self) -> UpdateCycle:
        """Read how the last completed update ended; one that failed is a result, not an error.

        :raises TooSoonError: it was asked less than a minute ago
        :raises MbiError: MBI refuses the key, or gives no answer, or one that nobody knows
        :raises MisconfiguredError: the connection lacks the client id or the time zone
        """
        self._expect("header", "Export API")
        limit = self._limit()
        with self._turn() as report:
            finding, evidence = self._probed(_UPDATE_CYCLE)
            report(finding)
        told = UpdateCycle.of(_parsed(evidence.body), limit) if evidence.status_code == 200 else None
        if told is None:
            raise MbiError(finding)
        return told

    def exports(self) -> list[Export]:
        """List the raw exports of the last seven days.

        :raises MbiError: MBI refuses the key, or gives no answer, or one that nobody knows
        """
        return [made for each in self._list("export", "exports") if (made := Export.of(each)) is not None]

    def export_info(self, export_id: int) -> Export:
        """Read the description of a raw export.

        :raises ExportNotReadyError: there is none of that id
        :raises MbiError: MBI refuses the key, or gives no answer, or one that nobody knows
        """
        described = Export.of(self._json(f"export/{export_id:d}/info"))
        if described is None:
            raise _strange("MBI describes the export in a way that nobody knows.")
        return described

    def download_export(self, export_id: int, target: str | Path) -> Path:
        """Download a completed raw export, a zip archive of a CSV file; ``target`` is whole or not there.

        :raises ExportNotReadyError: there is none of that id, or it is still being made
        :raises MbiError: it has expired, or MBI refuses the key, or gives no answer
        """
        with self._asked("GET", f"export/{export_id:d}", accept="application/zip, */*") as response:
            return _save(response, Path(target))

    def export_figure(self, figure_id: int) -> Figure:
        """Export the data of a report as CSV; those of the SQL Report Builder have no other format.

        :raises MbiError: MBI refuses the key, or has no such report, or gives no answer
        """
        form = {"format": "csv", "includeColumnHeaders": "1"}
        with self._asked("POST", f"figure/{figure_id:d}/export", accept="text/csv", form=form) as response:
            figure = Figure.of(self._text(response))
        if figure is None:
            raise _strange("MBI's answer is not the CSV of a report.")
        return figure

    def _expect(self, method: str, api: str) -> None:
        model = self.loaded_type.model
        if model.kind != "mbi" or model.auth.method != method:
            raise MisconfiguredError(
                f"The Airflow connection {self.integration_conn_id!r} is of type {self.loaded_type.id}, "
                f"which has no {api} key"
            )

    def _probed(self, type_id: str) -> tuple[Finding, Evidence]:
        loaded = _load(type_id)
        subject = Subject(loaded.model, self.credential, self.integration)
        began = timezone.utcnow()
        evidence = run_now(probe(subject, timeout=self._limits.connect))
        finding = judge(loaded, subject, evidence, account=None, now=timezone.utcnow())
        return finding.model_copy(update={"checked_at": began}), evidence

    def _limit(self) -> Limit:
        model = _load(_UPDATE_CYCLE).model
        if not isinstance(model.probe, HttpProbe) or model.probe.fresh is None:
            raise MisconfiguredError(f"{model.display_name} tells no times")
        return limit_of(model.probe.fresh, Subject(model, self.credential, self.integration))

    @contextmanager
    def _turn(self) -> Iterator[Callable[[Finding], None]]:
        """Take the turn to ask, and give a way to tell the app what came."""
        prepared = self._prepared()
        if prepared is None:
            take_turn((self.credential.base_url, self.credential.login), _seconds_apart(), now=self._clock())
        elif prepared.turn is None:
            raise TooSoonError(prepared.turn_in or 0)
        yield lambda finding: self._report(prepared, finding)

    def _prepared(self) -> CheckResponse | None:
        if self.integration is None or self.integration.type != _UPDATE_CYCLE:
            return None
        try:
            return run_now(self._app.prepare(CheckRequest(integration=self.integration)))
        except ApiError as error:
            self.log.warning("Asking MBI without the plugin's app, which counts the questions. %s", error)
            return None

    def _report(self, prepared: CheckResponse | None, finding: Finding) -> None:
        if prepared is None or self.integration is None or finding.checked_at is None:
            return
        report = FindingReport(
            integration=self.integration,
            finding=stamped(finding, finding.checked_at, prepared.last_finding, self.integration),
            credential_version=prepared.credential_version,
            turn=prepared.turn,
        )
        try:
            run_now(self._app.report(report))
        except ApiError as error:
            self.log.warning("What MBI said of its updates is not reported. %s", error)

    @property
    def _app(self) -> ReauthApiHook:
        return self._api or ReauthApiHook()

    @contextmanager
    def _asked(
        self, method: str, path: str, *, accept: str = "application/json", form: dict[str, str] | None = None
    ) -> Iterator[Response]:
        """Ask the Export API; what is yielded is its success, unread."""
        self._expect("header", "Export API")
        url = f"{self.render.url('{base_url}')}/0.1/{path}"
        failure: TransportFailure | None = None
        with self.get_conn({"Accept": accept}) as session:
            try:
                with session.request(method, url, data=form, allow_redirects=False, stream=True) as response:
                    if response.status_code != 200:
                        raise self._refused(response, path)
                    yield response
            except requests.RequestException as error:
                failure = _failure(error)
        if failure is not None:
            raise MbiError(_load(_EXPORT_API).classify(Evidence(endpoint=Endpoint.PROBE, failure=failure)))

    def _refused(self, response: Response, path: str) -> MbiError:
        """Say what another status than 200 means; 404 and 410 by magento/devdocs-mbi, docs/export-api.md."""
        kind, _, rest = path.partition("/")
        if response.status_code == 404 and kind == "export" and rest:
            return ExportNotReadyError(
                _own("MBI has no completed export of that id; it may be making it still.")
            )
        if response.status_code == 410:
            return MbiError(_own("The export has expired; MBI keeps one for seven days."))
        evidence = Evidence(
            endpoint=Endpoint.PROBE,
            status_code=response.status_code,
            headers={name: self.hide(value) for name, value in response.headers.items()},
            body=self._text(response),
        )
        return MbiError(_load(_EXPORT_API).classify(evidence))

    def _text(self, response: Response) -> str:
        content = bytearray()
        for chunk in response.iter_content(_CHUNK):
            content += chunk
            if len(content) > MAX_ANSWER:
                raise _strange(f"MBI's answer is longer than {MAX_ANSWER // 2**20} MiB.")
        return self.hide(content.decode("utf-8-sig", errors="replace"))

    def _json(self, path: str) -> Any:
        with self._asked("GET", path) as response:
            text = self._text(response)
        found = _parsed(text)
        if found is None:
            raise _strange(f"MBI's answer is not JSON: {redact(text, limit=100)!r}")
        return found

    def _list(self, path: str, name: str) -> list[Any]:
        found = self._json(path)
        listed = found.get(name) if isinstance(found, dict) else found
        if not isinstance(listed, list):
            raise _strange(f"MBI's answer has no list of {name}.")
        return listed


def _seconds_apart() -> int:
    return _load(_UPDATE_CYCLE).model.turn_seconds


def _load(type_id: str) -> LoadedType:
    return catalogue.load(type_id, folder=settings.catalogue_folder())


def _own(because: str) -> Finding:
    return Finding(cause=Cause.UNKNOWN, rule="mbi_hook.answer", explanation=because)


def _strange(because: str) -> MbiError:
    return MbiError(_own(because))


def _failure(error: requests.RequestException) -> TransportFailure:
    known = {requests.Timeout: TransportFailure.TIMEOUT, requests.exceptions.SSLError: TransportFailure.TLS}
    found = (failure for kind, failure in known.items() if isinstance(error, kind))
    return next(found, TransportFailure.CONNECTION_RESET)


def _parsed(text: Any) -> Any:
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        return json.loads(text)
    return None


def _save(response: Response, path: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    saved = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
        with saved.open("rb") as file:
            if file.read(len(_ZIP)) != _ZIP:
                raise _strange("MBI's answer is not a zip archive.")
        return saved.replace(path)
    finally:
        saved.unlink(missing_ok=True)
