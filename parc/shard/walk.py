"""One walk over one body: states forward, node by node."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from parc.shard.body import Body, shape, value
from parc.shard.placed import Cut, Fact, Move, Placed, PlacedExperts, Refused, States, Uncut, operands_of
from parc.shard.routing import only_routes
from parc.shard.rules import Conflict, Decision, Operand, Site, name_of, rule_for
from parc.shard.rules.dims import Chunked
from parc.shard.states import FREE, I, P, R, S, State

if TYPE_CHECKING:
    from parc.shard.place import Placement

_ZEROS = ("aten::zeros", "aten::new_zeros", "aten::zeros_like")
_CONSTANTS = (*_ZEROS, "aten::detach", "aten::new_ones", "aten::new_full", "aten::ones_like", "aten::full_like", "aten::one_hot")


class Again(Exception):
    """A decision about a parameter came after it had been used: start over."""


class Walk:
    def __init__(self, placement: Placement, body: Body, inputs: tuple[Fact, ...], path: str, number: int) -> None:
        self.placement, self.layout = placement, placement.layout
        self.body, self.path, self.number = body, path, number
        self.placed = Placed(body)
        self._used: set[tuple[fx.Node, str]] = set()
        for node, fact in zip(body.inputs(), inputs, strict=True):
            self.placed.facts[node] = (fact,)
        for node in body.tensors():
            grad = not node.meta["buffer"] and value(node).is_floating_point()
            states = placement.first_states(self._key(node), node, path, body.is_expert)
            cut = self.layout.tensor is not None and states[self.layout.axes.index(self.layout.tensor)].sharded
            origins = frozenset({self._key(node)}) if cut else frozenset[str]()
            self.placed.facts[node] = (Fact(states, grad, varies=False, origins=origins),)

    def run(self) -> Placed:
        for node in self.body.operations():
            if node.target is operator.getitem:
                source, index = node.args
                assert isinstance(source, fx.Node) and isinstance(index, int)
                self.placed.facts[node] = (self.placed.facts[source][index],)
            elif node.target is torch.ops.parc.call.default:
                self._call(node)
            else:
                self._operator(node)
        return self.placed

    def _key(self, node: fx.Node) -> str:
        return f"{self.number}/{node.meta['tensor']}"

    def _call(self, node: fx.Node) -> None:
        """Partial sums are settled by the caller, so that all who read the value share one reduction; scalars pass."""
        name = node.args[1]
        assert isinstance(name, str)
        operands = operands_of(node)
        wanted = [self._settled_states(operand) for operand in operands]
        self._move(node, operands, wanted)
        inputs = tuple(replace(self.placed.now(o), states=states) for o, states in zip(operands, wanted, strict=True))
        child = self.placement.place(self.body.children[name], inputs, f"{self.path}{name}.")
        self.placed.children[name] = child
        self.placed.facts[node] = tuple(child.results())

    def _settled_states(self, operand: fx.Node) -> States:
        states = zip(self.placed.now(operand).states, self.layout.axes, strict=True)
        of = shape(operand)
        return tuple(self.layout.settled(of, axis) if of and state.partial else state for state, axis in states)

    def _operator(self, node: fx.Node) -> None:
        operands = operands_of(node)
        shapes = [tuple(v.shape) for v in _values(node)]
        decisions = []
        for axis in self.layout.axes:
            try:
                decisions.append(self._decide(self._site(node, operands, shapes, axis)))
            except Conflict as conflict:
                self._blame(conflict, node, operands, axis)
            self._check(node, shapes, decisions[-1].results, axis)
        self._move(node, operands, [tuple(d.wanted[place] for d in decisions) for place in range(len(operands))])
        self.placed.facts[node] = tuple(
            self._fact(node, operands, index, tuple(d.results[index] for d in decisions)) for index in range(len(shapes))
        )
        if node.target is torch.ops.parc.experts.default:
            self._experts(node, operands)

    def _decide(self, site: Site) -> Decision:
        rule = rule_for(site.node)
        if rule is not None:
            return rule(site)
        if any(state.sharded or state.partial for state in site.states):
            raise Conflict(f"`{name_of(site.node)}` has no rule for sharded operands")
        state = R if R in site.states else I
        return Decision([state] * len(site.operands), [state] * len(site.shapes))

    def _site(self, node: fx.Node, operands: Sequence[fx.Node], shapes: Sequence[tuple[int, ...]], axis: str) -> Site:
        place = self.layout.axes.index(axis)
        seen = []
        for operand in operands:
            fact, of = self.placed.now(operand), shape(operand)
            settled = self.layout.settled(of, axis)
            seen.append(Operand(operand, of, fact.states[place], fact.grad, fact.varies, settled))
        return Site(
            node,
            seen,
            shapes,
            lazy=self.body.is_expert,
            dispatches=axis == self.layout.experts,
            splits_experts=axis == self.layout.experts_tensor,
        )

    def _fact(self, node: fx.Node, operands: Sequence[fx.Node], index: int, states: States) -> Fact:
        facts = [self.placed.now(operand) for operand in operands]
        grad = any(fact.grad for fact in facts) and name_of(node) not in _CONSTANTS
        origins: frozenset[str] = frozenset()
        if self.layout.tensor and states[self.layout.axes.index(self.layout.tensor)].sharded:
            origins = origins.union(*(fact.origins for fact in facts))
        return Fact(
            states, grad and _values(node)[index].is_floating_point(), any(fact.varies for fact in facts), origins
        )

    def _move(self, node: fx.Node, operands: Sequence[fx.Node], wanted: Sequence[States]) -> None:
        """Record the moves of every operand. What is settled once stays settled for those who read it later."""
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
        if before == I and after.partial and name_of(operand) not in _ZEROS:
            moves.append(Move(axis, I, R, fact.grad))
            before = R
        if before.sharded and after.sharded and before != after:
            self._blame(Conflict(f"a value is {before}, and needed {after}"), node, [operand], axis)
        if before != after and not (after.partial and before == I):
            moves.append(Move(axis, before, after, fact.grad))
            self._check(node, [shape(operand)], [after], axis)
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
        self.placement.decide(self._key(node), axis, state)
        if state.sharded:
            self.placement.cuts[self._key(node)] = Cut(self.path + node.meta["tensor"], state, stated=False)
        if before == I and (node, axis) in self._used:
            raise Again
        if state.sharded:
            fact = self.placed.fact(node)
            self.placed.facts[node] = (replace(fact, origins=frozenset({self._key(node)})),)
            self._check(node, [shape(node)], [state], axis)
        return state

    def _now(self, node: fx.Node, place: int, state: State) -> None:
        fact = self.placed.now(node)
        states = (*fact.states[:place], state, *fact.states[place + 1 :])
        if "tensor" in node.meta:
            self.placed.facts[node] = (replace(self.placed.fact(node), states=states),)
        else:
            self.placed.settled[node] = states

    def _check(self, node: fx.Node, shapes: Sequence[tuple[int, ...]], states: Sequence[State], axis: str) -> None:
        """The entries of a sharded dim, block by block, divide over the axis."""
        size = self.layout.sizes[axis]
        for of, state in zip(shapes, states, strict=True):
            if state.sharded and of[state.dim] // state.outer % size:
                blocks = f" in each of {state.outer} blocks" if state.outer > 1 else ""
                what = f"`{self.path}{node.meta['tensor']}`" if "tensor" in node.meta else f"the result {of}"
                reason = f"dim {state.dim} of {what} has {of[state.dim] // state.outer} entries{blocks}, which {size} ranks cannot share evenly"
                self.placement.fault(Refused(reason, axis, self.body, node))

    def _blame(self, conflict: Conflict, node: fx.Node, operands: Sequence[fx.Node], axis: str) -> None:
        """Take back the cuts that led here, and start over. Raises Refused where there are none."""
        keys = frozenset[str]().union(*(self.placed.now(operand).origins for operand in operands))
        if axis != self.layout.tensor or not keys:
            raise Refused(conflict.reason, axis, self.body, node)
        for key in keys:
            cut = self.placement.cut(key)
            if isinstance(conflict, Chunked):
                self.placement.decide(key, axis, S(cut.state.dim, cut.state.outer * conflict.count))
            elif cut.stated:
                raise Refused(f"the plan cuts `{cut.name}`, but {conflict.reason}", axis, self.body, node)
            else:
                self.placement.decide(key, axis, I)
                routes = only_routes(self.placement.root, self.body, node)
                self.placement.uncut[key] = Uncut(cut.name, self.body, node, conflict.reason, routes)
        raise Again

    def _experts(self, node: fx.Node, operands: Sequence[fx.Node]) -> None:
        """Inside, rows are dealt out already: only the axis that splits each expert is propagated."""
        path = node.args[3]
        assert isinstance(path, str)
        tokens = self._after(node, 0)
        states = []
        for axis, state in zip(self.layout.axes, tokens, strict=True):
            whole = I if axis == self.layout.experts or state == I else R
            states.append(R if axis == self.layout.experts_tensor else whole)
        body = self.placement.experts[path]
        relative = path.removeprefix(self.path)
        inside = self.placement.place(body, (Fact(tuple(states), True, True),), f"{self.path}{relative}.")
        self._check_experts(node, inside)
        axis = self.layout.experts
        travel = axis is not None and tokens[self.layout.axes.index(axis)].sharded
        self.placed.experts[node] = PlacedExperts(relative, inside, axis, travel)

    def _check_experts(self, node: fx.Node, inside: Placed) -> None:
        axis = self.layout.experts_tensor
        if axis is not None:
            state = inside.results()[0].states[self.layout.axes.index(axis)]
            if not state.partial:
                raise Refused(f"an expert cannot be split over it: its result ends {state}", axis, self.body, node)

    def _after(self, node: fx.Node, place: int) -> list[State]:
        """The states of an operand once its moves are made."""
        return list(self.placed.wanted[node][place])


def _values(node: fx.Node) -> list[Tensor]:
    val = node.meta["val"]
    return [val] if isinstance(val, Tensor) else list(val)


__all__ = ["P", "Again", "Walk"]
