"""A file to be opened, and that no server is left over."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return (tmp_path / "plan.parc").as_uri()


@pytest.fixture(autouse=True, scope="module")
def _no_orphans() -> Iterator[None]:
    """Every server that tests start has ended when they are over."""
    before = list_children()
    yield
    left = list_children() - before
    for each in left:
        os.kill(each, signal.SIGKILL)
    assert not left


def list_children() -> set[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    ).stdout
    return {int(line.split()[0]) for line in listed.splitlines() if "parc lsp" in line}
