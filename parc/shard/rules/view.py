"""Operators that rename dims: nothing is computed, so partial sums pass."""

from __future__ import annotations

from parc.shard.rules import Conflict, Decision, Site, rule
from parc.shard.states import FREE, I, R, S, State


@rule(
    "aten::view", "aten::reshape", "aten::flatten", "aten::unflatten", "aten::squeeze", "aten::unsqueeze", "aten::_unsafe_view"
)
def view(site: Site) -> Decision:
    state = _of_first(site)
    return Decision([state], [viewed(state, site.operands[0].shape, site.shapes[0])])


@rule("aten::view_as", "aten::reshape_as")
def view_as(site: Site) -> Decision:
    """Only the shape of the second operand is read, and that is known."""
    state = _of_first(site)
    return Decision([state, site.operands[1].state], [viewed(state, site.operands[0].shape, site.shapes[0])])


def viewed(state: State, before: tuple[int, ...], after: tuple[int, ...]) -> State:
    """Where a sharded dim lands when a tensor of shape `before` is seen as `after`.

    The dims in front of the shards span `prefix` blocks in either shape; the shards start in the dim of `after` in
    which that product is reached.
    """
    if not state.sharded:
        return state
    prefix = state.outer
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


@rule("aten::transpose", "aten::permute", "aten::t", "aten::movedim")
def permute(site: Site) -> Decision:
    state = _of_first(site)
    if not state.sharded:
        return Decision([state], [state])
    return Decision([state], [S(_order(site).index(state.dim), state.outer)])


def _order(site: Site) -> list[int]:
    """For every dim of the result, the dim of the operand that it was."""
    ndim = len(site.operands[0].shape)
    order = list(range(ndim))
    arguments = site.node.args[1:]
    name = site.node.target._schema.name  # type: ignore[union-attr]
    if name == "aten::permute":
        (dims,) = arguments
        assert isinstance(dims, (list, tuple))
        return [int(dim) % ndim for dim in dims]  # type: ignore[call-overload]
    first, second = (int(dim) % ndim for dim in (arguments or (0, 1)))  # type: ignore[call-overload]
    if name == "aten::movedim":
        order.insert(second, order.pop(first))
    else:
        order[first], order[second] = order[second], order[first]
    return order


@rule("aten::expand", "aten::expand_as", "aten::broadcast_to")
def expand(site: Site) -> Decision:
    state = _of_first(site)
    added = len(site.shapes[0]) - len(site.operands[0].shape)
    result = S(state.dim + added, state.outer) if state.sharded else state
    return Decision([state, *(operand.state for operand in site.operands[1:])], [result])


def _of_first(site: Site) -> State:
    state = site.operands[0].state
    return I if state == FREE else state


__all__ = ["R", "view", "viewed"]
