"""Places as editors count them: 0-based lines, and on a line the units of some encoding.

A place that does not exist, beyond the end of its line or in the middle of a character, is moved to the
nearest one before it that does.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from parc.source import Source

Encoding: TypeAlias = Literal["utf-8", "utf-16", "utf-32"]
Position: TypeAlias = tuple[int, int]  # line and units


def normal(text: str) -> str:
    """The text with line feeds alone as line ends, which editors count as the others."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def width(text: str, encoding: Encoding) -> int:
    """How many units the text has."""
    if encoding == "utf-32" or text.isascii():
        return len(text)
    if encoding == "utf-16":
        return len(text) + sum(character > "\uffff" for character in text)
    return len(text.encode("utf-8", "surrogatepass"))


def offset(source: Source, position: Position, encoding: Encoding) -> int:
    """The offset of the character at a position."""
    line, units = position
    if line < 0:
        return 0
    if line >= len(source.line_starts):
        return len(source.text)
    text, start = source.line(line + 1), source.line_starts[line]
    if encoding == "utf-32" or text.isascii():
        return start + max(0, min(units, len(text)))
    for index, character in enumerate(text):
        units -= width(character, encoding)
        if units < 0:
            return start + index
    return start + len(text)


def position(source: Source, offset: int, encoding: Encoding) -> Position:
    """The position of the character at an offset."""
    line = source.line_number(offset)
    start = source.line_starts[line - 1]
    return line - 1, width(source.text[start:offset], encoding)


def changed(source: Source, start: Position, end: Position, text: str, encoding: Encoding) -> str:
    """The source's text with something else between two positions."""
    first, last = sorted((offset(source, start, encoding), offset(source, end, encoding)))
    return source.text[:first] + normal(text) + source.text[last:]
