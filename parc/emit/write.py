"""Putting a folder on disk: whole or not at all, whenever the process ends."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from parc.emit.record import MARK, is_bytecode, read_written
from parc.emit.scratch import find_left, make_scratch

PREFIX = ".parc-"  # of the folder that a program is written to first
AWAY = "old"  # the folder in it for the old one, where two folders cannot be exchanged
TARGET = "target"  # the file in it that names the folder which it is to become
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def write(files: Mapping[str, bytes], out: Path) -> None:
    """Write beside `out` first, then take its place; through a link, the place that it points to.

    What else lies in a folder of parc's (`runs/`) stays there. Raises OSError; then `out` is as it was. If
    the process is killed, `out` is the old folder or the new one; the next call moves what else was in it.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    recover(out.parent)
    with make_scratch(PREFIX, out.parent) as scratch:
        (scratch / TARGET).write_text(out.name, encoding="utf-8")
        fresh = scratch / "fresh"
        for name, content in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if name.endswith(".sh") else 0o644)
        if not out.exists():
            fresh.rename(out)
            return
        old, kept = out.stat().st_ino, find_foreign(out)
        try:
            _exchange(fresh, out)  # from here on, `fresh` is the old folder
            _move(kept, fresh, out)
        except BaseException:
            _restore(out, fresh, old, kept)
            raise


def recover(parent: Path) -> None:
    """Completes, or undoes, what a killed process has left in `parent`."""
    for scratch in find_left(PREFIX, parent):
        away, name = scratch / AWAY, scratch / TARGET
        target = parent / name.read_text(encoding="utf-8") if name.is_file() else None
        if target is None or target.parent != parent:
            continue
        if not os.path.lexists(target) and away.is_dir():
            away.rename(target)  # killed between two renames, where folders cannot be exchanged
        for old in (away, scratch / "fresh"):
            if read_written(old) is not None and read_written(target) is not None:
                _move(find_foreign(old), old, target)


def _exchange(one: Path, other: Path) -> None:
    """Exchanges two folders in one step. Where the system cannot, `recover` undoes half of it."""
    if sys.platform == "linux" and _rename_exchange(one, other):
        return
    away = one.with_name(AWAY)
    other.rename(away)
    one.rename(other)
    away.rename(one)


def _rename_exchange(one: Path, other: Path) -> bool:
    """False where the system or its file system lacks this."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    paths = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    return rename is not None and rename(*paths, RENAME_EXCHANGE) == 0


def _move(names: Iterable[str], old: Path, new: Path) -> None:
    """Moves entries of a folder to another one that has none of these names."""
    for name in names:
        if os.path.lexists(old / name) and not os.path.lexists(new / name):
            (old / name).rename(new / name)


def _restore(out: Path, fresh: Path, old: int, kept: Sequence[str]) -> None:
    """Undo an exchange that has not come to its end. `old` is the inode of the old folder."""
    away = fresh.with_name(AWAY)
    if away.exists():
        if out.exists():
            out.rename(fresh)
        away.rename(out)
    elif out.stat().st_ino != old:
        _move(kept, out, fresh)
        _exchange(fresh, out)


def find_foreign(folder: Path) -> list[str]:
    """The names of what lies in a folder that parc has written and is not parc's."""
    written = read_written(folder) or {}
    ours = {name.partition("/")[0] for name in written} | {MARK}
    return sorted(path.name for path in folder.iterdir() if path.name not in ours and not is_bytecode(path))
