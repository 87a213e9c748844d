"""Positions as editors count them: 0-based lines, and on a line the units of an encoding.

A position that does not exist, beyond the end of its line or inside a character, is moved back to the nearest
one that does.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from parc.source import Source

Encoding: TypeAlias = Literal["utf-8", "utf-16", "utf-32"]
Position: TypeAlias = tuple[int, int]  # line and units


def normalize_line_ends(text: str) -> str:
    """The text with line feeds as its only line ends; editors count other line ends as the same."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def count_units(text: str, encoding: Encoding) -> int:
    """The length of a text in the units of an encoding."""
    if encoding == "utf-32" or text.isascii():
        return len(text)
    if encoding == "utf-16":
        return len(text) + sum(character > "\uffff" for character in text)
    return len(text.encode("utf-8", "surrogatepass"))


def find_offset(source: Source, position: Position, encoding: Encoding) -> int:
    """The offset of the character at a position."""
    line, units = position
    if line < 0:
        return 0
    if line >= len(source.line_starts):
        return len(source.text)
    text, start = source.get_line(line + 1), source.line_starts[line]
    if encoding == "utf-32" or text.isascii():
        return start + max(0, min(units, len(text)))
    for index, character in enumerate(text):
        units -= count_units(character, encoding)
        if units < 0:
            return start + index
    return start + len(text)


def find_position(source: Source, offset: int, encoding: Encoding) -> Position:
    """The position of the character at an offset."""
    line = source.line_number(offset)
    start = source.line_starts[line - 1]
    return line - 1, count_units(source.text[start:offset], encoding)


def replace_range(source: Source, start: Position, end: Position, text: str, encoding: Encoding) -> str:
    """The text of the source, with the characters between two positions replaced."""
    first, last = sorted((find_offset(source, start, encoding), find_offset(source, end, encoding)))
    return source.text[:first] + normalize_line_ends(text) + source.text[last:]
