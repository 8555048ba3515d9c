from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a command does to its process."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "INFO")
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Write the registry of the test module."""
    path = tmp_path / "integrations.yaml"
    path.write_text(request.module.REGISTRY)
    return str(path)
