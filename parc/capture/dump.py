"""The text of captured graphs: every distinct body once, callees first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, fx

from parc.capture.capture import Captured
from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import Body, get_item_source, get_tensor_name, get_user_name, is_buffer, is_item


def dump_captured(captured: Captured) -> str:
    """The graphs of a model, over global shapes."""
    bodies = {id(body): body for body in (*captured.experts.values(), *_list_below(captured.root))}
    return "\n\n".join("\n".join(_format_body(body)) for body in bodies.values()) + "\n"


def _list_below(body: Body) -> Iterator[Body]:
    for child in body.children.values():
        yield from _list_below(child)
    yield body


def _format_body(body: Body) -> Iterator[str]:
    yield f"body {body.name}: {get_user_name(body.path) or 'the model'}"
    yield from (f"  {line}" for line in dump_nodes(body, format_tensor))


def dump_nodes(body: Body, format_value: Callable[[fx.Node], str]) -> Iterator[str]:
    """The lines of a graph; `format_value` gives the type of what a node yields."""
    for node in body.tensors():
        kind = "buffer" if is_buffer(node) else "parameter"
        yield f"{kind} {get_user_name(get_tensor_name(node))}: {format_value(node)}"
    for node in body.inputs():
        yield f"input {node.meta['name']}: {format_value(node)}"
    for node in body.operations():
        if not is_item(node):
            yield f"{_format_results(node, format_value)} = {format_operation(node)}"
    yield f"return {', '.join(map(name_value, body.results()))}"


def _format_results(node: fx.Node, format_value: Callable[[fx.Node], str]) -> str:
    items = [user for user in node.users if is_item(user)]
    found = sorted(items, key=lambda each: get_item_source(each)[1]) if items else [node]
    return ", ".join(f"{name_value(each)}: {format_value(each)}" for each in found)


def format_operation(node: fx.Node) -> str:
    """An operator of torch, or a call of a body, with its arguments."""
    if node.target is CALL:
        operands, path = node.args
        return f"call {path}({_format_argument(operands)[1:-1]})"
    if node.target is EXPERTS:
        return f"experts {node.args[3]}({', '.join(map(_format_argument, node.args[:3]))})"
    arguments = [
        *map(_format_argument, node.args),
        *(f"{key}={_format_argument(value)}" for key, value in node.kwargs.items()),
    ]
    return f"{node.target}({', '.join(arguments)})"


def _format_argument(value: object) -> str:
    if isinstance(value, fx.Node):
        return name_value(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_format_argument, value))}]"
    return str(value)


def name_value(node: fx.Node) -> str:
    """The name of a value: of an input or a tensor that which the module gives it."""
    name: str = node.meta.get("name") or get_user_name(node.meta.get("tensor", node.name))
    return name


def format_tensor(node: fx.Node) -> str:
    """The type of a value: `float32[8, 64]`."""
    val = node.meta["val"]
    values = [val] if isinstance(val, Tensor) else val
    return ", ".join(f"{str(each.dtype).removeprefix('torch.')}{[*each.shape]}" for each in values)
