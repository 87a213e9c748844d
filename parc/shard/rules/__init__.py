"""How each operator acts on states, one axis at a time.

A rule looks at the states of the operands of one node on one axis and says which states it wants them in, and what its
results then are. It raises `Conflict` where there is no legal choice. Rules know nothing of other axes or of other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import fx

from parc.shard.states import State


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
        return [operand.state for operand in self.operands]


@dataclass(frozen=True)
class Decision:
    wanted: Sequence[State]
    results: Sequence[State]


@dataclass
class Conflict(Exception):
    """No legal choice of states. `operands` are the positions at fault."""

    reason: str
    operands: Sequence[int] = field(default=())

    def __str__(self) -> str:
        return self.reason


Rule = Callable[[Site], Decision]
_rules: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators by their names without overload: `aten::add`."""

    def register(function: Rule) -> Rule:
        for name in names:
            assert name not in _rules, name
            _rules[name] = function
        return function

    return register


def rule_for(node: fx.Node) -> Rule | None:
    return _rules.get(name_of(node))


def name_of(node: fx.Node) -> str:
    target = node.target
    return target._schema.name if isinstance(target, torch._ops.OpOverload) else getattr(target, "__name__", str(target))


def whole(operand: Operand) -> State:
    """The operand's state where it must be whole on every rank."""
    from parc.shard.states import FREE, I

    if operand.state == FREE:
        return I
    return operand.settled if operand.state.partial else operand.state


def load() -> None:
    """Import every module of rules."""
    from parc.shard.rules import contract, dims, experts, lookup, pointwise, reduce, view

    for module in (contract, dims, experts, lookup, pointwise, reduce, view):
        assert module
