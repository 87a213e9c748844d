"""Which parameters `keep_fp32` means: kinds are read off the graph of the model, names off its parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase

from torch import fx

from parc.capture.callers import find_callers
from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.graph import (
    Body,
    get_name,
    get_shape,
    get_tensor_name,
    get_user_name,
    get_value,
    is_parameter,
    list_operands,
)

_SCALES = {"aten::mul", "aten::add", "aten::sub", "aten::addcmul"}
_NORMALIZES = {
    *("aten::layer_norm", "aten::native_layer_norm", "aten::rms_norm", "aten::_fused_rms_norm"),
    *("aten::group_norm", "aten::native_group_norm"),
}
_ROOTS = {"aten::rsqrt", "aten::sqrt", "aten::linalg_vector_norm", "aten::norm", "aten::pow"}
_REDUCES = {
    "aten::mean",
    "aten::sum",
    "aten::var",
    "aten::var_mean",
    "aten::linalg_vector_norm",
    "aten::norm",
}
_MIXES = {
    *("aten::linear", "aten::matmul", "aten::mm", "aten::bmm", "aten::addmm", "aten::einsum"),
    *("aten::embedding", "aten::scaled_dot_product_attention", "aten::softmax", "aten::_softmax"),
}
"""Operators that end a search: what they compute is not what they are given, scaled."""
_KEEPS = {
    f"aten::{name}"
    for name in ("to", "_to_copy", "view", "reshape", "unsqueeze", "expand", "add", "sub", "alias", "detach")
}
"""Operators on a weight before it scales a value, such as `1 + weight`."""


def select_by_kind(root: Body, kind: str) -> Iterator[str]:
    """The parameters of a kind, by their names in the user's model; `root` is that of its objective."""
    known: dict[fx.Node, bool] = {}
    for path, body in _walk(root, ""):
        for node in filter(is_parameter, body.tensors()):
            if node not in known:
                known[node] = _is_of_norm(node) if kind == "norms" else _is_of_router(root, body, node)
            if known[node]:
                yield get_user_name(path + get_tensor_name(node))


def select_by_name(names: Collection[str], glob: str) -> Iterator[str]:
    """The parameters whose names match a glob."""
    return (name for name in names if fnmatchcase(name, glob))


def _walk(body: Body, prefix: str) -> Iterator[tuple[str, Body]]:
    """Every module that is captured by itself: its path with a dot, and its body."""
    yield prefix, body
    for name, child in body.children.items():
        yield from _walk(child, f"{prefix}{name}.")


def _is_of_norm(node: fx.Node) -> bool:
    """Whether a parameter of one dim scales or shifts what is divided by a norm or a deviation."""
    if len(get_shape(node)) != 1:
        return False
    seen, left = set[fx.Node](), [node]
    while left:
        for user in (current := left.pop()).users:
            if get_name(user) in _NORMALIZES:
                return True
            if get_name(user) in _SCALES and any(
                _is_normalized(other) for other in list_operands(user) if other is not current
            ):
                return True
            same = user.op == "call_function" and get_name(user) in _KEEPS
            if same and user not in seen and get_value(user).numel() == get_value(node).numel():
                seen.add(user)
                left.append(user)
    return False


def _is_normalized(node: fx.Node) -> bool:
    """Whether a value is made of the root of a mean, or of a norm."""
    found = list(_trace_back(node, _MIXES))
    return any(
        get_name(each) in _ROOTS and any(get_name(under) in _REDUCES for under in _trace_back(each, _MIXES))
        for each in found
    )


def _trace_back(node: fx.Node, until: Collection[str]) -> Iterator[fx.Node]:
    """A value and what it is made of in its body, up to the operators `until` and to calls."""
    seen, left = {node}, [node]
    while left:
        current = left.pop()
        yield current
        if current.op != "call_function" or current.target in (CALL, EXPERTS) or get_name(current) in until:
            continue
        new = set(current.all_input_nodes) - seen
        seen |= new
        left += new


def _is_of_router(root: Body, body: Body, node: fx.Node) -> bool:
    """Whether all that follows from a parameter ends in the choice and weights of experts, or in scalars."""
    seen, left, routes = set[tuple[Body, fx.Node]](), [(body, node)], False
    while left:
        where, current = left.pop()
        if (where, current) in seen:
            continue
        seen.add((where, current))
        for user in current.users:
            if user.target is EXPERTS:
                if list_operands(user)[0] is current:
                    return False
                routes = True
            elif user.op == "output":
                callers = list(find_callers(root, where, where.results().index(current)))
                if not callers and where is root and get_shape(current):
                    return False
                left += callers
            elif user.target is CALL:
                child = where.children[str(user.args[1])]
                pairs = zip(list_operands(user), child.inputs(), strict=True)
                left += [(child, inner) for operand, inner in pairs if operand is current]
            elif isinstance(user.meta["val"], tuple | list) or get_shape(user):
                left.append((where, user))
    return routes
