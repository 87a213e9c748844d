"""What a printer of an operator sees: the operator's arguments as expressions, and the shapes of one rank."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import fx
from torch._ops import OpOverload

from parc.capture.sizes import Size
from parc.ir.expression import attribute, expr, literal, method
from parc.lower.batch_sizes import BatchSizes

Numbers: TypeAlias = Mapping[tuple[type, int | float], str]
"""The attributes that one statement of the user's reads numbers from, by the type and the number."""


@dataclass(frozen=True)
class Operation:
    """A node of a graph, with expressions in the place of its operands."""

    node: fx.Node
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    before: Sequence[tuple[Size, ...]]  # of this rank's shares of the tensor operands
    after: Sequence[tuple[Size, ...]]  # and of the results
    sizes: BatchSizes
    device: ast.expr
    numbers: Numbers = field(default_factory=dict)

    @property
    def overload(self) -> OpOverload:
        """The operator of torch."""
        assert isinstance(self.node.target, OpOverload)
        return self.node.target

    @property
    def name(self) -> str:
        """The operator's name without its namespace."""
        return self.overload._schema.name.split("::")[1]

    @property
    def first(self) -> ast.expr:
        """The first operand."""
        tree = self.args[0]
        assert isinstance(tree, ast.expr)
        return tree

    def method(self, name: str, *arguments: object, **keywords: object) -> ast.expr:
        """A call of a method of the first operand."""
        named = {key: to_expression(value) for key, value in keywords.items()}
        return method(self.first, name, *map(to_expression, arguments), **named)

    def number(self, value: object) -> ast.expr:
        """An argument; a number as the attribute that the user's statement reads it from, if it does."""
        known = self.numbers.get((type(value), value)) if isinstance(value, int | float) else None
        return to_expression(value) if known is None else attribute(known)


Printer = Callable[[Operation], ast.expr]


def with_operands(
    node: fx.Node, operand: Callable[[fx.Node], ast.expr], express: Callable[[Size], ast.expr]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments of a node, with expressions in the place of tensors and of sizes that vary."""
    symbols = node.meta.get("symbols", node)

    def convert(value: Any) -> Any:
        match value:
            case fx.Node():
                return operand(value)
            case Size():
                return express(value)
            case list() | tuple():
                return type(value)(map(convert, value))
            case dict():
                return {key: convert(each) for key, each in value.items()}
        return value

    args, kwargs = convert(list(symbols.args)), convert(dict(symbols.kwargs))
    return args, kwargs


def to_expression(value: object) -> ast.expr:
    """An argument of an operator as an expression; sizes and dims are tuples."""
    if isinstance(value, torch.dtype | torch.memory_format):
        return expr(str(value))
    if isinstance(value, list | tuple):
        return ast.Tuple([to_expression(each) for each in value], ast.Load())
    return literal(value)
