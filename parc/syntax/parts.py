"""Splits a text where its top-level statements begin.

Each part is parsed independently: a fault does not affect other parts, and editors only parse what changes. A
part begins at the first column of a line outside of all brackets. If braces are not closed, it also begins at
what looks like the head of a block: `train first ..`.
"""

from __future__ import annotations

import re
from itertools import pairwise

SIGNS = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"?|#[^\n]*|([{}\[\]()]|\n(?=[^\s#]))')
HEAD = re.compile(r"(?!(?:let|import|for|on|over)\b)[^\W\d]\w*[ \t]+(?!(?:let|import|for|on|over)\b)[^\W\d]")
OPENERS = {"}": "{", "]": "[", ")": "("}


def split_text(text: str) -> list[tuple[int, int]]:
    """(start, end) of each part; together they cover the whole text."""
    signs = [(sign[1], sign.end()) for sign in SIGNS.finditer(text) if sign.lastindex]
    kinds = [sign for sign, _ in signs]
    unbalanced = kinds.count("{") > kinds.count("}")
    starts = [0]
    opened: list[str] = []
    for sign, end in signs:
        if sign == "\n":
            if not opened or (unbalanced and HEAD.match(text, end)):
                opened.clear()
                starts.append(end)
        elif sign in "{[(":
            opened.append(sign)
        else:
            _close_bracket(opened, OPENERS[sign])
    return list(pairwise([*starts, len(text)]))


def _close_bracket(opened: list[str], opener: str) -> None:
    """Close brackets up to the innermost `opener`, if there is one. Only a brace closes other braces."""
    depth = len(opened)
    while depth and opened[depth - 1] != opener:
        if opened[depth - 1] == "{":
            return
        depth -= 1
    if depth:
        del opened[depth - 1 :]
