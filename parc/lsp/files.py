"""Files that a plan may name. They are read as text; nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from parc.lsp.analysis import Analysis
from parc.plan.imports import KNOWN, machines

MOST = 50
MOST_BYTES = 1_000_000
CALLABLE = re.compile(r"^(?:class|def)[ \t]+([^\W\d]\w*)", re.M)


def importable(analysis: Analysis) -> Iterator[tuple[str, str]]:
    """What `import` may name, with a word about each: known hardware, and plan files near this one."""
    yield from ((f"{KNOWN}{name}", "known hardware") for name in machines())
    for path in _near(analysis.path.parent, "*.parc"):
        if path != analysis.path:
            yield path.name, "plan file"


def sources(analysis: Analysis, before: str) -> Iterator[tuple[str, str]]:
    """What `source` may name: Python files near this one, and what is defined in the one that is named."""
    name = before.strip('"').partition(":")[0]
    if ":" in before and name.endswith(".py"):
        yield from ((f"{name}:{each}", "defined there") for each in defined(analysis.path.parent / name))
        return
    for path in _near(analysis.path.parent, "*.py"):
        yield f"{path.name}:", "Python file"


def defined(path: Path) -> list[str]:
    """Classes and functions at the top of a Python file, as its text has them."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return []
        return CALLABLE.findall(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return []


def _near(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))[:MOST]
    except OSError:
        return []
