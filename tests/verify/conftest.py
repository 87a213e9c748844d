"""What the tests of several files ask of the proof."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def no_process_left() -> Iterator[None]:
    """What a test starts has ended when it is over. A browser that other tests share goes on."""
    before = _children()
    yield
    assert not _children() - before


def _children() -> set[str]:
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")  # a process is its parent thread's child
    return {each for task in tasks for each in task.read_text().split()}
