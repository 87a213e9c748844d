"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def format_code_block(lines: Iterable[str]) -> list[str]:
    """The lines as a code block."""
    return ["```text", *lines, "```"]
