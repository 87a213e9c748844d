"""What one rank holds of the values of a body: before a node, after its moves, and in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, fx

from parc.capture.graph import Body, shape, value
from parc.ir.program import OnAxis, Value
from parc.shard.placed import Layout, Move, Placed, States
from parc.shard.states import Kind, State, local_shape

MOVES = {
    (Kind.INVARIANT, Kind.REPLICATED): "replicate",
    (Kind.INVARIANT, Kind.SHARDED): "split",
    (Kind.REPLICATED, Kind.SHARDED): "take",
    (Kind.REPLICATED, Kind.PARTIAL): "first",
    (Kind.PARTIAL, Kind.INVARIANT): "all_reduce",
    (Kind.PARTIAL, Kind.SHARDED): "reduce_scatter",
    (Kind.SHARDED, Kind.REPLICATED): "all_gather",
    (Kind.SHARDED, Kind.INVARIANT): "gather",
}
"""The function of the runtime that moves a value from one state to another."""


class Shares:
    """Local shapes, and values as events name them."""

    def __init__(self, placed: Placed, layout: Layout) -> None:
        self.placed, self.layout = placed, layout
        self._rows = _rows(placed.body) if placed.body.is_expert else frozenset()

    def by_axis(self, states: States) -> dict[str, State]:
        """States by the names of their axes."""
        return dict(zip(self.layout.axes, states, strict=True))

    def local(self, node: fx.Node, states: States | None = None) -> tuple[int, ...]:
        """The shape of this rank's share of a value, as it is made where `states` do not say otherwise."""
        return self._local(shape(node), self.placed.fact(node).states if states is None else states)

    def of_results(self, node: fx.Node) -> list[tuple[int, ...]]:
        """The same for each value that a node yields."""
        val = node.meta["val"]
        values = [val] if isinstance(val, Tensor) else val
        facts = self.placed.facts[node]
        return [self._local(tuple(v.shape), fact.states) for v, fact in zip(values, facts, strict=True)]

    def made(self, node: fx.Node, name: str) -> Value:
        """A value as it is made; an item of a tuple that nobody reads has neither shape nor name."""
        if not isinstance(node.meta["val"], Tensor):
            return Value("_", (), "")
        return self._value(node, self.by_axis(self.placed.fact(node).states), name)

    def now(self, node: fx.Node, name: str) -> Value:
        """A value as it is since it was last settled."""
        return self._value(node, self.by_axis(self.placed.now(node).states), name)

    def before(self, operand: fx.Node, moves: Sequence[Move], name: str) -> Value:
        """A value just before the last of its moves."""
        last = moves[-1]
        return self._value(operand, self._after(operand, moves) | {last.axis: last.before}, name)

    def after(self, operand: fx.Node, moves: Sequence[Move], name: str) -> Value:
        """A value just after the last of its moves."""
        return self._value(operand, self._after(operand, moves), name)

    def where(self, operand: fx.Node, moves: Sequence[Move]) -> tuple[int, int]:
        """The dim that the last move acts on, and in how many blocks of this rank's own."""
        *made, last = moves
        state = last.after if last.after.sharded else last.before
        if not state.sharded:
            return 0, 1
        outer = state.outer
        for axis, other in self._after(operand, made).items():
            if axis != last.axis and other.sharded and other.dim == state.dim and other.outer < state.outer:
                outer //= self.layout.sizes[axis]  # its ranks have shared out the blocks themselves
        return state.dim, outer

    def _after(self, operand: fx.Node, moves: Sequence[Move]) -> dict[str, State]:
        return self.by_axis(self.placed.now(operand).states) | {move.axis: move.after for move in moves}

    def _value(self, node: fx.Node, states: Mapping[str, State], name: str) -> Value:
        local: tuple[int | str, ...] = local_shape(shape(node), states, self.layout.sizes)
        if node in self._rows:
            local = ("rows", *local[1:])  # how many, routing decides
        lies = () if self.placed.body.is_expert else _on_axes(states)
        return Value(name, local, str(value(node).dtype), lies)

    def _local(self, whole: tuple[int, ...], states: States) -> tuple[int, ...]:
        return local_shape(whole, self.by_axis(states), self.layout.sizes)


def _rows(body: Body) -> frozenset[fx.Node]:
    """The values of an expert's body that have a row for each row that it is given."""
    found = set(body.inputs())
    for node in body.operations():
        if not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return frozenset(found)


def _on_axes(states: Mapping[str, State]) -> tuple[OnAxis, ...]:
    return tuple(
        OnAxis(axis, _SAID[state.kind], state.dim, state.outer)
        for axis, state in states.items()
        if state.kind in _SAID
    )


_SAID: Mapping[Kind, Literal["replicated", "partial", "sharded"]] = {
    Kind.REPLICATED: "replicated",
    Kind.PARTIAL: "partial",
    Kind.SHARDED: "sharded",
}
