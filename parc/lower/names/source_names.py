"""What the user's own source says of the values of a graph: their names, and the names of their numbers."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from torch import Tensor, fx

from parc.capture.custom_ops import CALL
from parc.capture.graph import get_item_source, is_item
from parc.capture.source_lines import Line, find_lines
from parc.lower.printing.operation import Numbers


@cache
def _parse_statements(file: Path) -> Mapping[int, ast.stmt]:
    """The innermost simple statement on each line of a source file."""
    try:
        tree = ast.parse(file.read_text())
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[int, ast.stmt] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return | ast.Expr):
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[number] = node
    return found


def find_statement(line: Line) -> ast.stmt | None:
    """The statement that a line of the user's source is part of."""
    return _parse_statements(line.file).get(line.number)


def targets(stmt: ast.stmt | None) -> tuple[str, ...]:
    """The plain names that an assignment binds; a starred one keeps its star."""
    if isinstance(stmt, ast.Assign) and len(stmt.targets) == 1:
        target: ast.expr = stmt.targets[0]
    elif isinstance(stmt, ast.AugAssign | ast.AnnAssign):
        target = stmt.target
    else:
        return ()
    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    found = [_name_target(part) for part in parts]
    return tuple(each for each in found if each) if all(found) else ()


def _name_target(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Starred(value=ast.Name(id=name)):
            return f"*{name}"
    return ""


class Statements:
    """Which values of a graph one execution of one statement makes: operations of the same lines in a row.

    A statement may call functions whose statements make values of their own, so that executions nest.
    """

    def __init__(self, nodes: Iterable[fx.Node]) -> None:
        self._runs: dict[fx.Node, tuple[int, ...]] = {}  # outermost first
        self.hints: dict[fx.Node, str] = {}
        self._innermost: dict[fx.Node, ast.stmt | None] = {}
        members: dict[int, list[fx.Node]] = {}
        of: dict[int, ast.stmt | None] = {}
        open_runs: list[int] = []
        for node in nodes:
            frames = [find_statement(line) for line in find_lines(node)]
            self._innermost[node] = frames[-1] if frames else None
            kept = 0
            while kept < min(len(open_runs), len(frames)) and of[open_runs[kept]] is frames[kept]:
                kept += 1
            if kept and kept == len(frames) and _starts_again(node, members[open_runs[kept - 1]]):
                kept -= 1
            del open_runs[kept:]
            for stmt in frames[kept:]:
                open_runs.append(len(of))
                members[len(of)], of[len(of)] = [], stmt
            for run in open_runs:
                members[run].append(node)
            self._runs[node] = tuple(open_runs)
        for run in reversed(of):  # a statement that was called comes behind the one that calls it
            self._assign_names(targets(of[run]), members[run])

    def is_same_statement(self, a: fx.Node, b: fx.Node) -> bool:
        """Whether one execution of one statement of `forward` makes both."""
        return self._runs.get(a, ())[:1] == self._runs.get(b, ())[:1]

    def find_numbers(self, node: fx.Node, known: Mapping[str, int | float]) -> Numbers:
        """The attributes `self.X` among `known` that the statement of a node reads, by their values.

        A number that two of them have is left out, and so is one that is a part of the user's arithmetic.
        """
        stmt = self._innermost.get(node)
        found: dict[tuple[type, int | float], set[str]] = {}
        for attribute in _list_numbers_read(stmt, known) if stmt else ():
            value = known[attribute]
            found.setdefault((type(value), value), set()).add(attribute)
        return {number: names.pop() for number, names in found.items() if len(names) == 1}

    def _assign_names(self, names: Sequence[str], nodes: Sequence[fx.Node]) -> None:
        """What a statement makes and does not use itself takes the names that it binds, but for `_`."""
        inside = set(nodes)
        made = [
            node for node in nodes if isinstance(node.meta["val"], Tensor) and inside.isdisjoint(node.users)
        ]
        names = _expand_starred(names, len(made))
        if len(made) == len(names):
            self._hint(zip(made, names, strict=True))
            return
        unnamed = [node for node in made if node not in self.hints]
        if len(names) == 1:
            self._hint((node, f"{names[0]}_{number}") for number, node in enumerate(unnamed))
        for node in filter(is_item, unnamed):  # of some items of a tuple nothing is read
            source, place = get_item_source(node)
            if len(source.meta["val"]) == len(names):
                self._hint([(node, names[place])])

    def _hint(self, named: Iterable[tuple[fx.Node, str]]) -> None:
        self.hints.update((node, name) for node, name in named if name.strip("_"))


def _expand_starred(names: Sequence[str], count: int) -> Sequence[str]:
    """The names of `count` values, where a starred target takes what the others leave."""
    place = next((place for place, name in enumerate(names) if name.startswith("*")), None)
    if place is None:
        return names
    rest = [f"{names[place][1:]}_{number}" for number in range(count - len(names) + 1)]
    return [*names[:place], *rest, *names[place + 1 :]]


def _starts_again(node: fx.Node, before: Sequence[fx.Node]) -> bool:
    """Whether a call begins the next turn of a loop of one statement: another layer, called alike."""
    if node.target is not CALL:
        return False
    others = {str(other.args[1]) for other in before if other.target is CALL}
    path = str(node.args[1])
    return path not in others and _drop_numbers(path) in map(_drop_numbers, others)


def _drop_numbers(path: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in path.split("."))


def _list_numbers_read(stmt: ast.stmt, known: Mapping[str, int | float]) -> Iterator[str]:
    """The attributes that are numbers, but for those that arithmetic joins with other numbers."""

    def is_number(node: ast.AST) -> bool:
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=attr):
                return attr in known
            case ast.BinOp(left=left, right=right):
                return is_number(left) and is_number(right)
            case ast.UnaryOp(operand=operand):
                return is_number(operand)
        return isinstance(node, ast.Constant)

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Attribute) and is_number(node):
            yield node.attr
        elif not (isinstance(node, ast.BinOp | ast.UnaryOp) and is_number(node)):
            for child in ast.iter_child_nodes(node):
                yield from visit(child)

    yield from visit(stmt)
