"""A real Chromium, driven by Playwright, for tests that look at the Prefect UI as its users do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import pytest
from tests.conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Where pictures are kept, a folder for each test.
PICTURES = ROOT / "build" / "screenshots"
#: Names of the program; the first is Debian's.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Browser:
    """An open page of a real browser, and the folder for this test's pictures."""

    page: Page
    folder: Path

    def picture(self, name: str) -> Path:
        """Keep what the page shows, all of it, as `<name>.png`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{name}.png"
        self.page.screenshot(path=file, full_page=True)
        return file


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A real Chromium with an empty profile; the last picture of a test is kept, however it ends.

    Playwright keeps an event loop running in this thread as long as the browser is open: a test that uses it must not
    call `asyncio.run`, so name this fixture last, after those that do so when they end.
    """
    api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright: `make setup`")
    program = next(filter(None, map(which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium here: `apt-get install chromium`")
    folder = PICTURES / re.sub(r"\W+", "-", request.node.name).strip("-")[:100]
    # Root in a container cannot have the sandbox, and pages of our own server need none.
    with api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(30_000)
        shown = Browser(page, folder)
        try:
            yield shown
        finally:
            shown.picture("last")
            chromium.close()
