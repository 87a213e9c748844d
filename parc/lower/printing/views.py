"""Printers of operators that only look at a tensor in another shape, or at a part of it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence

from parc.capture.graph import get_argument, list_operands
from parc.capture.sizes import Size
from parc.ir.expression import item, literal
from parc.lower.batch_sizes import find_argument, find_sizes, make_constant
from parc.lower.printing.operation import Operation, Printer


def _print_view(op: Operation) -> ast.expr:
    """As `flatten` or `unflatten` where one of them does it, which need no other sizes."""
    before, after = op.before[0], op.after[0]
    if before == after:
        return op.first
    whole = find_sizes(list_operands(op.node)[0]), find_sizes(op.node)
    if (dim := _find_inserted(before, after)) and dim == _find_inserted(*whole):
        return op.method("unsqueeze", dim)
    front, back = _count_kept(before, after)
    gone, made = before[front : len(before) - back], after[front : len(after) - back]
    if len(made) == 1 and len(gone) > 1:
        end = -1 if front + len(gone) == len(before) else -1 - back
        return op.method(
            "flatten", *([] if (front, end) == (0, -1) else [front] if end == -1 else [front, end])
        )
    if len(gone) == 1 and len(made) > 1:
        return op.method("unflatten", front if back else -1, _list_asked(op, front, made))
    inferred = next((dim for dim, size in enumerate(after) if not size.is_constant), None)
    return op.method("reshape", *(-1 if d == inferred else _print_size(op, d) for d in range(len(after))))


def _find_inserted(before: Sequence[Size], after: Sequence[Size]) -> int:
    """The dim of size 1 that is new behind others of another size; 0 where that is not the difference."""
    if len(after) != len(before) + 1:
        return 0
    kept = [dim for dim in range(1, len(after)) if (*after[:dim], *after[dim + 1 :]) == tuple(before)]
    return kept[0] if kept and after[kept[0]] == make_constant(1) else 0


def _count_kept(before: Sequence[Size], after: Sequence[Size]) -> tuple[int, int]:
    """How many dims in front and at the back stay; at least one of each shape does not."""
    shorter = min(len(before), len(after))
    front = 0
    while front < shorter and before[front] == after[front]:
        front += 1
    back = 0
    while back < shorter - front and before[-1 - back] == after[-1 - back]:
        back += 1
    if front + back < shorter:
        return front, back
    return (front, back - 1) if back else (front - 1, back)


def _list_asked(op: Operation, front: int, made: Sequence[Size]) -> ast.expr:
    """The sizes of the split dim, with the user's own -1, else one for the first."""
    sizes = op.args[1] if len(op.args) == 2 else None
    asked = sizes[front : front + len(made)] if isinstance(sizes, list | tuple) else []
    inferred = asked.index(-1) if -1 in asked else 0
    found = [literal(-1) if i == inferred else _print_size(op, front + i) for i in range(len(made))]
    return ast.Tuple(found, ast.Load())


def _print_size(op: Operation, dim: int) -> ast.expr:
    """A size of the result; one that every rank has whole may have a name."""
    local, whole = op.after[0][dim], find_sizes(op.node)[dim]
    if local == whole and local.is_constant:
        return op.number(op.sizes.evaluate(local))
    return op.sizes.express(local)


def _print_view_as(op: Operation) -> ast.expr:
    if op.before[0] == op.after[0]:
        return op.first
    return op.method("view_as", op.args[1]) if op.before[1] == op.after[0] else _print_view(op)


def _print_flatten(op: Operation) -> ast.expr:
    if op.before[0] == op.after[0]:
        return op.first
    return _print_flattened(op, get_argument(op.node, "start_dim"), get_argument(op.node, "end_dim"))


def _print_flattened(op: Operation, start: int, end: int) -> ast.expr:
    return op.method("flatten", *([] if (start, end) == (0, -1) else [start] if end == -1 else [start, end]))


def _print_expand(op: Operation) -> ast.expr:
    before, after = op.before[0], op.after[0]
    added = len(after) - len(before)
    kept = [dim >= added and before[dim - added] == size for dim, size in enumerate(after)]
    return op.method("expand", *(-1 if same else _print_size(op, dim) for dim, same in enumerate(kept)))


def _print_slice(op: Operation) -> ast.expr:
    given = dict(zip(("dim", "start", "end", "step"), op.args[1:], strict=False))
    start, end, step = given.get("start"), given.get("end"), given.get("step", 1)
    dim = given.get("dim", 0) % len(op.before[0])
    lower = literal(start) if start else None
    upper = None if _ends_behind(op, dim) else literal(end)
    if lower is None and upper is None and step == 1:
        return op.first
    return _print_indexed(op, dim, ast.Slice(lower, upper, literal(step) if step != 1 else None))


def _ends_behind(op: Operation, dim: int) -> bool:
    """Whether a slice reaches the end of its operand, for every batch."""
    whole, end = op.before[0][dim], find_argument(op.node, 3)
    if isinstance(end, Size) or not whole.is_constant:
        return end in (None, sys.maxsize, find_sizes(list_operands(op.node)[0])[dim])
    return end is None or (isinstance(end, int) and end >= whole.coefficient)


def _print_select(op: Operation) -> ast.expr:
    dim, index = op.args[1:]
    return _print_indexed(op, dim % len(op.before[0]), literal(index))


def _print_indexed(op: Operation, dim: int, index: ast.expr) -> ast.expr:
    if dim == len(op.before[0]) - 1 and dim > 1:
        return item(op.first, literal(...), index)
    return item(op.first, *[ast.Slice()] * dim, index)


VIEWS: Mapping[str, Printer] = {
    "view": _print_view,
    "reshape": _print_view,
    "view_as": _print_view_as,
    "flatten": _print_flatten,
    "unflatten": _print_view,
    "_unsafe_view": _print_view,
    "expand": _print_expand,
    "slice": _print_slice,
    "select": _print_select,
}
