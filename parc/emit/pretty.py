"""Statements as a formatter writes them: ruff's line breaking, for the Python that parc emits.

Brackets are broken from the outside in, operators and method chains only within brackets, and brackets are
put around a right-hand side only where its own are no good place for a break. Only the parentheses that bind
are kept.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import NamedTuple

from parc.emit.document import Document, Either, Group, IfBroken, Indent, Line, printed
from parc.emit.precedence import (
    ATOM,
    UNARY,
    Sign,
    binding,
    breaks_at_brackets,
    is_bound,
    is_chain,
    is_power_operand,
    limits,
    sign,
)
from parc.emit.quoting import quoted

WIDTH = 110


def wrapped(statement: str, indent: int, last: str = "") -> list[str]:
    """The lines of an assignment, an expression, a return or an import, and `last` behind it."""
    (parsed,) = ast.parse(statement).body
    return printed((_statement(parsed), last), indent, WIDTH)


def signature(name: str, parameters: Sequence[str], returns: str, indent: int) -> list[str]:
    """The head of a function; its parameters as they are written."""
    held = _bracketed("(", Group(_listed(parameters)), ")")
    return printed((f"def {name}", held, f" -> {returns}:"), indent, WIDTH)


def _statement(node: ast.stmt) -> Document:
    match node:
        case ast.Assign(targets=[target], value=value):
            return (ast.unparse(target).removeprefix("(").removesuffix(")"), " = ", _right_hand_side(value))
        case ast.Return(value=ast.Tuple(elts=[_, _, *_]) as value):
            return ("return ", _held_if_broken(_bare(value)))
        case ast.Return(value=ast.expr() as value):
            return ("return ", _right_hand_side(value))
        case ast.Expr(value=value):
            return _right_hand_side(value)
        case ast.ImportFrom(module=str(module), names=names):
            found = (*_listed([alias.name for alias in names]), IfBroken(","))
            return (f"from {module} import ", _held_if_broken(found))
    raise AssertionError(ast.dump(node))


def _right_hand_side(node: ast.expr) -> Document:
    """In parentheses only where it is too long and its own brackets are no place to break it."""
    if not isinstance(node, ast.BinOp | ast.Compare | ast.UnaryOp) and not is_chain(node):
        return _expression(node, inside=False)
    held = _held_if_broken(_expression(node))
    return Either(_expression(node, inside=False), held) if breaks_at_brackets(node) else held


def _held_if_broken(content: Document) -> Document:
    return Group((IfBroken("("), Indent((Line(), content)), Line(), IfBroken(")")))


def _bare(node: ast.expr) -> Document:
    """A tuple without its parentheses."""
    if not isinstance(node, ast.Tuple):
        return _expression(node)
    last = "," if len(node.elts) == 1 else IfBroken(",")
    return (*_listed([_expression(element) for element in node.elts]), last)


def _expression(node: ast.expr, inside: bool = True) -> Document:
    """`inside` brackets an expression may be broken at its operators, elsewhere in its own brackets only."""
    match node:
        case ast.Constant(value=value):
            return quoted(value)
        case ast.BinOp() | ast.Compare():
            return _operation(list(_flat(node)), inside)
        case ast.UnaryOp(op=op, operand=operand):
            return (
                sign(op).text,
                _operand(operand, binding(operand) != UNARY and binding(operand) < ATOM, inside),
            )
        case ast.Attribute() | ast.Call() | ast.Subscript():
            chain = _chain(node, inside, is_chain(node))
            return Group(chain) if inside else chain
        case ast.Tuple():
            return _bracketed("(", _bare(node), ")")
        case ast.List(elts=elements):
            return _bracketed("[", (*_listed([_expression(e) for e in elements]), IfBroken(",")), "]")
        case ast.Dict(keys=keys, values=values):
            pairs = [(_expression(k), ": ", _expression(v)) for k, v in zip(keys, values, strict=True) if k]
            return _bracketed("{", (*_listed(pairs), IfBroken(",")), "}")
        case ast.DictComp(key=key, value=value, generators=[loop]):
            return _bracketed("{", (_expression(key), ": ", _expression(value), _for(loop)), "}")
        case ast.Slice():
            return _slice(node)
    return ast.unparse(node)


def _for(loop: ast.comprehension) -> Document:
    return (Line(" "), "for ", ast.unparse(loop.target).strip("()"), " in ", _expression(loop.iter))


class _Operand(NamedTuple):
    node: ast.expr
    held: bool  # in parentheses


def _flat(node: ast.expr) -> list[_Operand | Sign]:
    """Operands and operators, left to right, of an operation with those operands that need no parentheses."""

    def part(operand: ast.expr, held: bool) -> list[_Operand | Sign]:
        plain = held or not isinstance(operand, ast.BinOp | ast.Compare)
        return [_Operand(operand, held)] if plain else _flat(operand)

    mine = binding(node)
    if isinstance(node, ast.Compare):
        found = part(node.left, binding(node.left) <= mine)
        for op, right in zip(node.ops, node.comparators, strict=True):
            found += [sign(op), *part(right, binding(right) <= mine)]
        return found
    assert isinstance(node, ast.BinOp)
    before, after = limits(node.op)
    left, right = node.left, node.right
    return [*part(left, binding(left) < before), sign(node.op), *part(right, binding(right) < after)]


def _operation(parts: Sequence[_Operand | Sign], inside: bool) -> Document:
    """Broken before each of the loosest operators, or before none; what binds tighter is its own group."""
    if len(parts) == 1:
        (only,) = parts
        assert isinstance(only, _Operand)
        return _operand(only.node, only.held, inside)
    loosest = min(part.binds for part in parts if isinstance(part, Sign))
    found: list[Document] = []
    begin = 0
    for place, part in enumerate(parts):
        if isinstance(part, Sign) and part.binds == loosest:
            found.append(_operation(parts[begin:place], inside))
            space = (
                "" if part.text == "**" and _simple(parts[place - 1]) and _simple(parts[place + 1]) else " "
            )
            found += [Line(space) if inside else space, part.text + space]
            begin = place + 1
    found.append(_operation(parts[begin:], inside))
    return Group(tuple(found)) if inside else tuple(found)


def _simple(part: _Operand | Sign) -> bool:
    return isinstance(part, _Operand) and not part.held and is_power_operand(part.node)


def _operand(node: ast.expr, held: bool, inside: bool) -> Document:
    return _bracketed("(", _expression(node), ")") if held else _expression(node, inside)


def _chain(node: ast.expr, inside: bool, broken: bool) -> Document:
    """Attributes, calls and items, one after the other; `broken` may be before a method of a result."""
    match node:
        case ast.Attribute(value=value, attr=name):
            held = binding(value) < ATOM
            after = held or isinstance(value, ast.Call | ast.Subscript)
            line: Document = Line() if broken and after and inside else ""
            before = _operand(value, True, inside) if held else _chain(value, inside, broken)
            return (before, line, f".{name}")
        case ast.Call(func=func, args=args, keywords=keywords):
            found = [_expression(each) for each in args]
            found += [(f"{each.arg}=", _expression(each.value)) for each in keywords]
            return (_chain(func, inside, broken), _called(found))
        case ast.Subscript(value=value, slice=index):
            held = binding(value) < ATOM
            before = _operand(value, True, inside) if held else _chain(value, inside, broken)
            return (before, _bracketed("[", _bare(index), "]"))
    return _expression(node, inside)


def _called(arguments: Sequence[Document]) -> Document:
    return _bracketed("(", Group((*_listed(arguments), IfBroken(","))), ")") if arguments else "()"


def _slice(node: ast.Slice) -> Document:
    bounds = [node.lower, node.upper, *([node.step] if node.step else [])]
    space = "" if all(bound is None or is_bound(bound) for bound in bounds) else " "
    found: list[Document] = []
    for place, bound in enumerate(bounds):
        if place:
            found.append((space if bounds[place - 1] else "") + ":" + (space if bound else ""))
        if bound:
            found.append(_expression(bound))
    return tuple(found)


def _listed(parts: Sequence[Document]) -> tuple[Document, ...]:
    found: list[Document] = []
    for place, part in enumerate(parts):
        found += [part] if not place else [",", Line(" "), part]
    return tuple(found)


def _bracketed(opening: str, content: Document, closing: str) -> Document:
    if content in ((), (IfBroken(","),)):
        return opening + closing
    return Group((opening, Indent((Line(), content)), Line(), closing))
