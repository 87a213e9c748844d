"""Buffers as the expressions that compute them."""

from __future__ import annotations

import ast
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import fx

from parc.capture.graph import get_name, list_operands
from parc.ir.expression import Expression, expr, name, placeholder, substitute
from parc.ir.program import Buffer, Do, Let
from parc.ir.runtime_names import GLOBALS
from parc.lower.batch_sizes import BatchSizes, find_sizes, list_sizes
from parc.lower.names.source_names import Statements
from parc.lower.printing.operation import Operation, to_expression, with_operands
from parc.lower.printing.operators import print_operation
from parc.shard.layout import Layout

_TAKEN = GLOBALS | {"device", "first_layer", "float", "i"}


@dataclass(frozen=True)
class Constant:
    """A buffer of a module: its attribute path, the graph of its computation, and its type."""

    path: str
    graph: fx.Graph
    dtype: torch.dtype


@dataclass
class _Term:
    """An expression over other terms, with placeholders of their numbers, and how often it is read."""

    tree: ast.expr
    operands: tuple[int, ...]
    wish: str
    alone: bool  # it changes tensors, or reads some that are changed
    changes: bool = False
    readers: list[int] = field(default_factory=list)  # the terms that read it, once for every place
    results: int = 0  # how many buffers it is


@dataclass
class _Terms:
    """The distinct terms of several buffers."""

    found: list[_Term] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)

    def add(self, term: _Term) -> int:
        """The number of a term, which is that of an equal one unless it stands alone."""
        key = ast.unparse(term.tree)
        if not term.alone and key in self.known:
            return self.known[key]
        number = len(self.found)
        if not term.alone:
            self.known[key] = number
        self.found.append(term)
        for operand in term.operands:
            self.found[operand].readers.append(number)
        return number


def compute_buffers(constants: Iterable[Constant]) -> tuple[Buffer, ...]:
    """Every buffer with the variables that it needs: what is read twice, by one buffer or by two, has one."""
    terms = _Terms()
    results = []
    for constant in constants:
        result, changes = _add_constant(terms, constant)
        terms.found[result].results += 1
        results.append((constant.path, result, changes))
    return _Assembler(terms.found).assemble(results)


def _add_constant(terms: _Terms, constant: Constant) -> tuple[int, Sequence[int]]:
    """The number of the term that is a buffer, and those of the terms that change a tensor on the way."""
    graph = constant.graph
    alone = any(_is_mutable(node) or get_name(node) == "aten::empty" for node in graph.nodes)
    hints = Statements(node for node in graph.nodes if node.op == "call_function").hints
    default = constant.path.rpartition(".")[2]
    numbers: dict[fx.Node, int] = {}
    changes: list[int] = []
    for node in graph.nodes:
        if node.op == "output":
            (result,) = list_operands(node)
            number = numbers[result]
            if result.meta["val"].dtype == constant.dtype:
                return number, changes
            tree = expr("value.to(dtype)", value=placeholder(number), dtype=to_expression(constant.dtype))
            return terms.add(_Term(tree, (number,), default, alone=False)), changes
        operands = tuple(numbers[operand] for operand in list_operands(node))
        if get_name(node) == "aten::detach":  # a buffer has no gradient
            (numbers[node],) = operands
            continue
        tree = _print(node, dict(zip(list_operands(node), map(placeholder, operands), strict=True)))
        if isinstance(tree, ast.Name):
            (numbers[node],) = operands
        else:
            changed = _is_mutable(node)
            numbers[node] = terms.add(_Term(tree, operands, hints.get(node, default), alone, changed))
            changes += [numbers[node]] * changed
    raise AssertionError("a graph ends with its output")


def _print(node: fx.Node, trees: Mapping[fx.Node, ast.expr]) -> ast.expr:
    sizes = BatchSizes(Layout((), {}))  # none depends on a batch
    args, kwargs = with_operands(node, trees.__getitem__, sizes.express)
    before, after = map(find_sizes, list_operands(node)), list_sizes(node)
    return print_operation(Operation(node, args, kwargs, [*before], [*after], sizes, name("device")))


def _is_mutable(node: fx.Node) -> bool:
    if node.op != "call_function" or node.target in (operator.getitem, torch.tensor):
        return False
    assert isinstance(node.target, torch._ops.OpOverload)
    return bool(node.target._schema.is_mutable)


class _Assembler:
    def __init__(self, terms: list[_Term]) -> None:
        self.terms = terms
        self.trees: dict[int, ast.expr] = {}
        self.variables: set[str] = set()

    def assemble(self, results: Iterable[tuple[str, int, Sequence[int]]]) -> tuple[Buffer, ...]:
        found = []
        for path, result, changes in results:
            statements = tuple(self._evaluate(result, changes))
            found.append(Buffer(path, statements, Expression(self.trees[result])))
        return tuple(found)

    def _evaluate(self, result: int, changes: Sequence[int]) -> Iterable[Let | Do]:
        """The statements that a buffer needs and that are not there yet, in the order of the terms.

        `changes` are the terms that change a tensor on the way to it.
        """
        needed, left = set[int](), [result, *changes]
        while left:
            current = left.pop()
            if current not in needed and current not in self.trees:
                needed.add(current)
                left += self.terms[current].operands
        for current in sorted(needed):
            term = self.terms[current]
            tree = substitute(term.tree, {placeholder(each).id: self.trees[each] for each in term.operands})
            if term.changes and not term.readers and not term.results:
                yield Do(Expression(tree))
            elif not self._is_part_of_its_reader(current, needed, changes):
                variable = self._choose_name(term.wish)
                yield Let(variable, Expression(tree))
                tree = name(variable)
            self.trees[current] = tree

    def _is_part_of_its_reader(self, number: int, needed: Collection[int], changes: Sequence[int]) -> bool:
        """Whether a term is read once, and nothing is changed between the term and what reads it."""
        term = self.terms[number]
        if len(term.readers) + term.results != 1 or not term.alone:
            return len(term.readers) + term.results == 1
        (reader,) = term.readers or (len(self.terms),)
        return (reader in needed or not term.readers) and not any(number < each < reader for each in changes)

    def _choose_name(self, wish: str) -> str:
        variable, number = wish, 1
        while variable in self.variables or variable in _TAKEN or not variable.isidentifier():
            number += 1
            variable = f"{wish}_{number}"
        self.variables.add(variable)
        return variable
