"""The text of placed graphs: the states of every value, and the conversions of what an operation reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import fx

from parc.capture.dump import dump_nodes, format_tensor, name_value
from parc.capture.graph import get_user_name, is_item, list_operands
from parc.ir.states import I
from parc.shard.layout import Layout
from parc.shard.placed import Move, Placed, PlacedModel, States


def dump_placed(model: PlacedModel) -> str:
    """A model with every body that it calls, in each way in which it is called, callees first."""
    found = {id(each): each for each in _list_below(model.root)}
    return "\n\n".join("\n".join(_format_body(each, model.layout)) for each in found.values()) + "\n"


def _list_below(placed: Placed) -> Iterator[Placed]:
    for child in placed.children.values():
        yield from _list_below(child)
    yield from (experts.inside for experts in placed.experts.values())
    yield placed


def _format_body(placed: Placed, layout: Layout) -> Iterator[str]:
    def format_value(node: fx.Node) -> str:
        return f"{format_tensor(node)}{format_states(placed.get_fact(node).states, layout)}"

    yield f"body {placed.body.name}: {get_user_name(placed.body.path) or 'the model'}"
    conversions = {
        name_value(node): list(_format_conversions(node, placed.moves.get(node, ())))
        for node in placed.body.operations()
        if not is_item(node)
    }
    for line in dump_nodes(placed.body, format_value):
        yield from (f"  {each}" for each in conversions.pop(line.partition(":")[0], ()))
        yield f"  {line}"


def _format_conversions(node: fx.Node, moves: Sequence[Sequence[Move]]) -> Iterator[str]:
    for operand, made in zip(list_operands(node), moves, strict=False):
        yield from (
            f"convert {name_value(operand)} over {move.axis}: {move.before} -> {move.after}"
            for move in made
            if move.has_effect
        )


def format_states(states: States, layout: Layout) -> str:
    """` {dp: S(0)}`: the states on the axes where a value is not invariant."""
    lies = [f"{axis}: {state}" for axis, state in zip(layout.axes, states, strict=True) if state != I]
    return f" {{{', '.join(lies)}}}" if lies else ""
