"""A browser and a server for the tests of this folder, and no longer.

Playwright keeps an event loop running in the thread, and nobody else could call `asyncio.run` there. So these fixtures
are of the package, and the folder has to have an `__init__.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.lab import FLAGS, Lab
from tests.browser.server import Server
from tests.peers import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here, so that `-m "not browser"` leaves it out."""
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker("browser")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, headless."""
    chromium = needs("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Jupyter server with an empty folder of notebooks."""
    needs("chromium")
    with Server.start(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture
def lab(browser: Browser, server: Server) -> Iterator[Lab]:
    """A tab of its own for each test. At its end, nothing may have been asked of another machine."""
    with Lab.tab(browser, server) as tab:
        yield tab
        assert tab.outside == []
