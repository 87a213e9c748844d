"""The printer: syntax trees as a formatter writes them, for the Python that parc emits."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from parc.emit.document import Document, Group, IfBroken, fit
from parc.emit.expressions import bare, bracketed, expression, held_if_broken, listed, right_hand_side

WIDTH = 110
STEP = 4


def print_module(tree: ast.Module) -> str:
    """The text of a file: a docstring, imports in groups of one package, classes."""
    title, *rest = tree.body
    lines = _docstring(title, 0)
    before: ast.stmt = title
    for stmt in rest:
        lines += _space_between(before, stmt)
        lines += print_statement(stmt)
        before = stmt
    return "\n".join(lines) + "\n"


def print_statement(stmt: ast.stmt, indent: int = 0) -> list[str]:
    """The lines of a statement."""
    match stmt:
        case ast.ClassDef():
            return _class(stmt, indent)
        case ast.FunctionDef():
            return [*_signature(stmt, indent), *_block(stmt.body, indent + STEP)]
        case ast.For(target=target, iter=iterator, body=body):
            head = ("for ", _target(target), " in ", expression(iterator, inside=False), ":")
            return [*fit(head, indent, WIDTH), *_block(body, indent + STEP)]
    return fit(_simple(stmt), indent, WIDTH)


def print_expression(tree: ast.expr) -> str:
    """An expression on one line."""
    (line,) = fit(Group(expression(tree)), 0, 1 << 30)
    return line


def print_element(tree: ast.expr, indent: int) -> list[str]:
    """The lines of an element of a list that is written one element a line."""
    return fit((right_hand_side(tree), ","), indent, WIDTH)


def _simple(stmt: ast.stmt) -> Document:
    match stmt:
        case ast.Assign(targets=[target], value=value):
            return (_target(target), " = ", right_hand_side(value))
        case ast.AugAssign(target=target, op=ast.Add(), value=value):
            return (expression(target), " += ", right_hand_side(value))
        case ast.Return(value=ast.Tuple(elts=[_, _, *_]) as value):
            return ("return ", held_if_broken(bare(value)))
        case ast.Return(value=ast.expr() as value):
            return ("return ", right_hand_side(value))
        case ast.Expr(value=value):
            return right_hand_side(value)
        case ast.Import(names=[alias]):
            return f"import {_alias(alias)}"
        case ast.ImportFrom(module=str(module), names=names):
            found = (*listed([_alias(each) for each in names]), IfBroken(","))
            return (f"from {module} import ", held_if_broken(found))
    raise AssertionError(ast.dump(stmt))


def _target(node: ast.expr) -> str:
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return ", ".join(map(print_expression, parts))


def _alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _class(node: ast.ClassDef, indent: int) -> list[str]:
    title, *methods = node.body
    lines = [f"{' ' * indent}class {node.name}({', '.join(map(print_expression, node.bases))}):"]
    lines += _docstring(title, indent + STEP)
    for stmt in methods:
        lines += ["", *print_statement(stmt, indent + STEP)]
    return lines


def _docstring(stmt: ast.stmt, indent: int) -> list[str]:
    assert isinstance(stmt, ast.Expr)
    assert isinstance(stmt.value, ast.Constant)
    first, *rest = str(stmt.value.value).split("\n")
    space = " " * indent
    if not rest:
        return [f'{space}"""{first}"""']
    return [f'{space}"""{first}', *(f"{space}{line}".rstrip() for line in rest), f'{space}"""']


def _signature(node: ast.FunctionDef, indent: int) -> list[str]:
    parameters = Group(listed([_parameter(each) for each in node.args.args]))
    returns = (" -> ", expression(node.returns)) if node.returns else ""
    return fit((f"def {node.name}", bracketed("(", parameters, ")"), returns, ":"), indent, WIDTH)


def _parameter(argument: ast.arg) -> Document:
    return (argument.arg, ": ", expression(argument.annotation)) if argument.annotation else argument.arg


def _block(body: Sequence[ast.stmt], indent: int) -> Iterator[str]:
    for stmt in body:
        yield from print_statement(stmt, indent)


def _space_between(before: ast.stmt, stmt: ast.stmt) -> list[str]:
    """The empty lines ahead of a statement of a module."""
    if isinstance(stmt, ast.ClassDef):
        return ["", ""]
    return [] if _section(before) == _section(stmt) else [""]


def _section(stmt: ast.stmt) -> str:
    """The section of the imports that a statement belongs to: by package, the program's own in one."""
    match stmt:
        case ast.Import(names=[alias]):
            package = alias.name.partition(".")[0]
        case ast.ImportFrom(module=str(module)):
            package = module.partition(".")[0]
        case _:
            return ""
    return "program" if package in _OWN else package


_OWN = ("model", "runtime")  # modules beside a program
