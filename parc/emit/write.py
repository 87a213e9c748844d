"""Putting a folder on disk: whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MARK = "plan.lock.json"


def is_ours(out: Path) -> bool:
    """Whether a folder was written by parc: it may be replaced, anything else may not."""
    try:
        mark = json.loads((out / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(mark, dict) and "parc" in mark and isinstance(mark.get("files"), list)


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
        kept = _foreign(out)
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


def _foreign(folder: Path) -> list[str]:
    """The names of what lies in a folder that parc has written and is not parc's."""
    written = json.loads((folder / MARK).read_text(encoding="utf-8")).get("files", ())
    ours = {name.partition("/")[0] for name in written} | {MARK, "__pycache__"}
    return sorted(path.name for path in folder.iterdir() if path.name not in ours)
