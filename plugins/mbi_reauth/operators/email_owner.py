"""The needs-reauth branch: tell the owner, once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from mbi_reauth.core.gate import XCOM_KEY, GateFinding


class EmailOwnerOperator(BaseOperator):
    """Send the owner of a lost authorization the one email of its incident.

    Ends SKIPPED, with the reason, where there is nothing to send: the gate was skipped by its own upstream,
    or the owner has been told already. Fails, to be retried, while mail cannot be sent.

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
        """Tell every owner that is due; return the addresses written to.

        :raises NotSentError: at least one email could not be sent; the others are settled and not repeated
        """
        if self.silent:
            raise AirflowSkipException(f"{self.gate_task_id} is in shadow mode; nobody is told")
        blocked = [found for found in self._findings(context) if found.blocks]
        if not blocked:
            raise AirflowSkipException(
                f"{self.gate_task_id} found no lost authorization in this run; nobody has to be told"
            )
        return asyncio.run(self._tell(context, blocked))

    async def _tell(self, context: Context, blocked: list[GateFinding]) -> list[str]:
        from mbi_reauth.catalogue import CatalogueError
        from mbi_reauth.hooks.api import ApiError
        from mbi_reauth.notifications.sending import NotSentError, tell_owner
        from mbi_reauth.round import run_reference

        recipients, reasons, failures = [], [], []
        for found in blocked:
            try:
                told = await tell_owner(found, run=run_reference(context["ti"], task_id=self.gate_task_id))
            except (NotSentError, ApiError, CatalogueError) as error:
                self.log.warning("The owner of %s is not told yet. %s", found.integration.id, error)
                failures.append(str(error))
                continue
            except Exception as error:
                # One owner's trouble must not keep the others from being told; the task fails below.
                self.log.exception("The owner of %s is not told yet", found.integration.id)
                failures.append(f"{found.integration.label}: {type(error).__name__}")
                continue
            if told.recipient:
                self.log.info("%s", told.reason)
                recipients.append(told.recipient)
            else:
                reasons.append(told.reason)
        if failures:
            raise NotSentError("\n".join(failures))
        if not recipients:
            raise AirflowSkipException("Nothing to send. " + "\n".join(reasons))
        for reason in reasons:
            self.log.info("%s", reason)
        return recipients

    def _findings(self, context: Context) -> list[GateFinding]:
        ti = context["ti"]
        published = ti.xcom_pull(task_ids=self.gate_task_id, key=XCOM_KEY, map_indexes=ti.map_index)
        if isinstance(published, str):
            # What a trigger publishes arrives encoded once more than what a task pushes (Airflow 3.3.2).
            published = json.loads(published)
        return [GateFinding.model_validate(found) for found in (published or {}).values()]
