"""Printers of operators that only look at a tensor in another shape, or at a part of it."""

from __future__ import annotations

from parc.lower.expression import ATOM, Printer, Text, Written


def _view(written: Written) -> Text:
    """As `flatten` or `unflatten` where that says it, which need no other sizes."""
    before, after = written.before[0], written.after[0]
    front = 0
    while front < min(len(before), len(after)) and before[front] == after[front]:
        front += 1
    back = 0
    while back < min(len(before), len(after)) - front and before[-1 - back] == after[-1 - back]:
        back += 1
    if front + back == len(before):
        back -= 1
    gone, made = before[front : len(before) - back], after[front : len(after) - back]
    if len(made) == 1 and len(gone) > 1:
        end = -1 - back if back or front + len(gone) < len(before) else -1
        asked = [] if (front, end) == (0, -1) else [str(front)] if end == -1 else [str(front), str(end)]
        return written.method("flatten", *asked)
    if len(gone) == 1 and len(made) > 1:
        sizes = ", ".join(str(size) for size in _asked(written, front, made))
        return written.method("unflatten", str(front if back else -1), f"({sizes})")
    return written.method("reshape", *(str(size) for size in after))


def _asked(written: Written, front: int, made: tuple[int, ...]) -> list[int]:
    """The sizes of the split dim, with the user's own -1, else one for the first."""
    sizes = written.args[1] if len(written.args) == 2 else None
    if isinstance(sizes, (list, tuple)) and -1 in sizes[front : front + len(made)]:
        return [-1 if sizes[front + i] == -1 else size for i, size in enumerate(made)]
    return [-1, *made[1:]]


def _same_shape_or_view(written: Written) -> Text:
    return written.first if written.before[0] == written.after[0] else _view(written)


def _expand(written: Written) -> Text:
    before, after = written.before[0], written.after[0]
    added = len(after) - len(before)
    sizes = [
        str(size) if place < added or before[place - added] != size else "-1"
        for place, size in enumerate(after)
    ]
    return written.method("expand", *sizes)


def _slice(written: Written) -> Text:
    arguments = dict(zip(("dim", "start", "end", "step"), written.args[1:], strict=False))
    start, end, step = arguments.get("start"), arguments.get("end"), arguments.get("step", 1)
    dim = arguments.get("dim", 0) % len(written.before[0])
    whole = written.before[0][dim]
    first = "" if not start else str(start)
    last = "" if end is None or end >= whole else str(end)
    if not first and not last and step == 1:
        return written.first
    inside = f"{first}:{last}" + (f":{step}" if step != 1 else "")
    return _indexed(written, dim, inside)


def _select(written: Written) -> Text:
    dim, index = written.args[1:]
    return _indexed(written, dim % len(written.before[0]), str(index))


def _indexed(written: Written, dim: int, inside: str) -> Text:
    if dim == len(written.before[0]) - 1 and dim > 1:
        return Text(f"{written.first.within(ATOM)}[..., {inside}]")
    return Text(f"{written.first.within(ATOM)}[{', '.join([':'] * dim + [inside])}]")


VIEWS: dict[str, Printer] = {
    "view": _same_shape_or_view,
    "reshape": _same_shape_or_view,
    "view_as": _same_shape_or_view,
    "flatten": _view,
    "unflatten": _view,
    "_unsafe_view": _view,
    "expand": _expand,
    "slice": _slice,
    "select": _select,
}
