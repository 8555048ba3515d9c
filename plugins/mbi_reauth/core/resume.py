"""Which stopped runs are resumed, and why others are not: pure, so that every decision can be tested."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Resume = Literal["all", "latest", "none"]

A_WEEK = 7 * 24 * 3600.0
WORKS_AGAIN = "The authorization works again."


def _seconds(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
"""A number of seconds, or a timedelta."""


class RunState(str, Enum):
    """What became of a stopped run.

    ``BLOCKED`` waits for the end of its incidents, or for Airflow. ``AGAIN`` is the same after a resume,
    until its email branch has been set to run once more. ``PAUSED`` waits for its DAG. Final are
    ``RESUMED``, ``RELEASED`` (a waiting gate was told to look), ``SUPERSEDED`` (somebody or something has
    dealt with it), ``GONE`` (Airflow does not have it any more) and ``LEFT`` (its gate does not want it
    resumed).
    """

    BLOCKED = "blocked"
    AGAIN = "again"
    PAUSED = "paused"
    RESUMED = "resumed"
    RELEASED = "released"
    SUPERSEDED = "superseded"
    GONE = "gone"
    LEFT = "left"


class Owed(BaseModel):
    """What a run is owed that a gate has stopped, or holds up.

    :param resume: every run, only the latest of that gate, or none
    :param within: seconds after which it is not resumed any more; None: no limit
    :param ends: the state in which the stopped task ends; one that is ``waiting`` goes on by itself, and is
        told to look at once, whatever ``resume`` and ``within`` say
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    resume: Resume = "all"
    within: Seconds | None = A_WEEK
    ends: Literal["skipped", "failed", "waiting"] = "skipped"


class Stopped(NamedTuple):
    """A stopped task instance: what it is owed, which try was stopped and when.

    ``newer``: a later run of that DAG was stopped at the same gate.
    """

    owed: Owed
    try_number: int
    blocked_at: datetime
    newer: bool = False


class DagStanding(str, Enum):
    """Whether Airflow would run what is cleared."""

    ACTIVE = "active"
    PAUSED = "paused"
    STALE = "stale"
    GONE = "gone"


class Standing(NamedTuple):
    """What Airflow says of a stopped task instance now.

    ``found`` is false where the run, the task or the instance is gone. ``state`` is Airflow's, None after a
    clear. ``over``: the state is a final one. ``waits``: it is between two looks. ``busy`` is a task after it
    that is at work. ``ended_by_hand``: somebody has marked the run as failed.
    """

    found: bool
    state: str | None = None
    try_number: int = 0
    over: bool = True
    waits: bool = False
    busy: str | None = None
    ended_by_hand: bool = False


class Decision(NamedTuple):
    """The state that a stopped run goes to, and why; ``BLOCKED``: it is looked at again."""

    state: RunState
    reason: str


_UNREADY = {
    DagStanding.PAUSED: Decision(RunState.PAUSED, "The DAG is paused; it is resumed when the DAG is."),
    DagStanding.STALE: Decision(RunState.PAUSED, "Airflow does not find the DAG's file now."),
    DagStanding.GONE: Decision(RunState.GONE, "The DAG has been deleted."),
}


_DELETED = Decision(RunState.GONE, "The run or its task has been deleted.")


def of_dag(standing: DagStanding) -> Decision | None:
    """Decide about all stopped runs of a DAG that cannot run; None: each has to be looked at."""
    return _UNREADY.get(standing)


def decide(stopped: Stopped, dag: DagStanding, standing: Standing, *, now: datetime) -> Decision:
    """Decide about one stopped task instance none of whose incidents is open any more."""
    if stopped.owed.ends == "waiting":
        return of_dag(dag) or _of_waiting(stopped, standing)
    return _of_policy(stopped, now) or of_dag(dag) or _of_instance(stopped, standing)


def _of_policy(stopped: Stopped, now: datetime) -> Decision | None:
    owed = stopped.owed
    if owed.resume == "none":
        return Decision(RunState.LEFT, "The gate says resume='none'.")
    if owed.resume == "latest" and stopped.newer:
        return Decision(RunState.SUPERSEDED, "The gate says resume='latest', and a later run was stopped.")
    if owed.within is not None and now - stopped.blocked_at > timedelta(seconds=owed.within):
        days = owed.within / 86400
        return Decision(RunState.LEFT, f"It was stopped more than {days:g} days ago (resume_within).")
    return None


def _of_waiting(stopped: Stopped, standing: Standing) -> Decision:
    if not standing.found:
        return _DELETED
    if dealt_with := _run_again(stopped, standing):
        return Decision(RunState.SUPERSEDED, dealt_with)
    if standing.over:
        return Decision(RunState.SUPERSEDED, f"The gate has ended without it ({standing.state}).")
    if not standing.waits:
        return Decision(RunState.BLOCKED, f"The gate is looking just now ({standing.state}).")
    return Decision(RunState.RELEASED, WORKS_AGAIN)


def _of_instance(stopped: Stopped, standing: Standing) -> Decision:
    if not standing.found:
        return _DELETED
    if dealt_with := _dealt_with(stopped, standing):
        return Decision(RunState.SUPERSEDED, dealt_with)
    if not standing.over:
        return Decision(RunState.BLOCKED, f"The stopped task has not ended yet ({standing.state}).")
    if standing.busy is not None:
        return Decision(RunState.BLOCKED, f"{standing.busy}, which comes after it, is at work.")
    return Decision(RunState.RESUMED, WORKS_AGAIN)


def _dealt_with(stopped: Stopped, standing: Standing) -> str:
    """Say what somebody has done about it; empty: nothing."""
    if run_again := _run_again(stopped, standing):
        return run_again
    if standing.over and standing.state != stopped.owed.ends:
        return f"The stopped task is {standing.state} now, not {stopped.owed.ends}."
    return "Somebody has marked the run as failed." if standing.ended_by_hand else ""


def _run_again(stopped: Stopped, standing: Standing) -> str:
    if standing.state is None:
        return "Somebody has cleared it."
    if standing.try_number != stopped.try_number:
        return f"It has been run again (try {standing.try_number})."
    return ""
