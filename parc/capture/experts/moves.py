"""Operations that leave rows as they are: what moves whole blocks, adds zeros, or weights with 1.

Each function follows rows through one operation and has its result; None where the operation is another one.
No value of a row is ever computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from parc.capture.experts.rows import Rows, TraceTable, join_rows, select_blocks, slice_blocks

_RESHAPES = (
    *("_to_copy", "clone", "expand", "view", "_unsafe_view", "alias", "detach", "repeat_interleave"),
    *("unsqueeze", "squeeze", "select", "sum"),
)


def skip_neutral(table: TraceTable, func: Any, name: str, args: Sequence[Any]) -> Tensor | None:
    """An operation that only weights rows with 1, or adds zeros to them."""
    name = name.rstrip("_")
    if name not in ("mul", "div", "add", "sub") or len(args) != 2:
        return None
    neutral = 1 if name in ("mul", "div") else 0
    swapped = ((args[1], args[0]),) if name in ("mul", "add") else ()
    for mine, other in ((args[0], args[1]), *swapped):
        rows = table.find(mine)
        if rows and not table.knows(other) and _is_all(other, neutral) and _covers(mine, other):
            if func._schema.is_mutable:
                return table.add(args[0], rows)
            return table.add(torch.empty(mine.shape, dtype=torch.result_type(mine, other)), rows)
    return None


def _is_all(value: object, number: float) -> bool:
    if isinstance(value, Tensor):
        return value.numel() > 0 and bool((value == number).all())
    return isinstance(value, (int, float)) and value == number


def _covers(mine: Tensor, other: object) -> bool:
    """Whether the result has the shape of `mine`."""
    return not isinstance(other, Tensor) or torch.broadcast_shapes(mine.shape, other.shape) == mine.shape  # type: ignore[no-untyped-call]


def move_blocks(table: TraceTable, func: Any, name: str, args: Sequence[Any]) -> Any:
    """An operation that picks, puts, splits or joins whole blocks."""
    first, name = args[0], name.rstrip("_")
    if name in ("index", "index_put") and (rows := _find_rows_behind(first, args[1])) is not None:
        return _move_behind(table, func, first, args[1], rows, args[2:])
    if name == "scatter_add" and args[1] == 0 and args[2].ndim == 2 and args[2].stride(1) == 0:
        return _put(table, func, first, args[2][:, 0], args[3], add=True)
    if name == "index" and len(args[1]) == 1:
        return _pick(table, first, select_blocks(args[1][0], table.size))
    if name == "index_select" and args[1] == 0:
        return _pick(table, first, select_blocks(args[2], table.size))
    if name == "add" and len(args) == 2:
        return _add_zeros(table, func, first, args[1])
    if name in ("index_add", "index_copy") and args[1] == 0:
        return _put(table, func, first, args[2], args[3], add=name == "index_add")
    if name == "index_put" and len(args[1]) == 1:
        return _put(table, func, first, args[1][0], args[2], add=len(args) > 3 and args[3])
    if name == "slice" and (len(args) < 2 or args[1] == 0) and len(args) < 5:
        start, end, _ = slice(*[*args[2:], None, None][:2]).indices(len(first))
        return _pick(table, first, slice_blocks(start, end, table.size))
    if name in ("split", "split_with_sizes") and (len(args) < 3 or args[2] == 0):
        return _split(table, first, args[1])
    if name == "cat" and (len(args) < 2 or args[1] == 0):
        return _join(table, first)
    return None


def _pick(table: TraceTable, tensor: Tensor, blocks: list[int] | None) -> Tensor | None:
    rows = table.find(tensor)
    picked = rows.pick(blocks) if rows is not None and blocks is not None else None
    if picked is None:
        return None
    shape = (len(picked.nodes) * table.size, *tensor.shape[1:])
    if not picked.list_nodes():
        return torch.zeros(shape, dtype=tensor.dtype)
    return table.add(torch.empty(shape, dtype=tensor.dtype), picked)


def _find_rows_behind(tensor: Tensor, index: Sequence[Tensor | None]) -> Tensor | None:
    """The rows that an index of a tensor (1, rows, ..) picks: `x[None, rows]`, `x[mask]` of (1, rows)."""
    if tensor.ndim < 2 or len(tensor) != 1:
        return None
    first, *others = index
    if first is None:
        return others[0] if len(others) == 1 else None
    return first[0] if first.dtype == torch.bool and first.ndim == 2 and not others else None


def _move_behind(
    table: TraceTable,
    func: Any,
    tensor: Tensor,
    index: Sequence[Tensor | None],
    rows: Tensor,
    args: Sequence[Any],
) -> Tensor | None:
    """Picks blocks of a tensor (1, rows, ..), or puts `args` there."""
    known = table.find(tensor)
    flat = tensor[0] if known is None else table.add(tensor[0], known)
    if args:
        made = _put(table, func, flat, rows, args[0], add=len(args) > 1 and args[1])
    else:
        made = _pick(table, flat, select_blocks(rows, table.size))
    if made is None:
        return None
    after, result = table.find(made), made
    if args and func._schema.is_mutable:
        result = tensor
    elif args or index[0] is None:  # the first dim is kept
        result = made.unsqueeze(0)
    return result if after is None else table.add(result, after)


def _add_zeros(table: TraceTable, func: Any, tensor: Tensor, other: Tensor) -> Tensor | None:
    """The sum of two tensors of which one at most has rows of each expert, and the other zeros."""
    rows, others = table.find(tensor), table.find(other)
    if rows is None or others is None or rows.experts != others.experts or tensor.shape != other.shape:
        return None
    if any(node is not None and others.nodes[expert] is not None for expert, node in rows.nodes.items()):
        return None
    after = Rows({expert: node or others.nodes[expert] for expert, node in rows.nodes.items()})
    dtype = torch.result_type(tensor, other)
    return table.add(tensor if func._schema.is_mutable else torch.empty(tensor.shape, dtype=dtype), after)


def _put(
    table: TraceTable, func: Any, into: Tensor, index: object, values: Tensor, add: bool
) -> Tensor | None:
    blocks, rows = select_blocks(index, table.size), table.find(values)
    if blocks is None:
        return None
    result = into if func._schema.is_mutable else into.detach()
    before = table.find(into) or _assume_zeros(table, into, blocks, rows)
    if before is None or (blocks and (rows is None or into.shape[1:] != values.shape[1:])):
        return None
    after = before.replace(blocks, rows, add) if blocks and rows else before
    return None if after is None else table.add(result, after)


def _assume_zeros(table: TraceTable, into: Tensor, blocks: list[int], values: Rows | None) -> Rows | None:
    """Rows that hold nothing yet: those of all experts, or of the experts that are put there."""
    if values is None or len(into) % table.size or bool(into.any()):
        return None
    if len(into) == table.experts * table.size:
        return Rows(dict.fromkeys(range(table.experts)))
    return Rows(dict.fromkeys(values.nodes)) if blocks == list(range(len(into) // table.size)) else None


def _split(table: TraceTable, tensor: Tensor, sizes: int | Sequence[int]) -> list[Tensor] | None:
    if isinstance(sizes, int):
        sizes = [min(sizes, len(tensor) - start) for start in range(0, len(tensor), sizes)]
    parts, start = [], 0
    for size in sizes:
        part = _pick(table, tensor, slice_blocks(start, start + size, table.size))
        if part is None:
            return None
        parts.append(part)
        start += size
    return parts


def _join(table: TraceTable, parts: Sequence[Tensor]) -> Tensor | None:
    filled = [part for part in parts if len(part)]
    rows = [table.find(part) for part in filled]
    joined = join_rows(part for part in rows if part is not None)
    if joined is None or not all(rows) or len({(part.shape[1:], part.dtype) for part in filled}) > 1:
        return None
    shape = (sum(map(len, filled)), *filled[0].shape[1:])
    return table.add(torch.empty(shape, dtype=filled[0].dtype), joined)


def reshape_rows(table: TraceTable, func: Any, name: str, args: Sequence[Any], kwargs: Any) -> Tensor | None:
    """An operation by which only dims of 1, one for the single choice, come or go."""
    rows = table.find(args[0])
    if name not in _RESHAPES or rows is None:
        return None
    value = func(args[0].to("meta"), *args[1:], **kwargs)
    if not isinstance(value, Tensor) or value.dtype != args[0].dtype:
        return None
    if [size for size in value.shape if size != 1] != [size for size in args[0].shape if size != 1]:
        return None
    return table.add(torch.empty_strided(value.shape, value.stride(), dtype=value.dtype), rows)
