"""The file over which forked ranks find each other, in a temporary folder of its own."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "ranks-"
LOCK = "lock"  # a file that the processes of a run keep locked: the lock ends with the last of them


@contextmanager
def make_store_file() -> Iterator[str]:
    """The path of a new file, removed at the end; what killed runs have left is removed first."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{PREFIX}*/{LOCK}"):
        _remove_if_left(left)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as folder:
        unlocked = Path(folder, f"{LOCK}.new")
        with unlocked.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            unlocked.replace(Path(folder, LOCK))  # nobody finds it before it is locked
            yield f"{folder}/store"


def _remove_if_left(file: Path) -> None:
    """Removes the folder of a lock that no process holds. Those of other users cannot be opened."""
    try:
        with file.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(file.parent, ignore_errors=True)
    except OSError:
        pass
