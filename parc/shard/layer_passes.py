"""What ranks that share gradients or parameters module by module need of a model: passes of a layer that end.

A layer is gathered when it is entered and freed when it is left. What reads its parameters at another time,
or gives its backward pass no end, is refused. Of other modules `parc.ir.module_calls` leaves to the stage
what is read at another time; what they must not do is to return parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from torch import fx

from parc.capture.custom_ops import CALL
from parc.capture.functionalize import is_view
from parc.capture.graph import (
    get_item_source,
    get_tensor_name,
    get_user_name,
    is_item,
    is_parameter,
    list_operands,
)
from parc.capture.source_lines import label_operation
from parc.diagnostic import Diagnostic, Label, error
from parc.plan.blocks import Plan
from parc.shard.placed import Placed


def report_open_layers(plan: Plan, layers: str, root: Placed) -> list[Diagnostic]:
    """A diagnostic for every fault, once for layers that are alike; `layers` is the path of their list."""
    assert plan.data is not None
    found = dict[str, _Fault]()
    for fault in _find_faults(f"{layers}.", root):
        found.setdefault(re.sub(r"\d+", "*", fault.message), fault)
    label = Label(plan.data.at("shard"), "ranks share module by module", primary=False)
    return [
        error(
            "P520",
            each.message,
            *label_operation(each.node),
            label,
            help=f"{each.cure}, or state `shard = optimizer`; docs/models.md has what parc needs of layers",
        )
        for each in found.values()
    ]


class _Fault(NamedTuple):
    """What a layer's passes do not have, and what the user can write instead."""

    node: fx.Node
    message: str
    cure: str


_INSIDE = "let `forward` of the layer compute it"


def _find_faults(prefix: str, root: Placed) -> Iterator[_Fault]:
    for tensor in root.body.tensors():
        name = get_tensor_name(tensor)
        if is_parameter(tensor) and name.startswith(prefix):
            message = f"`{get_user_name(name)}` is read outside of `forward` of its layer"
            yield _Fault(next(iter(tensor.users)), message, _INSIDE)
    for node in root.body.operations():
        path = str(node.args[1]) if node.target is CALL else ""
        name = get_user_name(path)
        if not path.startswith(prefix):
            if path and _has_gradient(root.children[path]):
                yield from _find_faults_of_results(node, name, root.children[path])
        elif "." in path.removeprefix(prefix):
            yield _Fault(node, f"`{name}` is called outside of `forward` of its layer", _INSIDE)
        else:
            yield from _find_faults_of_layer(node, name, root.children[path])


def _find_faults_of_layer(call: fx.Node, name: str, layer: Placed) -> Iterator[_Fault]:
    if not _has_gradient(layer):
        message = f"no input of `{name}` gets a gradient, with which its backward pass would end"
        yield _Fault(call, message, "detach no input of the layers")
    yield from _find_faults_of_results(call, name, layer)


def _has_gradient(module: Placed) -> bool:
    """Whether an input gets one."""
    return any(module.get_fact(node).grad for node in module.body.inputs())


def _find_faults_of_results(call: fx.Node, name: str, module: Placed) -> Iterator[_Fault]:
    if any(_is_parameter_or_view(module, result) for result in module.body.results()):
        message = f"a result of `{name}` is one of its parameters, or a view of one"
        yield _Fault(call, message, "return a copy: `.clone()`")


def _is_parameter_or_view(placed: Placed, node: fx.Node) -> bool:
    if is_item(node):
        source, place = get_item_source(node)
        if source.target is not CALL:
            return _is_parameter_or_view(placed, source)
        child = placed.children[str(source.args[1])]
        return _is_parameter_or_view(child, child.body.results()[place])
    if node.op == "call_function" and is_view(node):
        return _is_parameter_or_view(placed, list_operands(node)[0])
    return is_parameter(node)
