"""Rewriting: a placed body becomes the events of one rank."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from parc.events import Call, Collective, Compute, Event, Value
from parc.shard.body import shape, value
from parc.shard.names import Statements
from parc.shard.parallel import parallel_text
from parc.shard.placed import Fact, Layout, Move, Placed, States, issues, operands_of
from parc.shard.scope import Scope
from parc.shard.states import Kind, State, local_shape
from parc.shard.text import Text, Written, write

WIDTH = 96  # an inlined expression stays under this
call, experts = torch.ops.parc.call.default, torch.ops.parc.experts.default


class Writer:
    """Writes nodes of one body, in order, into `events`. Values that come from elsewhere are bound first."""

    def __init__(self, placed: Placed, layout: Layout, units: dict[int, str], nodes: Sequence[fx.Node]) -> None:
        self.placed, self.layout, self.units = placed, layout, units
        self.events: list[Event] = []
        self.statements = Statements(placed.body)
        self.scope = Scope(nodes, placed, self.statements)
        self.groups: set[str] = set()
        self.device = "self.device"
        self._received: dict[fx.Node, Value] = {}

    def bind(self, node: fx.Node, name: str) -> None:
        """A value that is there from the start: an input."""
        self.scope.bind(node, self._states(node), name)

    def receive(self, node: fx.Node, given: Value) -> None:
        """A value from the stage before, as it was given: perhaps settled there."""
        self.scope.bind(node, self._states(node), given.name)
        self._received[node] = given

    def refer(self, node: fx.Node, text: str) -> None:
        """A parameter or buffer."""
        self.scope.refer(node, text)

    def write(self, nodes: Sequence[fx.Node]) -> None:
        for node in nodes:
            if node.target is operator.getitem:
                continue
            elif node.target in (call, experts):
                self._call(node)
            else:
                self._compute(node)

    def result(self, node: fx.Node) -> str:
        return self.scope.text(node).text

    def given(self, node: fx.Node) -> Value:
        """A value as it is once all is written."""
        if node in self._received and not self.scope.has_settled(node):
            return Value(self.result(node), self._received[node].shape, self._received[node].dtype)
        states = self.placed.now(node).states if self.scope.has_settled(node) else self._states(node)
        return Value(self.result(node), self._local(node, states), str(value(node).dtype))

    def local(self, node: fx.Node) -> tuple[int, ...]:
        return self._local(node, self._states(node))

    def _call(self, node: fx.Node) -> None:
        operands = operands_of(node)
        texts = tuple(self._operand(node, place, operand).text for place, operand in enumerate(operands))
        if node.target is call:
            member = str(node.args[1])
            unit = self.units[id(self.placed.children[member])]
        else:
            member = self.placed.experts[node].path
            unit = self.units[id(self.placed.experts[node])]
        results = self._results(node)
        values = tuple(self._value(result, self._name(result, member.split(".")[-1])) for result in results)
        self.events.append(Call(values, member, texts, unit))

    def _compute(self, node: fx.Node) -> None:
        operands = operands_of(node)
        texts = [self._operand(node, place, operand) for place, operand in enumerate(operands)]
        left = iter(texts)
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda _: next(left))  # type: ignore[misc, arg-type, return-value]
        after = [local_shape(tuple(v.shape), self._by_axis(f.states), self.layout.sizes) for v, f in self._facts(node)]
        before = [self._local(operand, self._wanted(node, place)) for place, operand in enumerate(operands)]
        written = Written(node, args, kwargs, before, after, self.device)
        wanted = [dict(zip(self.layout.axes, self._wanted(node, place), strict=True)) for place in range(len(operands))]
        special = parallel_text(written, [shape(o) for o in operands], wanted, self.layout)
        text = special.text if special else write(written)
        inside = special.inside if special else ()
        self.groups |= set(special.axes) if special else set()
        if self._inlines(node, text, inside):
            self.scope.inline(node, text)
            return
        results = self._results(node)
        values = tuple(self._value(result, self._name(result, _base(node))) for result in results)
        self.events.append(Compute(values, text.text, inside))

    def _inlines(self, node: fx.Node, text: Text, inside: Sequence[Collective]) -> bool:
        """Whether the value is written where it is used: once, unmoved, in the same statement of the user's."""
        users = [user for user in node.users if user.op != "output"]
        if inside or len(users) != 1 or len(node.users) != 1 or not isinstance(node.meta["val"], Tensor):
            return False
        (user,) = users
        places = [place for place, operand in enumerate(operands_of(user)) if operand is node]
        if len(places) != 1 or self.placed.moves.get(user, ((),) * 99)[places[0]] or user.target in (call, experts):
            return False
        return user in self.scope.order and self.statements.together(node, user) and len(text.text) < WIDTH - 30

    def _results(self, node: fx.Node) -> list[fx.Node]:
        """The values that a node yields: itself, or its items in order."""
        if isinstance(node.meta["val"], Tensor):
            return [node]
        items = {user.args[1]: user for user in node.users if user.target is operator.getitem}
        return [items.get(place, node) for place in range(len(node.meta["val"]))]

    def _name(self, node: fx.Node, base: str) -> str:
        if node.target in (call,) or (not isinstance(node.meta["val"], Tensor)):
            return "_"
        return self.scope.name(node, self._states(node), self.statements.hints.get(node, base))

    def _operand(self, node: fx.Node, place: int, operand: fx.Node) -> Text:
        """The text of an operand once it is moved; each distinct move of a value is made once."""
        moves = [move for move in self.placed.moves[node][place] if issues(move)]
        text = self.scope.text(operand)
        for step, move in enumerate(moves):
            text = self._moved(operand, moves[: step + 1], move, text, self._wanted(node, place))
        return text

    def _moved(self, operand: fx.Node, made: list[Move], move: Move, text: Text, wanted: States) -> Text:
        key = tuple((m.axis, m.after) for m in made)
        known = self.scope.moved.get((operand, key))
        if known is not None:
            return known
        before = self._value_at(operand, made, text.text, done=False)
        name = self.scope.moved_name(operand, move, key, text)
        dim, outer = self._where(operand, made)
        kind = _kind(move)
        self.groups.add(move.axis)
        self.events.append(
            Collective(
                self._value_at(operand, made, name, done=True), before, kind, move.axis, f"{move.before} -> {move.after}", dim, outer,
                move.grad,
            )
        )
        self.scope.moved[operand, key] = Text(name)
        if move.before.partial and not move.after.partial:
            self.scope.settle(operand, Text(name))
        return Text(name)

    def _where(self, operand: fx.Node, made: Sequence[Move]) -> tuple[int, int]:
        """The dim that the last move acts on, and in how many blocks of this rank's own."""
        move = made[-1]
        state = move.after if move.after.sharded else move.before
        if not state.sharded:
            return 0, 1
        others = self._by_axis(self._states(operand))
        others |= {each.axis: each.after for each in made[:-1]}
        outer = state.outer
        for axis, other in others.items():
            if axis != move.axis and other.sharded and other.dim == state.dim and other.outer < state.outer:
                outer //= self.layout.sizes[axis]  # its ranks have shared out the blocks themselves
        return state.dim, outer

    def _value_at(self, operand: fx.Node, moves: Sequence[Move], name: str, done: bool) -> Value:
        """A value just before the last of its moves, or just after."""
        states = self._by_axis(self._states(operand))
        for move in moves:
            states[move.axis] = move.after
        if not done:
            states[moves[-1].axis] = moves[-1].before
        return Value(name, local_shape(shape(operand), states, self.layout.sizes), str(value(operand).dtype))

    def _value(self, node: fx.Node, name: str) -> Value:
        if not isinstance(node.meta["val"], Tensor):
            return Value("_", (), "")
        return Value(name, self._local(node, self._states(node)), str(value(node).dtype))

    def _facts(self, node: fx.Node) -> list[tuple[Tensor, Fact]]:
        val = node.meta["val"]
        values = [val] if isinstance(val, Tensor) else list(val)
        return list(zip(values, self.placed.facts[node], strict=True))

    def _states(self, node: fx.Node) -> States:
        return self.placed.fact(node).states

    def _by_axis(self, states: States) -> dict[str, State]:
        return dict(zip(self.layout.axes, states, strict=True))

    def _local(self, node: fx.Node, states: States) -> tuple[int, ...]:
        return local_shape(shape(node), self._by_axis(states), self.layout.sizes)

    def _wanted(self, node: fx.Node, place: int) -> States:
        return self.placed.wanted[node][place]


def _kind(move: Move) -> str:
    before, after = move.before.kind, move.after.kind
    return {
        (Kind.INVARIANT, Kind.REPLICATED): "replicate",
        (Kind.INVARIANT, Kind.SHARDED): "split",
        (Kind.REPLICATED, Kind.SHARDED): "take",
        (Kind.REPLICATED, Kind.PARTIAL): "first",
        (Kind.PARTIAL, Kind.INVARIANT): "all_reduce",
        (Kind.PARTIAL, Kind.SHARDED): "reduce_scatter",
        (Kind.SHARDED, Kind.REPLICATED): "all_gather",
        (Kind.SHARDED, Kind.INVARIANT): "gather",
    }[before, after]


def _base(node: fx.Node) -> str:
    target: Any = node.target
    return str(target._schema.name.split("::")[1]).strip("_")


