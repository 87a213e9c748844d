"""Stages of the pipeline as programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from torch import fx

from parc.capture.custom_ops import CALL
from parc.capture.graph import get_input_name, get_tensor_name, get_user_name, is_parameter
from parc.capture.preconditions import check_layers_follow, check_stages_share_nothing
from parc.ir.program import ROOT, Call, Event, Recv, Repeat, Send, Stage, Unit, Value
from parc.lower.batch_sizes import BatchSizes, find_sizes
from parc.lower.partition import Cutter
from parc.lower.units import Units, find_numbers_read
from parc.shard.placed import Placed


def cut_stages(placed: Placed, units: Units, layers: str, counts: Sequence[int]) -> tuple[Stage, ...]:
    """A stage for each entry of `counts`, the number of its layers."""
    cutter = Cutter(placed, layers, counts)
    check_stages_share_nothing(_list_uses(cutter))
    check_layers_follow([number for node in cutter.nodes if (number := cutter.find_layer(node)) is not None])
    stages: list[Stage] = []
    crossing: dict[fx.Node, Value] = {}
    for number in range(len(counts)):
        stage, crossing = _build_stage(cutter, units, number, crossing)
        stages.append(stage)
    return tuple(stages)


def _list_uses(cutter: Cutter) -> dict[str, list[int]]:
    """By which stages each parameter of the root is used."""
    nodes = [cutter.list_nodes(number) for number in range(len(cutter.ends))]
    parameters = [node for node in cutter.placed.body.tensors() if is_parameter(node)]
    return {get_tensor_name(p): [n for n, mine in enumerate(nodes) if _is_used(p, mine)] for p in parameters}


def _build_stage(
    cutter: Cutter, units: Units, number: int, received: Mapping[fx.Node, Value]
) -> tuple[Stage, dict[fx.Node, Value]]:
    """A stage that is given what `received` names, and the values of the model that it hands to the next.

    Two of them may be one variable, such as a tensor and its clone. It crosses once.
    """
    placed, nodes = cutter.placed, cutter.list_nodes(number)
    units.make_called_units(placed, nodes)
    last = number == len(cutter.ends) - 1
    leaving = [] if last else cutter.list_crossing(number)
    inputs, keywords = _find_inputs(cutter, nodes, number)
    given = [value.name for value in received.values()] or [get_input_name(node) for node in inputs]
    writer = units.create_writer(placed, nodes, given, leaving)
    for node, value in received.items():
        writer.receive(node, value)
    for node in (*inputs, *keywords):
        writer.bind(node, get_input_name(node))
    entering = received or {node: writer.read_variable(node) for node in inputs}
    takes = _list_variables(entering)
    batch = tuple(writer.read_variable(node) for node in keywords)
    writer.write()
    sent = {node: writer.read_variable(node) for node in leaving}
    gives = _list_variables(sent)
    leaving = [next(node for node in leaving if sent[node] == value) for value in gives]
    called = [node for node in nodes if node.target is CALL]
    units_called = {str(n.args[1]): units.names[id(placed.children[str(n.args[1])])] for n in called}
    layer_units = tuple(units_called[str(n.args[1])] for n in called if cutter.find_layer(n) is not None)
    tensors = [node for node in placed.body.tensors() if _is_used(node, nodes)]
    root = Unit(
        ROOT,
        "",
        placed.body.doc,
        units.layout.order_groups(writer.groups),
        units.tensors.parameters(placed, tensors),
        units.tensors.declare_buffers(tensors, ""),
        {
            get_user_name(str(n.args[1])): units_called[str(n.args[1])]
            for n in called
            if cutter.find_layer(n) is None
        },
        (*takes, *batch),
        (
            *([Recv(takes)] if number else []),
            *_fold_layers(writer.events, cutter.layers),
            *([] if last else [Send(gives)]),
        ),
        tuple(map(writer.read_result, placed.body.results() if last else leaving)),
        requirement=units.find_requirement(placed, writer, [*entering.values()], [*entering]),
    )
    root = replace(root, numbers=find_numbers_read(root, writer.numbers))
    stage = Stage(
        root,
        _list_needed(units, root, layer_units),
        cutter.ends[number - 1] if number else 0,
        layer_units,
        get_user_name(cutter.layers),
        tuple(get_input_name(node) for node in keywords),
        tuple(
            BatchSizes(units.layout).express_shape(find_sizes(node), value.states)
            for node, value in zip(leaving, gives, strict=True)
        ),
    )
    return stage, sent


def _list_variables(values: Mapping[fx.Node, Value]) -> tuple[Value, ...]:
    """The values, each variable once, where it is first."""
    found: dict[str, Value] = {}
    for value in values.values():
        found.setdefault(value.name, value)
    return tuple(found.values())


def _find_inputs(
    cutter: Cutter, nodes: Sequence[fx.Node], number: int
) -> tuple[list[fx.Node], list[fx.Node]]:
    """What of the batch comes first (the tokens, on the first stage), and what comes by name."""
    tokens, labels = cutter.placed.body.inputs()
    used = [node for node in (tokens, labels) if _is_used(node, nodes)]
    return ([tokens], [n for n in used if n is labels]) if number == 0 else ([], used)


def _is_used(node: fx.Node, nodes: Sequence[fx.Node]) -> bool:
    return any(user in nodes for user in node.users)


def _list_needed(units: Units, root: Unit, layers: Sequence[str]) -> tuple[Unit, ...]:
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


def _fold_layers(events: Sequence[Event], layers: str) -> list[Event]:
    """Runs of layers whose statements are the same become loops, one for each class of layers."""
    starts = [place for place, event in enumerate(events) if _calls_layer(event, layers)]
    plain = [_rename_member(event, layers) for event in events]
    if not starts:
        return plain
    ends = [*starts[1:], starts[-1] + _measure_last(plain, starts)]
    bodies = [tuple(plain[start:end]) for start, end in zip(starts, ends, strict=True)]
    folded: list[Event] = plain[: starts[0]]
    for _, run in groupby(range(len(bodies)), key=lambda place: [*map(_forget_unit, bodies[place])]):
        places = list(run)
        for body, same in groupby(places, key=bodies.__getitem__):
            first, *rest = same
            kept = body if len(places) > 1 or len(bodies) == 1 else body[:1]
            folded += [
                Repeat(get_user_name(layers), first, 1 + len(rest), len(starts), kept),
                *body[len(kept) :],
            ]
    return folded + plain[ends[-1] :]


def _measure_last(events: Sequence[Event], starts: Sequence[int]) -> int:
    """How many of the events from the last layer on are those of every layer: the ones that repeat."""
    *_, last = starts
    if len(starts) == 1:
        return 1
    length = last - starts[-2]
    before, body = ([*map(_forget_unit, events[at : at + length])] for at in (starts[-2], last))
    return length if before == body else 1


def _forget_unit(event: Event) -> Event:
    """An event as the statement that it becomes: it does not depend on a layer's class."""
    return replace(event, unit="") if isinstance(event, Call) else event


def _calls_layer(event: Event, layers: str) -> bool:
    return isinstance(event, Call) and event.member.removeprefix(layers + ".").isdigit()


def _rename_member(event: Event, layers: str) -> Event:
    if not isinstance(event, Call):
        return event
    if _calls_layer(event, layers):
        return replace(event, member="layer")
    return replace(event, member=get_user_name(event.member))
