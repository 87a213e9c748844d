"""The record of what parc has written to a folder. It decides what may be replaced, so it is read with care:
anybody may have written it.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

MARK = "plan.lock.json"
MAX_BYTES = 1 << 24  # of a record
NAMES = re.compile(
    r"README\.md|LICENSE|ranks\.csv|initial_values\.safetensors|(train|model|stage_\d+|runtime/(\w+/)?\w+)\.py|launch/[a-z]+\.(sh|sbatch|yaml)"
)
"""The names that parc gives to files. A record with others is not parc's: theirs are not to be replaced."""
DIGEST = re.compile(r"[0-9a-f]{64}")


def is_ours(out: Path) -> bool:
    """Whether a folder was written by parc: it may be replaced, anything else may not."""
    return read_written(out) is not None


def read_written(out: Path) -> dict[str, str] | None:
    """The files that parc has written to a folder, by name, with their digests; None if it has not."""
    mark = out / MARK
    try:
        if mark.is_symlink() or not mark.is_file() or mark.stat().st_size > MAX_BYTES:
            return None
        record = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    files = record.get("files") if isinstance(record, dict) else None
    if not isinstance(files, dict) or not isinstance(record.get("parc"), str):
        return None
    if not all(NAMES.fullmatch(name) and _is_digest(digest) for name, digest in files.items()):
        return None
    return dict(files)


def find_edits(out: Path) -> list[str]:
    """What replacing a folder of parc's would lose: files that were changed, or added to its subfolders."""
    written = read_written(out) or {}
    changed = [name for name, digest in written.items() if _is_changed(out / name, out, digest)]
    folders = {name.partition("/")[0] for name in written if "/" in name}
    real = (out / folder for folder in folders if not (out / folder).is_symlink())
    found = [path for folder in real for path in folder.rglob("*")]
    added = [path for path in found if path.is_symlink() or not path.is_dir()]
    names = (path.relative_to(out).as_posix() for path in added if not is_bytecode(path))
    return sorted({*changed, *(name for name in names if name not in written)})


def is_bytecode(path: Path) -> bool:
    """Whether it is what Python makes of a file beside it, or the folder of nothing else."""
    if path.name != "__pycache__":
        return path.suffix == ".pyc" and path.parent.name == "__pycache__"
    return not path.is_symlink() and all(map(is_bytecode, path.iterdir()))


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None


def _is_changed(path: Path, out: Path, digest: str) -> bool:
    """Whether a file is another one than was written. A file that is gone is none that could be lost."""
    if path.is_symlink() or (path.parent != out and path.parent.is_symlink()):
        return True
    return path.exists() and _hash(path) != digest


def _hash(path: Path) -> str | None:
    """The digest of a file; None for what cannot be read as one."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
