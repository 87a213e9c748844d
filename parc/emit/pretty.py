"""The printer: syntax trees as a formatter writes them, for the Python that parc emits."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from parc.emit.document import Document, Group, IfBroken, fit
from parc.emit.expressions import (
    bracket,
    lay_out,
    lay_out_bare,
    lay_out_target,
    lay_out_value,
    parenthesize_if_broken,
    separate,
)

WIDTH = 110
STEP = 4


def print_module(tree: ast.Module) -> str:
    """The text of a file: a docstring, imports in groups of one package, classes."""
    title, *rest = tree.body
    lines = _print_docstring(title, 0)
    before: ast.stmt = title
    for stmt in rest:
        lines += _separate(before, stmt)
        lines += print_statement(stmt)
        before = stmt
    return "\n".join(lines) + "\n"


def print_statement(stmt: ast.stmt, indent: int = 0) -> list[str]:
    """The lines of a statement."""
    match stmt:
        case ast.ClassDef():
            return _print_class(stmt, indent)
        case ast.FunctionDef():
            return [*_print_signature(stmt, indent), *_print_block(stmt.body, indent + STEP)]
        case ast.For(target=target, iter=iterator, body=body):
            head = ("for ", lay_out_target(target), " in ", lay_out(iterator, inside=False), ":")
            return [*fit(head, indent, WIDTH), *_print_block(body, indent + STEP)]
        case ast.If(test=test, body=body, orelse=[]):
            lines = fit(("if ", lay_out(test), ":"), indent, WIDTH)
            return [*lines, *_print_block(body, indent + STEP)]
    return fit(_lay_out_simple(stmt), indent, WIDTH)


def print_expression(tree: ast.expr) -> str:
    """An expression on one line."""
    (line,) = fit(Group(lay_out(tree)), 0, 1 << 30)
    return line


def _lay_out_simple(stmt: ast.stmt) -> Document:
    match stmt:
        case ast.Assign(targets=[target], value=value):
            return (lay_out_target(target), " = ", lay_out_value(value))
        case ast.AugAssign(target=target, op=ast.Add(), value=value):
            return (lay_out(target), " += ", lay_out_value(value))
        case ast.Return(value=ast.Tuple(elts=[_, _, *_]) as value):
            return ("return ", parenthesize_if_broken(lay_out_bare(value)))
        case ast.Return(value=ast.expr() as value):
            return ("return ", lay_out_value(value))
        case ast.Raise(exc=ast.expr() as fault):
            return ("raise ", lay_out_value(fault))
        case ast.Expr(value=value):
            return lay_out_value(value)
        case ast.Import(names=[alias]):
            return f"import {_print_alias(alias)}"
        case ast.ImportFrom(module=str(module), names=names):
            found = (*separate([_print_alias(each) for each in names]), IfBroken(","))
            return (f"from {module} import ", parenthesize_if_broken(found))
    raise AssertionError(ast.dump(stmt))


def _print_alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _print_class(node: ast.ClassDef, indent: int) -> list[str]:
    title, *methods = node.body
    lines = [f"{' ' * indent}class {node.name}({', '.join(map(print_expression, node.bases))}):"]
    lines += _print_docstring(title, indent + STEP)
    for stmt in methods:
        lines += ["", *print_statement(stmt, indent + STEP)]
    return lines


def _print_docstring(stmt: ast.stmt, indent: int) -> list[str]:
    assert isinstance(stmt, ast.Expr)
    assert isinstance(stmt.value, ast.Constant)
    first, *rest = str(stmt.value.value).split("\n")
    space = " " * indent
    if not rest:
        return [f'{space}"""{first}"""']
    return [f'{space}"""{first}', *(f"{space}{line}".rstrip() for line in rest), f'{space}"""']


def _print_signature(node: ast.FunctionDef, indent: int) -> list[str]:
    parameters = Group((*separate([_lay_out_parameter(each) for each in node.args.args]), IfBroken(",")))
    returns = f" -> {print_expression(node.returns)}" if node.returns else ""
    return fit((f"def {node.name}", bracket("(", parameters, ")"), returns, ":"), indent, WIDTH)


def _lay_out_parameter(argument: ast.arg) -> Document:
    return (argument.arg, ": ", lay_out(argument.annotation)) if argument.annotation else argument.arg


def _print_block(body: Sequence[ast.stmt], indent: int) -> Iterator[str]:
    for stmt in body:
        yield from print_statement(stmt, indent)


def _separate(before: ast.stmt, stmt: ast.stmt) -> list[str]:
    """The empty lines ahead of a statement of a module."""
    if isinstance(stmt, ast.ClassDef):
        return ["", ""]
    return [] if _find_section(before) == _find_section(stmt) else [""]


def _find_section(stmt: ast.stmt) -> str:
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
