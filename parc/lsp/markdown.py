"""Pieces of Markdown. Every text of a user that is shown as Markdown goes through one of these functions.

No text can end the code that shows it: a fence is longer than all backticks inside, and what an editor
may take for the end of a line, or for a sign that changes its direction, is shown as an escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

TICKS = re.compile(r"`+")


def format_code_block(lines: Iterable[str]) -> list[str]:
    """The lines as a code block."""
    shown = [escape_unprintable(line) for line in lines]
    fence = "`" * max(3, 1 + max(map(_count_ticks, shown), default=0))
    return [f"{fence}text", *shown, fence]


def format_code(text: str) -> str:
    """The text as code within a line."""
    shown = escape_unprintable(text)
    fence = "`" * (1 + _count_ticks(shown))
    pad = " " if "`" in (shown[:1], shown[-1:]) or not shown.strip() else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def escape_unprintable(text: str) -> str:
    """The text with escapes such as `\\u2028` for all characters that are not shown, but blanks."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text.replace("\t", "    "))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _count_ticks(text: str) -> int:
    """The length of the longest run of backticks."""
    return max(map(len, TICKS.findall(text)), default=0)
