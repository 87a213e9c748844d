"""Splits a text where its top-level statements begin.

Each part is parsed independently: a fault does not affect other parts, and editors only parse what changes. A
part begins at the first column of a line outside of all brackets. If braces are not closed, it also begins at
what looks like the head of a block: `train first ..`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, pairwise

SIGNS = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"?|#[^\n]*|([{}\[\]()]|\n(?=[^\s#])|/\*)')
HEAD = re.compile(r"(?!(?:let|import|for|on|over)\b)[^\W\d]\w*[ \t]+(?!(?:let|import|for|on|over)\b)[^\W\d]")
MAX_SIGNS = 30_000
OPENERS = {"}": "{", "]": "[", ")": "("}


def split_text(text: str) -> list[tuple[int, int]]:
    """(start, end) of each part; together they cover the whole text.

    A text with more than `MAX_SIGNS` brackets and lines is one part: no plan file has so many tokens.
    """
    signs = list(islice(_find_signs(text), MAX_SIGNS + 1))
    if len(signs) > MAX_SIGNS:
        return [(0, len(text))]
    kinds = [sign for sign, _ in signs]
    unbalanced = kinds.count("{") > kinds.count("}")
    starts = [0]
    opened = OpenBrackets()
    for sign, end in signs:
        if sign == "\n":
            if not opened.depth or (unbalanced and HEAD.match(text, end)):
                opened = OpenBrackets()
                starts.append(end)
        elif sign in "{[(":
            opened.open(sign)
        else:
            opened.close(OPENERS[sign])
    return list(pairwise([*starts, len(text)]))


def _find_signs(text: str) -> Iterator[tuple[str, int]]:
    """The brackets and the starts of lines, with the offsets after them; none in a comment of C."""
    skipped, last = 0, text.rfind("*/")
    for sign in SIGNS.finditer(text):
        if sign[1] == "/*" and skipped <= sign.start() < last - 1:
            skipped = text.find("*/", sign.end()) + 2
        elif sign[1] and sign[1] != "/*" and sign.start() >= skipped:
            yield sign[1], sign.end()


class OpenBrackets:
    """The brackets that are open at a place. However deep they are, a sign takes constant time on average."""

    def __init__(self) -> None:
        self.depth = 0
        self.levels: list[list[str]] = [[]]  # outside of all braces, and in each open one: what is open in it
        self.counts: list[dict[str, int]] = [{"[": 0, "(": 0}]  # of each level

    def open(self, sign: str) -> None:
        self.depth += 1
        if sign == "{":
            self.levels.append([])
            self.counts.append({"[": 0, "(": 0})
        else:
            self.levels[-1].append(sign)
            self.counts[-1][sign] += 1

    def close(self, opener: str) -> None:
        """Close brackets up to the innermost `opener`, if there is one. Only a brace closes other braces."""
        level, counts = self.levels[-1], self.counts[-1]
        if opener == "{":
            if len(self.levels) > 1:
                self.depth -= 1 + len(level)
                self.levels.pop()
                self.counts.pop()
        elif counts[opener]:
            closed = ""
            while closed != opener:
                closed = level.pop()
                counts[closed] -= 1
                self.depth -= 1
