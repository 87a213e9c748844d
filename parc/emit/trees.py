"""Statements as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence


def assign(target: ast.expr, value: ast.expr) -> ast.Assign:
    """`target = value`."""
    return ast.Assign([target], value)


def docstring(text: str) -> ast.Expr:
    """The first statement of a module or a class."""
    return ast.Expr(ast.Constant(text))


def function(
    name: str, parameters: Mapping[str, ast.expr | None], returns: ast.expr, body: Sequence[ast.stmt]
) -> ast.FunctionDef:
    """A function with positional parameters, each with its annotation."""
    found = [ast.arg(parameter, annotation) for parameter, annotation in parameters.items()]
    arguments = ast.arguments(posonlyargs=[], args=found, kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.FunctionDef(name, arguments, list(body), [], returns)


def import_from(module: str, names: Sequence[str]) -> ast.ImportFrom:
    """`from module import names`."""
    return ast.ImportFrom(module, [ast.alias(name) for name in names], 0)
