"""Completes names of files. Files are read as text; nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from parc.lsp.completion.item import Item
from parc.lsp.document.analysis import Analysis
from parc.plan.imports import HARDWARE_PREFIX, find_project, is_safe_to_open, list_machines, read_source
from parc.source import Source

MAX_FILES = 50
CALLABLE = re.compile(r"^(?:class|def)[ \t]+([^\W\d]\w*)", re.M)


def offer_files(files: Iterable[tuple[str, str]]) -> Iterator[Item]:
    """Items of (name, detail) pairs."""
    for order, (name, detail) in enumerate(files):
        yield Item(name, "file", f'"{name}"', detail=detail, order=order)


def list_importable_files(analysis: Analysis) -> Iterator[tuple[str, str]]:
    """Name and detail of what `import` may name: known hardware, and plan files in the same folder."""
    yield from ((f"{HARDWARE_PREFIX}{name}", "known hardware") for name in list_machines())
    for path in _list_files(analysis.path.parent, "*.parc"):
        if path != analysis.path:
            yield path.name, "plan file"


def list_model_sources(analysis: Analysis, typed: str) -> Iterator[tuple[str, str]]:
    """Name and detail of what `source` may name: Python files, and after a `:` what the file defines."""
    folder, name = analysis.path.parent, typed.strip('"').partition(":")[0]
    if ":" in typed and name.endswith(".py"):
        for each in list_callables(folder, name):
            yield f"{name}:{each}", f"defined in {name}"
        return
    for path in _list_files(folder, "*.py"):
        yield f"{path.name}:", "Python file"


def list_callables(folder: Path, name: str) -> list[str]:
    """The top-level classes and functions of a Python file in the project around `folder`."""
    return CALLABLE.findall(read_python(folder, name) or "")


def read_python(folder: Path, name: str) -> str | None:
    """The text of a file in the project around `folder`; None if it is outside, or cannot be read."""
    try:
        path = (folder / name).resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, what no path can be
        return None
    inside = path.is_relative_to(find_project(folder.resolve()))
    source = read_source(path) if inside and is_safe_to_open(path) else None
    return source.text if isinstance(source, Source) else None


def _list_files(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))[:MAX_FILES]
    except OSError:
        return []
