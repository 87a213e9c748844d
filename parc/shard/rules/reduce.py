"""Sums, means and extremes over dims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parc.capture.graph import argument, name_of
from parc.ir.states import FREE, I, P, S
from parc.shard.rules import Conflict, Decision, Site, rounds, rule, whole


def dims_of(arguments: Sequence[Any], keywords: Mapping[str, Any], ndim: int) -> tuple[list[int], bool]:
    """The dims that are reduced, and whether they are kept with size 1."""
    dims = arguments[0] if arguments else keywords.get("dim")
    keep = bool(arguments[1]) if len(arguments) > 1 else bool(keywords.get("keepdim", False))
    if isinstance(dims, int):
        dims = [dims]
    return ([dim % ndim for dim in dims] if dims else list(range(ndim))), keep


@rule("aten::sum", "aten::mean")
def total(site: Site) -> Decision:
    """Linear: a partial sum stays one, and a sum over a sharded dim becomes one."""
    if rounds(site):
        return extreme(site)
    state = I if site.operands[0].state == FREE else site.operands[0].state
    dims, keep = _dims(site)
    if not state.sharded:
        return Decision([state], [state])
    if state.dim in dims:
        return Decision([state], [P])
    gone = 0 if keep else sum(dim < state.dim for dim in dims)
    return Decision([state], [S(state.dim - gone, state.blocks)])


@rule(
    "aten::max",
    "aten::min",
    "aten::amax",
    "aten::amin",
    "aten::argmax",
    "aten::argmin",
    "aten::logsumexp",
    "aten::any",
    "aten::all",
    "aten::var",
    "aten::std",
    "aten::norm",
    "aten::linalg_vector_norm",
    "aten::prod",
)
def extreme(site: Site) -> Decision:
    if len(site.operands) == 2:
        raise Conflict(f"`{name_of(site.node)}` of two tensors has no rule: use maximum or minimum")
    """Reads all entries of a dim at once."""
    state = whole(site.operands[0])
    dims, keep = _dims(site)
    if state.sharded and state.dim in dims:
        raise Conflict(f"`{name_of(site.node)}` reads the whole of dim {state.dim}, which is sharded", [0])
    gone = 0 if keep else sum(dim < state.dim for dim in dims)
    result = S(state.dim - gone, state.blocks) if state.sharded else state
    return Decision([state], [result] * len(site.shapes))


def _dims(site: Site) -> tuple[list[int], bool]:
    asked = argument(site.node, "dim"), argument(site.node, "keepdim", False)
    return dims_of(asked, {}, len(site.operands[0].shape))
