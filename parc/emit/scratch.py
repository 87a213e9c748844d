"""Temporary folders. Those that a killed process has left are found, because a lock ends with its process."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "parc-"  # of the temporary folders
LOCK = ".lock"  # the file that its process keeps locked


@contextmanager
def make_scratch(prefix: str, parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, removed at the end of the block."""
    scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        file = scratch / f"{LOCK}.new"
        with file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file.replace(scratch / LOCK)  # nobody finds it before it is locked
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def make_temporary() -> Iterator[Path]:
    """A new folder where the system has its temporary ones, removed at the end of the block.

    Those that killed processes have left there are removed first.
    """
    parent = Path(tempfile.gettempdir())
    _remove_left(PREFIX, parent)
    with make_scratch(PREFIX, parent) as scratch:
        yield scratch


@contextmanager
def _open_if_left(scratch: Path) -> Iterator[bool]:
    """Whether a folder of `make_scratch` belongs to no process any more. It is locked within the block."""
    try:
        lock = os.open(scratch / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        yield False  # not ours, or gone meanwhile
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield os.fstat(lock).st_uid == os.getuid()
    except BlockingIOError:
        yield False
    finally:
        os.close(lock)


def find_left(prefix: str, parent: Path) -> Iterator[Path]:
    """The folders that killed processes of this user have left in `parent`; each is removed afterwards."""
    for scratch in sorted(parent.glob(f"{prefix}*")):
        if scratch.is_symlink():
            continue
        with _open_if_left(scratch) as left:
            if left:
                yield scratch
                shutil.rmtree(scratch, ignore_errors=True)


def _remove_left(prefix: str, parent: Path) -> None:
    """Removes the folders that killed processes of this user have left in `parent`."""
    for _ in find_left(prefix, parent):
        pass
