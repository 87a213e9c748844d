"""What capturing yields: one graph for every distinct module, and the calls between them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn


@dataclass(eq=False)
class Body:
    """The graph of one distinct module, over global shapes.

    Its placeholders are parameters and buffers (`meta["tensor"]` names them, relative to the module), then
    inputs. Every other node is an operator of torch, `parc.call` (`meta["child"]`: path relative to the
    module, and its Body) or `parc.experts`. `meta["val"]` of a node is a tensor without data, or a tuple of
    them.
    """

    name: str  # of the user's class
    path: str  # of one module that it was captured from
    graph: fx.Graph
    doc: str | None = None
    is_expert: bool = False
    children: dict[str, Body] = field(default_factory=dict)  # by relative path
    numbers: Mapping[str, int | float] = field(default_factory=dict)  # plain attributes of the module

    def inputs(self) -> list[fx.Node]:
        """The placeholders of what the module is called with."""
        return [n for n in self.graph.nodes if n.op == "placeholder" and not is_module_tensor(n)]

    def tensors(self) -> list[fx.Node]:
        """The placeholders of parameters and buffers."""
        return list(filter(is_module_tensor, self.graph.nodes))

    def operations(self) -> Iterator[fx.Node]:
        """All that is computed, in order."""
        yield from (n for n in self.graph.nodes if n.op == "call_function")

    def results(self) -> list[fx.Node]:
        """What the module returns."""
        output = next(iter(reversed(self.graph.nodes)))
        return list(output.args[0])


def get_value(node: fx.Node) -> Tensor:
    """The tensor without data that stands for a node's value."""
    val = node.meta["val"]
    assert isinstance(val, Tensor), node
    return val


def list_values(node: fx.Node) -> list[Tensor]:
    """The tensors without data of a node's value: one, or those of its tuple."""
    val = node.meta["val"]
    return [val] if isinstance(val, Tensor) else list(val)


def get_shape(node: fx.Node) -> tuple[int, ...]:
    """The global shape of a node's value."""
    return tuple(get_value(node).shape)


def is_module_tensor(node: fx.Node) -> bool:
    """Whether a node is the placeholder of a parameter or a buffer."""
    return "tensor" in node.meta


def is_parameter(node: fx.Node) -> bool:
    return is_module_tensor(node) and not node.meta["buffer"]


def is_buffer(node: fx.Node) -> bool:
    return is_module_tensor(node) and bool(node.meta["buffer"])


def get_tensor_name(node: fx.Node) -> str:
    """The name of a parameter or a buffer in the module of its body."""
    return str(node.meta["tensor"])


def get_input_name(node: fx.Node) -> str:
    """The name of an input of a body: that of the user's argument, or one that stands for it."""
    return str(node.meta["name"])


def is_item(node: fx.Node) -> bool:
    """Whether a node picks an item of a tuple."""
    return node.target is operator.getitem


def get_item_source(node: fx.Node) -> tuple[fx.Node, int]:
    """The tuple that an item is picked from, and its place."""
    source, place = node.args
    assert isinstance(source, fx.Node)
    assert isinstance(place, int)
    return source, place


def get_name(node: fx.Node) -> str:
    target = node.target
    return (
        target._schema.name
        if isinstance(target, torch._ops.OpOverload)
        else getattr(target, "__name__", str(target))
    )


def get_argument(node: fx.Node, name: str, default: Any = None) -> Any:
    """An argument of an operator, passed or by default; `default` where its overload has no such one."""
    assert isinstance(node.target, torch._ops.OpOverload)
    for place, known in enumerate(node.target._schema.arguments):
        if known.name == name:
            return node.args[place] if place < len(node.args) else node.kwargs.get(name, known.default_value)
    return default


def find_sources(node: fx.Node) -> set[fx.Node]:
    """A node, and all that its value is made of."""
    found, left = {node}, [node]
    while left:
        new = set(left.pop().all_input_nodes) - found
        found |= new
        left += new
    return found


def list_operands(node: fx.Node) -> list[fx.Node]:
    """The tensor operands of a node in the order of its arguments: an entry for every place they stand in."""
    found: list[fx.Node] = []

    def visit(operand: fx.Node) -> fx.Node:
        found.append(operand)
        return operand

    fx.map_arg((node.args, node.kwargs), visit)
    return found


def list_numbers(module: nn.Module) -> dict[str, int | float]:
    """The attributes of a module that are plain numbers."""
    return {name: value for name, value in vars(module).items() if type(value) in (int, float)}


def get_user_name(name: str) -> str:
    """The name in the user's model of what the objective calls `model.…`."""
    return "" if name == "model" else name.removeprefix("model.")
