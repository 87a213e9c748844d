"""Files that a plan may name. They are read as text; nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from parc.lsp.document.analysis import Analysis
from parc.plan.imports import HARDWARE_PREFIX, find_project, is_safe_to_open, list_machines, read_source
from parc.source import Source

MOST = 50
CALLABLE = re.compile(r"^(?:class|def)[ \t]+([^\W\d]\w*)", re.M)


def importable(analysis: Analysis) -> Iterator[tuple[str, str]]:
    """What `import` may name, with a word about each: known hardware, and plan files near this one."""
    yield from ((f"{HARDWARE_PREFIX}{name}", "known hardware") for name in list_machines())
    for path in _near(analysis.path.parent, "*.parc"):
        if path != analysis.path:
            yield path.name, "plan file"


def sources(analysis: Analysis, before: str) -> Iterator[tuple[str, str]]:
    """What `source` may name: Python files near this one, and what is defined in the one that is named."""
    name = before.strip('"').partition(":")[0]
    if ":" in before and name.endswith(".py"):
        yield from ((f"{name}:{each}", "defined there") for each in defined(analysis.path.parent, name))
        return
    for path in _near(analysis.path.parent, "*.py"):
        yield f"{path.name}:", "Python file"


def defined(folder: Path, name: str) -> list[str]:
    """Classes and functions at the top of a Python file, in the project around `folder`."""
    try:
        path = (folder / name).resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, what no path can be
        return []
    source = (
        read_source(path)
        if path.is_relative_to(find_project(folder.resolve())) and is_safe_to_open(path)
        else None
    )
    return CALLABLE.findall(source.text) if isinstance(source, Source) else []


def _near(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))[:MOST]
    except OSError:
        return []
