"""Completes `arguments`: the parameters of the model's factory, read from its source without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from parc.lsp.completion.files import read_python
from parc.lsp.completion.item import Item
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import CursorContext
from parc.syntax import tree

ASSIGNED = re.compile(r"(\w+)[ \t]*=")
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


class Parameter(NamedTuple):
    """A parameter of a factory; `default` and `type` are as they are written, or empty."""

    name: str
    type: str
    default: str


def list_argument_keys(analysis: Analysis, context: CursorContext) -> Iterator[Item]:
    """The parameters that have no value yet; those without a default come first."""
    text, offset = analysis.source.text, context.offset
    used = context.body.keys | set(ASSIGNED.findall(text[offset : text.find("}", offset)]))
    for each in find_parameters(analysis, offset):
        if each.name not in used:
            detail = f"{each.type or 'argument'}{f' = {each.default}' if each.default else ''}"
            order = 1 if each.default else 0
            yield Item(each.name, "key", f"{each.name} = ", detail=detail, order=order)


def list_argument_values(analysis: Analysis, context: CursorContext) -> Iterator[Item]:
    """The default of the parameter, or `true` and `false`."""
    for each in find_parameters(analysis, context.offset):
        if each.name != context.body.key:
            continue
        if each.default in ("True", "False") or each.type == "bool":
            yield from (Item(word, "value", word) for word in ("true", "false"))
        elif each.default and each.default != "None":
            yield Item(each.default, "value", each.default.replace("'", '"'), detail="the default")


def find_parameters(analysis: Analysis, offset: int) -> tuple[Parameter, ...]:
    """The parameters of the factory of the model block at an offset; none if its file cannot be read."""
    block = analysis.find_block(offset)
    for statement in block.body.statements if block and block.body else ():
        match statement:
            case tree.Assignment(value=tree.String() as source) if statement.path.text == "source":
                file, _, name = source.value.partition(":")
                text = read_python(analysis.path.parent, file) if file.endswith(".py") else None
                return _parse_parameters(text, name) if text else ()
    return ()


def locate_factory(folder: Path, source: str) -> tuple[Path, int] | None:
    """The file of a factory, and the 0-based line on which it is defined."""
    file, _, name = source.partition(":")
    text = read_python(folder, file) if file.endswith(".py") else None
    node = _find_definition(text, name) if text else None
    return ((folder / file).resolve(), node.lineno - 1) if node else None


def _find_definition(text: str, name: str) -> ast.ClassDef | FUNCTIONS | None:
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = (each for each in statements if isinstance(each, ast.ClassDef | FUNCTIONS) and each.name == name)
    return next(found, None)


@lru_cache(maxsize=8)
def _parse_parameters(text: str, name: str) -> tuple[Parameter, ...]:
    node = _find_definition(text, name)
    if isinstance(node, ast.ClassDef):
        functions = (each for each in node.body if isinstance(each, FUNCTIONS) and each.name == "__init__")
        found = next(functions, None)
        return tuple(_list_parameters(found))[1:] if found else tuple(_list_fields(node))
    return tuple(_list_parameters(node)) if node else ()


def _list_parameters(function: FUNCTIONS) -> Iterator[Parameter]:
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(positional) - len(given.defaults)), *given.defaults]
    for each, default in zip([*positional, *given.kwonlyargs], [*defaults, *given.kw_defaults], strict=True):
        yield Parameter(each.arg, _unparse(each.annotation), _unparse(default))


def _list_fields(of: ast.ClassDef) -> Iterator[Parameter]:
    """The fields of a dataclass."""
    for each in of.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            yield Parameter(each.target.id, _unparse(each.annotation), _unparse(each.value))


def _unparse(node: ast.expr | None) -> str:
    return ast.unparse(node) if node else ""
