"""Where gradients flow in the backward pass: by which operations, to which of their operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, fx

from parc.capture.custom_ops import CALL
from parc.capture.graph import Body, get_item_source, get_name, get_value, is_item, list_operands, list_values

ZEROS = ("aten::zeros", "aten::new_zeros", "aten::zeros_like")
CASTS = ("aten::to", "aten::_to_copy")
CONSTANTS = (
    *ZEROS,
    *("aten::detach", "aten::new_ones", "aten::new_full", "aten::ones_like", "aten::full_like"),
    "aten::one_hot",
)
"""Operators whose results have no gradient, whatever their operands have."""


def can_have_gradient(tensor: Tensor) -> bool:
    """Whether the type of a tensor has derivatives."""
    return tensor.is_floating_point() or tensor.is_complex()


Reached: TypeAlias = frozenset[int]  # the places of the results of a body that get a gradient


def makes_zeros(node: fx.Node) -> bool:
    """Whether an operator makes zeros, perhaps of another type first."""
    while get_name(node) in CASTS:
        node = list_operands(node)[0]
    return get_name(node) in ZEROS


@dataclass(frozen=True)
class Flow:
    """Which values of a body get a gradient, if they need one."""

    order: Mapping[fx.Node, int]
    last: Mapping[
        fx.Node, int
    ]  # the last operation, by its place in `order`, that passes a gradient to a value
    results: frozenset[fx.Node]

    def reaches(self, node: fx.Node) -> bool:
        """Whether a value gets a gradient."""
        return node in self.results or node in self.last

    def reaches_since(self, operand: fx.Node, node: fx.Node) -> bool:
        """Whether `node`, or what reads the operand after it, passes a gradient on."""
        return operand in self.results or self.last.get(operand, -1) >= self.order[node]


class Flows:
    """The flow of gradients in every body, for every set of results that get one."""

    def __init__(self) -> None:
        self._known: dict[tuple[Body, Reached], Flow] = {}

    def find(self, body: Body, reached: Reached) -> Flow:
        """The flow in a body whose results at the places `reached` get a gradient."""
        key = body, reached
        if key not in self._known:
            self._known[key] = self._derive(body, reached)
        return self._known[key]

    def find_reached(self, node: fx.Node, flow: Flow) -> Reached:
        """The results of a call that get a gradient."""
        items = [(user, get_item_source(user)[1]) for user in node.users if is_item(user)]
        if not items:
            return frozenset({0} if flow.reaches(node) else ())
        return frozenset(place for user, place in items if flow.reaches(user))

    def _derive(self, body: Body, reached: Reached) -> Flow:
        results = frozenset(node for place, node in enumerate(body.results()) if place in reached)
        operations = list(body.operations())
        last: dict[fx.Node, int] = {}
        flow = Flow({node: place for place, node in enumerate(operations)}, last, results)
        for place in reversed(range(len(operations))):
            node = operations[place]
            if flow.reaches(node):
                for operand in self._list_reached(body, node, flow):
                    last.setdefault(operand, place)
        return flow

    def _list_reached(self, body: Body, node: fx.Node, flow: Flow) -> list[fx.Node]:
        """The operands that an operation passes a gradient to, once its result has got one."""
        if is_item(node):
            return [get_item_source(node)[0]] if can_have_gradient(get_value(node)) else []
        if node.target is CALL:
            child = body.children[str(node.args[1])]
            inside = self.find(child, self.find_reached(node, flow))
            inputs = zip(list_operands(node), child.inputs(), strict=True)
            return [operand for operand, inner in inputs if inside.reaches(inner)]
        passes = get_name(node) not in CONSTANTS and any(map(can_have_gradient, list_values(node)))
        return list_operands(node) if passes else []
