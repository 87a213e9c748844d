"""Putting a folder on disk: whole or not at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

MARK = "plan.lock.json"


def is_ours(out: Path) -> bool:
    """Whether a folder was written by parc: it may be replaced, anything else may not."""
    try:
        mark = json.loads((out / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(mark, dict) and "parc" in mark


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
        out.rename(old)
        try:
            fresh.rename(out)
            for path in _foreign(old):
                path.rename(out / path.name)
        except BaseException:
            if out.exists():
                for path in _foreign(out):
                    path.rename(old / path.name)
                out.rename(fresh)
            old.rename(out)
            raise


def _foreign(folder: Path) -> Iterator[Path]:
    """What lies in a folder that parc has written and is not parc's."""
    ours = {
        name.partition("/")[0] for name in json.loads((folder / MARK).read_text(encoding="utf-8"))["files"]
    }
    yield from [path for path in folder.iterdir() if path.name not in {*ours, MARK, "__pycache__"}]
