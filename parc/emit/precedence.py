"""How tightly Python's operators bind, and where an expression may be broken."""

from __future__ import annotations

import ast
from typing import NamedTuple

UNARY, ATOM = 8, 10


class Sign(NamedTuple):
    text: str
    binds: int  # more is tighter


_SIGNS: dict[type[ast.AST], Sign] = {
    ast.Eq: Sign("==", 1),
    ast.NotEq: Sign("!=", 1),
    ast.Lt: Sign("<", 1),
    ast.LtE: Sign("<=", 1),
    ast.Gt: Sign(">", 1),
    ast.GtE: Sign(">=", 1),
    ast.BitOr: Sign("|", 2),
    ast.BitXor: Sign("^", 3),
    ast.BitAnd: Sign("&", 4),
    ast.LShift: Sign("<<", 5),
    ast.RShift: Sign(">>", 5),
    ast.Add: Sign("+", 6),
    ast.Sub: Sign("-", 6),
    ast.Mult: Sign("*", 7),
    ast.Div: Sign("/", 7),
    ast.FloorDiv: Sign("//", 7),
    ast.Mod: Sign("%", 7),
    ast.MatMult: Sign("@", 7),
    ast.USub: Sign("-", UNARY),
    ast.UAdd: Sign("+", UNARY),
    ast.Invert: Sign("~", UNARY),
    ast.Pow: Sign("**", 9),
}


def sign(operator: ast.AST) -> Sign:
    return _SIGNS[type(operator)]


def measure_binding(node: ast.expr) -> int:
    """How tightly an expression holds together: that of its operator."""
    match node:
        case ast.BinOp(op=op) | ast.UnaryOp(op=op):
            return sign(op).binds
        case ast.Compare():
            return sign(ast.Eq()).binds
        case ast.Attribute() | ast.Call() | ast.Subscript() | ast.Name() | ast.Constant():
            return ATOM
        case ast.Tuple() | ast.List() | ast.Dict() | ast.ListComp() | ast.DictComp():
            return ATOM
    return -1


def is_held_owner(node: ast.expr) -> bool:
    """Whether what has an attribute stands in parentheses: behind a number a dot would be its point."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    return measure_binding(node) < ATOM


def is_power_operand(node: ast.expr) -> bool:
    """A name or a number: between such `**` stands without spaces."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int | float)
        case ast.UnaryOp(operand=operand):
            return isinstance(operand, ast.Constant)
        case ast.Attribute(value=value):
            return is_power_operand(value) and not isinstance(value, ast.Constant)
    return isinstance(node, ast.Name)


def is_bound(node: ast.expr) -> bool:
    """A name or a constant: between such a slice's `:` stands without spaces."""
    return (
        is_bound(node.operand) if isinstance(node, ast.UnaryOp) else isinstance(node, ast.Name | ast.Constant)
    )


def is_chain(node: ast.expr) -> bool:
    """Two or more attributes of what a call, an item or parentheses give."""
    return _count_attributes(node) > 1


def _count_attributes(node: ast.expr) -> int:
    match node:
        case ast.Attribute(value=value):
            if is_held_owner(value):
                return 1
            return isinstance(value, ast.Call | ast.Subscript) + _count_attributes(value)
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _count_attributes(inner)
    return 0


def breaks_at_brackets(node: ast.expr) -> bool:
    """Whether its one loosest operator stands before or behind brackets that can be broken."""
    loosest = _list_bindings(node, -1)
    if not any(isinstance(part, _WITH_BRACKETS) for part in ast.walk(node)):
        return False
    return not loosest or (
        loosest.count(min(loosest)) == 1 and (_begins_with_bracket(node, -1) or _ends_with_bracket(node, -1))
    )


_WITH_BRACKETS = (ast.Call, ast.Subscript, ast.Tuple, ast.List, ast.Dict, ast.ListComp, ast.DictComp)


def _list_bindings(node: ast.expr, within: int) -> list[int]:
    """How tightly each operator outside of brackets binds; a method of what a call gives counts as one."""
    if measure_binding(node) < within:
        return []
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            before, after = find_operand_bindings(op)
            return [sign(op).binds, *_list_bindings(left, before), *_list_bindings(right, after)]
        case ast.Compare(left=left, ops=ops, comparators=others):
            found = [measure_binding(node)] * len(ops)
            return found + [
                each for other in (left, *others) for each in _list_bindings(other, measure_binding(node) + 1)
            ]
        case ast.UnaryOp(op=op, operand=operand):
            return [UNARY] * isinstance(op, ast.Invert) + _list_bindings(operand, ATOM)
        case ast.Attribute(value=value):
            return [ATOM] * (_count_attributes(node) - _count_attributes(value)) + _list_bindings(value, ATOM)
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _list_bindings(inner, ATOM)
    return []


def find_operand_bindings(op: ast.operator) -> tuple[int, int]:
    """How tightly the operands must bind, left and right, to stand without parentheses."""
    binds = sign(op).binds
    return (binds + 1, UNARY) if isinstance(op, ast.Pow) else (binds, binds + 1)


def _begins_with_bracket(node: ast.expr, within: int) -> bool:
    """Whether its text begins with a bracket that holds something."""
    if measure_binding(node) < within:
        return True
    match node:
        case ast.BinOp(left=left, op=op):
            return _begins_with_bracket(left, find_operand_bindings(op)[0])
        case ast.Compare(left=left):
            return _begins_with_bracket(left, measure_binding(node) + 1)
        case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
            return _begins_with_bracket(inner, ATOM)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Dict(values=parts):
            return bool(parts)
    return False


def _ends_with_bracket(node: ast.expr, within: int) -> bool:
    """Whether its text ends with a bracket that holds something; an index is no place to break a line."""
    if measure_binding(node) < within:
        return True
    match node:
        case ast.BinOp(op=op, right=right):
            return _ends_with_bracket(right, find_operand_bindings(op)[1])
        case ast.Compare(comparators=[*_, right]):
            return _ends_with_bracket(right, measure_binding(node) + 1)
        case ast.UnaryOp(operand=operand):
            return _ends_with_bracket(operand, ATOM)
        case ast.Call(args=args, keywords=keywords):
            return bool(args or keywords)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Dict(values=parts):
            return bool(parts)
    return False
