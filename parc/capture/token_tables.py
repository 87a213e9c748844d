"""How many ids a captured model knows: the rows of the tables that its tokens are looked up in."""

from __future__ import annotations

from collections.abc import Iterator, Set

from torch import fx

from parc.capture.custom_ops import CALL
from parc.capture.graph import Body, get_name, get_shape, list_operands

SAME_IDS = {
    f"aten::{name}"
    for name in (
        *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "squeeze", "transpose"),
        *("permute", "t", "contiguous", "clone", "alias", "detach", "to", "_to_copy", "slice", "select"),
    )
}
"""Operators whose results have no other ids than their operands."""


def count_known_ids(root: Body) -> int | None:
    """The rows of the smallest table that tokens are looked up in; None where they are in none."""
    return min(_list_rows(root, {root.inputs()[0]}), default=None)


def _list_rows(body: Body, ids: Set[fx.Node]) -> Iterator[int]:
    """The rows of the tables that `ids`, and what is a view of them, are looked up in."""
    found = set(ids)
    for node in body.operations():
        operands = list_operands(node)
        if get_name(node) == "aten::embedding" and operands[1] in found:
            yield get_shape(operands[0])[0]
        elif node.target is CALL:
            child = body.children[str(node.args[1])]
            given = zip(child.inputs(), operands, strict=True)
            yield from _list_rows(child, {own for own, operand in given if operand in found})
        elif get_name(node) in SAME_IDS and operands[:1] and operands[0] in found:
            found.add(node)
