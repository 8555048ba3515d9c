"""Gate an extraction: the one public verb for DAG authors.

.. code-block:: python

    with authorized("google_ads"):
        extract() >> load()
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypedDict

from airflow.sdk import BaseOperator, TaskGroup, TriggerRule
from typing_extensions import Self, Unpack

from mbi_reauth.core.gate import GatePolicy
from mbi_reauth.core.integration import Integration
from mbi_reauth.core.resume import Resume
from mbi_reauth.core.verdict import CONFIRM_AFTER
from mbi_reauth.lookup import integrations_of
from mbi_reauth.operators.email_owner import EmailOwnerOperator
from mbi_reauth.sensors.authorization import AuthorizationSensor

CHECK_TASK = "check_authorization"
BRANCH_GROUP = "needs_reauth"
EMAIL_TASK = "email_owner"

UNSTOPPABLE: dict[str, frozenset[str]] = {
    "skip": frozenset(
        {
            "all_done",
            "all_done_min_one_success",
            "all_done_setup_success",
            "all_skipped",
            "always",
            "none_failed",
            "one_done",
        }
    ),
    "fail": frozenset(
        {
            "all_done",
            "all_done_min_one_success",
            "all_done_setup_success",
            "all_failed",
            "always",
            "none_skipped",
            "one_done",
            "one_failed",
        }
    ),
}
"""Trigger rules under which a task runs although the gate above it was skipped, or failed."""

DECIDES_WITHIN = 600.0
"""Seconds a gate that never waits may stay with the triggerer before a worker takes over."""


class GateOptions(TypedDict, total=False):
    """Options of :func:`authorized`; Airflow's names where it has them.

    ``on_blocked``: skip the extraction (default), wait for the owner, or fail. ``on_unavailable``: the third
    party gives no answer: proceed (default) or wait. ``on_indeterminate``: nobody mapped the answer: proceed
    (default), wait or fail. ``on_misconfigured``: our own set-up is wrong, or MBI does not keep up where the
    registry names an ``mbi_signal``: fail (default) or proceed.
    ``shadow``: say in the log what would be done, have it counted, do nothing. ``max_age``: trust a proof
    this many seconds old. ``deferrable`` (default true): check in the triggerer, without a worker slot; else
    ``mode`` is the sensor's. ``poke_interval``, ``timeout``: seconds between two checks while waiting, and
    until waiting ends: the gate then fails, or with ``soft_fail`` is skipped. ``resume``: when the
    authorization works again, run all runs that the gate has stopped (default), the latest or none, those
    stopped less than ``resume_within`` ago (a timedelta or seconds; default a week; None: no limit).
    """

    on_blocked: Literal["skip", "wait", "fail"]
    on_unavailable: Literal["proceed", "wait"]
    on_indeterminate: Literal["proceed", "wait", "fail"]
    on_misconfigured: Literal["fail", "proceed"]
    shadow: bool
    max_age: float
    deferrable: bool
    mode: Literal["poke", "reschedule"]
    poke_interval: float
    timeout: float
    soft_fail: bool
    resume: Resume
    resume_within: timedelta | float | None


class BranchTaskGroup(TaskGroup):
    """A side branch: what comes after a group around it does not wait for its tasks.

    Airflow finds a group's roots and leaves by iterating over it. On a good run this branch is skipped, and
    as a leaf of any group around it, it would skip what follows.
    """

    def __iter__(self) -> Iterator[BaseOperator]:
        """Show no task."""
        return iter(())


class AuthorizedTaskGroup(TaskGroup):
    """A task group that runs only while its integrations are authorized.

    It adds ``check_authorization`` in front of the group's roots and ``needs_reauth.email_owner`` beside
    them. What comes after the group depends on the extraction alone.
    """

    integrations: list[Integration]
    options: GateOptions
    gate: AuthorizationSensor
    email_owner: EmailOwnerOperator

    def __enter__(self) -> Self:
        """Open the group and put the gate and its branch in."""
        super().__enter__()
        try:
            self._put_gate()
        except BaseException:
            # Python calls no __exit__ then, and what comes next in this process would land in this group.
            super().__exit__(None, None, None)  # type: ignore[no-untyped-call]
            raise
        return self

    def _put_gate(self) -> None:
        self.gate = self._gate()
        with BranchTaskGroup(BRANCH_GROUP, tooltip="Runs when an authorization is lost"):
            self.email_owner = EmailOwnerOperator(
                task_id=EMAIL_TASK,
                gate_task_id=self.gate.task_id,
                # A gate that fails instead of being skipped leads to its branch all the same.
                trigger_rule="all_failed" if self.options.get("on_blocked") == "fail" else "all_skipped",
                silent=self.options.get("shadow", False),
            )
        self.gate >> self.email_owner

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the gate in front of the group's roots and close the group."""
        try:
            if exc_type is None:
                self._gate_roots()
        finally:
            super().__exit__(exc_type, exc_value, traceback)  # type: ignore[no-untyped-call]

    def _gate_roots(self) -> None:
        roots = [task for task in self.get_roots() if task.task_id != self.gate.task_id]
        ends = "fail" if self.options.get("on_blocked") == "fail" else "skip"
        _refuse(roots, UNSTOPPABLE[ends])
        if roots:
            self.gate.set_downstream(roots)

    def _gate(self) -> AuthorizationSensor:
        options: dict[str, Any] = dict(self.options)
        policy = GatePolicy.model_validate(
            {name: options.pop(name) for name in GatePolicy.model_fields if name in options}
        )
        if policy.on_blocked == "fail" and options.get("soft_fail"):
            raise ValueError("on_blocked='fail' contradicts soft_fail=True; choose on_blocked='skip'")
        options.setdefault("deferrable", True)
        if not policy.waits:
            options.setdefault("timeout", DECIDES_WITHIN)
            options["poke_interval"] = CONFIRM_AFTER
        return AuthorizationSensor(
            task_id=CHECK_TASK,
            integrations=self.integrations,
            policy=policy,
            # Airflow cannot start a mapped task in the triggerer: those begin on a worker.
            start_from_trigger=not any(True for _ in self.iter_mapped_task_groups()),
            doc_md=_explain(self.integrations),
            **options,
        )


def authorized(
    *integration_ids: str,
    registry: str | Path | None = None,
    group_id: str | None = None,
    **options: Unpack[GateOptions],
) -> AuthorizedTaskGroup:
    """Run what the ``with`` block holds only while these integrations are authorized.

    :param integration_ids: ids of the registry; all of them must be authorized
    :param registry: the registry's path; default: see :func:`mbi_reauth.lookup.registry_of`
    :param group_id: id of the task group; default: the integrations' ids, joined by ``_and_``
    :raises RegistryError: the registry has faults or does not know an id
    :raises ValueError: a task at the head of the group would run although it is blocked
    """
    group = AuthorizedTaskGroup(group_id=group_id or "_and_".join(integration_ids))
    group.integrations = integrations_of(integration_ids, registry, dag=group.dag)
    group.options = options
    return group


def _refuse(roots: list[BaseOperator], unstoppable: Collection[str]) -> None:
    rules = {task.task_id: TriggerRule(task.trigger_rule).value for task in roots if not task.is_teardown}
    faults = [f"{name} (trigger_rule={rule!r})" for name, rule in rules.items() if rule in unstoppable]
    if faults:
        raise ValueError(
            "These tasks would run although the authorization is lost, because of their trigger rule: "
            + ", ".join(faults)
            + ". Give them trigger_rule='all_success', or put them after the group."
        )


def _explain(integrations: list[Integration]) -> str:
    names = ", ".join(f"**{entry.label}** (`{entry.id}`, {entry.type})" for entry in integrations)
    behind = ", or MBI does not keep up" if any(entry.signal for entry in integrations) else ""
    return (
        f"Checks the authorization of {names}.\n\n"
        "* **success**: authorized, or nothing certain was found out: the extraction runs.\n"
        "* **skipped**: the owner must re-authorize; `needs_reauth.email_owner` tells them.\n"
        f"* **failed**: the set-up on the Airflow side is wrong{behind}; the log says what to do."
    )
