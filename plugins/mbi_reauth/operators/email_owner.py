"""The needs-reauth branch: tell the owner, once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from mbi_reauth import settings
from mbi_reauth.core.gate import XCOM_KEY, GateFinding


class EmailOwnerOperator(BaseOperator):
    """Send what is due about a lost authorization: one email of its incident, later a reminder.

    Ends SKIPPED, with the reason, where there is nothing to send: the gate was skipped by its own upstream,
    the owner has been told already, or the email is held. Fails, to be retried, while mail cannot be sent.

    :param gate_task_id: the task whose findings decide
    :param silent: never send anything; the branch of a gate in shadow mode
    """

    ui_color = "#fde68a"

    def __init__(self, *, gate_task_id: str, silent: bool = False, **kwargs: Any) -> None:
        kwargs.setdefault("retries", 5)
        super().__init__(**kwargs)
        self.gate_task_id = gate_task_id
        self.silent = silent

    def execute(self, context: Context) -> list[str]:
        """Send every email that is due; return the addresses written to.

        :raises NotSentError: at least one email could not be sent; the others are settled and not repeated
        """
        if self.silent or settings.shadow():
            raise AirflowSkipException(f"{self.gate_task_id} is in shadow mode; nobody is told")
        blocked = [found for found in self._findings(context) if found.blocks]
        if not blocked:
            raise AirflowSkipException(
                f"{self.gate_task_id} found no lost authorization in this run; nobody has to be told"
            )
        return self._tell(context, blocked)

    def _tell(self, context: Context, blocked: list[GateFinding]) -> list[str]:
        from mbi_reauth.notifications.sending import NotSentError, tell_owners
        from mbi_reauth.round import run_reference

        gate = run_reference(context["ti"], task_id=self.gate_task_id)
        told = asyncio.run(tell_owners(blocked, run=gate)).values()
        if failures := [each.reason for each in told if each.failed]:
            raise NotSentError("\n".join(failures))
        recipients = [address for each in told for address in each.recipients]
        if not recipients:
            raise AirflowSkipException("Nothing to send. " + "\n".join(each.reason for each in told))
        return list(dict.fromkeys(recipients))

    def _findings(self, context: Context) -> list[GateFinding]:
        ti = context["ti"]
        published = ti.xcom_pull(task_ids=self.gate_task_id, key=XCOM_KEY, map_indexes=ti.map_index)
        if isinstance(published, str):
            # What a trigger publishes arrives encoded once more than what a task pushes (Airflow 3.3.2).
            published = json.loads(published)
        return [GateFinding.model_validate(found) for found in (published or {}).values()]
