"""Positions as editors count them: 0-based lines, and on a line the units of an encoding.

A position that does not exist, beyond the end of its line or inside a character, is moved back to the nearest
one that does.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from functools import lru_cache
from typing import Literal, TypeAlias

from parc.source import Source

Encoding: TypeAlias = Literal["utf-8", "utf-16", "utf-32"]
Position: TypeAlias = tuple[int, int]  # line and units
WIDE = {"utf-16": re.compile("[\U00010000-\U0010ffff]"), "utf-8": re.compile("[^\0-\x7f]")}


def normalize_line_ends(text: str) -> str:
    """The text with line feeds as its only line ends; editors count other line ends as the same."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def find_offset(source: Source, position: Position, encoding: Encoding) -> int:
    """The offset of the character at a position."""
    line, units = position
    if line < 0:
        return 0
    if line >= len(source.line_starts):
        return len(source.text)
    start, length = source.line_starts[line], len(source.get_line(line + 1))
    if units <= 0:
        return start
    inside = range(1, length + 1)

    def count_before(index: int) -> int:
        return _count_units(source, start, start + index, encoding)

    return start + bisect_right(inside, units, key=count_before)


def find_position(source: Source, offset: int, encoding: Encoding) -> Position:
    """The position of the character at an offset."""
    line = source.line_number(offset)
    return line - 1, _count_units(source, source.line_starts[line - 1], offset, encoding)


def _count_units(source: Source, start: int, end: int, encoding: Encoding) -> int:
    """The units of the characters between two offsets."""
    if encoding == "utf-32" or source.text.isascii():
        return end - start
    offsets, sums = _find_wide_characters(source, encoding)
    return end - start + sums[bisect_left(offsets, end)] - sums[bisect_left(offsets, start)]


@lru_cache(maxsize=4)  # the requests after one edit ask for positions in the same text
def _find_wide_characters(source: Source, encoding: Encoding) -> tuple[list[int], list[int]]:
    """The offsets of characters of more than one unit, and how many more all before each have."""
    offsets: list[int] = []
    sums = [0]
    for character in WIDE[encoding].finditer(source.text):
        units = 2 if encoding == "utf-16" else len(character[0].encode("utf-8", "surrogatepass"))
        offsets.append(character.start())
        sums.append(sums[-1] + units - 1)
    return offsets, sums


def replace_range(source: Source, start: Position, end: Position, text: str, encoding: Encoding) -> str:
    """The text of the source, with the characters between two positions replaced."""
    first, last = sorted((find_offset(source, start, encoding), find_offset(source, end, encoding)))
    return source.text[:first] + normalize_line_ends(text) + source.text[last:]
