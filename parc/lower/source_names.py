"""Names for the values of a graph: the user's own, read from the statements that made them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from torch import fx

from parc.capture.custom_ops import CALL
from parc.capture.graph import Body, Line, is_item, item_of, lines_of


@cache
def _statements(file: Path) -> dict[int, ast.stmt]:
    """The innermost simple statement on each line of a source file."""
    try:
        tree = ast.parse(file.read_text())
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[int, ast.stmt] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Expr)):
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[number] = node
    return found


def statement(line: Line) -> ast.stmt | None:
    """The statement that a line of the user's source is part of."""
    return _statements(line.file).get(line.number)


def targets(stmt: ast.stmt | None) -> tuple[str, ...]:
    """The plain names that an assignment binds."""
    if isinstance(stmt, ast.Assign) and len(stmt.targets) == 1:
        target: ast.expr | None = stmt.targets[0]
    elif isinstance(stmt, (ast.AugAssign, ast.AnnAssign)):
        target = stmt.target
    else:
        target = None
    if isinstance(target, ast.Name):
        return (target.id,)
    if isinstance(target, ast.Tuple) and all(isinstance(part, ast.Name) for part in target.elts):
        return tuple(part.id for part in target.elts if isinstance(part, ast.Name))
    return ()


def _again(node: fx.Node, before: list[fx.Node]) -> bool:
    """Whether a call begins the next turn of a loop of one statement: another layer, called alike."""
    if node.target is not CALL:
        return False
    others = {str(other.args[1]) for other in before if other.target is CALL}
    path = str(node.args[1])
    return path not in others and _numberless(path) in map(_numberless, others)


def _numberless(path: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in path.split("."))


class Statements:
    """Which values of a graph one execution of one statement makes: operations of the same lines in a row."""

    def __init__(self, body: Body) -> None:
        self.runs: dict[fx.Node, int] = {}
        self.hints: dict[fx.Node, str] = {}
        runs: list[tuple[ast.stmt | None, list[fx.Node]]] = []
        for node in body.operations():
            lines = lines_of(node)
            stmt = statement(lines[-1]) if lines else None
            if not runs or runs[-1][0] is not stmt or _again(node, runs[-1][1]):
                runs.append((stmt, []))
            runs[-1][1].append(node)
            self.runs[node] = len(runs)
        for stmt, nodes in runs:
            self._name(stmt, nodes)

    def together(self, a: fx.Node, b: fx.Node) -> bool:
        """Whether one execution of one statement makes both."""
        return self.runs.get(a) == self.runs.get(b)

    def _name(self, stmt: ast.stmt | None, nodes: list[fx.Node]) -> None:
        """What a statement makes and does not use itself takes the names that it binds."""
        names = targets(stmt)
        made = [
            n
            for n in nodes
            if not isinstance(n.meta["val"], (list, tuple)) and not any(u in nodes for u in n.users)
        ]
        if len(made) == len(names):
            self.hints.update(zip(made, names, strict=True))
        elif names:
            for node in filter(is_item, made):
                source, place = item_of(node)
                if len(source.meta["val"]) == len(names):
                    self.hints[node] = names[place]
