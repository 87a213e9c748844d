"""Expressions as documents: where a formatter may break them, and the parentheses that bind.

Brackets are broken from the outside in, operators and method chains only within brackets, and brackets are
put around a right-hand side only where its own are no good place for a break. This is how ruff formats.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import NamedTuple

from parc.emit.document import Document, Either, Group, IfBroken, Indent, Line
from parc.emit.precedence import (
    ATOM,
    UNARY,
    Sign,
    breaks_at_brackets,
    find_operand_bindings,
    is_bound,
    is_chain,
    is_held_owner,
    is_power_operand,
    measure_binding,
    sign,
)
from parc.emit.quoting import quote


def lay_out_value(node: ast.expr) -> Document:
    """In parentheses only where it is too long and its own brackets are no place to break it."""
    if not isinstance(node, ast.BinOp | ast.Compare | ast.UnaryOp) and not is_chain(node):
        return lay_out(node, inside=False)
    held = parenthesize_if_broken(lay_out(node))
    return Either(lay_out(node, inside=False), held) if breaks_at_brackets(node) else held


def parenthesize_if_broken(content: Document) -> Document:
    return Group((IfBroken("("), Indent((Line(), content)), Line(), IfBroken(")")))


def lay_out_bare(node: ast.expr) -> Document:
    """A tuple without its parentheses."""
    if not isinstance(node, ast.Tuple):
        return lay_out(node)
    last = "," if len(node.elts) == 1 else IfBroken(",")
    return (*separate([lay_out(element) for element in node.elts]), last)


def lay_out(node: ast.expr, inside: bool = True) -> Document:
    """`inside` brackets an expression may be broken at its operators, elsewhere in its own brackets only."""
    match node:
        case ast.Constant(value=value):
            return quote(value)
        case ast.BinOp() | ast.Compare():
            return _lay_out_operation(list(_flatten_operation(node)), inside)
        case ast.UnaryOp(op=op, operand=operand):
            return (
                sign(op).text,
                _lay_out_operand(
                    operand, measure_binding(operand) != UNARY and measure_binding(operand) < ATOM, inside
                ),
            )
        case ast.Attribute() | ast.Call() | ast.Subscript():
            chain = _lay_out_chain(node, inside, is_chain(node))
            return Group(chain) if inside else chain
        case ast.Tuple():
            return bracket("(", lay_out_bare(node), ")")
        case ast.List(elts=elements):
            return bracket("[", (*separate([lay_out(e) for e in elements]), IfBroken(",")), "]")
        case ast.Dict(keys=keys, values=values):
            pairs = [(lay_out(k), ": ", lay_out(v)) for k, v in zip(keys, values, strict=True) if k]
            return bracket("{", (*separate(pairs), IfBroken(",")), "}")
        case ast.ListComp(elt=element, generators=[loop]):
            return bracket("[", (lay_out(element), _lay_out_loop(loop)), "]")
        case ast.DictComp(key=key, value=value, generators=[loop]):
            return bracket("{", (lay_out(key), ": ", lay_out(value), _lay_out_loop(loop)), "}")
        case ast.Slice():
            return _lay_out_slice(node)
        case ast.Name(id=name):
            return name
    raise AssertionError(ast.dump(node))


def _lay_out_loop(loop: ast.comprehension) -> Document:
    return (Line(" "), "for ", lay_out_target(loop.target), " in ", lay_out(loop.iter))


def lay_out_target(node: ast.expr) -> Document:
    """What is assigned to; one line, a tuple of several without its parentheses."""
    if isinstance(node, ast.Tuple) and len(node.elts) == 1:
        return ("(", lay_out(node.elts[0]), ",)")
    first, *rest = node.elts if isinstance(node, ast.Tuple) else [node]
    return (lay_out(first), *((", ", lay_out(each)) for each in rest))


class _Operand(NamedTuple):
    node: ast.expr
    held: bool  # in parentheses


def _flatten_operation(node: ast.expr) -> list[_Operand | Sign]:
    """Operands and operators, left to right, of an operation with those operands that need no parentheses."""

    def part(operand: ast.expr, held: bool) -> list[_Operand | Sign]:
        plain = held or not isinstance(operand, ast.BinOp | ast.Compare)
        return [_Operand(operand, held)] if plain else _flatten_operation(operand)

    mine = measure_binding(node)
    if isinstance(node, ast.Compare):
        found = part(node.left, measure_binding(node.left) <= mine)
        for op, right in zip(node.ops, node.comparators, strict=True):
            found += [sign(op), *part(right, measure_binding(right) <= mine)]
        return found
    assert isinstance(node, ast.BinOp)
    before, after = find_operand_bindings(node.op)
    left, right = node.left, node.right
    return [
        *part(left, measure_binding(left) < before),
        sign(node.op),
        *part(right, measure_binding(right) < after),
    ]


def _lay_out_operation(parts: Sequence[_Operand | Sign], inside: bool) -> Document:
    """Broken before each of the loosest operators, or before none; what binds tighter is its own group."""
    if len(parts) == 1:
        (only,) = parts
        assert isinstance(only, _Operand)
        return _lay_out_operand(only.node, only.held, inside)
    loosest = min(part.binds for part in parts if isinstance(part, Sign))
    found: list[Document] = []
    begin = 0
    for place, part in enumerate(parts):
        if isinstance(part, Sign) and part.binds == loosest:
            found.append(_lay_out_operation(parts[begin:place], inside))
            power = part.text == "**" and _is_simple(parts[place - 1]) and _is_simple(parts[place + 1])
            space = "" if power else " "
            found += [Line(space) if inside else space, part.text + space]
            begin = place + 1
    found.append(_lay_out_operation(parts[begin:], inside))
    return Group(tuple(found)) if inside else tuple(found)


def _is_simple(part: _Operand | Sign) -> bool:
    return isinstance(part, _Operand) and not part.held and is_power_operand(part.node)


def _lay_out_operand(node: ast.expr, held: bool, inside: bool) -> Document:
    return bracket("(", lay_out(node), ")") if held else lay_out(node, inside)


def _lay_out_chain(node: ast.expr, inside: bool, broken: bool) -> Document:
    """Attributes, calls and items, one after the other; `broken` may be before a method of a result."""
    match node:
        case ast.Attribute(value=value, attr=name):
            held = is_held_owner(value)
            after = held or isinstance(value, ast.Call | ast.Subscript)
            line: Document = Line() if broken and after and inside else ""
            before = _lay_out_operand(value, True, inside) if held else _lay_out_chain(value, inside, broken)
            return (before, line, f".{name}")
        case ast.Call(func=func, args=args, keywords=keywords):
            found = [lay_out(each) for each in args]
            found += [(f"{each.arg}=", lay_out(each.value)) for each in keywords]
            return (_lay_out_chain(func, inside, broken), _lay_out_arguments(found))
        case ast.Subscript(value=value, slice=index):
            held = measure_binding(value) < ATOM
            before = _lay_out_operand(value, True, inside) if held else _lay_out_chain(value, inside, broken)
            return (before, bracket("[", lay_out_bare(index), "]"))
    return lay_out(node, inside)


def _lay_out_arguments(arguments: Sequence[Document]) -> Document:
    if not arguments:
        return "()"
    last = IfBroken(",") if len(arguments) > 1 else ""
    return bracket("(", Group((*separate(arguments), last)), ")")


def _lay_out_slice(node: ast.Slice) -> Document:
    bounds = [node.lower, node.upper, *([node.step] if node.step else [])]
    space = "" if all(bound is None or is_bound(bound) for bound in bounds) else " "
    found: list[Document] = []
    for place, bound in enumerate(bounds):
        if place:
            found.append((space if bounds[place - 1] else "") + ":" + (space if bound else ""))
        if bound:
            found.append(lay_out(bound))
    return tuple(found)


def separate(parts: Sequence[Document]) -> tuple[Document, ...]:
    found: list[Document] = []
    for place, part in enumerate(parts):
        found += [part] if not place else [",", Line(" "), part]
    return tuple(found)


def bracket(opening: str, content: Document, closing: str) -> Document:
    if content in ((), (IfBroken(","),)):
        return opening + closing
    return Group((opening, Indent((Line(), content)), Line(), closing))
