"""Airflow's public REST API, as far as the demo uses it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx

_COMPONENTS = ("scheduler", "triggerer", "dag_processor")
_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before each further try of a request that Airflow's database refused."""


class AirflowError(Exception):
    """Airflow did not do what it was asked; the message is for people."""


@dataclass(frozen=True)
class Run:
    """One DAG run with the state of its tasks by task id; None for a task that has none yet."""

    dag_id: str
    run_id: str
    state: str
    started: str
    tasks: dict[str, str | None]


class AirflowClient:
    """Log in when needed, and ask; safe to share between threads."""

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self._sleep = sleep
        self._credentials = {"username": user, "password": password}
        self._http = httpx.Client(base_url=url, timeout=10, trust_env=False, transport=transport)
        self._token = ""

    def unhealthy(self) -> list[str]:
        """Name the components that do not report healthy; the API server when it does not answer at all."""
        try:
            answer = self._http.get("/api/v2/monitor/health")
        except httpx.TransportError:
            return ["api_server"]
        if answer.status_code != 200:
            return ["api_server"]
        told = answer.json()
        return [name for name in _COMPONENTS if (told.get(name) or {}).get("status") != "healthy"]

    def dags(self) -> dict[str, bool]:
        """Tell which DAGs there are, and whether each is paused."""
        listed = self._ask("GET", "/dags", params={"limit": 100})["dags"]
        return {dag["dag_id"]: dag["is_paused"] for dag in listed}

    def import_errors(self) -> list[str]:
        """Tell what is wrong with DAG files, a text for each."""
        errors = self._ask("GET", "/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}" for error in errors]

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run."""
        self._ask("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str) -> str:
        """Start a run now, and return its id."""
        return str(self._ask("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None})["dag_run_id"])

    def save_connection(self, body: dict[str, Any]) -> None:
        """Replace a connection's fields, as its page does."""
        fields = [name for name in body if name != "connection_id"]
        path = f"/connections/{body['connection_id']}"
        self._ask("PATCH", path, json=body, params={"update_mask": fields})

    def connection_ids(self) -> set[str]:
        """Tell which connections are stored."""
        listed = self._ask("GET", "/connections", params={"limit": 100})["connections"]
        return {connection["connection_id"] for connection in listed}

    def latest_runs(self, dag_id: str, count: int) -> list[Run]:
        """Tell the last runs of a DAG, newest first."""
        params = {"limit": count, "order_by": "-run_after"}
        runs: Iterable[dict[str, Any]] = self._ask("GET", f"/dags/{dag_id}/dagRuns", params=params)[
            "dag_runs"
        ]
        return [self._with_tasks(run) for run in runs]

    def _with_tasks(self, run: dict[str, Any]) -> Run:
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances"
        tasks = self._ask("GET", path, params={"limit": 100})["task_instances"]
        return Run(
            dag_id=run["dag_id"],
            run_id=run["dag_run_id"],
            state=run["state"],
            started=run["start_date"] or run["run_after"],
            tasks={task["task_id"]: task["state"] for task in tasks},
        )

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        """Ask as the user, logging in once more if the token has expired; AirflowError otherwise."""
        answer = self._send(method, path, request)
        if answer.status_code == 401:
            self._token = ""
            answer = self._send(method, path, request)
        for pause in _PAUSES:
            if not _database_was_busy(answer):
                break
            self._sleep(pause)
            answer = self._send(method, path, request)
        if answer.is_error:
            raise AirflowError(
                f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:300]}"
            )
        return answer.json() if answer.content else None

    def _send(self, method: str, path: str, request: dict[str, Any]) -> httpx.Response:
        try:
            return self._http.request(method, f"/api/v2{path}", headers=self._headers(), **request)
        except httpx.TransportError as error:
            raise AirflowError(f"Airflow does not answer at {self.url} ({type(error).__name__})") from error

    def _headers(self) -> dict[str, str]:
        if not self._token:
            answer = self._http.post("/auth/token", json=self._credentials)
            if answer.status_code != 201:
                raise AirflowError(f"Airflow refused the demo's login with {answer.status_code}")
            self._token = answer.json()["access_token"]
        return {"Authorization": f"Bearer {self._token}"}


def _database_was_busy(answer: httpx.Response) -> bool:
    """Tell whether Airflow rolled a request back because its database refused it (Airflow 3.3.2).

    On SQLite a transaction that has read and then wants to write fails at once when another has written
    meanwhile; no time limit of SQLite's applies to that. Nothing has happened then, so it may be asked again.
    """
    return answer.status_code == 500 and '"reason":"Database error"' in answer.text.replace(": ", ":")
