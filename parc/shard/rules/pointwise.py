"""Operators that act element by element, with broadcasting."""

from __future__ import annotations

from parc.capture.graph import get_argument, get_name, get_value, list_values
from parc.ir.states import P, R, S, State, join_states, shift
from parc.shard.rules import (
    ANY_ARGUMENT,
    POINTWISE,
    Conflict,
    Decision,
    Operand,
    Site,
    is_rounding,
    keep_alike,
    rule,
    settle,
)

# f(x + y) = f(x) + f(y) in all tensor operands at once.
ADDITIVE = (
    *("aten::add", "aten::sub", "aten::neg", "aten::clone", "aten::contiguous", "aten::detach"),
    *("aten::to", "aten::_to_copy", "aten::dropout"),  # which are not random here
)
# Additive in each operand alone.
PRODUCTS = ("aten::mul", "aten::div")
_UNTAGGED = (
    *("__and__", "__or__", "__xor__", "floor_divide", "hardswish", "log_sigmoid", "masked_fill"),
    *("rsub", "type_as", "where"),
)
"""Operators that act on each entry, with overloads that torch's tag does not say so of."""


@rule(*ADDITIVE, knows=ANY_ARGUMENT)
def add(site: Site) -> Decision:
    """A sum of partial sums is one; anything else joins a partial sum once that is reduced.

    A partial sum is reduced in the type that its terms have, before it is converted to one of fewer bits.
    """
    target = find_target(site)
    if target is not None:
        return shard_operands(site, target)
    partial = [operand.state.partial for operand in site.operands]
    if not any(partial):
        return keep_whole(site)
    free = not site.shapes[0] and all(o.state.partial or not o.grad for o in site.operands)
    additive = not (_has_offset(site) or is_rounding(site) or _narrows(site))
    if (all(partial) or free or site.lazy) and additive:
        return Decision([P] * len(partial), [P])
    return _settle_partial(site)


@rule(*PRODUCTS, knows=("other", "rounding_mode"))
def multiply(site: Site) -> Decision:
    """A partial sum times a whole value is a partial sum; of two, the one without a gradient is reduced."""
    target = find_target(site)
    if target is not None:
        return shard_operands(site, target)
    partial = [place for place, operand in enumerate(site.operands) if operand.state.partial]
    divided = get_name(site.node) == "aten::div" and len(site.operands) == 2
    if not partial or (divided and 1 in partial) or get_argument(site.node, "rounding_mode"):
        return _settle_partial(site)
    kept = max(partial, key=lambda place: (site.operands[place].grad, -place))
    return Decision([P if place == kept else R for place in range(len(site.operands))], [P])


@rule(POINTWISE, *(f"aten::{name}" for name in _UNTAGGED), knows=ANY_ARGUMENT)
def act_pointwise(site: Site) -> Decision:
    """Every entry of the result is computed from one entry of each operand."""
    target = find_target(site)
    if target is not None:
        return shard_operands(site, target)
    return _settle_partial(site)


def _settle_partial(site: Site) -> Decision:
    settled = (
        _shift_to_result(site, operand.settled, operand)
        for operand in site.operands
        if operand.state.partial and operand.settled.sharded
    )
    target = next(settled, None)
    return keep_whole(site) if target is None else shard_operands(site, target)


def _has_offset(site: Site) -> bool:
    """Whether a number is added: `x + 1e-6` is not additive."""
    adds = get_name(site.node) in ("aten::add", "aten::sub")
    return adds and any(isinstance(argument, (int, float)) for argument in site.node.args[:2])


def _narrows(site: Site) -> bool:
    """Whether floating-point numbers get fewer bits; inside an expert terms of sums are never reduced.

    Those of a scalar, such as a balance loss, are added up over layers before they are.
    """
    result = list_values(site.node)[0]
    operands = (get_value(operand.node) for operand in site.operands)
    return bool(result.ndim and not site.lazy) and any(
        each.is_floating_point() and result.is_floating_point() and each.itemsize > result.itemsize
        for each in operands
    )


def _shift_to_result(site: Site, state: State, operand: Operand) -> State:
    return shift(state, len(site.shapes[0]) - len(operand.shape))


def find_target(site: Site) -> State | None:
    """The one way in which the operands are sharded, in dims of the result; None where none is."""
    targets: dict[State, list[int]] = {}
    for place, operand in enumerate(site.operands):
        if operand.state.sharded:
            targets.setdefault(_shift_to_result(site, operand.state, operand), []).append(place)
    if len(targets) > 1:
        ways = " and ".join(target.describe() for target in targets)
        raise Conflict(f"its operands are {ways}", [place for places in targets.values() for place in places])
    return next(iter(targets), None)


def shard_operands(site: Site, target: State) -> Decision:
    """Every operand that has the sharded dim takes its share of it; the others are whole."""
    wanted = []
    for operand in site.operands:
        dim = target.dim - (len(site.shapes[0]) - len(operand.shape))
        has = dim >= 0 and operand.shape[dim] != 1
        wanted.append(S(dim, target.blocks) if has else R)
    return Decision(wanted, [target] * len(site.shapes))


def keep_whole(site: Site) -> Decision:
    """All whole: invariant, or replicated where one of them is."""
    settled = map(settle, site.operands)
    return keep_alike(site, join_states(state for state in settled if not state.sharded))
