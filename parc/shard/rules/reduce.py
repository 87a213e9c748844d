"""Sums, means and extremes over dims."""

from __future__ import annotations

from torch import fx

from parc.capture.graph import get_argument, get_name
from parc.ir.states import P
from parc.shard.rules import Conflict, Decision, Site, drop_dims, is_rounding, read_first, rule, settle


@rule("aten::sum", "aten::mean", knows=("dim", "keepdim", "dtype"))
def add_up(site: Site) -> Decision:
    """Linear: a partial sum stays one, and a sum over a sharded dim becomes one."""
    if is_rounding(site):
        return find_extreme(site)
    state, (dims, kept) = read_first(site), read_dims(site.node, len(site.operands[0].shape))
    if state.sharded and state.dim in dims:
        return Decision([state], [P])
    return Decision([state], [state if kept else drop_dims(state, dims)])


@rule(
    *("aten::max", "aten::min", "aten::amax", "aten::amin", "aten::argmax", "aten::argmin"),
    *("aten::logsumexp", "aten::any", "aten::all", "aten::var", "aten::std", "aten::norm"),
    *("aten::linalg_vector_norm", "aten::prod"),
    knows=("dim", "keepdim", "dtype", "p", "ord", "unbiased", "correction"),
)
def find_extreme(site: Site) -> Decision:
    """Reads all entries of a dim at once."""
    name = get_name(site.node)
    if len(site.operands) == 2:
        raise Conflict(f"`{name}` of two tensors has no rule: use maximum or minimum")
    state, (dims, kept) = settle(site.operands[0]), read_dims(site.node, len(site.operands[0].shape))
    if state.sharded and state.dim in dims:
        raise Conflict(f"`{name}` reads the whole of dim {state.dim}, which is sharded", [0])
    return Decision([state], [state if kept else drop_dims(state, dims)] * len(site.shapes))


def read_dims(node: fx.Node, ndim: int) -> tuple[list[int], bool]:
    """The dims that an operator reduces, and whether they are kept with size 1."""
    dims = get_argument(node, "dim")
    listed = [dims] if isinstance(dims, int) else dims or range(ndim)
    return [dim % ndim for dim in listed], bool(get_argument(node, "keepdim", False))
