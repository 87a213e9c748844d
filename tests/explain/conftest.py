"""A real browser for the tests of the page; where there is none they are skipped, and say how to get one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HINT = "needs a browser: `apt-get install chromium` and `pip install playwright`"
NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = [
    "--no-sandbox",  # Chromium refuses to start as root with it
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module alone: playwright leaves an event loop running, in which other tests cannot run theirs."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    api = pytest.importorskip("playwright.sync_api", reason=HINT)
    if found is None:
        pytest.skip(HINT)
    with api.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=found, args=SWITCHES)
        yield browser
        browser.close()
