"""What runs, and where: nothing without the client's trust."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("pygls", reason="`pip install 'parc-compiler[lsp]'` has the server's library")

from benchmarks.client import PATIENCE, Client
from tests.lsp.clients import MINIMAL, list_titles
from tests.lsp.editing import SEED


def test_building_is_offered_and_done_where_the_workspace_is_trusted_alone(tmp_path: Path) -> None:
    uri = (tmp_path / "plan.parc").as_uri()
    (tmp_path / "plan.parc").write_text(SEED)
    (tmp_path / "moe.py").write_text("open('ran', 'w').close()\n")
    command = {"command": "parc.build", "arguments": [{"uri": uri, "plan": "wide"}]}
    runs = ["parc.picture", "parc.build"]
    with Client(MINIMAL, commands=runs) as client:
        client.open(uri, SEED)
        assert list_titles(client, uri)[2:] == ["open the picture"]
        assert client.ask("workspace/executeCommand", command)["code"] == 2
        assert not (tmp_path / "ran").exists()
    with Client(MINIMAL, commands=runs, trusted=True) as client:
        client.open(uri, SEED)
        assert list_titles(client, uri)[2:] == ["open the picture", "build"]


def test_a_client_is_offered_only_the_commands_that_it_runs(uri: str) -> None:
    with Client(MINIMAL, trusted=True) as client:
        client.open(uri, SEED)
        memory, time = list_titles(client, uri)
        assert " a GPU (" in memory
        assert " a step (" in time


def _building(server: int) -> dict[int, list[bytes]]:
    """The builds that it has started, with their commands; a child has its own only after a moment."""
    tasks = Path(f"/proc/{server}/task").glob("*/children")  # a process is its parent thread's child
    children = [int(each) for task in tasks for each in task.read_text().split()]
    commands = {each: Path(f"/proc/{each}/cmdline").read_bytes().split(b"\0") for each in children}
    return {each: command for each, command in commands.items() if b"build" in command}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_a_build_imports_nothing_from_the_folder_and_ends_with_the_server(tmp_path: Path) -> None:
    uri = (tmp_path / "plan.parc").as_uri()
    (tmp_path / "plan.parc").write_text(SEED)
    (tmp_path / "random.py").write_text("open('shadowed', 'w').close()\n")
    (tmp_path / "moe.py").write_text("import time\ntime.sleep(600)\n")
    with Client(MINIMAL, trusted=True) as client:
        client.open(uri, SEED)
        client.pushed(uri, 1)
        wish = {"command": "parc.build", "arguments": [{"uri": uri, "plan": "wide"}]}
        client.begin("workspace/executeCommand", wish)
        deadline = time.monotonic() + PATIENCE
        while not (building := _building(client.server.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        ((build, command),) = building.items()
        assert b"-P" in command
    while Path(f"/proc/{build}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{build}").exists()
    assert not (tmp_path / "shadowed").exists()
