"""Expressions: what is written for a value, and what a printer of an operator sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
    kwargs: Mapping[str, Any]
    before: Sequence[tuple[int, ...]]  # local shapes of the tensor operands
    after: Sequence[tuple[int, ...]]  # and of the results
    device: str  # an expression for the device

    @property
    def first(self) -> Text:
        """The first operand."""
        text = self.args[0]
        assert isinstance(text, Text)
        return text

    def method(self, name: str, *arguments: str) -> Text:
        """A call of a method of the first operand."""
        return Text(f"{self.first.within(ATOM)}.{name}({', '.join(arguments)})")


Printer = Callable[[Written], Text]


def literal(value: Any) -> Text:
    """A value of an argument as Python; a text stays as it is."""
    if isinstance(value, Text):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return Text(f'float("{value}")')
    if isinstance(value, (torch.dtype, torch.memory_format)):
        return Text(str(value))
    if isinstance(value, list | tuple):
        inside = ", ".join(literal(item).text for item in value)
        return Text(f"({inside},)" if len(value) == 1 else f"({inside})")
    negative = isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0
    return Text(repr(value), UNARY if negative else ATOM)
