"""Moves of operands to where an operator needs them, and decisions about parameters, which spare a move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import fx

from parc.capture.graph import name_of, shape
from parc.ir.states import FREE, I, R, State
from parc.shard.parameter_placements import Again, Decisions
from parc.shard.placed import Move, Placed, Refused, States
from parc.shard.rules import Conflict

ZEROS = ("aten::zeros", "aten::new_zeros", "aten::zeros_like")


class Moves:
    """Records in `placed` how the operands of each of its nodes are moved."""

    def __init__(self, decisions: Decisions, placed: Placed, path: str, number: int) -> None:
        self.decisions, self.layout = decisions, decisions.layout
        self.placed, self.path, self.number = placed, path, number
        self._used: set[tuple[fx.Node, str]] = set()

    def key(self, node: fx.Node) -> str:
        """A parameter of this way of calling the body: what is decided of it holds for this one alone."""
        return f"{self.number}/{node.meta['tensor']}"

    def record(self, node: fx.Node, operands: Sequence[fx.Node], wanted: Sequence[States]) -> None:
        """The moves of every operand. What is settled once stays settled for those who read it later."""
        moves = []
        for operand, states in zip(operands, wanted, strict=True):
            mine: list[Move] = []
            for place, axis in enumerate(self.layout.axes):
                mine += self._moves(node, operand, place, axis, states[place])
                self._used.add((operand, axis))
            moves.append(tuple(mine))
        self.placed.moves[node] = tuple(moves)
        self.placed.wanted[node] = tuple(wanted)

    def _moves(self, node: fx.Node, operand: fx.Node, place: int, axis: str, after: State) -> list[Move]:
        fact = self.placed.now(operand)
        before = fact.states[place]
        if before != after and operand.op == "placeholder" and "tensor" in operand.meta:
            before = self._decided(operand, axis, before, after)
            self._now(operand, place, before)
        moves: list[Move] = []
        if before.partial and not after.partial:
            settled = after if after.sharded else self.layout.settled(shape(operand), axis)
            moves.append(Move(axis, before, settled, fact.grad))
            self._now(operand, place, settled)
            before = settled
        if before == I and after.partial and name_of(operand) not in ZEROS:
            moves.append(Move(axis, I, R, fact.grad))
            before = R
        if before.sharded and after.sharded and before != after:
            reason = f"a value is {before.describe()}, and needed {after.describe()}"
            self.blame(Conflict(reason), node, [operand], axis)
        if before != after and not (after.partial and before == I):
            moves.append(Move(axis, before, after, fact.grad))
            self.check(node, [shape(operand)], [after], axis)
        return moves

    def _decided(self, node: fx.Node, axis: str, before: State, after: State) -> State:
        """The state that a parameter has from now on: deciding it costs nothing, unlike a move."""
        if node.meta["buffer"]:
            return I if after.sharded or after.partial else after
        if before == FREE:
            state = after if after.sharded or after == I else R
        elif before == I:
            state = R
        else:
            return before
        self.decisions.decide(self.key(node), self.path + node.meta["tensor"], axis, state)
        if before == I and (node, axis) in self._used:
            raise Again
        if state.sharded:
            fact = self.placed.fact(node)
            self.placed.facts[node] = (replace(fact, origins=frozenset({self.key(node)})),)
            self.check(node, [shape(node)], [state], axis)
        return state

    def _now(self, node: fx.Node, place: int, state: State) -> None:
        fact = self.placed.now(node)
        states = (*fact.states[:place], state, *fact.states[place + 1 :])
        if "tensor" in node.meta:
            self.placed.facts[node] = (replace(self.placed.fact(node), states=states),)
        else:
            self.placed.settled[node] = states

    def check(
        self, node: fx.Node, shapes: Sequence[tuple[int, ...]], states: Sequence[State], axis: str
    ) -> None:
        """The entries of a sharded dim, block by block, divide over the axis."""
        size = self.layout.sizes[axis]
        for of, state in zip(shapes, states, strict=True):
            if state.sharded and of[state.dim] // state.blocks % size:
                what = f"`{self.path}{node.meta['tensor']}`" if "tensor" in node.meta else f"the result {of}"
                has = f"{of[state.dim] // state.blocks} entries"
                has += f" in each of {state.blocks} blocks" if state.blocks > 1 else ""
                reason = f"dim {state.dim} of {what} has {has}, which {size} ranks cannot share evenly"
                self.decisions.fault(Refused(reason, axis, self.placed.body, node))

    def blame(self, conflict: Conflict, node: fx.Node, operands: Sequence[fx.Node], axis: str) -> None:
        """Take back the cuts that led here, and start over. Raises Refused where there are none."""
        keys = frozenset[str]().union(*(self.placed.now(operand).origins for operand in operands))
        if axis != self.layout.tensor or not keys:
            raise Refused(conflict.reason, axis, self.placed.body, node)
        for key in sorted(keys):
            self.decisions.take_back(key, conflict, axis, self.placed.body, node)
        raise Again
