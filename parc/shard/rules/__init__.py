"""How each operator acts on states, one axis at a time.

A rule looks at the states of the operands of one node on one axis and says which states it wants them in, and
what its results then are. It raises `Conflict` where there is no legal choice. Rules know nothing of other
axes or of other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from importlib import import_module

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from parc.capture.graph import get_argument, get_name, list_values
from parc.ir.states import FREE, I, R, S, State, V, join_states


@dataclass(frozen=True)
class Operand:
    """One tensor operand, as the rule sees it on its axis."""

    node: fx.Node
    shape: tuple[int, ...]
    state: State
    grad: bool
    varies: bool  # depends on the data, not on parameters and constants alone
    settled: State  # where a partial sum of this value should go: invariant, or sharded over the sequence


@dataclass(frozen=True)
class Site:
    """One node on one axis."""

    node: fx.Node
    operands: Sequence[Operand]
    shapes: Sequence[tuple[int, ...]]  # of the results
    lazy: bool = False  # inside an expert, where partial sums are never reduced
    dispatches: bool = False  # the axis carries experts
    splits_experts: bool = False  # the axis splits each expert

    @property
    def states(self) -> list[State]:
        """The states of the operands."""
        return [operand.state for operand in self.operands]


@dataclass(frozen=True)
class Decision:
    """The states that a rule wants the operands in, and those of the results."""

    wanted: Sequence[State]
    results: Sequence[State]


@dataclass
class Conflict(Exception):
    """No legal choice of states. `operands` are the positions at fault, `cure` is what to write instead."""

    reason: str
    operands: Sequence[int] = field(default=())
    cure: str | None = None

    def __str__(self) -> str:
        return self.reason


POINTWISE = "torch.Tag.pointwise"
"""Stands for all operators that have this tag and no rule of their name."""

Rule = Callable[[Site], Decision]
_rules: dict[str, Rule] = {}


def rule(*names: str, knows: Container[str] = ()) -> Callable[[Rule], Rule]:
    """Register a rule for operators by their names without overload: `aten::add`.

    `knows` are the arguments, besides tensors, that the rule holds for whatever they are: any other one must
    have its default value, or there is a conflict.
    """

    def register(function: Rule) -> Rule:
        @wraps(function)
        def checked(site: Site) -> Decision:
            _check_arguments(site, knows)
            decision = function(site)
            if site.lazy:
                _check_lazy(site, decision)
            return decision

        for name in names:
            assert name not in _rules, name
            _rules[name] = checked
        return checked

    return register


class AnyArgument:
    """Contains every name: no argument has a say in what other ranks hold."""

    def __contains__(self, name: object) -> bool:
        return True


ANY_ARGUMENT = AnyArgument()


def _check_arguments(site: Site, known: Container[str]) -> None:
    """Raise Conflict where an argument that the rule has not looked at says something."""
    target = site.node.target
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
        return
    for stated in target._schema.arguments:
        value = get_argument(site.node, stated.name)
        holds_tensors = any(isinstance(leaf, fx.Node) for leaf in pytree.tree_leaves(value))
        if stated.name not in known and not holds_tensors and value != stated.default_value:
            name = get_name(site.node).removeprefix("aten::")
            raise Conflict(f"`{name}` with `{stated.name} = {value}` has no rule", range(len(site.operands)))


def _check_lazy(site: Site, decision: Decision) -> None:
    pairs = enumerate(zip(site.states, decision.wanted, strict=True))
    reduced = [place for place, (before, after) in pairs if before.partial and not after.partial]
    if reduced:
        name = get_name(site.node).removeprefix("aten::")
        raise Conflict(f"`{name}` needs the whole of its operand, which is a partial sum", reduced)


def is_pointwise(node: fx.Node) -> bool:
    """Whether torch says that an operator computes every entry from one entry of each operand."""
    return isinstance(node.target, torch._ops.OpOverload) and torch.Tag.pointwise in node.target.tags


def _find_rule(node: fx.Node) -> Rule | None:
    """The rule of a node's operator: by its name, else by torch's tag for what acts on each entry."""
    known = _rules.get(get_name(node))
    return known or (_rules[POINTWISE] if is_pointwise(node) else None)


def decide(site: Site) -> Decision:
    """What the rule of a node's operator says. An operator without one takes whole operands alone.

    Raises Conflict where there is no legal choice, or none of the moves that are made.
    """
    _check_not_random(site)
    found = _find_rule(site.node)
    if found is None:
        reason = f"`{get_name(site.node).removeprefix('aten::')}` has no rule for sharded operands"
        return require_whole(site, reason, "write it with operators that have one")
    decision = found(site)
    for place, (before, after) in enumerate(zip(site.states, decision.wanted, strict=True)):
        if before.sharded and after.sharded and before != after:
            raise Conflict(f"a value is {before.describe()}, and needed {after.describe()}", [place])
    return decision


def decide_alone(site: Site) -> Decision:
    """What the rule says where each rank computes with its own tokens alone, and other ranks do the same.

    What would be a term of a sum over the tokens of all ranks is a value of the rank's own, and so is what is
    computed from one. Raises Conflict as `decide` does.
    """
    own = [operand.state == V for operand in site.operands]
    operands = [replace(each, state=R) if each.state == V else each for each in site.operands]
    decision = decide(replace(site, operands=operands))
    if any(alone and state != R for alone, state in zip(own, decision.wanted, strict=True)):
        raise Conflict("it needs more of a value than each rank has of its own tokens", [own.index(True)])
    wanted = [V if alone else state for alone, state in zip(own, decision.wanted, strict=True)]
    results = [
        V if state.partial or (any(own) and not state.sharded) else state for state in decision.results
    ]
    return Decision(wanted, results)


def _check_not_random(site: Site) -> None:
    """Raise Conflict where an operator draws random numbers, which no layout draws alike."""
    node = site.node
    tagged = isinstance(node.target, torch._ops.OpOverload) and _RANDOM in node.target.tags
    if tagged and not any(get_argument(node, name, default=1) == 0 for name in _PROBABILITIES):
        reason = f"`{get_name(node)}` is random, and would differ from rank to rank"
        raise Conflict(reason, range(len(site.operands)))


_RANDOM = torch.Tag.nondeterministic_seeded
_PROBABILITIES = ("p", "dropout", "dropout_p", "train")
"""Arguments that leave nothing to chance where they are zero."""


def is_rounding(site: Site) -> bool:
    """Whether numbers become whole numbers, or either become truths: no sum survives that."""
    result = min(map(_order_type, list_values(site.node)))
    return any(_order_type(operand.node.meta["val"]) > result for operand in site.operands)


def _order_type(tensor: Tensor) -> int:
    return 2 if tensor.is_floating_point() else int(tensor.dtype != torch.bool)


def require_whole(site: Site, reason: str, cure: str | None = None) -> Decision:
    """Every operand is whole on every rank already. Raises Conflict where one is not."""
    at_fault = [place for place, state in enumerate(site.states) if state.sharded or state.partial]
    if at_fault:
        raise Conflict(reason, at_fault, cure)
    return keep_alike(site, join_states(site.states))


def keep_alike(site: Site, state: State) -> Decision:
    """Every operand and every result in one state."""
    return Decision([state] * len(site.operands), [state] * len(site.shapes))


def settle(operand: Operand) -> State:
    """The operand's state where it must not be a term of a sum, nor undecided."""
    if operand.state == FREE:
        return I
    return operand.settled if operand.state.partial else operand.state


def settle_all(site: Site) -> Decision:
    """Every operand settled, and none of them sharded."""
    return keep_alike(site, join_states(map(settle, site.operands)))


def read_first(site: Site) -> State:
    """The state of the first operand, which may be a term of a sum; invariant where it is undecided."""
    state = site.operands[0].state
    return I if state == FREE else state


def drop_dims(state: State, dims: Iterable[int]) -> State:
    """The state of a value without some of its dims, of which none is sharded."""
    return S(state.dim - sum(dim < state.dim for dim in dims), state.blocks) if state.sharded else state


def load() -> None:
    """Import every module of rules."""
    for module in ("contract", "dims", "experts", "lookup", "pointwise", "reduce", "view"):
        import_module(f"{__name__}.{module}")
