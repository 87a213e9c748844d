"""One way in: `torch.export` on the meta device, once for every distinct module.

A module is exported with the tensors that its own operations read as inputs, and with its calls of other
modules as operators. So the cost is that of its own code, whatever lies below it.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import dropwhile
from traceback import StackSummary

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TracerBase
from torch.utils import _pytree as pytree

from parc.capture.calls import Call, is_spec
from parc.capture.custom_ops import CALL, declare_outputs
from parc.capture.forward import Forward, make_calls_opaque
from parc.capture.functionalize import functionalize, is_view
from parc.capture.graph import (
    Body,
    get_argument,
    get_item_source,
    get_name,
    is_item,
    is_module_tensor,
    list_numbers,
)
from parc.capture.model.objective import Objective
from parc.capture.model.signatures import Signatures
from parc.capture.model.tree import TensorSlot, TensorSlots
from parc.capture.normal_forms import fill_by_masks, split_biases
from parc.capture.preconditions import Illegal, check_operations
from parc.capture.source_lines import is_users_file
from parc.docstrings import read_docstring
from parc.ir.runtime_names import LOCALS

aten = torch.ops.aten
_NOISE = {aten._assert_tensor_metadata.default, aten.alias.default, aten.lift_fresh_copy.default}


def export_model(forward: Forward, places: TensorSlots, signatures: Signatures) -> Body:
    """The body of a model whose forward pass was recorded, with everything that it calls.

    `places` are those of its parameters and buffers. Raises Illegal for an operation, and ValueError for what
    else cannot be captured.
    """
    with declare_outputs({path: made[0].tensors_out for path, made in forward.calls.items()}):
        return _Exporter(forward, places, signatures).export("")


class _Exporter:
    def __init__(self, forward: Forward, places: TensorSlots, signatures: Signatures) -> None:
        self._forward, self._places, self._signatures = forward, places, signatures
        self._known: dict[Hashable, Body] = {}

    def export(self, path: str) -> Body:
        """The body of the module at `path`; modules that are alike, and called alike, share it."""
        call, *others = self._forward.calls[path]
        if any((other.arguments, other.structure) != (call.arguments, call.structure) for other in others):
            count = len(others) + 1
            raise ValueError(f"`{path}` is called {count} times with arguments of different shapes")
        key = (self._signatures.number(call.module), call.arguments, call.structure)
        if key not in self._known:
            self._known[key] = body = self._export_body(path, call)
            self._attach_children(body)
            functionalize(body.graph, partial(_may_alias, body))
            split_biases(body.graph)
            fill_by_masks(body.graph)
        return self._known[key]

    def _export_body(self, path: str, call: Call) -> Body:
        tensors = self._list_tensors_read(path)
        inputs = [torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in call.tensors_in]
        entry = _Entry(call, tensors)
        with make_calls_opaque(self._forward, call.module), _keep_helper_frames():
            program = torch.export.export(entry, (*entry.tensors, *inputs), strict=False)
        graph = program.graph_module.graph
        placeholders = [node for node in graph.nodes if node.op == "placeholder"]
        constants = program.graph_signature.inputs_to_lifted_tensor_constants
        for node in placeholders:
            if node.name in constants:
                reason = "`forward` reads a tensor of Python values, or one that is no buffer"
                cure = "register it in the constructor: `self.register_buffer(name, torch.tensor(..))`"
                raise Illegal(reason, next(iter(node.users), None), cure)
        for node, (first, *_) in zip(placeholders, tensors, strict=False):
            node.meta.update(tensor=first.name.removeprefix(f"{path}."), buffer=first.is_buffer)
        for node, name in zip(placeholders[len(tensors) :], _name_arguments(call), strict=True):
            node.meta["name"] = f"{name}_" if name in LOCALS or keyword.iskeyword(name) else name
        _remove_noise(graph)
        check_operations(graph)
        kind = type(call.module)
        doc = inspect.cleandoc(read_docstring(kind))
        owner = call.module.model if isinstance(call.module, Objective) else call.module
        return Body(kind.__name__, path, graph, doc, numbers=list_numbers(owner))

    def _list_tensors_read(self, path: str) -> list[list[TensorSlot]]:
        """The tensors of a module that its own operations read, each by all its places in the module."""
        read = (self._places[key] for key in self._forward.reads[path] if key in self._places)
        inside = ([place for place in places if place.is_below(path)] for places in read)
        return sorted(filter(None, inside), key=lambda places: (places[0].is_buffer, places[0].number))

    def _attach_children(self, body: Body) -> None:
        for node in body.operations():
            if node.target is CALL:
                path = str(node.args[1])
                relative = path.removeprefix(f"{body.path}.")
                node.args = (node.args[0], relative)
                body.children[relative] = self.export(path)


@contextmanager
def _keep_helper_frames() -> Iterator[None]:
    """Within it torch notes the frames of functions that `forward` calls too, not those of `forward` alone.

    They have the user's names for the values, and are where an operation stands.
    """
    kept = TracerBase._filter_traceback_frames

    def keep_since_forward(self: TracerBase, user_stack_summary: StackSummary) -> StackSummary:
        since = dropwhile(lambda frame: frame.name != "forward", user_stack_summary)
        return StackSummary.from_list([frame for frame in since if is_users_file(frame.filename)])

    TracerBase._filter_traceback_frames = keep_since_forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        TracerBase._filter_traceback_frames = kept  # type: ignore[method-assign]


class _Entry(nn.Module):
    """Calls a module as it was called; takes its tensors, then the arguments, and returns a flat list.

    The module is not a child: what export does for every parameter and module below its root costs more than
    the code of one module.
    """

    def __init__(self, call: Call, tensors: Sequence[Sequence[TensorSlot]]) -> None:
        super().__init__()
        self.call, self.places = (call,), tensors  # in a tuple: no child
        self.tensors = [places[0].tensor for places in tensors]

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        (call,), count = self.call, len(self.places)
        left = iter(tensors[count:])
        leaves = [next(left) if is_spec(leaf) else leaf for leaf in call.arguments]
        args, kwargs = pytree.tree_unflatten(leaves, call.structure)
        with _replace_tensors(self.places, tensors[:count]):
            out, _ = pytree.tree_flatten(call.module(*args, **kwargs))
        return [leaf for leaf in out if isinstance(leaf, Tensor)]


@contextmanager
def _replace_tensors(tensors: Sequence[Sequence[TensorSlot]], values: Sequence[Tensor]) -> Iterator[None]:
    """Modules have other values for their parameters and buffers."""
    for places, value in zip(tensors, values, strict=True):
        for place in places:
            place.replace(value)
    try:
        yield
    finally:
        for places in tensors:
            for place in places:
                place.replace(place.tensor)


def _name_arguments(call: Call) -> list[str]:
    """A name for every tensor among the arguments: the user's own where an argument is one tensor."""
    args, kwargs = pytree.tree_unflatten(list(call.arguments), call.structure)
    bound = inspect.signature(type(call.module).forward).bind(call.module, *args, **kwargs)
    names: list[str] = []
    for name, given in list(bound.arguments.items())[1:]:
        tensors = sum(is_spec(leaf) for leaf in pytree.tree_leaves(given, is_leaf=is_spec))
        names += [name] if is_spec(given) else [f"{name}_{place}" for place in range(tensors)]
    return names


def _remove_noise(graph: fx.Graph) -> None:
    """Drop what only torch's own passes read, and values that nobody uses."""
    for node in list(graph.nodes):
        if node.op == "call_function" and (node.target in _NOISE or _is_idle_dropout(node)):
            if node.users:
                node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif is_item(node):
            source, place = get_item_source(node)
            node.meta["val"] = source.meta["val"][place]
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        if is_module_tensor(node) and not node.users:
            graph.erase_node(node)


def _may_alias(body: Body, node: fx.Node) -> bool:
    """Whether an item of a tuple may be a view: of chunks it is, of a call if the callee may
    return an input or a view of one.
    """
    if not is_item(node):
        return False
    source, place = get_item_source(node)
    if source.target is not CALL:
        return is_view(source)
    result = body.children[str(source.args[1])].results()[place]
    return result.op == "placeholder" or is_view(result) or is_item(result)


def _is_idle_dropout(node: fx.Node) -> bool:
    return get_name(node) == "aten::dropout" and not (get_argument(node, "p") and get_argument(node, "train"))
