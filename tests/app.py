"""The plugin's app as a task calls it, with a clock and a token endpoint that a test controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from fastapi.testclient import TestClient

from mbi_reauth.api.services.surroundings import Mailing, Surroundings
from mbi_reauth.api.services.verification import Candidate
from mbi_reauth.catalogue.model import IntegrationType
from mbi_reauth.core.evidence import Endpoint, Evidence
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.quiet import quiet_hours
from mbi_reauth.core.verdict import Cause, Certainty, Finding
from mbi_reauth.probes.consent import CodeRequest
from mbi_reauth.probes.credential import MisconfiguredError
from mbi_reauth.probes.oauth import RefreshRequest, TokenResponse

KEY = "fake-key-of-the-app"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
INTEGRATION = Integration.model_validate(
    {
        "id": "shop",
        "type": "rotating",
        "conn_id": "shop",
        "owner": {"name": "Dana Example", "email": "dana@example.com"},
    }
)


def fake_type(type_id: str) -> IntegrationType:
    """``rotating``, ``static`` and ``none`` are OAuth types that refresh so; the others have a password.

    ``metered`` wants a minute between two questions; of ``retiring`` something ends 100 days after NOON.
    """
    if type_id not in ("rotating", "static", "none", "plain", "metered", "retiring"):
        raise MisconfiguredError(f"There is no integration type {type_id!r}")
    description: dict[str, Any] = {
        "display_name": "Vendor",
        "docs": "https://vendor.example/docs",
        "kind": "http",
        "base_url": "https://vendor.example",
        "connection": {
            "host": {"title": "Host", "required": False},
            "login": {"title": "User name", "required": False},
            "password": {"title": "Key", "secret": True},
        },
        "auth": {"method": "bearer"},
        "probe": {"url": "{base_url}/me"},
        "rules": [],
        "owner_steps": {"airflow": ["Press the button."], "mbi": ["Press the button."]},
    }
    if type_id == "metered":
        description |= {"fidelity": "mbi_signal", "probe": {"url": "{base_url}/me", "min_interval": 60}}
    elif type_id == "retiring":
        description["sunsets"] = [{"on": "2026-06-09", "what": "The old API ends."}]
    elif type_id != "plain":
        description["oauth"] = {
            "authorization_url": "{base_url}/authorize",
            "token_url": "{base_url}/token",
            "refresh": type_id,
            "scopes": ["read"],
            "issuer": "https://vendor.example",
        }
    return IntegrationType.model_validate(description)


@dataclass
class Outside:
    """A clock that moves only when somebody waits, and a token endpoint that answers what a test puts in."""

    moment: datetime = NOON
    asked: list[RefreshRequest] = field(default_factory=list)
    answers: list[tuple[Evidence, TokenResponse | None]] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    mailing: Mailing = field(default_factory=Mailing)
    traded: list[CodeRequest] = field(default_factory=list)
    trades: list[tuple[Evidence, TokenResponse | None]] = field(default_factory=list)
    tried: list[Candidate] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    recovered: int = 0
    patience: float = 20

    def now(self) -> datetime:
        return self.moment

    def pass_time(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.pass_time(seconds)

    def refresh(self, request: RefreshRequest) -> tuple[Evidence, TokenResponse | None]:
        self.asked.append(request)
        self.meanwhile()
        return self.answers.pop(0)

    def will_grant(self, access_token: str, **token: Any) -> None:
        evidence = Evidence(endpoint=Endpoint.TOKEN, status_code=200)
        self.answers.append((evidence, TokenResponse(access_token=access_token, **token)))

    def will_refuse(self, error: str = "invalid_grant") -> None:
        body = {"error": error}
        self.answers.append((Evidence(endpoint=Endpoint.TOKEN, status_code=400, body=body), None))

    def exchange(self, request: CodeRequest) -> tuple[Evidence, TokenResponse | None]:
        self.traded.append(request)
        self.meanwhile()
        return self.trades.pop(0)

    def will_trade(self, access_token: str, **token: Any) -> None:
        evidence = Evidence(endpoint=Endpoint.TOKEN, status_code=200)
        self.trades.append((evidence, TokenResponse(access_token=access_token, **token)))

    def will_not_trade(self, error: str, status_code: int = 400) -> None:
        evidence = Evidence(endpoint=Endpoint.TOKEN, status_code=status_code, body={"error": error})
        self.trades.append((evidence, None))

    def verify(self, candidate: Candidate) -> Finding:
        self.tried.append(candidate)
        self.meanwhile()
        return self.findings.pop(0).model_copy(update={"checked_at": self.moment})

    def will_find(self, cause: Cause, rule: str = "test.rule", **facts: Any) -> None:
        self.findings.append(Finding(cause=cause, rule=rule, explanation="-", **facts))

    def note_recovery(self) -> None:
        self.recovered += 1

    @staticmethod
    def classify(_: str, evidence: Evidence) -> Finding:
        """Judge a token endpoint's answer as the tables for all types do."""
        causes = {"invalid_grant": Cause.GRANT_INVALID, "invalid_client": Cause.PROBE_MISCONFIGURED}
        error = evidence.body.get("error") if isinstance(evidence.body, dict) else None
        cause = causes.get(str(error), Cause.PROVIDER_OUTAGE)
        return Finding(cause=cause, rule="test.token", explanation="-")

    @staticmethod
    def mailing_with(quiet: str = "", **changes: Any) -> Mailing:
        """Say how people want to be written to; without quiet hours unless told."""
        return Mailing(quiet=quiet_hours(quiet), **changes)

    def as_surroundings(self) -> Surroundings:
        return Surroundings(
            now=self.now,
            sleep=self.sleep,
            refresh=self.refresh,
            type_of=fake_type,
            mailing=lambda: self.mailing,
            exchange=self.exchange,
            verify=self.verify,
            classify=self.classify,
            recovered=self.note_recovery,
            patience=self.patience,
        )


@dataclass
class App:
    """The routes, as a task calls them."""

    client: TestClient
    outside: Outside
    integration: Integration = INTEGRATION

    def post(self, path: str, body: dict[str, Any]) -> Any:
        response = self.client.post(f"/api/{path}", json=body)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def check(self, **body: Any) -> Any:
        return self.post("checks", {"integration": self.integration.model_dump(mode="json"), **body})

    def report(self, cause: Cause, *, ambiguous: bool = False, **body: Any) -> Any:
        finding = Finding(
            cause=cause,
            rule="test.rule",
            explanation="-",
            certainty=Certainty.AMBIGUOUS if ambiguous else Certainty.EXPLICIT,
            checked_at=body.pop("checked_at", self.outside.moment),
            expires_at=body.pop("expires_at", None),
        )
        body.setdefault("credential_version", 1)
        integration = self.integration.model_dump(mode="json")
        return self.post(
            "findings", {"integration": integration, "finding": finding.model_dump(mode="json"), **body}
        )

    def claim(self, **body: Any) -> Any:
        """Ask as a blocked gate does: for what is due about its integration."""
        return self.post("notifications/claim", {"integration_id": self.integration.id, **body})

    def serve(self, **body: Any) -> Any:
        """Ask as the sweep does: for whatever is due."""
        return self.post("notifications/claim", {"serving": True, **body})

    def settle(self, mail: dict[str, Any], outcome: str = "sent", **body: Any) -> None:
        self.post("notifications/settle", {"lease": mail["lease"], "outcome": outcome, **body})

    def send_all(self) -> list[dict[str, Any]]:
        """Send what is due, as the sweep does with a mail server that takes everything."""
        sent = []
        while mail := self.serve()["mail"]:
            self.settle(mail)
            sent.append(mail)
        return sent

    def about(self, integration_id: str, **changes: Any) -> App:
        """Speak of another integration; ``owner`` changes single values of the owner."""
        owner = {**self.integration.owner.model_dump(), **changes.pop("owner", {})}
        entry = {**self.integration.model_dump(), "id": integration_id, "conn_id": integration_id, **changes}
        return App(self.client, self.outside, Integration.model_validate({**entry, "owner": owner}))
