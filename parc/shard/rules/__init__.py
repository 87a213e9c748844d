"""How each operator acts on states, one axis at a time.

A rule looks at the states of the operands of one node on one axis and says which states it wants them in, and
what its results then are. It raises `Conflict` where there is no legal choice. Rules know nothing of other
axes or of other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module

import torch
from torch import Tensor, fx

from parc.capture.graph import name_of
from parc.ir.states import FREE, I, State, join_states


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
        @wraps(function)
        def checked(site: Site) -> Decision:
            decision = function(site)
            if site.lazy:
                _check_lazy(site, decision)
            return decision

        for name in names:
            assert name not in _rules, name
            _rules[name] = checked
        return checked

    return register


def _check_lazy(site: Site, decision: Decision) -> None:
    asked = zip(site.operands, decision.wanted, strict=True)
    reduced = [
        place for place, (operand, want) in enumerate(asked) if operand.state.partial and not want.partial
    ]
    if reduced:
        raise Conflict(
            f"`{name_of(site.node)}` needs the whole of its operand, which is a partial sum", reduced
        )


def rule_for(node: fx.Node) -> Rule | None:
    return _rules.get(name_of(node))


def rounds(site: Site) -> bool:
    """Whether numbers become whole numbers, or either become truths: no sum survives that."""
    made = min(_fineness(value) for value in _values(site.node))
    return any(_fineness(operand.node.meta["val"]) > made for operand in site.operands)


def _fineness(tensor: Tensor) -> int:
    return 2 if tensor.is_floating_point() else int(tensor.dtype != torch.bool)


def _values(node: fx.Node) -> Sequence[Tensor]:
    value = node.meta["val"]
    return [value] if isinstance(value, Tensor) else list(value)


def unsharded(site: Site, reason: str) -> Decision:
    """Every operand is whole on every rank already. Raises Conflict where one is not."""
    at_fault = [place for place, state in enumerate(site.states) if state.sharded or state.partial]
    if at_fault:
        raise Conflict(reason, at_fault)
    state = join_states(site.states)
    return Decision([state] * len(site.operands), [state] * len(site.shapes))


def whole(operand: Operand) -> State:
    """The operand's state where it must not be a term of a sum, nor undecided."""
    if operand.state == FREE:
        return I
    return operand.settled if operand.state.partial else operand.state


def load() -> None:
    """Import every module of rules."""
    for module in ("contract", "dims", "experts", "lookup", "pointwise", "random", "reduce", "view"):
        import_module(f"{__name__}.{module}")
