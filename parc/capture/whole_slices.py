"""Slices that take everything, which a capture does not show.

`table[:n]` of a table that has n entries is no operation: Python's binding returns the table. Where another
batch makes it one, the first capture gets the slice as well, so that its end is known to depend on the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from parc.capture.graph import get_shape
from parc.capture.sizes import Comparison

SLICE = torch.ops.aten.slice.Tensor


def insert_whole_slices(graph: fx.Graph, other: fx.Graph, comparison: Comparison) -> None:
    """Insert the slices that only the other capture of the same module shows, if nothing else differs."""
    same = _align(graph, other, comparison)
    if same is None or None not in same.values():
        return
    inserted: dict[fx.Node, fx.Node] = {}
    last = next(iter(graph.nodes))
    for theirs, mine in same.items():
        if mine is None:
            operand, dim = _read_slice(theirs)
            whole = inserted.get(operand) or _find_origin(operand, same)
            with graph.inserting_after(last):
                mine = graph.call_function(SLICE, (whole, dim, 0, get_shape(whole)[dim]))
            mine.meta.update(val=whole.meta["val"], stack_trace=theirs.meta.get("stack_trace"))
            inserted[theirs] = mine
        else:
            mine.args = _redirect(mine.args, theirs.args, inserted)
            mine.kwargs = _redirect(mine.kwargs, theirs.kwargs, inserted)
        last = mine


def _align(graph: fx.Graph, other: fx.Graph, comparison: Comparison) -> dict[fx.Node, fx.Node | None] | None:
    """For every node of `other` that of `graph` at its place; None for a slice that takes everything there.

    The result is None where the graphs differ in more than that.
    """
    left = list(graph.nodes)
    same: dict[fx.Node, fx.Node | None] = {}
    for theirs in other.nodes:
        mine = left[0] if left else None
        if mine is not None and mine.target == theirs.target and _is_like(mine, theirs):
            same[theirs] = left.pop(0)
        elif theirs.target is SLICE and _takes_everything(theirs, same, comparison):
            same[theirs] = None
        else:
            return None
    return None if left else same


def _is_like(mine: fx.Node, theirs: fx.Node) -> bool:
    """Whether two slices are along one dim; all else is compared later."""
    return mine.target is not SLICE or _read_slice(mine)[1] == _read_slice(theirs)[1]


def _takes_everything(
    theirs: fx.Node, same: Mapping[fx.Node, fx.Node | None], comparison: Comparison
) -> bool:
    """Whether a slice of the other capture may take all of its operand in this one."""
    operand, dim = _read_slice(theirs)
    start, end, *step = theirs.args[2:]
    size = get_shape(_find_origin(operand, same))[dim]
    return start in (0, None) and not step and isinstance(end, int) and bool(comparison.explain(size, end))


def _read_slice(node: fx.Node) -> tuple[fx.Node, int]:
    """What a slice is of, and along which dim."""
    operand, dim = node.args[:2]
    assert isinstance(operand, fx.Node)
    assert isinstance(dim, int)
    return operand, dim


def _find_origin(theirs: fx.Node, same: Mapping[fx.Node, fx.Node | None]) -> fx.Node:
    """What a node of the other capture is in this one, but for slices that take everything."""
    while (mine := same[theirs]) is None:
        theirs, _ = _read_slice(theirs)
    return mine


def _redirect(mine: Any, theirs: Any, inserted: Mapping[fx.Node, fx.Node]) -> Any:
    """Arguments with the inserted slices where the other capture has them."""
    if isinstance(mine, fx.Node):
        return inserted.get(theirs, mine)
    if isinstance(mine, (list, tuple)):
        return type(mine)(_redirect(one, other, inserted) for one, other in zip(mine, theirs, strict=True))
    if isinstance(mine, dict):
        return {key: _redirect(value, theirs[key], inserted) for key, value in mine.items()}
    return mine
