"""Operators that rename dims: nothing is computed, so partial sums pass."""

from __future__ import annotations

from torch import fx

from parc.capture.graph import get_argument, get_name
from parc.ir.states import S, State, shift
from parc.shard.rules import ANY_ARGUMENT, Conflict, Decision, Site, read_first, rule
from parc.shard.rules.pointwise import find_target, shard_operands


@rule(
    *("aten::view", "aten::reshape", "aten::flatten", "aten::unflatten", "aten::unsqueeze"),
    "aten::_unsafe_view",
    knows=("size", "shape", "sizes", "dim", "dtype", "start_dim", "end_dim"),
)
def view(site: Site) -> Decision:
    state = read_first(site)
    if get_argument(site.node, "size") is None and get_argument(site.node, "dtype") is not None:
        raise Conflict("a view as another dtype has no rule", [0])
    return Decision([state], [map_view(state, site.operands[0].shape, site.shapes[0])])


@rule("aten::squeeze", knows=("dim",))
def squeeze(site: Site) -> Decision:
    """A share of one entry must not be mistaken for a dim of one."""
    state = read_first(site)
    ndim = len(site.operands[0].shape)
    asked = get_argument(site.node, "dim")
    dims = range(ndim) if asked is None else [asked] if isinstance(asked, int) else asked
    if state.sharded and state.dim in [dim % ndim for dim in dims]:
        reason = f"`squeeze` asks about dim {state.dim}, which is sharded: name the dims of size 1"
        raise Conflict(reason, [0])
    return Decision([state], [map_view(state, site.operands[0].shape, site.shapes[0])])


@rule("aten::view_as")
def view_as(site: Site) -> Decision:
    """Only the shape of the second operand is read, and that is known."""
    state = read_first(site)
    return Decision(
        [state, site.operands[1].state], [map_view(state, site.operands[0].shape, site.shapes[0])]
    )


def map_view(state: State, before: tuple[int, ...], after: tuple[int, ...]) -> State:
    """Where a sharded dim lands when a tensor of shape `before` is seen as `after`.

    The dims in front of the shards span `prefix` blocks in either shape; the shards start in the dim of
    `after` in which that product is reached.
    """
    if not state.sharded:
        return state
    prefix = state.blocks
    for size in before[: state.dim]:
        prefix *= size
    passed = 1
    for dim, size in enumerate(after):
        if passed * size > prefix:
            if prefix % passed:
                raise Conflict(f"a view of {before} as {after} cuts across the shards", [0])
            return S(dim, prefix // passed)
        passed *= size
    raise Conflict(f"a view of {before} as {after} loses the sharded dim", [0])


@rule(
    "aten::transpose",
    "aten::permute",
    "aten::t",
    "aten::movedim",
    "aten::mT",
    "aten::numpy_T",
    knows=ANY_ARGUMENT,
)
def permute(site: Site) -> Decision:
    state = read_first(site)
    order = _find_order(site.node, len(site.operands[0].shape)) if state.sharded else []
    return Decision([state], [S(order.index(state.dim), state.blocks) if state.sharded else state])


def _find_order(node: fx.Node, ndim: int) -> list[int]:
    """For every dim of the result, the dim of the operand that it was."""

    def read(name: str, default: int = 0) -> list[int]:
        dims = get_argument(node, name, default)
        return [dim % ndim for dim in ([dims] if isinstance(dims, int) else dims)]

    order = list(range(ndim))
    match get_name(node):
        case "aten::permute":
            return read("dims")
        case "aten::movedim":
            sources = read("source")
            others = iter(dim for dim in order if dim not in sources)
            at = dict(zip(read("destination"), sources, strict=True))
            return [at[dim] if dim in at else next(others) for dim in order]
        case "aten::numpy_T":
            return order[::-1]
        case "aten::mT":
            return [*order[:-2], order[-1], order[-2]]
    (first,), (second,) = read("dim0"), read("dim1", 1)
    order[first], order[second] = order[second], order[first]
    return order


@rule("aten::expand", "aten::broadcast_to", knows=("size", "implicit"))
def expand(site: Site) -> Decision:
    state = read_first(site)
    added = len(site.shapes[0]) - len(site.operands[0].shape)
    return Decision([state], [shift(state, added)])


@rule("aten::expand_as")
def expand_as(site: Site) -> Decision:
    """Only the shape of the second operand is read: its share of it where the result has one."""
    target = find_target(site)
    if target is not None:
        return shard_operands(site, target)
    state = read_first(site)
    return Decision([state, site.operands[1].state], [state])
