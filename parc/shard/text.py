"""Operators written as the Python that a person would write."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

ATOM, UNARY, PRODUCT, SUM, BITS, COMPARE = range(6)


@dataclass(frozen=True)
class Text:
    """An expression and how loosely it binds."""

    text: str
    binds: int = ATOM

    def within(self, limit: int) -> str:
        """In parentheses where it binds more loosely than `limit`."""
        return f"({self.text})" if self.binds > limit else self.text


@dataclass(frozen=True)
class Written:
    """What a printer sees: the operator's arguments with texts for tensors, and its local shapes."""

    node: fx.Node
    args: Sequence[Any]
    kwargs: dict[str, Any]
    before: Sequence[tuple[int, ...]]  # local shapes of the tensor operands
    after: Sequence[tuple[int, ...]]  # and of the results
    device: str  # an expression for the device

    @property
    def first(self) -> Text:
        text = self.args[0]
        assert isinstance(text, Text)
        return text

    def method(self, name: str, *arguments: str) -> Text:
        return Text(f"{self.first.within(ATOM)}.{name}({', '.join(arguments)})")


Printer = Callable[[Written], Text]
_INFIX = {
    "add": ("+", SUM), "sub": ("-", SUM), "mul": ("*", PRODUCT), "div": ("/", PRODUCT), "matmul": ("@", PRODUCT),
    "mm": ("@", PRODUCT), "bmm": ("@", PRODUCT), "floor_divide": ("//", PRODUCT), "remainder": ("%", PRODUCT),
    "bitwise_and": ("&", BITS), "bitwise_or": ("|", BITS), "eq": ("==", COMPARE), "ne": ("!=", COMPARE),
    "lt": ("<", COMPARE), "le": ("<=", COMPARE), "gt": (">", COMPARE), "ge": (">=", COMPARE), "logical_and": ("&", BITS),
}
_FUNCTIONAL = ("linear", "silu", "gelu", "relu", "softplus", "mish", "elu", "leaky_relu", "one_hot", "layer_norm", "rms_norm",
               "scaled_dot_product_attention", "hardtanh", "relu6", "glu")
_FREE = ("where", "cat", "stack", "einsum", "arange", "eye", "outer", "maximum", "minimum", "scalar_tensor")
_DROPPED = ("pin_memory", "layout", "memory_format", "non_blocking", "copy", "cudnn_enable", "implicit")


def write(written: Written) -> Text:
    """One operator as Python."""
    target = written.node.target
    if not isinstance(target, torch._ops.OpOverload):
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
    if name in _FREE or not isinstance(written.args[0], Text):
        return Text(f"torch.{name}({', '.join(arguments)})")
    return written.method(name, *arguments[1:])


def _infix(name: str, written: Written) -> Text:
    sign, binds = _INFIX[name]
    left, right = (value if isinstance(value, Text) else literal(value) for value in written.args)
    return Text(f"{left.within(binds)} {sign} {right.within(binds - 1)}", binds)


def literal(value: Any) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return Text(f'float("{value}")')
    if isinstance(value, (torch.dtype, torch.memory_format)):
        return Text(str(value))
    if isinstance(value, list | tuple):
        inside = ", ".join(literal(item).text for item in value)
        return Text(f"({inside},)" if len(value) == 1 else f"({inside})")
    negative = isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0
    return Text(repr(value), UNARY if negative else ATOM)


def _arguments(written: Written, schema: Any) -> list[str]:
    """The arguments as a person would pass them: defaults left out, flags by name."""
    texts: list[str] = []
    named = False
    for place, argument in enumerate(schema.arguments):
        if place < len(written.args):
            value = written.args[place]
        elif argument.name in written.kwargs:
            value = written.kwargs[argument.name]
        else:
            named = True
            continue
        if argument.name == "device":
            texts.append(f"device={written.device}")
        elif argument.name in _DROPPED or (place > 0 and argument.has_default_value() and value == argument.default_value):
            named = True
        else:
            by_name = named or argument.kwarg_only or isinstance(value, bool)
            single = argument.name == "dim" and isinstance(value, (list, tuple)) and len(value) == 1
            text = literal(value[0] if single else value).text
            texts.append(f"{_PYTHON_NAMES.get(argument.name, argument.name)}={text}" if by_name else text)
    return texts


_PYTHON_NAMES = {"self": "input"}


def _view(written: Written) -> Text:
    """As `flatten` or `unflatten` where that says it, which need no other sizes."""
    before, after = written.before[0], written.after[0]
    front = 0
    while front < min(len(before), len(after)) and before[front] == after[front]:
        front += 1
    back = 0
    while back < min(len(before), len(after)) - front and before[-1 - back] == after[-1 - back]:
        back += 1
    if front + back == len(before):
        back -= 1
    gone, made = before[front : len(before) - back], after[front : len(after) - back]
    if len(made) == 1 and len(gone) > 1:
        end = -1 - back if back or front + len(gone) < len(before) else -1
        asked = [] if (front, end) == (0, -1) else [str(front)] if end == -1 else [str(front), str(end)]
        return written.method("flatten", *asked)
    if len(gone) == 1 and len(made) > 1:
        sizes = ", ".join(str(size) for size in _asked(written, front, made))
        return written.method("unflatten", str(front if back else -1), f"({sizes})")
    return written.method("reshape", *(str(size) for size in after))


def _asked(written: Written, front: int, made: tuple[int, ...]) -> list[int]:
    """The sizes of the split dim, with the user's own -1, else one for the first."""
    sizes = written.args[1] if len(written.args) == 2 else None
    if isinstance(sizes, (list, tuple)) and -1 in sizes[front : front + len(made)]:
        return [-1 if sizes[front + i] == -1 else size for i, size in enumerate(made)]
    return [-1, *made[1:]]


def _same_shape_or_view(written: Written) -> Text:
    return written.first if written.before[0] == written.after[0] else _view(written)


def _expand(written: Written) -> Text:
    before, after = written.before[0], written.after[0]
    added = len(after) - len(before)
    sizes = [
        str(size) if place < added or before[place - added] != size else "-1" for place, size in enumerate(after)
    ]
    return written.method("expand", *sizes)


def _slice(written: Written) -> Text:
    dim, start, end, step = (*written.args[1:], *(0, None, None, 1)[len(written.args) - 1 :])
    ndim = len(written.before[0])
    dim %= ndim
    whole = written.before[0][dim]
    first = "" if not start else str(start)
    last = "" if end is None or end >= whole else str(end)
    if not first and not last and step == 1:
        return written.first
    inside = f"{first}:{last}" + (f":{step}" if step != 1 else "")
    return _indexed(written, dim, inside)


def _indexed(written: Written, dim: int, inside: str) -> Text:
    if dim == len(written.before[0]) - 1 and dim > 1:
        return Text(f"{written.first.within(ATOM)}[..., {inside}]")
    return Text(f"{written.first.within(ATOM)}[{', '.join([':'] * dim + [inside])}]")


def _select(written: Written) -> Text:
    dim, index = written.args[1:]
    return _indexed(written, dim % len(written.before[0]), str(index))


def _embedding(written: Written) -> Text:
    return Text(f"F.embedding({literal(written.args[1]).text}, {written.first.text})")


def _unary(sign: str) -> Printer:
    return lambda written: Text(f"{sign}{written.first.within(ATOM)}", UNARY)


def _to(written: Written) -> Text:
    asked = next((v for v in (*written.args[1:], *written.kwargs.values()) if isinstance(v, torch.dtype)), None)
    return written.method("to", str(asked)) if asked is not None else written.first


def _passed(written: Written) -> Text:
    return written.first


def _sized(name: str) -> Printer:
    """`torch.zeros` and the like: sizes first, then what is not the default."""

    def printed(written: Written) -> Text:
        rest = [literal(value).text for value in written.args[1:]]
        dtype = [f"dtype={written.kwargs['dtype']}"] if written.kwargs.get("dtype") else []
        return Text(f"torch.{name}({', '.join([literal(written.args[0]).text, *rest, *dtype, f'device={written.device}'])})")

    return printed


def _pow(written: Written) -> Text:
    left, right = (literal(value) for value in written.args)
    return Text(f"{left.within(ATOM)} ** {right.within(ATOM)}", UNARY)


_SPECIAL: dict[str, Printer] = {
    "view": _same_shape_or_view, "reshape": _same_shape_or_view, "flatten": _view, "unflatten": _view, "_unsafe_view": _view,
    "view_as": _same_shape_or_view, "expand": _expand, "slice": _slice, "select": _select, "embedding": _embedding,
    "neg": _unary("-"), "bitwise_not": _unary("~"), "logical_not": _unary("~"), "to": _to, "_to_copy": _to, "contiguous": _passed,
    "clone": _passed, "alias": _passed, "zeros": _sized("zeros"), "ones": _sized("ones"), "full": _sized("full"), "pow": _pow,
}
