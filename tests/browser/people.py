"""An owner with a phone: opens the mail in the demo's mailbox, and does what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, Request
from typing_extensions import Self

from tests.e2e.conftest import Demo

NARROW = 360
"""CSS pixels: the narrowest phones that are in use."""
_SERIOUS = {"serious", "critical"}
_WAIT = 60_000
"""Milliseconds for a page, which may verify something before it answers."""


class Shots:
    """Keeps a picture of each page, having looked whether everybody can use it."""

    def __init__(self, folder: Path, chromium: Browser) -> None:
        self._folder = folder
        self._with_scripts = chromium.new_context(viewport={"width": NARROW, "height": 740})
        self._count = 0

    def keep(self, page: Page, name: str) -> None:
        self._count += 1
        page.screenshot(path=self._folder / f"{self._count:02}-{name}.png", full_page=True)

    def keep_owners(self, page: Page, name: str) -> None:
        """Keep a page of the product's, which fits a narrow screen and in which axe-core finds no barrier."""
        self.keep(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
        assert page.evaluate("document.scripts.length") == 0
        assert self.barriers(page.content()) == []

    def barriers(self, html: str) -> list[str]:
        """List what axe-core finds serious or critical, in another browser: it needs scripts."""
        copy = self._with_scripts.new_page()
        try:
            copy.set_content(html)
            found = Axe().run(copy).response
        finally:
            copy.close()
        assert found["passes"]
        return [f"{each['id']}: {each['help']}" for each in found["violations"] if each["impact"] in _SERIOUS]


@dataclass
class Owner:
    """Their browser; ``secrets`` says of each code, state, cookie and password that it had what it is."""

    demo: Demo
    context: BrowserContext
    shots: Shots
    secrets: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def with_phone(cls, demo: Demo, chromium: Browser, shots: Shots) -> Iterator[Self]:
        context = chromium.new_context(
            viewport={"width": NARROW, "height": 740},
            device_scale_factor=2,
            is_mobile=True,
            has_touch=True,
            java_script_enabled=False,
        )
        context.set_default_timeout(_WAIT)
        owner = cls(demo, context, shots)
        context.on("request", owner._note)
        try:
            yield owner
        finally:
            context.close()

    def _note(self, request: Request) -> None:
        query = parse_qs(urlsplit(request.url).query)
        self.secrets |= {value: name for name in ("code", "state") for value in query.get(name, ())}

    @property
    def base(self) -> str:
        """Where Airflow is."""
        return self.demo.airflow.url

    def open_mail(self, about: str, picture: str) -> Page:
        """Find the newest mail about an integration in the mailbox, and press the button in it."""
        page = self.context.new_page()
        page.goto(f"http://127.0.0.1:{self.demo.ports['demo']}/mailbox")
        page.get_by_role("link").filter(has_text=about).first.click()
        page.wait_for_url("**/mailbox/*")
        self.shots.keep(page, f"{picture}-mail")
        with self.context.expect_page() as opened:
            page.frame_locator("iframe").locator("a[href*='/mbi-reauth/reauthorize/']").first.click()
        opened.value.wait_for_load_state()
        page.close()
        return opened.value

    def press(self, page: Page, button: str) -> None:
        page.get_by_role("button", name=button).click()

    def consent(self, page: Page, decision: str, shop: str = "Northside Goods") -> None:
        """Decide at Shopdemo, and come back to our outcome page."""
        page.wait_for_url("**/oauth/authorize?**")
        page.get_by_label(shop).check()
        self.press(page, decision)
        self.awaits_outcome(page)

    def awaits_outcome(self, page: Page) -> None:
        """Wait until the outcome is known, and for no other page."""
        page.wait_for_url("**/mbi-reauth/outcome")
        page.wait_for_selector("h1:not(:has(~ .turning))")
        held = {
            cookie["name"]: cookie["value"] for cookie in self.context.cookies(f"{self.base}/mbi-reauth/")
        }
        self.secrets[held["mbi_reauth_session"]] = "cookie"


def heading(page: Page) -> str:
    return page.locator("h1").inner_text()


def said(page: Page) -> str:
    return page.locator("main").inner_text()


def language(page: Page) -> str | None:
    return page.locator("html").get_attribute("lang")
