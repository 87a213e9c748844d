"""Names that the plan files declare, read from their texts, so that incomplete blocks count too."""

from __future__ import annotations

import re
from collections.abc import Iterator

from parc.lsp.completion.item import Item
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import CursorContext
from parc.lsp.edits.legal_values import PAIR
from parc.syntax.parts import split_text

DECLARATION = re.compile(r"^[ \t]*(machine|cluster|model|train|plan|let)[ \t]+([^\W\d]\w*)", re.M)
LEVELS = re.compile(r"\blevels\s*=\s*\[([^\]]*)")


def list_declared(analysis: Analysis, kind: str) -> Iterator[Item]:
    """The blocks of a kind, or constants, in the file and all that it imports."""
    for file in analysis.files.values():
        for found in DECLARATION.finditer(file.source.text):
            if found[1] == kind:
                yield Item(found[2], "name", found[2], detail=kind)


def list_levels(analysis: Analysis, context: CursorContext) -> list[str]:
    """The network levels of the cluster block that has the cursor."""
    found = LEVELS.search(find_block_text(analysis, context))
    return [name for name, _ in PAIR.findall(found[1])] if found else []


def list_cluster_levels(analysis: Analysis) -> list[str]:
    """The network levels of all plans; `node` where there is no plan."""
    levels = [level.name for plan in analysis.plans for level in plan.cluster.levels]
    return list(dict.fromkeys(levels)) or ["node"]


def find_block_text(analysis: Analysis, context: CursorContext) -> str:
    """The text of the top-level block that has the cursor."""
    top = context.top
    if top is None or not top.head:
        return ""
    text, start = analysis.source.text, top.head[0].start
    end = next((end for begin, end in split_text(text) if begin <= start < end), len(text))
    return text[start:end]
