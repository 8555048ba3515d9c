from __future__ import annotations

import multiprocessing
from concurrent.futures import Future

from mbi_reauth.probes.database_probe import _threads


def _ask_in_a_thread() -> None:
    answer: Future[int] = _threads().submit(lambda: 1)
    assert answer.result(timeout=20) == 1


def test_a_task_that_a_worker_forks_after_a_probe_can_probe_too() -> None:
    _ask_in_a_thread()
    task = multiprocessing.get_context("fork").Process(target=_ask_in_a_thread)
    task.start()
    task.join(timeout=60)
    assert task.exitcode == 0
