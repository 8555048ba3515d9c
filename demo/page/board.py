"""What the page shows: a snapshot of both sides, taken again and again in the background."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from urllib.parse import quote

import psycopg

from demo.airflow_client import AirflowClient, AirflowError, Run
from demo.mailbox import Mailbox
from demo.page.panels import Panel, State
from demo.story import STEPS, Step

log = logging.getLogger(__name__)

PERIOD = 2.0
RUNS = 4
_RUNNING = {
    "scheduled",
    "queued",
    "running",
    "deferred",
    "restarting",
    "up_for_reschedule",
}


@dataclass(frozen=True)
class RunView:
    """One run as a line: three states, and where to see it."""

    run_id: str
    started: str
    state: str
    gate: str
    extract: str
    email: str
    url: str


@dataclass(frozen=True)
class Card:
    """One integration as shown."""

    panel: Panel
    state: State
    present: bool
    runs: list[RunView]


@dataclass(frozen=True)
class Snapshot:
    """Everything the page shows."""

    airflow: str = "starting"
    cards: list[Card] = field(default_factory=list)
    mails: int = 0
    refusing: bool = False
    done: frozenset[str] = frozenset()

    @property
    def next_step(self) -> Step | None:
        """The first step of the story that has not happened yet."""
        return next((step for step in STEPS if step.id not in self.done), None)


class Board:
    """Both sides of the demo, for the page."""

    def __init__(self, client: AirflowClient, panels: list[Panel], mailbox: Mailbox) -> None:
        self.client = client
        self.panels = {panel.id: panel for panel in panels}
        self.mailbox = mailbox
        self._runs: dict[str, list[RunView]] = {}
        self._airflow = "starting"
        self._happened: set[str] = set()
        self._lost: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Look at Airflow from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def happened(self, step: str) -> None:
        """Remember that a step of the story has happened."""
        self._happened.add(step)

    def lost(self, panel_id: str) -> None:
        """Remember that an authorization was taken away."""
        self._happened.add("lost")
        self._lost.add(panel_id)

    def snapshot(self) -> Snapshot:
        """Put together what is known now."""
        cards = [
            Card(panel, _state(panel), panel.id in self._runs, self._runs.get(panel.id, []))
            for panel in self.panels.values()
        ]
        mails = len(self.mailbox.messages)
        done = set(self._happened)
        if mails:
            done.add("mailed")
        if any(mail.header("In-Reply-To") for mail in self.mailbox.messages):
            done.add("told")
        if "mailed" in done and any(card.state.good and card.panel.id in self._lost for card in cards):
            self._happened.add("renewed")
            done.add("renewed")
        return Snapshot(self._airflow, cards, mails, self.mailbox.refusing, frozenset(done))

    def connection_url(self, panel: Panel) -> str:
        """Where Airflow shows the integration's connection."""
        return f"{self.client.url}/connections?name_pattern={quote(panel.id)}"

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD):
            self._airflow = self._look_or_say_why_not()

    def _look_or_say_why_not(self) -> str:
        try:
            self._look()
        except AirflowError as error:
            log.debug("Airflow cannot be read", exc_info=True)
            return str(error)
        return "ready"

    def _look(self) -> None:
        dags = self.client.dags()
        for panel in self.panels.values():
            if panel.dag_id in dags:
                runs = self.client.latest_runs(panel.dag_id, RUNS)
                self._runs[panel.id] = [view(run, self.client.url) for run in runs]
        for views in self._runs.values():
            self._happened |= progress(views)


def view(run: Run, airflow_url: str) -> RunView:
    """Sum up a run: its gates, its extraction, and the branch that emails the owner."""
    gates = [state for task, state in run.tasks.items() if task.endswith("check_authorization")]
    emails = [state for task, state in run.tasks.items() if task.endswith("email_owner")]
    others = [
        state
        for task, state in run.tasks.items()
        if not task.endswith(("check_authorization", "email_owner"))
    ]
    return RunView(
        run_id=run.run_id,
        started=run.started,
        state=run.state,
        gate=sum_up(gates),
        extract=sum_up(others),
        email=sum_up(emails),
        url=f"{airflow_url}/dags/{quote(run.dag_id)}/runs/{quote(run.run_id)}",
    )


def sum_up(states: list[str | None]) -> str:
    """Name one state for several tasks: the worst, or what is still going on."""
    for state in ("failed", "upstream_failed"):
        if state in states:
            return state
    if "up_for_retry" in states:
        return "retrying"
    if set(states) & _RUNNING:
        return "running"
    if not states or None in states:
        return "waiting"
    return "success" if "success" in states else "skipped"


def progress(runs: list[RunView]) -> set[str]:
    """Tell which steps of the story the runs of one DAG, newest first, have shown."""
    happened: set[str] = set()
    for run in reversed(runs):
        if run.gate == "success" and run.extract == "success":
            happened |= {"lost", "blocked", "renewed", "resumed"} if run.email == "success" else {"healthy"}
        if run.gate == "skipped" and run.email == "success":
            happened |= {"lost", "blocked"}
    return happened


def _state(panel: Panel) -> State:
    try:
        return panel.state()
    except psycopg.OperationalError:
        return State(good=False, words="not reachable")
