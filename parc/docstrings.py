"""Docstrings that are read from sources: `python -OO` leaves none in classes and functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def read_docstring(defined: type | Callable[..., Any]) -> str:
    """The docstring of a class or a function, as its source has it; empty if it has none."""
    kept: str | None = vars(defined).get("__doc__") if isinstance(defined, type) else defined.__doc__
    return kept if kept is not None else _parse_docstring(defined)


def _parse_docstring(defined: object) -> str:
    import ast  # noqa: PLC0415 - start-up time: only without docstrings
    import inspect  # noqa: PLC0415 - start-up time, too
    from textwrap import dedent  # noqa: PLC0415 - start-up time, too

    try:
        (node,) = ast.parse(dedent(inspect.getsource(defined))).body  # type: ignore[arg-type]
    except (OSError, TypeError, SyntaxError, ValueError):  # no source, or only a part of it
        return ""
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return ""
    return ast.get_docstring(node, clean=False) or ""
