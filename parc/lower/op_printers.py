"""Operators written as the Python that a person would write."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from parc.capture.graph import argument
from parc.lower.expression import ATOM, BITS, COMPARE, PRODUCT, SUM, UNARY, Printer, Text, Written, literal
from parc.lower.view_printers import VIEWS

_INFIX = {
    "add": ("+", SUM),
    "sub": ("-", SUM),
    "mul": ("*", PRODUCT),
    "div": ("/", PRODUCT),
    "matmul": ("@", PRODUCT),
    "mm": ("@", PRODUCT),
    "bmm": ("@", PRODUCT),
    "floor_divide": ("//", PRODUCT),
    "remainder": ("%", PRODUCT),
    "bitwise_and": ("&", BITS),
    "__and__": ("&", BITS),
    "__or__": ("|", BITS),
    "__xor__": ("^", BITS),
    "bitwise_xor": ("^", BITS),
    "bitwise_or": ("|", BITS),
    "eq": ("==", COMPARE),
    "ne": ("!=", COMPARE),
    "lt": ("<", COMPARE),
    "le": ("<=", COMPARE),
    "gt": (">", COMPARE),
    "ge": (">=", COMPARE),
}
_FUNCTIONAL = (
    "linear",
    "silu",
    "gelu",
    "relu",
    "softplus",
    "mish",
    "elu",
    "leaky_relu",
    "one_hot",
    "layer_norm",
    "rms_norm",
    "scaled_dot_product_attention",
    "hardtanh",
    "relu6",
    "glu",
)
_FREE = (
    "logical_not",
    "logical_and",
    "logical_or",
    "logical_xor",
    "zeros_like",
    "ones_like",
    "full_like",
    "where",
    "cat",
    "stack",
    "einsum",
    "arange",
    "eye",
    "outer",
    "maximum",
    "minimum",
    "scalar_tensor",
)
_OTHERWISE = ("tensordot",)  # whose functions in Python take other arguments
_DROPPED = ("pin_memory", "layout", "memory_format", "non_blocking", "copy", "cudnn_enable", "implicit")
_PYTHON_NAMES = {"self": "input"}


def with_texts(node: fx.Node, text: Callable[[fx.Node], Text]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments of a node with texts in the place of tensors."""
    args, kwargs = fx.map_arg((node.args, node.kwargs), text)  # type: ignore[arg-type]  # maps to anything
    return args, kwargs


def write(written: Written) -> Text:
    """One operator as Python."""
    target = written.node.target
    if not isinstance(target, OpOverload):
        assert target is operator.getitem
        return Text(f"{written.first.within(ATOM)}[{written.args[1]}]")
    name = target._schema.name.split("::")[1]
    if name in _SPECIAL:
        return _SPECIAL[name](written)
    if name in _INFIX and len(written.args) == 2 and not written.kwargs:
        return _infix(name, written)
    arguments = _arguments(written, target._schema)
    if name in _FUNCTIONAL:
        return Text(f"F.{name}({', '.join(arguments)})")
    if name == "linalg_vector_norm":
        return Text(f"torch.linalg.vector_norm({', '.join(arguments)})")
    if name in _FREE or not isinstance(written.args[0], Text):
        return Text(f"torch.{name}({', '.join(arguments)})")
    if hasattr(torch.Tensor, name) and name not in _OTHERWISE:
        return written.method(name, *arguments[1:])
    overload = "" if target._overloadname == "default" else f".{target._overloadname}"
    return Text(
        f"torch.{name}({', '.join(arguments)})"
        if hasattr(torch, name) and name not in _OTHERWISE
        else f"torch.ops.aten.{name}{overload}({', '.join(arguments)})"
    )


def _infix(name: str, written: Written) -> Text:
    sign, binds = _INFIX[name]
    left, right = (value if isinstance(value, Text) else literal(value) for value in written.args)
    chains = binds in (
        PRODUCT,
        SUM,
    )  # comparisons would mean something else in a row, and `&` binds before `|`
    return Text(f"{left.within(binds if chains else binds - 1)} {sign} {right.within(binds - 1)}", binds)


def _arguments(written: Written, schema: Any) -> list[str]:
    """The arguments as a person would pass them: defaults left out, flags by name."""
    texts: list[str] = []
    named = False
    for place, known in enumerate(schema.arguments):
        if place < len(written.args):
            value = written.args[place]
        elif known.name in written.kwargs:
            value = written.kwargs[known.name]
        else:
            named = True
            continue
        if known.name == "device":
            texts.append(f"device={written.device}")
        elif known.name in _DROPPED or (
            place > 0 and known.has_default_value() and value == known.default_value
        ):
            named = True
        else:
            by_name = named or known.kwarg_only or isinstance(value, bool)
            single = known.name == "dim" and isinstance(value, (list, tuple)) and len(value) == 1
            text = literal(value[0] if single else value).text
            texts.append(f"{_PYTHON_NAMES.get(known.name, known.name)}={text}" if by_name else text)
    return texts


def _embedding(written: Written) -> Text:
    padding = argument(written.node, "padding_idx")
    rest = f", padding_idx={padding}" if padding >= 0 else ""
    return Text(f"F.embedding({literal(written.args[1]).text}, {written.first.text}{rest})")


def _rsub(written: Written) -> Text:
    """`aten::rsub` takes away the first operand from the second."""
    left, right = literal(written.args[1]), written.first
    alpha = argument(written.node, "alpha")
    taken = right.within(PRODUCT) if alpha == 1 else f"{literal(alpha).within(ATOM)} * {right.within(UNARY)}"
    return Text(f"{left.within(SUM)} - {taken}", SUM)


def _property(name: str) -> Printer:
    return lambda written: Text(f"{written.first.within(ATOM)}.{name}")


def _index(written: Written) -> Text:
    """`x[rows]`, `x[:, columns]`: a dim without an index is whole."""
    inside = ", ".join(":" if at is None else literal(at).text for at in written.args[1])
    return Text(f"{written.first.within(ATOM)}[{inside}]")


def _narrow(written: Written) -> Text:
    if written.before[0] == written.after[0]:
        return written.first
    return written.method("narrow", *(literal(value).text for value in written.args[1:]))


def _split(written: Written) -> Text:
    """By the sizes of this rank's own parts."""
    dim = argument(written.node, "dim")
    sizes = [shape[dim] for shape in written.after]
    if len(set(sizes)) == 1:
        return written.method("chunk", str(len(sizes)), str(dim))
    return written.method("split", f"({', '.join(map(str, sizes))})", str(dim))


def _unary(sign: str) -> Printer:
    return lambda written: Text(f"{sign}{written.first.within(ATOM)}", UNARY)


def _to(written: Written) -> Text:
    asked = next(
        (v for v in (*written.args[1:], *written.kwargs.values()) if isinstance(v, torch.dtype)), None
    )
    return written.method("to", str(asked)) if asked is not None else written.first


def _passed(written: Written) -> Text:
    return written.first


def _sized(name: str) -> Printer:
    """`torch.zeros` and the like: sizes first, then what is not the default."""

    def printed(written: Written) -> Text:
        arguments = [literal(value).text for value in written.args]
        if written.kwargs.get("dtype"):
            arguments.append(f"dtype={written.kwargs['dtype']}")
        return Text(f"torch.{name}({', '.join(arguments)}, device={written.device})")

    return printed


def _pow(written: Written) -> Text:
    left, right = (literal(value) for value in written.args)
    return Text(f"{left.within(ATOM)} ** {right.within(ATOM)}", UNARY)


_SPECIAL: dict[str, Printer] = {
    **VIEWS,
    "embedding": _embedding,
    "rsub": _rsub,
    "index": _index,
    "mT": _property("mT"),
    "numpy_T": _property("T"),
    "narrow": _narrow,
    "split": _split,
    "split_with_sizes": _split,
    "neg": _unary("-"),
    "bitwise_not": _unary("~"),
    "to": _to,
    "_to_copy": _to,
    "contiguous": _passed,
    "clone": _passed,
    "alias": _passed,
    "zeros": _sized("zeros"),
    "ones": _sized("ones"),
    "full": _sized("full"),
    "pow": _pow,
}
