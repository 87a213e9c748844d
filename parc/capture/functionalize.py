"""In-place operations rewritten to their functional forms, where no view can tell the difference."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from parc.capture.graph import get_tensor_name, get_user_name, is_module_tensor
from parc.capture.preconditions import Illegal


def functionalize(graph: fx.Graph, aliases: Callable[[fx.Node], bool]) -> None:
    """Replace `x.add_(y)` by `add(x, y)` and every later use of x by the result.

    Raises Illegal where x is a view of another value, or another is a view of x: both change at once.
    `aliases` says whether an item of a tuple, or a result of a call, may be a view.
    """
    for node in list(graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        schema = node.target._schema
        if not schema.is_mutable:
            continue
        changed = node.args[0]
        assert isinstance(changed, fx.Node)
        if not _is_alone(changed, node) or aliases(changed):
            raise _refuse(changed, node)
        node.target = _find_functional(node.target)
        changed.replace_all_uses_with(node, delete_user_cb=_list_nodes_after(node).__contains__)


def _refuse(changed: fx.Node, at: fx.Node) -> Illegal:
    while is_view(changed) and isinstance(changed.args[0], fx.Node):
        changed = changed.args[0]
    if is_module_tensor(changed):
        name = get_user_name(get_tensor_name(changed))
        reason = f"`forward` changes the parameter `{name}`, as the optimizer does"
        return Illegal(reason, at, "compute with a changed copy instead")
    name = at.target._schema.name.split("::")[1]  # type: ignore[union-attr]
    reason = f"`{name}` changes a tensor in place, of which a view is used as well"
    return Illegal(reason, at, "use the operation that returns a new tensor")


def _find_functional(target: torch._ops.OpOverload) -> torch._ops.OpOverload:
    packet = getattr(torch.ops.aten, target._schema.name.split("::")[1].rstrip("_"))
    overload: torch._ops.OpOverload = getattr(packet, target._overloadname)
    return overload


def _is_alone(changed: fx.Node, at: fx.Node) -> bool:
    if changed.op == "placeholder" or is_view(changed):
        return False
    return not any(is_view(user) for user in changed.users if user is not at)


def is_view(node: fx.Node) -> bool:
    """Whether a value may share its memory with an operand."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    return any(a.alias_info is not None and not a.alias_info.is_write for a in target._schema.arguments)


def _list_nodes_after(node: fx.Node) -> set[fx.Node]:
    nodes = list(node.graph.nodes)
    return set(nodes[nodes.index(node) + 1 :])
