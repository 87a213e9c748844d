"""A text cut where its top-level statements begin.

Each part is read by itself, so a fault harms no other, and an editor reads again only what has changed. A
part begins at the first column of a line, outside of every bracket; where braces are never closed, also at
what looks like the head of a block: `train first ..`.
"""

from __future__ import annotations

import re
from itertools import pairwise

SIGNS = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"?|#[^\n]*|([{}\[\]()]|\n(?=[^\s#]))')
HEAD = re.compile(r"(?!(?:let|import|for|on|over)\b)[^\W\d]\w*[ \t]+(?!(?:let|import|for|on|over)\b)[^\W\d]")
OPENERS = {"}": "{", "]": "[", ")": "("}


def cut(text: str) -> list[tuple[int, int]]:
    """The (start, end) of each part, which together are the whole text."""
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
            _close(opened, OPENERS[sign])
    return list(pairwise([*starts, len(text)]))


def _close(opened: list[str], opener: str) -> None:
    """Close down to the innermost `opener`, if there is one; only a brace closes across braces."""
    depth = len(opened)
    while depth and opened[depth - 1] != opener:
        if opened[depth - 1] == "{":
            return
        depth -= 1
    if depth:
        del opened[depth - 1 :]
