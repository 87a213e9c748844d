"""One way in: `torch.export` on the meta device, once for every distinct module."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Hashable, Mapping
from functools import partial

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from parc.capture.calls import Call, Calls, is_spec
from parc.capture.custom_ops import CALL, known_outputs
from parc.capture.functionalize import is_view, made_functional
from parc.capture.graph import Body, argument, is_item, item_of, name_of
from parc.capture.module_signature import signature
from parc.capture.preconditions import operations_are_plain
from parc.capture.split_bias import biases_apart
from parc.ir.runtime_names import LOCALS

aten = torch.ops.aten
_NOISE = {aten._assert_tensor_metadata.default, aten.alias.default, aten.lift_fresh_copy.default}


class Capture:
    """Captures a model whose calls have been recorded."""

    def __init__(self, model: nn.Module, calls: Calls, buffers: Mapping[int, Hashable]) -> None:
        self._model = model
        self._calls = calls
        self._buffers = dict(buffers)
        self._known: dict[Hashable, Body] = {}
        self._outputs = {path: made[0].tensors_out for path, made in calls.made.items()}

    def whole(self, tokens: Tensor, labels: Tensor) -> Body:
        """The body of the objective, with everything that it calls."""
        with known_outputs(self._outputs):
            with self._calls.standing_in(None):
                program = torch.export.export(self._model, (tokens, labels), strict=False)
            body = self._body(self._model, "", program, ["tokens", "labels"])
            self._attach(body, prefix="")
        return body

    def _child(self, path: str) -> Body:
        made = self._calls.made[path]
        module = made[0].module
        shapes = {(call.arguments, call.structure) for call in made}
        key = (signature(module, self._buffers), made[0].arguments, made[0].structure)
        if len(shapes) > 1:
            raise ValueError(f"`{path}` is called {len(made)} times with arguments of different shapes")
        if key not in self._known:
            with self._calls.standing_in(module):
                program = _export(made[0])
            body = self._body(module, path, program, _argument_names(made[0]))
            self._attach(body, prefix=path + ".")
            self._known[key] = body
        return self._known[key]

    def _attach(self, body: Body, prefix: str) -> None:
        for node in body.operations():
            if node.target is CALL:
                path = node.args[1]
                assert isinstance(path, str)
                relative = path.removeprefix(prefix)
                node.args = (node.args[0], relative)
                body.children[relative] = self._child(path)
        made_functional(body.graph, partial(_aliases, body))
        biases_apart(body.graph)

    def _body(self, module: nn.Module, path: str, program: ExportedProgram, names: list[str]) -> Body:
        graph = program.graph_module.graph
        signature_ = program.graph_signature
        if signature_.buffers_to_mutate:
            changed = ", ".join(signature_.buffers_to_mutate.values())
            raise ValueError(
                f"`{path}` changes its buffers in forward ({changed}): not in a layout-independent way"
            )
        tensors = {**signature_.inputs_to_parameters, **signature_.inputs_to_buffers}
        constants = signature_.inputs_to_lifted_tensor_constants
        if constants:
            raise ValueError(
                f"`{path or 'the model'}` makes a tensor of Python values in forward: register it as a buffer"
            )
        names_left = iter(names)
        firsts = _first_names(module)
        for node in graph.nodes:
            if node.op == "placeholder" and node.name in tensors:
                name = tensors[node.name].removeprefix("module.")
                node.meta["tensor"] = firsts.get(name, name)
                node.meta["buffer"] = node.name in signature_.inputs_to_buffers
            elif node.op == "placeholder":
                name = next(names_left)
                node.meta["name"] = f"{name}_" if name in LOCALS or keyword.iskeyword(name) else name
        _tidy(graph)
        operations_are_plain(graph)
        return Body(
            type(module).__name__, path, graph, inspect.cleandoc(vars(type(module)).get("__doc__") or "")
        )


def _first_names(module: nn.Module) -> dict[str, str]:
    """For every name of a parameter the first that it has: tied ones have several."""
    named = list(module.named_parameters(remove_duplicate=False))
    firsts = {parameter: name for name, parameter in reversed(named)}
    return {name: firsts[parameter] for name, parameter in named}


class _Entry(nn.Module):
    """Calls a module with the arguments of a recorded call; takes and returns flat lists of tensors."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.module = call.module
        self.call = call

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        left = iter(tensors)
        leaves = [next(left) if is_spec(leaf) else leaf for leaf in self.call.arguments]
        args, kwargs = pytree.tree_unflatten(leaves, self.call.structure)
        out, _ = pytree.tree_flatten(self.module(*args, **kwargs))
        return [leaf for leaf in out if isinstance(leaf, Tensor)]


def _export(call: Call) -> ExportedProgram:
    inputs = tuple(torch.empty(s[0], dtype=s[1], device="meta") for s in call.arguments if is_spec(s))
    return torch.export.export(_Entry(call), inputs, strict=False)


def _argument_names(call: Call) -> list[str]:
    """A name for every tensor among the arguments: the user's own where an argument is one tensor."""
    args, kwargs = pytree.tree_unflatten(list(call.arguments), call.structure)
    bound = inspect.signature(type(call.module).forward).bind(call.module, *args, **kwargs)
    names: list[str] = []
    for name, given in list(bound.arguments.items())[1:]:
        tensors = sum(is_spec(leaf) for leaf in pytree.tree_leaves(given, is_leaf=is_spec))
        names += [name] if is_spec(given) else [f"{name}_{place}" for place in range(tensors)]
    return names


def _tidy(graph: fx.Graph) -> None:
    """Drop what only torch's own passes read, and values that nobody uses."""
    for node in list(graph.nodes):
        if node.op == "call_function" and (node.target in _NOISE or _drops_nothing(node)):
            if node.users:
                node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif is_item(node):
            source, place = item_of(node)
            node.meta["val"] = source.meta["val"][place]
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        if node.op == "placeholder" and "tensor" in node.meta and not node.users:
            graph.erase_node(node)


def _aliases(body: Body, node: fx.Node) -> bool:
    """Whether an item of a tuple may be a view: of chunks it is, of a call if that hands on what it got."""
    if not is_item(node):
        return False
    source, place = item_of(node)
    if source.target is not CALL:
        return is_view(source)
    result = body.children[str(source.args[1])].results()[place]
    return result.op == "placeholder" or is_view(result) or is_item(result)


def _drops_nothing(node: fx.Node) -> bool:
    return name_of(node) == "aten::dropout" and not (argument(node, "p") and argument(node, "train"))
