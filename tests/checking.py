"""What tests of checks share: a made-up integration type, and stand-ins for the app and for Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from mbi_reauth.api.datamodels import CheckRequest, CheckResponse, FindingReceipt, FindingReport
from mbi_reauth.catalogue.model import IntegrationType
from mbi_reauth.core.evidence import Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.verdict import Cause, Certainty, Finding
from mbi_reauth.hooks.api import ReauthApiHook
from mbi_reauth.hooks.connections import ConnectionNotFoundError
from mbi_reauth.probes.credential import Credential

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=timezone.utc)
OWNER = {"name": "Dana Example", "email": "dana@example.com"}
OAUTH = {
    "authorization_url": "https://vendor.example/authorize",
    "token_url": "https://vendor.example/token",
    "refresh": "rotating",
}


def an_integration(**fields: Any) -> Integration:
    """Make a registry entry of the made-up type."""
    return Integration.model_validate(
        {"id": "shop", "type": "made_up", "conn_id": "shop_conn", "owner": OWNER, **fields}
    )


def a_type(
    *,
    auth: dict[str, Any] | None = None,
    probe: dict[str, Any] | None = None,
    **fields: Any,
) -> IntegrationType:
    """Make an integration type without rules; an API unless the fields say otherwise."""
    return IntegrationType.model_validate({
        "display_name": "Made-up Shop",
        "docs": "https://vendor.example/docs",
        "kind": "http",
        "connection": {},
        "auth": auth or {"method": "bearer"},
        "probe": {"url": "{base_url}/me", **(probe or {})},
        "rules": [],
        "owner_steps": {"airflow": ["Sign in."], "mbi": ["Sign in."]},
        **fields,
    })  # fmt: skip


def a_credential(**fields: Any) -> Credential:
    """Make a connection's fields; obviously fake ones."""
    defaults: dict[str, Any] = {
        "conn_id": "shop_conn",
        "conn_type": "mbireauth",
        "password": "fake-password",
    }
    return Credential(**(defaults | fields))


CAUSES = {
    200: Cause.AUTHORIZED,
    400: Cause.GRANT_INVALID,
    401: Cause.ACCESS_TOKEN_EXPIRED,
    403: Cause.CREDENTIALS_REJECTED,
    410: Cause.USER_DEACTIVATED,
    503: Cause.PROVIDER_OUTAGE,
}


@dataclass(frozen=True)
class MadeUpType:
    """Judges by the status alone; a bare 403 is ambiguous."""

    model: IntegrationType
    id: str = "made_up"

    def classify(self, evidence: Evidence) -> Finding:
        cause = CAUSES.get(evidence.status_code or 0, Cause.UNKNOWN)
        certainty = Certainty.AMBIGUOUS if evidence.status_code == 403 else Certainty.EXPLICIT
        return Finding(
            cause=cause, rule=f"made_up.{cause.value}", explanation="As told.", certainty=certainty
        )


@dataclass
class FakeConnections:
    """Gives each connection's values in turn, the last one for ever."""

    credentials: dict[str, Sequence[Credential]]
    asked: list[str] = field(default_factory=list)

    async def get(self, conn_id: str) -> Credential:
        values = self.credentials.get(conn_id)
        if not values:
            raise ConnectionNotFoundError(conn_id)
        self.asked.append(conn_id)
        return values[min(self.asked.count(conn_id), len(values)) - 1]


class FakeApi(ReauthApiHook):
    """Gives its answers in turn, the last one for ever; an exception among them is raised."""

    def __init__(
        self, *answers: CheckResponse | Exception, receipt: FindingReceipt | Exception | None = None
    ) -> None:
        super().__init__()
        self.answers = answers
        self.receipt = receipt or FindingReceipt(accepted=True)
        self.asked: list[CheckRequest] = []
        self.reports: list[FindingReport] = []

    async def prepare(self, request: CheckRequest) -> CheckResponse:
        self.asked.append(request)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def report(self, report: FindingReport) -> FindingReceipt:
        self.reports.append(report)
        if isinstance(self.receipt, Exception):
            raise self.receipt
        return self.receipt


def clock(*, step: float = 1) -> Any:
    """Make a clock that starts at noon and goes on ``step`` seconds each time it is read."""
    times = (NOON + timedelta(seconds=step * tick) for tick in range(1000))
    return lambda: next(times)
