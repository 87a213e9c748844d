"""Text with places where it may be broken, and a choice of them that fits: Wadler's pretty printer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

STEP = 4


@dataclass(frozen=True)
class Line:
    """A place for a line break; `flat` stands there in a group that fits."""

    flat: str = ""


@dataclass(frozen=True)
class IfBroken:
    """Text that stands only in a group that is broken."""

    text: str


@dataclass(frozen=True)
class Group:
    """All of its own lines are broken, or none."""

    content: Document


@dataclass(frozen=True)
class Indent:
    content: Document


@dataclass(frozen=True)
class Either:
    """`first` where every line of it fits even when all its groups are broken, else `second`."""

    first: Document
    second: Document


Document: TypeAlias = "str | Line | IfBroken | Group | Indent | Either | tuple[Document, ...]"
_Item: TypeAlias = "tuple[int, bool, Document]"  # indentation, whether the group around it is broken


def fit(document: Document, indent: int, width: int) -> list[str]:
    """The lines of a document in `width` columns, the first one indented."""
    lines = [" " * indent]
    left: list[_Item] = [(indent, True, document)]
    while left:
        at, broken, item = left.pop()
        if isinstance(item, str):
            lines[-1] += item
        elif isinstance(item, tuple):
            left += [(at, broken, part) for part in reversed(item)]
        elif isinstance(item, Indent):
            left.append((at + STEP, broken, item.content))
        elif isinstance(item, IfBroken):
            lines[-1] += item.text if broken else ""
        elif isinstance(item, Group):
            flat: _Item = (at, False, item.content)
            left.append(flat if _fits(flat, left, width - len(lines[-1])) else (at, True, item.content))
        elif isinstance(item, Either):
            column = len(lines[-1])
            rest = left[:]
            fits = _fits((at, False, item.first), rest, width - column)
            if not fits:
                widest = _widest(item.first, at, column)
                fits = widest <= width
            left.append((at, broken, item.first if fits else item.second))
        elif broken:
            lines.append(" " * at)
        else:
            lines[-1] += item.flat
    return [line.rstrip() for line in lines]


def _fits(first: _Item, rest: list[_Item], room: int) -> bool:
    """Whether everything up to the next line break has room."""
    left, after = [first], len(rest)
    while room >= 0:
        if not left:
            if not after:
                return True
            after -= 1
            left.append(rest[after])
        at, broken, item = left.pop()
        if isinstance(item, str):
            room -= len(item)
        elif isinstance(item, tuple):
            left += [(at, broken, part) for part in reversed(item)]
        elif isinstance(item, Indent | Group):
            left.append((at, broken, item.content))
        elif isinstance(item, IfBroken):
            room -= len(item.text) if broken else 0
        elif isinstance(item, Either):
            left.append((at, broken, item.first))
        elif broken:
            return True
        else:
            room -= len(item.flat)
    return False


def _widest(document: Document, indent: int, column: int) -> int:
    """The width of the widest line when everything is broken."""
    widest = column
    left: list[tuple[int, Document]] = [(indent, document)]
    while left:
        at, item = left.pop()
        if isinstance(item, tuple):
            left += [(at, part) for part in reversed(item)]
        elif isinstance(item, Indent | Group):
            left.append((at + STEP * isinstance(item, Indent), item.content))
        elif isinstance(item, Either):
            left.append((at, item.first))
        elif isinstance(item, Line):
            column = at
        else:
            column += len(item if isinstance(item, str) else item.text)
        widest = max(widest, column)
    return widest
