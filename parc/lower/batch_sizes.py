"""Sizes that depend on the batch, as expressions over the shapes of what a forward pass is given."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import reduce
from math import prod

from torch import fx

from parc.capture.graph import get_shape
from parc.capture.sizes import BatchSize, Size
from parc.ir.expression import Expression, expr, group_attribute, item, literal, name
from parc.ir.program import Compute, Value
from parc.ir.states import State
from parc.shard.layout import Layout

_VARIABLES = {(1, 0): "batch", (0, 1): "length", (1, 1): "n_tokens"}  # by the powers of B and L


@dataclass(frozen=True)
class _Dim:
    """A dim of an input that depends on the batch."""

    variable: str
    number: int
    size: Size  # of this rank's share
    axes: tuple[str, ...]  # over which it is sharded


@dataclass
class BatchSizes:
    """The sizes that one forward pass reads; a name stands for each until the inputs are known."""

    layout: Layout
    groups: set[str] = field(default_factory=set)  # axes whose number of ranks is read
    unknown: list[Size] = field(default_factory=list)  # what no input has
    _read: dict[str, tuple[Size, Collection[str]]] = field(default_factory=dict)
    _dims: dict[tuple[int, int], _Dim] = field(default_factory=dict)

    def express(self, size: Size, alone: Collection[str] = ()) -> ast.expr:
        """A size as an expression. Along the axes `alone` of data it is that of a rank's own sequences."""
        if size.is_constant:
            return literal(self.evaluate(size))
        ranks = prod(self.layout.sizes[axis] for axis in alone)
        size = replace(size, coefficient=size.coefficient / ranks**size.batch)
        identifier = f"<{size} of {', '.join(alone)}>" if alone else f"<{size}>"
        self._read[identifier] = size, alone
        return name(identifier)

    def evaluate(self, size: Size) -> int:
        """The size for the batch that the program is compiled for."""
        return size.evaluate(BatchSize(self.layout.batch, self.layout.length))

    def express_shape(self, sizes: Sequence[Size], states: Mapping[str, State]) -> Expression:
        """The shape of a rank's share of a value, over its `sequences` of a microbatch and their `length`."""
        ranks = prod(self.layout.sizes[axis] for axis in self.layout.data)
        found = []
        for size in divide(sizes, states, self.layout.sizes):
            dims = [name("sequences")] * size.batch + [name("length")] * size.length
            found.append(_multiply(dims, size.coefficient * ranks**size.batch))
        return Expression(ast.Tuple(found, ast.Load()))

    def add_input(self, variable: str, sizes: Sequence[Size], states: Mapping[str, State]) -> None:
        """A value that is there when the forward pass begins, with its global sizes."""
        for number, size in enumerate(divide(sizes, states, self.layout.sizes)):
            if (powers := (size.batch, size.length)) in _VARIABLES:
                axes = tuple(axis for axis, at in states.items() if at.sharded and at.dim == number)
                self._dims.setdefault(powers, _Dim(variable, number, size, axes))

    def resolve(
        self, trees: Iterable[ast.expr], choose_name: Callable[[str], str]
    ) -> tuple[list[Compute], dict[str, ast.expr]]:
        """The assignments that a forward pass begins with, and what stands for each name in its `trees`."""
        if not self._read:
            return [], {}
        read = [node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)]
        read = [identifier for identifier in read if identifier in self._read]
        variables: dict[_Dim, str] = {}
        reads: list[_Dim] = []
        found = {}
        for identifier in dict.fromkeys(read):
            size, alone = self._read[identifier]
            dims, factor = self._decompose(size)
            reads += dims * read.count(identifier)
            for dim in dims:
                if dim not in variables:
                    variables[dim] = choose_name(_VARIABLES[dim.size.batch, dim.size.length])
            found[identifier] = self._scale([(name(variables[dim]), dim) for dim in dims], factor, alone)
        return [_assign(variables[dim], dim, reads.count(dim) == 1) for dim in variables], found

    def _decompose(self, size: Size) -> tuple[list[_Dim], Fraction]:
        """Dims of inputs, and a factor: their product is the size. No dims where the inputs lack one."""
        powers = (size.batch, size.length)
        direct = [powers] if powers in self._dims else [(1, 0)] * size.batch + [(0, 1)] * size.length
        if size.batch == size.length and (1, 1) in self._dims:
            direct = [(1, 1)] * size.batch
        if not all(each in self._dims for each in direct):
            self.unknown.append(size)
            return [], Fraction(self.evaluate(size))
        dims = [self._dims[each] for each in direct]
        return dims, size.coefficient / prod((dim.size.coefficient for dim in dims), start=Fraction(1))

    def _scale(
        self, dims: Sequence[tuple[ast.expr, _Dim]], factor: Fraction, alone: Collection[str]
    ) -> ast.expr:
        """The product of dims and a factor, with the numbers of ranks that have shares by name."""
        factors = [tree for tree, _ in dims]
        for axis in (axis for _, dim in dims for axis in dim.axes if axis not in alone):
            if (factor / self.layout.sizes[axis]).denominator == 1:
                factor /= self.layout.sizes[axis]
                factors.append(expr("group.size()", group=group_attribute(axis)))
                self.groups.add(axis)
        return _multiply(factors, factor)


def _multiply(factors: Sequence[ast.expr], factor: Fraction) -> ast.expr:
    """The product of expressions and a number."""
    more = [] if factor.numerator == 1 and factors else [literal(factor.numerator)]
    tree = reduce(lambda one, other: expr("one * other", one=one, other=other), [*factors, *more])
    return tree if factor.denominator == 1 else expr("a // b", a=tree, b=literal(factor.denominator))


def _assign(variable: str, dim: _Dim, temporary: bool) -> Compute:
    tree = item(ast.Attribute(name(dim.variable), "shape", ast.Load()), literal(dim.number))
    return Compute((Value(variable, (), "int"),), Expression(tree), temporary=temporary)


def find_sizes(node: fx.Node) -> tuple[Size, ...]:
    """The global sizes of a node's tensor."""
    return next(iter(list_sizes(node)))


def list_sizes(node: fx.Node) -> Iterator[tuple[Size, ...]]:
    """The global sizes of every tensor of a node."""
    symbols, val = node.meta.get("symbols"), node.meta["val"]
    is_tuple = isinstance(val, (list, tuple))
    if symbols is not None:
        yield from symbols.sizes if is_tuple else (symbols.sizes,)
    else:
        shapes = [tuple(each.shape) for each in val] if is_tuple else [get_shape(node)]
        yield from (tuple(map(make_constant, each)) for each in shapes)


def find_argument(node: fx.Node, place: int) -> object:
    """A positional argument of a node, a Size where it depends on the batch; None where it is not passed."""
    args = node.meta.get("symbols", node).args
    return args[place] if place < len(args) else None


def make_constant(number: int) -> Size:
    """A size that is the same for every batch."""
    return Size(Fraction(number))


def divide(sizes: Sequence[Size], states: Mapping[str, State], ranks: Mapping[str, int]) -> tuple[Size, ...]:
    """The sizes of one rank's share."""
    local = list(sizes)
    for axis, state in states.items():
        if state.sharded:
            size = local[state.dim]
            local[state.dim] = replace(size, coefficient=size.coefficient / ranks[axis])
    return tuple(local)
