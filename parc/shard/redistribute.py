"""Moves of operands to where an operator needs them, and decisions about parameters, which spare a move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import NoReturn

from torch import fx

from parc.capture.graph import get_shape, get_tensor_name, is_buffer, is_module_tensor
from parc.ir.states import FREE, I, R, State
from parc.shard.gradients import Flow, makes_zeros
from parc.shard.parameter_placements import ParameterPlacements, Refused, Restart
from parc.shard.placed import Move, Placed, States
from parc.shard.rules import Conflict


class MoveRecorder:
    """Records in `placed` how the operands of each of its nodes are moved."""

    def __init__(
        self, parameters: ParameterPlacements, placed: Placed, flow: Flow, path: str, number: int
    ) -> None:
        self.parameters, self.layout = parameters, placed.layout
        self.placed, self.flow, self.path, self.number = placed, flow, path, number
        self._used: set[tuple[fx.Node, str]] = set()

    def make_key(self, node: fx.Node) -> str:
        """Of a parameter in this way of calling the body: what is decided of it holds for this one alone."""
        return f"{self.number}/{get_tensor_name(node)}"

    def record(self, node: fx.Node, operands: Sequence[fx.Node], wanted: Sequence[States]) -> None:
        """The moves of every operand. What is settled once stays settled for those who read it later."""
        moves = []
        for operand, states in zip(operands, wanted, strict=True):
            of_axes: list[list[Move]] = []
            for place, axis in enumerate(self.layout.axes):
                of_axes.append(self._derive_moves(node, operand, place, states[place]))
                self._used.add((operand, axis))
            found = chain.from_iterable(_reduce_shares(of_axes))
            moves.append(tuple(sorted(found, key=lambda move: not move.settles)))  # a value is settled once
        self.placed.moves[node] = tuple(moves)
        self.placed.wanted[node] = tuple(wanted)

    def _derive_moves(self, node: fx.Node, operand: fx.Node, place: int, after: State) -> list[Move]:
        """The moves of an operand on the axis at `place`."""
        axis, fact = self.layout.axes[place], self.placed.get_settled(operand)
        before, grad = fact.states[place], fact.grad and self.flow.reaches_since(operand, node)
        if before != after and is_module_tensor(operand):
            before = self._decide(operand, axis, before, after)
            self._set_state(operand, place, before)
        moves: list[Move] = []
        if before.partial and not after.partial:
            settled = after if after.sharded else self.layout.settle(get_shape(operand), axis)
            moves.append(Move(axis, before, settled, grad))
            self._set_state(operand, place, settled)
            before = settled
        if before == I and after.partial and not makes_zeros(operand):
            moves.append(Move(axis, I, R, grad))
            before = R
        if before.sharded and after.sharded and before != after:
            moves.append(Move(axis, before, R, grad))
            before = R
        if before != after and not (after.partial and before == I):
            moves.append(Move(axis, before, after, grad))
            self.check_division(node, [get_shape(operand)], [after], axis)
        return moves

    def _decide(self, node: fx.Node, axis: str, before: State, after: State) -> State:
        """The state that a parameter has from now on: deciding it costs nothing, unlike a move."""
        if is_buffer(node):
            return I if after.sharded or after.partial else after
        if before not in (FREE, I):
            return before
        state = after if before == FREE and (after.sharded or after == I) else R
        self.parameters.decide(self.make_key(node), self.path + get_tensor_name(node), axis, state)
        if before == I and (node, axis) in self._used:
            raise Restart
        if state.sharded:
            fact = self.placed.get_fact(node)
            self.placed.facts[node] = (replace(fact, origins=frozenset({self.make_key(node)})),)
            self.check_division(node, [get_shape(node)], [state], axis)
        return state

    def _set_state(self, node: fx.Node, place: int, state: State) -> None:
        states = self.placed.get_settled(node).states
        states = (*states[:place], state, *states[place + 1 :])
        if is_module_tensor(node):
            self.placed.facts[node] = (replace(self.placed.get_fact(node), states=states),)
        else:
            self.placed.settled[node] = states

    def check_division(
        self, node: fx.Node, shapes: Sequence[tuple[int, ...]], states: Sequence[State], axis: str
    ) -> None:
        """The entries of a sharded dim, block by block, divide over the axis."""
        size = self.layout.sizes[axis]
        for sizes, state in zip(shapes, states, strict=True):
            entries = sizes[state.dim] // state.blocks if state.sharded else 0
            if entries % size:
                is_tensor = is_module_tensor(node)
                what = f"`{self.path}{get_tensor_name(node)}`" if is_tensor else f"the result {sizes}"
                blocks = f" in each of {state.blocks} blocks" if state.blocks > 1 else ""
                has = f"dim {state.dim} of {what} has {entries} entries{blocks}"
                reason = f"{has}, which {size} ranks cannot share evenly"
                self.parameters.refuse(reason, axis, self.placed.body, node)

    def retract(self, conflict: Conflict, node: fx.Node, operands: Sequence[fx.Node], axis: str) -> NoReturn:
        """Undo the cuts that led to a conflict, and start again. Raises Refused where there are none."""
        keys = frozenset[str]().union(*(self.placed.get_settled(operand).origins for operand in operands))
        if axis != self.layout.tensor or not keys:
            raise Refused(conflict.reason, axis, self.placed.body, node, conflict.cure)
        for key in sorted(keys):
            self.parameters.retract(key, conflict, axis, self.placed.body, node)
        raise Restart


def _reduce_shares(of_axes: Sequence[list[Move]]) -> list[list[Move]]:
    """The moves of each axis, in an order in which sums of whole tensors follow those that leave a share."""
    scatters = [moves for moves in of_axes if any(m.before.partial and m.after.sharded for m in moves)]
    if not scatters:
        return list(of_axes)
    last = next(place for place, moves in enumerate(of_axes) if moves is scatters[-1])
    early, late = of_axes[: last + 1], of_axes[last + 1 :]
    whole = [moves for moves in early if not any(m.before.sharded or m.after.sharded for m in moves)]
    return [*(moves for moves in early if moves not in whole), *whole, *late]
