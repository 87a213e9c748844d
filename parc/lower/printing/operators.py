"""Operators as the Python that a person writes."""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from typing import Any

import torch

from parc.capture.graph import get_argument, get_value, list_operands
from parc.ir.expression import call, expr, item, literal
from parc.lower.printing.operation import Operation, Printer, to_expression
from parc.lower.printing.views import VIEWS

_INFIX = {
    "add": "a + b",
    "sub": "a - b",
    "mul": "a * b",
    "div": "a / b",
    "matmul": "a @ b",
    "mm": "a @ b",
    "bmm": "a @ b",
    "floor_divide": "a // b",
    "remainder": "a % b",
    "bitwise_and": "a & b",
    "__and__": "a & b",
    "__or__": "a | b",
    "__xor__": "a ^ b",
    "bitwise_xor": "a ^ b",
    "bitwise_or": "a | b",
    "eq": "a == b",
    "ne": "a != b",
    "lt": "a < b",
    "le": "a <= b",
    "gt": "a > b",
    "ge": "a >= b",
    "pow": "a ** b",
}
_TEMPLATES = {
    "numpy_T": "a.T",
    "neg": "-a",
    "bitwise_not": "~a",
    "contiguous": "a",
    "clone": "a",
    "alias": "a",
    "detach": "a.detach()",
}
_FUNCTIONAL = frozenset(
    {
        "elu",
        "gelu",
        "glu",
        "hardtanh",
        "layer_norm",
        "leaky_relu",
        "linear",
        "mish",
        "one_hot",
        "pad",
        "relu",
        "relu6",
        "rms_norm",
        "scaled_dot_product_attention",
        "silu",
        "softplus",
    }
)
_FREE = frozenset(
    {
        "arange",
        "cat",
        "einsum",
        "eye",
        "full_like",
        "logical_and",
        "logical_not",
        "logical_or",
        "logical_xor",
        "maximum",
        "minimum",
        "ones_like",
        "outer",
        "scalar_tensor",
        "stack",
        "where",
        "zeros_like",
    }
)
_OTHERWISE = ("tensordot",)  # whose functions in Python take other arguments
_DROPPED = ("pin_memory", "layout", "memory_format", "non_blocking", "copy", "cudnn_enable", "implicit")
_PYTHON_NAMES = {"self": "input"}
_DIM_BY_NAME = frozenset(
    {
        "cat",
        "chunk",
        "cumsum",
        "log_softmax",
        "max",
        "mean",
        "min",
        "softmax",
        "split",
        "stack",
        "sum",
        "topk",
    }
)
_POSITIONS = frozenset(
    {"dim", "dim0", "dim1", "dims", "start_dim", "end_dim", "start", "end", "step", "diagonal"}
)
"""Arguments that say where, not how much: the user's named numbers are never put there."""


def print_operation(op: Operation) -> ast.expr:
    """One operator as Python, wherever its operands lie."""
    if op.node.target is operator.getitem:
        return item(op.first, to_expression(op.args[1]))
    if op.node.target is torch.tensor:
        dtype = {key: to_expression(value) for key, value in op.kwargs.items()}
        return call("torch.tensor", literal(op.args[0]), **dtype, device=op.device)
    name = op.name
    if name in _SPECIAL:
        return _SPECIAL[name](op)
    if name in _TEMPLATES:
        return expr(_TEMPLATES[name], a=op.first)
    if name in _INFIX and len(op.args) == 2 and not op.kwargs:
        return expr(_INFIX[name], a=op.number(op.args[0]), b=op.number(op.args[1]))
    arguments, keywords = _list_arguments(op)
    if name in _FUNCTIONAL:
        return call(f"F.{name}", *arguments, **keywords)
    package, _, function = name.partition("_")
    if package in ("fft", "linalg", "special") and hasattr(getattr(torch, package), function):
        return call(f"torch.{package}.{function}", *arguments, **keywords)
    if name in _FREE or not isinstance(op.args[0], ast.expr):
        return call(f"torch.{name}", *arguments, **keywords)
    if hasattr(torch.Tensor, name) and name not in _OTHERWISE:
        if not callable(getattr(torch.Tensor, name)):
            return expr(f"a.{name}", a=op.first)
        return op.method(name, *arguments[1:], **keywords)
    if hasattr(torch, name) and name not in _OTHERWISE:
        return call(f"torch.{name}", *arguments, **keywords)
    overload = op.overload._overloadname
    path = f"torch.ops.aten.{name}" if overload == "default" else f"torch.ops.aten.{name}.{overload}"
    return call(path, *arguments, **keywords)


def _list_arguments(op: Operation) -> tuple[list[ast.expr], dict[str, ast.expr]]:
    """The arguments as a person passes them: defaults left out, flags and many a dim by name."""
    positional: list[ast.expr] = []
    by_name: dict[str, ast.expr] = {}
    skipped = False
    for place, known in enumerate(op.overload._schema.arguments):
        if place < len(op.args):
            value = op.args[place]
        elif known.name in op.kwargs:
            value = op.kwargs[known.name]
        else:
            skipped = True
            continue
        if known.name == "device":
            by_name["device"] = op.device
        elif known.name in _DROPPED or (
            place > 0 and known.has_default_value() and value == known.default_value
        ):
            skipped = True
        else:
            tree = _print_argument(op, known.name, value)
            named = (known.name == "dim" and op.name in _DIM_BY_NAME) or known.name == "attn_mask"
            if skipped or by_name or named or known.kwarg_only or isinstance(value, bool):
                by_name[_PYTHON_NAMES.get(known.name, known.name)] = tree
            else:
                positional.append(tree)
    return positional, by_name


def _print_argument(op: Operation, name: str, value: Any) -> ast.expr:
    if name == "dim" and isinstance(value, list | tuple) and len(value) == 1:
        return to_expression(value[0])
    return to_expression(value) if name in _POSITIONS else op.number(value)


def _print_embedding(op: Operation) -> ast.expr:
    padding = get_argument(op.node, "padding_idx")
    keywords = {"padding_idx": to_expression(padding)} if padding >= 0 else {}
    if get_argument(op.node, "scale_grad_by_freq", default=False):
        keywords["scale_grad_by_freq"] = literal(True)
    return call("F.embedding", to_expression(op.args[1]), op.first, **keywords)


def _print_rsub(op: Operation) -> ast.expr:
    """`aten::rsub` takes away the first operand from the second."""
    alpha = get_argument(op.node, "alpha")
    template = "b - a" if alpha == 1 else "b - alpha * a"
    return expr(template, a=op.first, b=op.number(op.args[1]), alpha=op.number(alpha))


def _print_index(op: Operation) -> ast.expr:
    """`x[rows]`, `x[:, columns]`: a dim without an index is whole."""
    return item(op.first, *(ast.Slice() if at is None else to_expression(at) for at in op.args[1]))


def _print_narrow(op: Operation) -> ast.expr:
    return op.first if op.before[0] == op.after[0] else op.method("narrow", *op.args[1:])


def _print_split(op: Operation) -> ast.expr:
    """By the sizes of this rank's own parts."""
    dim = get_argument(op.node, "dim")
    sizes = [each[dim] for each in op.after]
    if len(set(sizes)) == 1:
        return op.method("chunk", len(sizes), dim=dim)
    return op.method("split", [op.sizes.express(size) for size in sizes], dim=dim)


def _print_to(op: Operation) -> ast.expr:
    given = (*op.args[1:], *op.kwargs.values())
    asked = next((each for each in given if isinstance(each, torch.dtype)), None)
    (operand,) = list_operands(op.node)
    changes = asked is not None and asked != get_value(operand).dtype
    return op.method("to", asked) if changes else op.first


def _print_sized(op: Operation) -> ast.expr:
    """`torch.zeros` and the like: sizes first, then what is not the default."""
    asked = op.kwargs.get("dtype")
    dtype = {"dtype": to_expression(asked)} if asked else {}
    return call(f"torch.{op.name}", *map(to_expression, op.args), **dtype, device=op.device)


_SPECIAL: Mapping[str, Printer] = {
    **VIEWS,
    "embedding": _print_embedding,
    "rsub": _print_rsub,
    "index": _print_index,
    "narrow": _print_narrow,
    "split": _print_split,
    "split_with_sizes": _print_split,
    "to": _print_to,
    "_to_copy": _print_to,
    "zeros": _print_sized,
    "ones": _print_sized,
    "full": _print_sized,
}
