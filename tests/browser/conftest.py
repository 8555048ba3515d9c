"""Headless Chromium, and what somebody sees with it: pages as on a phone, kept as pictures."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.people import Owner, Shots
from tests.e2e.conftest import Demo
from tests.e2e.conftest import demo as demo  # noqa: PLC0414  (a fixture is found by its name here)

CHROMIUM = "/usr/bin/chromium"
"""Debian's package ``chromium``: a browser of Playwright's own would be one more download."""
_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_TOLD = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TOLD] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_TOLD]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def told(pytestconfig: pytest.Config) -> list[str]:
    """Take lines for the end of the run's output."""
    return pytestconfig.stash[_TOLD]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shots(chromium: Browser, told: list[str]) -> Shots:
    """Keep pictures in ``MBI_SCREENSHOTS``, or in a folder of their own."""
    folder = Path(os.environ.get("MBI_SCREENSHOTS") or tempfile.mkdtemp(prefix="mbi-screenshots-"))
    folder.mkdir(parents=True, exist_ok=True)
    told.append(f"screenshots of the owner's pages: {folder}")
    return Shots(folder, chromium)


@pytest.fixture(scope="session")
def owner(demo: Demo, chromium: Browser, shots: Shots) -> Iterator[Owner]:
    """Somebody with a phone whose browser runs no scripts."""
    with Owner.with_phone(demo, chromium, shots) as person:
        yield person
