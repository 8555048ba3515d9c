"""The first step of a check: what the app knows, and for OAuth types a token to probe with."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from anyio import CapacityLimiter, to_thread

from mbi_reauth.api.datamodels import CheckRequest, CheckResponse
from mbi_reauth.api.services.credentials import held_elsewhere
from mbi_reauth.api.services.grant import Question
from mbi_reauth.api.services.surroundings import Surroundings
from mbi_reauth.api.services.tokens import (
    Refreshing,
    is_refreshing,
    look,
    refresh_and_save,
    unanswered,
)
from mbi_reauth.api.services.turns import Waiting
from mbi_reauth.models.metadata_db import transact

PATIENCE = timedelta(seconds=20)
"""How long an asker waits for somebody else's refresh."""
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 1.0

# Slow token endpoints must not use up the threads in which Airflow serves its tasks.
_ASKING = CapacityLimiter(16)


async def prepare(request: CheckRequest, surroundings: Surroundings) -> CheckResponse:
    """Answer a check's first step; waits without holding a thread or a database connection.

    :raises MisconfiguredError: the connection's extra is not a JSON object
    """
    question = await to_thread.run_sync(_question, request, surroundings)
    give_up_at = question.asked_at + PATIENCE
    delay = _FIRST_DELAY
    while True:
        step = await _advance(question, surroundings)
        if not isinstance(step, Waiting):
            return step
        while surroundings.now() < give_up_at:
            await surroundings.sleep(delay)
            delay = min(delay * 1.5, _LONGEST_DELAY)
            if not await to_thread.run_sync(_is_refreshing, question, surroundings):
                break
        else:
            return step.in_vain


def _question(request: CheckRequest, surroundings: Surroundings) -> Question:
    return Question(
        integration=request.integration,
        integration_type=surroundings.type_of(request.integration.type),
        elsewhere=held_elsewhere(request.integration.conn_id),
        refused=request.refused_token,
        max_age=timedelta(seconds=request.max_age),
        asked_at=surroundings.now(),
    )


async def _advance(question: Question, surroundings: Surroundings) -> CheckResponse | Waiting:
    step = await to_thread.run_sync(_look, question, surroundings)
    if not isinstance(step, Refreshing):
        return step
    response = await to_thread.run_sync(refresh_and_save, question, step, surroundings, limiter=_ASKING)
    return response if response is not None else unanswered(step.response)


def _look(question: Question, surroundings: Surroundings) -> CheckResponse | Refreshing | Waiting:
    return transact(partial(look, question=question, now=surroundings.now()))


def _is_refreshing(question: Question, surroundings: Surroundings) -> bool:
    return transact(partial(is_refreshing, question=question, now=surroundings.now()))
