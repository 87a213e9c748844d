"""Which file imports which, read from texts alone: to analyse every file of a workspace takes seconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from parc.lsp.document.analysis import resolve_path
from parc.plan.imports import HARDWARE_PREFIX

IMPORT = re.compile(r'\bimport\s*"((?:[^"\\\n]|\\.)*)"')


def may_import(read_text: Callable[[Path], str | None], file: Path, target: Path) -> bool:
    """Whether the file, a real path, is `target` or imports it, itself or by others.

    What only looks like an import, in a comment, counts too: the answer may be wrong for True alone.
    """
    seen: set[Path] = set()
    left = [file]
    while left:
        path = left.pop()
        if path == target:
            return True
        if path not in seen:
            seen.add(path)
            for imported in _list_imported(path, read_text(path) or ""):
                if imported is None:
                    return True
                left.append(imported)
    return False


def _list_imported(path: Path, text: str) -> Iterator[Path | None]:
    """The files that the text at `path` imports; None for a name that is written with escapes."""
    for name in IMPORT.findall(text):
        if "\\" in name:
            yield None
        elif "\0" not in name:
            is_hardware = name.startswith(HARDWARE_PREFIX)
            yield resolve_path(name if is_hardware else str(path.parent / name))
