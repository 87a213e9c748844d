"""What one rank holds of the values of a body: before a node, after its moves, and in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, fx

from parc.capture.graph import Body, get_shape, get_value
from parc.capture.sizes import Size
from parc.ir.program import Value
from parc.ir.states import FREE, I, State, derive_local_shape
from parc.lower.batch_sizes import divide, find_sizes, list_sizes
from parc.shard.placed import Move, Placed, States


class Shares:
    """Local shapes, and values as events name them."""

    def __init__(self, placed: Placed) -> None:
        self.placed, self.layout = placed, placed.layout
        self._rows = _find_row_values(placed.body) if placed.body.is_expert else frozenset()

    def key_by_axis(self, states: States) -> dict[str, State]:
        """States by the names of their axes."""
        return dict(zip(self.layout.axes, states, strict=True))

    def divide(self, node: fx.Node, states: States) -> tuple[Size, ...]:
        """The sizes of this rank's share of a value."""
        return divide(find_sizes(node), self.key_by_axis(states), self.layout.sizes)

    def divide_results(self, node: fx.Node) -> list[tuple[Size, ...]]:
        """The same for each value that a node yields, as it is made."""
        return [
            divide(sizes, self.key_by_axis(fact.states), self.layout.sizes)
            for sizes, fact in zip(list_sizes(node), self.placed.facts[node], strict=True)
        ]

    def describe_as_made(self, node: fx.Node, name: str) -> Value:
        """A value as it is made; an item of a tuple that nobody reads has neither shape nor name."""
        if not isinstance(node.meta["val"], Tensor):
            return Value("_", (), "")
        return self.describe_in(node, self.key_by_axis(self.placed.get_fact(node).states), name)

    def describe_settled(self, node: fx.Node, name: str) -> Value:
        """A value as it is since it was last settled."""
        return self.describe_in(node, self.key_by_axis(self.placed.get_settled(node).states), name)

    def describe_in(self, node: fx.Node, states: Mapping[str, State], name: str) -> Value:
        """A value in some states."""
        local: tuple[int | str, ...] = derive_local_shape(get_shape(node), states, self.layout.sizes)
        if node in self._rows:
            local = ("rows", *local[1:])  # how many, routing decides
        known = {} if self.placed.body.is_expert else states
        varying = {axis: state for axis, state in known.items() if state not in (I, FREE)}
        return Value(name, local, str(get_value(node).dtype), varying)

    def list_states(self, node: fx.Node, place: int) -> list[dict[str, State]]:
        """The states of an operand before each move that is made of it, and behind the last.

        A move that issues nothing leaves the value as it is.
        """
        states = self.key_by_axis(self.placed.wanted[node][place])
        moves = self.placed.moves[node][place]
        for move in reversed(moves):
            states[move.axis] = move.before
        found = [states]
        for move in (move for move in moves if move.has_effect):
            found.append(found[-1] | {move.axis: move.after})
        return found

    def find_conversion(self, move: Move, before: Mapping[str, State]) -> tuple[State, State]:
        """The states before and after a move, with the blocks of this rank's own share."""
        others = {axis: state for axis, state in before.items() if axis != move.axis}
        return self._own_blocks(move.before, others), self._own_blocks(move.after, others)

    def _own_blocks(self, state: State, others: Mapping[str, State]) -> State:
        blocks = state.blocks
        for axis, other in others.items():
            if other.sharded and other.dim == state.dim and other.blocks < state.blocks:
                blocks //= self.layout.sizes[axis]  # its ranks have divided the blocks among themselves
        return replace(state, blocks=blocks)


def _find_row_values(body: Body) -> frozenset[fx.Node]:
    """The values of an expert's body that have a row for each row that it is given."""
    found = set(body.inputs())
    for node in body.operations():
        if not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return frozenset(found)
