"""Putting a folder on disk: whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

MARK = "plan.lock.json"


def is_ours(out: Path) -> bool:
    """Whether a folder was written by parc: it may be replaced, anything else may not."""
    try:
        return "parc" in json.loads((out / MARK).read_text())
    except (OSError, ValueError, TypeError):
        return False


def write(files: dict[str, bytes], out: Path) -> None:
    """Write beside `out` first, then take its place. Raises OSError; then `out` is as it was."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name, content in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if name.endswith(".sh") else 0o644)
        fresh.chmod(0o755)
        _replace(fresh, out)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _replace(fresh: Path, out: Path) -> None:
    if not out.exists():
        os.rename(fresh, out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    os.rename(out, old / out.name)
    try:
        os.rename(fresh, out)
    except OSError:
        os.rename(old / out.name, out)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
