"""Cutting the whole model into pipeline stages."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import accumulate

from torch import fx

from parc.events import Call, Event, Recv, Repeat, Send, Stage, Unit, Value
from parc.shard.body import value
from parc.shard.place import user_name
from parc.shard.placed import Placed
from parc.shard.units import Units
from parc.shard.write import call


class Cutter:
    """Assigns every value of the root to a stage, and finds what crosses from each to the next."""

    def __init__(self, placed: Placed, layers: str, counts: Sequence[int]) -> None:
        self.placed, self.layers = placed, layers
        self.ends = list(accumulate(counts))
        self.nodes = [node for node in placed.body.operations() if node.target is not operator.getitem]
        self._assigned = self._assign()

    def stage_of(self, node: fx.Node) -> int:
        return self._assigned[_made_by(node)]

    def layer(self, node: fx.Node) -> int | None:
        """The number of the layer that a node calls."""
        if node.target is not call or not str(node.args[1]).startswith(self.layers + "."):
            return None
        rest = str(node.args[1]).removeprefix(self.layers + ".")
        return int(rest) if rest.isdigit() else None

    def constant(self, node: fx.Node) -> bool:
        """Whether every stage can compute a value for itself."""
        fact = self.placed.fact(node)
        return not fact.varies and not fact.grad

    def of(self, stage: int) -> list[fx.Node]:
        mine = [node for node in self.nodes if not self.constant(node) and self.stage_of(node) == stage]
        needed = set(mine)
        for node in reversed(self.nodes):
            if self.constant(node) and any(user in needed for user in _uses(node)):
                needed.add(node)
        return [node for node in self.nodes if node in needed]

    def crossing(self, stage: int) -> list[fx.Node]:
        """The values that `stage` hands to the next one, its own and those that only pass through."""
        found = []
        for node in self.placed.body.operations():
            if isinstance(node.meta["val"], (list, tuple)) or self.constant(node):
                continue
            later = any(user.op != "output" and self.stage_of(user) > stage for user in _uses(node))
            if self.stage_of(node) <= stage and (
                later or (self._is_result(node) and stage < len(self.ends) - 1)
            ):
                found.append(node)
        return found

    def _is_result(self, node: fx.Node) -> bool:
        return any(user.op == "output" for user in node.users)

    def _assign(self) -> dict[fx.Node, int]:
        """Layers as the plan says; what follows a layer stays with it; what only precedes waits for its first use."""
        early: dict[fx.Node, int] = {}
        follows: set[fx.Node] = set()
        for node in self.nodes:
            made = [_made_by(n) for n in node.all_input_nodes if n.op != "placeholder"]
            number = self.layer(node)
            if number is not None:
                early[node] = next(stage for stage, end in enumerate(self.ends) if number < end)
                follows.add(node)
                continue
            early[node] = max((early[n] for n in made), default=0)
            if any(n in follows for n in made):
                follows.add(node)
        for node in reversed(self.nodes):
            if node not in follows:
                uses = [early[_made_by(u)] for u in _uses(node) if u.op != "output"]
                early[node] = min(uses, default=len(self.ends) - 1)
        return early


def _made_by(node: fx.Node) -> fx.Node:
    return node.args[0] if node.target is operator.getitem else node  # type: ignore[return-value]


def _uses(node: fx.Node) -> list[fx.Node]:
    """The users of a value, seen through the items of tuples."""
    found: list[fx.Node] = []
    for user in node.users:
        found += user.users if user.target is operator.getitem else [user]
    return found


def cut(placed: Placed, units: Units, layers: str, counts: Sequence[int]) -> tuple[Stage, ...]:
    """A stage for each entry of `counts`, the number of its layers."""
    cutter = Cutter(placed, layers, counts)
    stages: list[Stage] = []
    for number in range(len(counts)):
        stages.append(_stage(cutter, units, number, stages[-1].gives if stages else ()))
    return tuple(stages)


def _stage(cutter: Cutter, units: Units, number: int, takes: tuple[Value, ...]) -> Stage:
    placed, nodes = cutter.placed, cutter.of(number)
    units.below(placed, nodes)
    writer = units.writer(placed, nodes)
    received = cutter.crossing(number - 1) if number else []
    for node, given in zip(received, takes, strict=True):
        writer.receive(node, given)
    inputs, keywords = _inputs(cutter, nodes, number)
    for node in (*inputs, *keywords):
        writer.bind(node, node.meta["name"])
    writer.device = f"{(takes[0].name if takes else inputs[0].meta['name'])}.device"
    writer.write(nodes)
    last = number == len(cutter.ends) - 1
    leaving = placed.body.results() if last else cutter.crossing(number)
    gives = tuple(writer.given(node) for node in leaving)
    takes = takes or tuple(writer.given(node) for node in inputs)
    batch = tuple(writer.given(node) for node in keywords)
    called = [node for node in nodes if node.target is call]
    layer_units = tuple(
        units.names[id(placed.children[str(n.args[1])])] for n in called if cutter.layer(n) is not None
    )
    events: list[Event] = [
        *([Recv(takes)] if number else []),
        *_folded(writer.events, cutter.layers),
        *([] if last else [Send(gives)]),
    ]
    root = Unit(
        "Stage",
        "",
        placed.body.doc,
        tuple(axis for axis in units.layout.axes if axis in writer.groups),
        units.parameters(placed, [n for n in placed.body.tensors() if _used(n, nodes)]),
        units.constants([n for n in placed.body.tensors() if _used(n, nodes)], ""),
        {
            user_name(str(n.args[1])): units.names[id(placed.children[str(n.args[1])])]
            for n in called
            if cutter.layer(n) is None
        },
        (*takes, *batch),
        tuple(events),
        gives,
    )
    first = cutter.ends[number - 1] if number else 0
    return Stage(
        root,
        _needed(units, root, layer_units),
        first,
        layer_units,
        user_name(cutter.layers),
        tuple(node.meta["name"] for node in keywords),
        takes,
        gives,
    )


def _inputs(cutter: Cutter, nodes: Sequence[fx.Node], number: int) -> tuple[list[fx.Node], list[fx.Node]]:
    """What of the batch comes first (the tokens, on the first stage), and what comes by name."""
    tokens, labels = cutter.placed.body.inputs()
    used = [node for node in (tokens, labels) if _used(node, nodes)]
    return ([tokens], [n for n in used if n is labels]) if number == 0 else ([], used)


def _used(node: fx.Node, nodes: Sequence[fx.Node]) -> bool:
    return any(user in nodes for user in node.users)


def _needed(units: Units, root: Unit, layers: Sequence[str]) -> tuple[Unit, ...]:
    """The units below a root, callees first."""
    by_name = {unit.name: unit for unit in units.made}
    needed: set[str] = set()
    left = [*root.members.values(), *layers]
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left += by_name[name].members.values()
    return tuple(unit for unit in units.made if unit.name in needed)


def _folded(events: Sequence[Event], layers: str) -> list[Event]:
    """Runs of layers whose events are the same become loops: the same statements in the same order."""
    starts = [i for i, event in enumerate(events) if _calls_layer(event, layers)]
    plain = [_anonymous(event, layers) for event in events]
    folded: list[Event] = list(plain[: starts[0]]) if starts else list(plain)
    place = 0
    while place < len(starts):
        begin = starts[place]
        length = starts[place + 1] - begin if place + 1 < len(starts) else 1
        body = tuple(plain[begin : begin + length])
        count = 1
        while (
            place + count < len(starts)
            and tuple(plain[begin + count * length : begin + (count + 1) * length]) == body
        ):
            count += 1
        if count == 1:
            body, length = body[:1], 1
        folded.append(Repeat(user_name(layers), place, count, len(starts), body))
        place += count
        end = starts[place] if place < len(starts) else len(plain)
        folded += plain[begin + count * length : end]
    return folded


def _calls_layer(event: Event, layers: str) -> bool:
    return isinstance(event, Call) and event.member.removeprefix(layers + ".").isdigit()


def _anonymous(event: Event, layers: str) -> Event:
    if not isinstance(event, Call):
        return event
    if _calls_layer(event, layers):
        return Call(event.results, "layer", event.operands, event.unit)
    return Call(event.results, user_name(event.member), event.operands, event.unit)


__all__ = ["Cutter", "cut", "value"]
