"""Python expressions as syntax trees, built from templates.

A template is an expression with placeholders: `expr("x.transpose(a, b)", x=.., a=.., b=..)` puts trees in
the place of the names `x`, `a` and `b`. A tree has no parentheses, so neither templates nor their users are
concerned with precedence: the printer adds the parentheses that bind. Trees are shared between expressions
and never changed.
"""

from __future__ import annotations

import ast
import keyword
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from parc.plan.mesh import identify_group


@dataclass(frozen=True)
class Expression:
    """A tree as a value: two of the same source text are equal."""

    tree: ast.expr = field(compare=False)
    source: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", ast.unparse(self.tree))

    def __str__(self) -> str:
        return self.source


def expr(template: str, /, **operands: ast.expr) -> ast.expr:
    """The expression that a template describes, with its placeholders replaced by `operands`."""
    return substitute(_parse(template), operands)


def substitute(tree: ast.expr, operands: Mapping[str, ast.expr]) -> ast.expr:
    """The expression with every name that is a key of `operands` replaced."""
    replaced = _replace(tree, operands)
    assert isinstance(replaced, ast.expr)
    return replaced


def call(function: str | ast.expr, *arguments: ast.expr, **keywords: ast.expr) -> ast.expr:
    """A call; a function in a module is named by its path."""
    named = [ast.keyword(name, value) for name, value in keywords.items()]
    return ast.Call(expr(function) if isinstance(function, str) else function, list(arguments), named)


def method(owner: ast.expr, name: str, *arguments: ast.expr, **keywords: ast.expr) -> ast.expr:
    """A call of a method."""
    return call(ast.Attribute(owner, name, ast.Load()), *arguments, **keywords)


def item(owner: ast.expr, *indices: ast.expr) -> ast.expr:
    """`owner[i]`, or `owner[i, j]`."""
    index = indices[0] if len(indices) == 1 else ast.Tuple(list(indices), ast.Load())
    return ast.Subscript(owner, index, ast.Load())


def name(identifier: str) -> ast.expr:
    """A variable."""
    return ast.Name(identifier, ast.Load())


def placeholder(number: int) -> ast.Name:
    """A name that stands for an expression until it is known: none that Python knows."""
    return ast.Name(f"<{number}>", ast.Load())


def attribute(path: str) -> ast.expr:
    """An attribute path below `self`; what is no name is the key of an item, as of an `nn.ModuleDict`."""
    tree = name("self")
    for part in path.split("."):
        tree = ast.Attribute(tree, part, ast.Load()) if is_plain_name(part) else item(tree, literal(part))
    return tree


def get_attribute_path(tree: ast.expr) -> str:
    """The attribute path below `self` that an expression is, see `attribute`; empty for any other."""
    match tree:
        case ast.Attribute(value=ast.Name(id="self"), attr=last):
            return last
        case (
            ast.Attribute(value=owner, attr=last)
            | ast.Subscript(value=owner, slice=ast.Constant(value=str(last)))
        ):
            above = get_attribute_path(owner)
            return f"{above}.{last}" if above else ""
    return ""


def group_attribute(group: str) -> ast.expr:
    """The attribute below `self` that holds a process group: `self.dp_tp` of `dp+tp`."""
    return attribute(identify_group(group))


def is_plain_name(text: str) -> bool:
    """Whether a text can be a name in Python, which holds some names outside of ASCII for the same one."""
    return text.isascii() and text.isidentifier() and not keyword.iskeyword(text)


def literal(value: object) -> ast.expr:
    """A Python value as an expression; an expression stays as it is."""
    if isinstance(value, ast.expr):
        return value
    if isinstance(value, tuple):
        return ast.Tuple([literal(each) for each in value], ast.Load())
    if isinstance(value, list):
        return ast.List([literal(each) for each in value], ast.Load())
    if isinstance(value, Mapping):
        return ast.Dict([literal(key) for key in value], [literal(each) for each in value.values()])
    if isinstance(value, float) and not math.isfinite(value):
        return call("float", literal(str(value)))
    if isinstance(value, int | float) and not isinstance(value, bool) and math.copysign(1.0, value) < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    assert value is None or value is ... or isinstance(value, bool | int | float | str), value
    return ast.Constant(value)


def list_names(trees: Sequence[ast.AST]) -> set[str]:
    """The variables that expressions or statements mention."""
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


@cache
def _parse(template: str) -> ast.expr:
    return ast.parse(template, mode="eval").body


def _replace(node: ast.AST, operands: Mapping[str, ast.expr]) -> ast.AST:
    """A copy of what contains a placeholder; all else is shared."""
    if isinstance(node, ast.Name):
        return operands.get(node.id, node)
    fields = {key: _replace_field(value, operands) for key, value in ast.iter_fields(node)}
    if all(value is getattr(node, key) for key, value in fields.items()):
        return node
    return type(node)(**fields)


def _replace_field(value: object, operands: Mapping[str, ast.expr]) -> object:
    if isinstance(value, ast.AST):
        return _replace(value, operands)
    if isinstance(value, list):
        replaced = [_replace_field(each, operands) for each in value]
        return replaced if any(new is not old for new, old in zip(replaced, value, strict=True)) else value
    return value
