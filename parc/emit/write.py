"""Putting a folder on disk: whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

MARK = "plan.lock.json"


def is_ours(out: Path) -> bool:
    """Whether a folder was written by parc: it may be replaced, anything else may not."""
    return _read_written(out) is not None


def find_edits(out: Path) -> list[str]:
    """What replacing a folder of parc's would lose: files that were changed, or added to its subfolders."""
    written = _read_written(out) or {}
    changed = [
        name for name, digest in written.items() if (out / name).exists() and _hash(out / name) != digest
    ]
    folders = {name.partition("/")[0] for name in written if "/" in name}
    inside = (path for folder in folders for path in (out / folder).rglob("*") if path.is_file())
    names = (path.relative_to(out).as_posix() for path in inside if "__pycache__" not in path.parts)
    return sorted([*changed, *(name for name in names if name not in written)])


def _read_written(out: Path) -> dict[str, str] | None:
    """The files that parc has written to a folder, by name, with their digests; None if it has not.

    The text may be anybody's: names that lead out of the folder are not taken.
    """
    try:
        mark = json.loads((out / MARK).read_text(encoding="utf-8"))
        files = mark["files"].items()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if "parc" not in mark or not all(isinstance(digest, str) and _is_inside(name) for name, digest in files):
        return None
    return dict(files)


def _is_inside(name: str) -> bool:
    return bool(name) and not PurePath(name).is_absolute() and ".." not in PurePath(name).parts


def _hash(path: Path) -> str | None:
    """The digest of a file; None for what cannot be read as one."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def write(files: Mapping[str, bytes], out: Path) -> None:
    """Write beside `out` first, then take its place; through a link, the place that it points to.

    What else lies in a folder of parc's (`runs/`) stays there. Raises OSError; then `out` is as it was.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".parc-", dir=out.parent) as scratch:
        fresh, old = Path(scratch, "fresh"), Path(scratch, "old")
        for name, content in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if name.endswith(".sh") else 0o644)
        if not out.exists():
            fresh.rename(out)
            return
        kept = find_foreign(out)
        try:
            out.rename(old)
            fresh.rename(out)
            for name in kept:
                (old / name).rename(out / name)
        except BaseException:
            _restore(out, old, fresh, kept)
            raise


def _restore(out: Path, old: Path, fresh: Path, kept: Sequence[str]) -> None:
    """Undo a swap that has not come to its end, wherever it stopped."""
    if old.exists():
        for name in kept:
            if not os.path.lexists(old / name):
                (out / name).rename(old / name)
        if out.exists():
            out.rename(fresh)
        old.rename(out)


def find_foreign(folder: Path) -> list[str]:
    """The names of what lies in a folder that parc has written and is not parc's."""
    written = _read_written(folder) or {}
    ours = {name.partition("/")[0] for name in written} | {MARK, "__pycache__"}
    return sorted(path.name for path in folder.iterdir() if path.name not in ours)
