"""Files that a plan may name. They are read as text; nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from parc.lsp.document.analysis import Analysis
from parc.plan.imports import KNOWN, machines, may_be_opened, project, read
from parc.source import Source

MOST = 50
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
    source = read(path) if path.is_relative_to(project(folder.resolve())) and may_be_opened(path) else None
    return CALLABLE.findall(source.text) if isinstance(source, Source) else []


def _near(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))[:MOST]
    except OSError:
        return []
