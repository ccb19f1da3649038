"""The system's Chromium, driven by Playwright: a page as a person sees it, and all that it did."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import NOT_RUN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = "GENPOOL_REQUIRE_BROWSER"

WITNESS = """
window.ran = [];
for (const name of ["alert", "confirm", "prompt", "open"]) {
  window[name] = (said) => { window.ran.push(`${name} ${said}`); };
}
window.refused = [];
document.addEventListener("securitypolicyviolation", (one) => {
  window.refused.push(`${one.violatedDirective} ${one.blockedURI}`);
});
"""
"""What stands in every page before its own scripts: it notes what a payload would call, and what the policy refused."""


def find_chromium() -> str:
    """Return the path of the system's Chromium; without one the test is not run, or fails where one is required."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        said = f"{NOT_RUN}: no Chromium ({', '.join(NAMES)}); on Debian: apt-get install chromium"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{said} ({REQUIRED} is set)")
        pytest.skip(said)
    return found


@dataclass
class Opened:
    """A page, and what it did besides being looked at."""

    page: Page
    address: str
    """Its own."""
    requests: list[str] = field(default_factory=list)
    """Every address that it asked for, its own apart."""
    failures: set[str | None] = field(default_factory=set)
    """Why requests failed."""
    console: list[str] = field(default_factory=list)
    """What it said in the console, and errors that nobody caught."""

    @property
    def ran(self) -> list[str]:
        """What a payload managed to call."""
        return list(self.page.evaluate("window.ran"))

    @property
    def refused(self) -> list[str]:
        """What the Content-Security-Policy refused."""
        return list(self.page.evaluate("window.refused"))


@contextmanager
def opened(file: Path, **options: Any) -> Iterator[Opened]:
    """Open a file in a browser of its own, which is ended afterwards; wait until its charts are drawn.

    Args:
        file: The page.
        options: Of Playwright's `new_context`: viewport, color_scheme and the like.
    """
    with context(**options) as made:
        found = watched(made, file)
        found.page.goto(found.address)
        found.page.wait_for_selector("html[data-charts=drawn]", timeout=30_000)
        yield found


@contextmanager
def context(**options: Any) -> Iterator[BrowserContext]:
    """Start a browser without any network, with a context; both are ended afterwards."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    arguments = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            made = browser.new_context(**options)
            made.add_init_script(WITNESS)
            yield made
        finally:
            browser.close()


def watched(made: BrowserContext, file: Path) -> Opened:
    """Return a new page for a file; what it asks for and says is noted."""
    found = Opened(made.new_page(), file.as_uri())
    found.page.on("request", lambda one: found.requests.append(one.url) if one.url != found.address else None)
    found.page.on("requestfailed", lambda one: found.failures.add(one.failure))
    found.page.on("console", lambda one: found.console.append(f"{one.type}: {one.text}"))
    found.page.on("pageerror", lambda error: found.console.append(f"error: {error}"))
    found.page.on("dialog", lambda one: one.dismiss())
    return found
