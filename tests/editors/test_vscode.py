"""Visual Studio Code itself, in a browser: the packed extension, driven by hand as a user would."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.editors.test_neovim import PLAN

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "editors" / "vscode"
SERVER = os.environ.get("CODE_SERVER") or shutil.which("code-server")
CHROMIUM = shutil.which("chromium")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
HOW = (
    "npm install code-server (or CODE_SERVER=path), apt-get install chromium, npm ci --prefix editors/vscode"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (SERVER and CHROMIUM and (EXTENSION / "node_modules").is_dir()),
        reason=f"Visual Studio Code is not installed: {HOW}",
    ),
]
PATIENCE = 60_000  # milliseconds: a shared machine starts all of it slowly


@pytest.fixture(scope="module")
def vsix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension as it is packed for the marketplace."""
    out = tmp_path_factory.mktemp("vsix") / "parc.vsix"
    shutil.copy(ROOT / "LICENSE", EXTENSION)
    command = ["npm", "exec", "--", "vsce", "package", "--no-dependencies", "--out", str(out)]
    subprocess.run(command, cwd=EXTENSION, check=True, capture_output=True, timeout=240)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plans")
    (folder / "plan.parc").write_text(PLAN)
    shutil.copy(ROOT / "examples" / "seed.parc", folder)
    return folder


def start_server(vsix: Path, folder: Path, home: Path, *switches: str) -> tuple[subprocess.Popen[bytes], str]:
    user = home / "user" / "User"
    user.mkdir(parents=True)
    settings: dict[str, object] = {
        "parc.python": sys.executable,
        "workbench.startupEditor": "none",
        "editor.hover.delay": 100,
        "files.autoSave": "off",  # a browser's default is another
    }
    settings |= {"chat.disableAIFeatures": True, "workbench.secondarySideBar.defaultVisibility": "hidden"}
    (user / "settings.json").write_text(json.dumps(settings))
    base = [str(SERVER), "--user-data-dir", str(home / "user"), "--extensions-dir", str(home / "extensions")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(home)}
    install = [*base, "--install-extension", str(vsix)]
    subprocess.run(install, env=environment, check=True, capture_output=True, timeout=240)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    quiet = ["--auth", "none", "--disable-telemetry", "--disable-update-check", *switches]
    server = subprocess.Popen([*base, *quiet, "--bind-addr", address, str(folder)], env=environment)
    for _ in range(120):
        try:
            urlopen(f"http://{address}/healthz", timeout=1).close()
            break
        except (URLError, OSError):
            time.sleep(0.5)
    return server, f"http://{address}/?folder={folder}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with api.sync_playwright() as player:
        found = player.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield found
        found.close()


@contextmanager
def open_session(browser: Browser, vsix: Path, folder: Path, home: Path, *switches: str) -> Iterator[Page]:
    server, address = start_server(vsix, folder, home, *switches)
    try:
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        yield page
        page.close()
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def page(
    browser: Browser, vsix: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """A session in a trusted folder."""
    home = tmp_path_factory.mktemp("code")
    with open_session(browser, vsix, folder, home, "--disable-workspace-trust") as found:
        yield found


def run_command(page: Page, words: str) -> None:
    page.keyboard.press("F1")
    page.locator(".quick-input-widget input").fill(f">{words}")
    page.locator(".quick-input-list .monaco-list-row").filter(has_text=words).first.wait_for()
    page.keyboard.press("Enter")


def focus_text(page: Page) -> None:
    """Clicks a corner of the text: a click in its middle, which may be out of sight, would scroll it."""
    page.locator(".view-lines").first.click(position={"x": 5, "y": 5})


def open_file(page: Page, file: str) -> None:
    page.locator(".explorer-folders-view").get_by_text(file, exact=True).dblclick()
    page.locator(f".tab[data-resource-name='{file}'].active").wait_for()
    focus_text(page)


def move_cursor(page: Page, line: int, column: int) -> None:
    """Moves the cursor by the command of the editor."""
    page.keyboard.press("Control+g")
    page.locator(".quick-input-widget input").fill(f":{line}:{column}")
    page.keyboard.press("Enter")


def retype_line(page: Page, line: int, words: str) -> None:
    """Types a line anew, key by key."""
    move_cursor(page, line, 1)
    page.keyboard.press("Shift+End")
    page.keyboard.type(words)


def read_text(page: Page) -> str:
    """The lines in sight; the editor writes blanks as non-breaking spaces."""
    lines = page.locator(".view-lines .view-line").all_inner_texts()
    return "\n".join(lines).replace("\xa0", " ")


def take_screenshot(page: Page, name: str) -> None:
    """Saves a picture of the page, if SCREENSHOTS names a folder."""
    if where := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(where) / f"{name}.png"))


BESIDE = """words => [...document.querySelectorAll(".view-lines span")]
  .some(each => getComputedStyle(each, "::after").content.replaceAll("\\xa0", " ").includes(words))"""


TYPED = (
    """words => document.querySelector(".view-lines").innerText.replaceAll("\\xa0", " ").includes(words)"""
)


def test_a_plan_is_checked_explained_fixed_and_drawn(page: Page) -> None:
    open_file(page, "plan.parc")
    page.locator(".squiggly-error").first.wait_for()
    page.keyboard.press("Control+Shift+m")
    page.get_by_text("`cosin` is not a value of `decay`").first.wait_for()
    take_screenshot(page, "problems")
    page.keyboard.press("Control+Shift+m")

    focus_text(page)
    move_cursor(page, 1, 55)  # 64 GB
    run_command(page, "Show or Focus Hover")
    page.locator(".monaco-hover").get_by_text("59.6").first.wait_for()
    take_screenshot(page, "hover")
    page.keyboard.press("Escape")

    move_cursor(page, 11, 44)  # cosin
    page.keyboard.press("Control+.")
    page.get_by_text("write `cosine`").first.wait_for()
    take_screenshot(page, "fix")
    page.get_by_text("write `cosine`").first.click()
    page.locator(".squiggly-error").first.wait_for(state="detached")
    assert "decay = cosine" in read_text(page)

    move_cursor(page, 10, 1)
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.keyboard.type("pre")
    page.keyboard.press("Control+Space")  # opens the documentation if typing has opened the list already
    page.locator(".suggest-widget .monaco-list-row").filter(has_text="precision").first.wait_for()
    take_screenshot(page, "completion")
    page.keyboard.press("Enter")
    page.wait_for_function(TYPED, arg="precision {")


def test_the_picture_follows_the_cursor_and_the_text(page: Page, folder: Path) -> None:
    open_file(page, "seed.parc")
    page.get_by_text("open the picture").first.wait_for()  # a code lens
    assert page.get_by_text("build", exact=True).count() == 1  # another, since the folder is trusted
    run_command(page, "parc: Open the picture beside the plan")
    picture = page.frame_locator("iframe.webview").frame_locator("iframe")
    ranks = picture.locator("rect.cell")
    ranks.first.wait_for()
    take_screenshot(page, "picture")
    before = picture.locator("body").inner_html()

    focus_text(page)
    move_cursor(page, 33, 12)  # ep, in the mesh
    page.wait_for_timeout(1500)
    take_screenshot(page, "picture-of-ep")
    assert picture.locator("body").inner_html() != before

    retype_line(page, 33, "  mesh = [pp: 4, ep: 8, tp: 4]")
    picture.get_by_text("(pp * 8 + ep) * 4 + tp").first.wait_for()
    take_screenshot(page, "picture-while-typing")
    assert "ep: 8, pp: 4" in (folder / "seed.parc").read_text()  # nothing is saved
    retype_line(page, 33, "  mesh = [ep: 8, pp: 4, tp: 4]")
    picture.get_by_text("(ep * 4 + pp) * 4 + tp").first.wait_for()

    ranks.nth(37).click()
    page.wait_for_function(BESIDE, arg="ep = 2 of 8")  # what follows for the rank from the line of the mesh
    take_screenshot(page, "placement")


def test_what_is_not_trusted_is_checked_and_never_built(
    browser: Browser, vsix: Path, folder: Path, tmp_path: Path
) -> None:
    with open_session(browser, vsix, folder, tmp_path) as page:
        page.get_by_text("Restricted Mode").first.wait_for()
        open_file(page, "seed.parc")
        page.get_by_text("open the picture").first.wait_for()  # a code lens
        take_screenshot(page, "untrusted")
        assert page.get_by_text("build", exact=True).count() == 0
