"""Edits of a text, as offsets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Edit: TypeAlias = tuple[int, int, str]  # the characters from one offset to another, and what replaces them


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text after edits that do not overlap; all offsets are of the text before."""
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def find_difference(before: str, after: str) -> list[Edit]:
    """One edit, of all that is not the same at both ends; none where the texts are equal."""
    start, most = 0, min(len(before), len(after))
    while start < most and before[start] == after[start]:
        start += 1
    end = 0
    while end < most - start and before[-1 - end] == after[-1 - end]:
        end += 1
    if start == len(before) == len(after):
        return []
    return [(start, len(before) - end, after[start : len(after) - end])]
