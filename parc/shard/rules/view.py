"""Operators that rename dims: nothing is computed, so partial sums pass."""

from __future__ import annotations

from typing import Any

from parc.capture.graph import argument, name_of
from parc.ir.states import FREE, I, S, State, shift
from parc.shard.rules import Conflict, Decision, Site, rule
from parc.shard.rules.pointwise import sharded_target, spread


@rule(
    "aten::view",
    "aten::reshape",
    "aten::flatten",
    "aten::unflatten",
    "aten::unsqueeze",
    "aten::_unsafe_view",
)
def view(site: Site) -> Decision:
    state = _of_first(site)
    if argument(site.node, "size") is None and argument(site.node, "dtype") is not None:
        raise Conflict("a view as another dtype has no rule", [0])
    return Decision([state], [viewed(state, site.operands[0].shape, site.shapes[0])])


@rule("aten::squeeze")
def squeeze(site: Site) -> Decision:
    """A share of one entry must not be mistaken for a dim of one."""
    state = _of_first(site)
    ndim = len(site.operands[0].shape)
    asked = argument(site.node, "dim")
    dims = range(ndim) if asked is None else [asked] if isinstance(asked, int) else asked
    if state.sharded and state.dim in [dim % ndim for dim in dims]:
        raise Conflict(
            f"`squeeze` asks about dim {state.dim}, which is sharded: name the dims of size 1", [0]
        )
    return Decision([state], [viewed(state, site.operands[0].shape, site.shapes[0])])


@rule("aten::view_as")
def view_as(site: Site) -> Decision:
    """Only the shape of the second operand is read, and that is known."""
    state = _of_first(site)
    return Decision([state, site.operands[1].state], [viewed(state, site.operands[0].shape, site.shapes[0])])


def viewed(state: State, before: tuple[int, ...], after: tuple[int, ...]) -> State:
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


@rule("aten::transpose", "aten::permute", "aten::t", "aten::movedim", "aten::mT", "aten::numpy_T")
def permute(site: Site) -> Decision:
    state = _of_first(site)
    if not state.sharded:
        return Decision([state], [state])
    return Decision([state], [S(_order(site).index(state.dim), state.blocks)])


def _order(site: Site) -> list[int]:
    """For every dim of the result, the dim of the operand that it was."""
    ndim = len(site.operands[0].shape)
    order = list(range(ndim))
    if name_of(site.node) == "aten::permute":
        return [dim % ndim for dim in _list(argument(site.node, "dims"))]
    if name_of(site.node) == "aten::movedim":
        return _moved(ndim, _list(argument(site.node, "source")), _list(argument(site.node, "destination")))
    if name_of(site.node) == "aten::numpy_T":
        return order[::-1]
    if name_of(site.node) == "aten::mT":
        return [*order[:-2], order[-1], order[-2]]
    first, second = argument(site.node, "dim0", 0) % ndim, argument(site.node, "dim1", 1) % ndim
    order[first], order[second] = order[second], order[first]
    return order


def _moved(ndim: int, source: list[int], destination: list[int]) -> list[int]:
    """The dims of `source` stand at `destination`, and the others keep their order."""
    sources = [dim % ndim for dim in source]
    others = iter(dim for dim in range(ndim) if dim not in sources)
    at = dict(zip((dim % ndim for dim in destination), sources, strict=True))
    return [at[dim] if dim in at else next(others) for dim in range(ndim)]


def _list(dims: Any) -> list[int]:
    return [dims] if isinstance(dims, int) else list(dims)


@rule("aten::expand", "aten::broadcast_to")
def expand(site: Site) -> Decision:
    state = _of_first(site)
    added = len(site.shapes[0]) - len(site.operands[0].shape)
    return Decision([state], [shift(state, added)])


@rule("aten::expand_as")
def expand_as(site: Site) -> Decision:
    """Only the shape of the second operand is read: its share of it where the result has one."""
    target = sharded_target(site)
    if target is not None:
        return spread(site, target)
    state = _of_first(site)
    return Decision([state, site.operands[1].state], [state])


def _of_first(site: Site) -> State:
    state = site.operands[0].state
    return I if state == FREE else state
