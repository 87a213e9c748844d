"""The initial value of every parameter and buffer, derived from what the constructor did on the meta device.

No value exists there. What is derived is the way to make it: for a parameter a recipe that can be drawn again
for any share of the tensor, for a buffer the graph of its computation.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from parc.capture.model.recording import FILLS, Entry, Recording, get_storage, list_tensors
from parc.capture.source_lines import Frames, format_frames

Call: TypeAlias = tuple[str | float, ...]  # the name of an operation in place, and its numbers
Recipe: TypeAlias = tuple[Call, ...]

_MAKERS: dict[str, Call] = {
    "zeros": ("zero_",),
    "ones": ("fill_", 1.0),
    "randn": ("normal_", 0.0, 1.0),
    "rand": ("uniform_", 0.0, 1.0),
}
_EMPTY = ("empty", "empty_like", "new_empty", "empty_strided")
_SAME = (  # the same values, where the memory is the same
    *("detach", "alias", "_to_copy", "view", "clone", "lift_fresh", "reshape"),
    *("t", "transpose", "select", "slice", "unsqueeze", "squeeze", "permute"),
)
_RANDOM = (
    *("normal_", "uniform_", "randn", "rand", "randperm"),
    *("bernoulli_", "randint", "trunc_normal_", "orthogonal_"),
)


class InitialValue(NamedTuple):
    """How a parameter is drawn. Parameters of the same `draw` begin with the same random numbers."""

    recipe: Recipe
    draw: int | None = None  # the number of the random operation that made its values; None for constants
    rearranged: bool = False  # it has the numbers of that operation in another order

    def change(self, *calls: Call) -> InitialValue:
        """After more operations in place."""
        return self._replace(recipe=(*self.recipe, *calls))


_NOTHING = InitialValue(())


class Unrecorded(Exception):
    """A value that cannot be made again for any share of the tensor. `frames` are where it is made."""

    def __init__(self, reason: str, frames: Frames = ()) -> None:
        super().__init__(reason)
        self.frames = frames


def is_random(recipe: Recipe) -> bool:
    """Whether a recipe draws numbers."""
    return any(name in _RANDOM for name, *_ in recipe)


def derive_initial_value(recording: Recording, tensor: Tensor) -> InitialValue:
    """The operations that fill any share of a parameter. Raises Unrecorded."""
    return _derive_before(recording, tensor, get_storage(tensor), None)


def find_draws(recording: Recording, tensor: Tensor) -> set[int]:
    """The numbers of the random operations that a tensor, or what it was made from, has met."""
    return {entry.number for entry in recording.find_sources(tensor) if _draws(entry)}


def _draws(entry: Entry) -> bool:
    """Whether an operation makes random numbers. Those of torch.nn.init that have no operator all do."""
    if entry.name in _RANDOM or entry.target is None:
        return True
    return torch.Tag.nondeterministic_seeded in getattr(entry.target, "tags", ())


def _derive_before(recording: Recording, tensor: Tensor, storage: int, end: Entry | None) -> InitialValue:
    """That of a tensor, or of one as large as it, by what had filled a storage before an entry."""
    found = _NOTHING
    filled: dict[
        Call, set[int]
    ] = {}  # of a tensor that is filled part by part: the rows that a call has filled
    for entry in recording.find_entries(storage, end):
        rows = _find_rows(entry, tensor)
        if rows is None or (found.recipe and entry.name in ("zero_", "fill_")):
            found = _extend(found, entry, recording, tensor, storage)
            continue
        call = _read_fill(entry)
        filled[call] = filled.get(call, set()) | set(rows)
        if len(filled) == 1 and len(filled[call]) == len(tensor):
            found, filled = InitialValue((call,), _find_draw(entry)), {}
    if filled:
        raise Unrecorded("is filled in part")
    if not found.recipe:
        raise Unrecorded("is not set by an operation of torch in the constructor")
    return found


def _find_rows(entry: Entry, tensor: Tensor) -> range | None:
    """The rows of dim 0 that an entry fills; None where it does not fill whole rows, or all of them."""
    if entry.name not in FILLS or entry.name == "orthogonal_":
        return None
    part = entry.args[0]
    if part.numel() in (0, tensor.numel()) or not part.is_contiguous():
        return None
    width = tensor.numel() // len(tensor)
    first, left = divmod(part.storage_offset() - tensor.storage_offset(), width)
    count, rest = divmod(part.numel(), width)
    return None if left or rest or not tensor.is_contiguous() else range(first, first + count)


def _read_fill(entry: Entry) -> Call:
    arguments = entry.args[1:]
    return (entry.name, *(map(_read_number, arguments) if arguments else FILLS[entry.name]))


def _find_draw(entry: Entry) -> int | None:
    return entry.number if entry.name in _RANDOM else None


def _extend(
    found: InitialValue, entry: Entry, recording: Recording, tensor: Tensor, storage: int
) -> InitialValue:
    """The initial value after one more operation on its memory."""
    name, args = entry.name, entry.args
    plain = name.removesuffix("_like")
    if name in _EMPTY or (name in _SAME and entry.operands[0] == storage):
        return found
    if name.endswith("_") and args[0].numel() != tensor.numel():
        if not found.recipe:
            raise Unrecorded("is filled in part")
        return found.change(_derive_zero_row(entry, tensor))
    if plain in _MAKERS:
        return InitialValue((_MAKERS[plain],), _find_draw(entry))
    if name == "tensor" and len(numbers := set(pytree.tree_leaves(args[0]))) == 1:
        return InitialValue((("fill_", _read_number(numbers.pop())),))
    if plain == "full":
        return InitialValue((("fill_", _read_number(args[1])),))
    if name == "normal" and not isinstance(args[0], Tensor):
        return InitialValue((("normal_", _read_number(args[0]), _read_number(args[1])),), entry.number)
    if name in FILLS:
        return InitialValue((_read_fill(entry),), _find_draw(entry))
    if name in ("clamp_", "erfinv_"):
        return found.change((name, *map(_read_number, args[1:])))
    if name.rstrip("_") in ("mul", "add", "sub", "div", "neg", "rsub") and not entry.kwargs:
        before = found if name.endswith("_") else _follow(entry, 0, recording, tensor)
        return before.change(*_derive_change(name.rstrip("_"), args))
    if name in ("copy_", "_to_copy", "clone") and args[name == "copy_"].numel() == tensor.numel():
        return _follow(entry, int(name == "copy_"), recording, tensor)
    raise Unrecorded(f"is made with `{name}`, which cannot be drawn share by share", entry.frames)


def _follow(entry: Entry, place: int, recording: Recording, tensor: Tensor) -> InitialValue:
    """The initial value of a tensor that takes its values from an operand of an entry."""
    source = entry.args[place]
    before = _derive_before(recording, tensor, entry.operands[place], entry)
    same = source.shape == tensor.shape and source.is_contiguous() and tensor.is_contiguous()
    return before if same else before._replace(rearranged=True)


def _derive_zero_row(entry: Entry, tensor: Tensor) -> Call:
    row = entry.args[0]
    if entry.name == "zero_" or (entry.name == "fill_" and _read_number(entry.args[1]) == 0):
        width = tensor.numel() // tensor.shape[0]
        if row.numel() == width and row.is_contiguous() and row.storage_offset() % width == 0:
            return ("row_zero", row.storage_offset() // width)
    raise Unrecorded("is filled in part")


def _derive_change(name: str, args: tuple[Any, ...]) -> Recipe:
    """Arithmetic with a number, as operations in place."""
    if name == "neg":
        return (("mul_", -1.0),)
    number = _read_number(args[1])
    match name:
        case "mul":
            return (("mul_", number),)
        case "add":
            return (("add_", number),)
        case "sub":
            return (("add_", -number),)
        case "rsub":
            return ("mul_", -1.0), ("add_", number)
    return (("mul_", 1 / number),)


def _read_number(value: Any) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    raise Unrecorded("is made from another tensor")


def derive_computation(recording: Recording, tensor: Tensor) -> fx.Graph:
    """The graph that computes a buffer, without inputs. Raises Unrecorded where it is drawn or data."""
    graph = fx.Graph()
    nodes: dict[int, fx.Node] = {}
    last: fx.Node | None = None
    for entry in recording.find_sources(tensor):
        if entry.target is None or _draws(entry):
            raise Unrecorded("is drawn at random", entry.frames)
        if any(id(operand) not in nodes for operand in list_tensors((entry.args, entry.kwargs))):
            raise Unrecorded("is made of data, such as those of numpy", entry.frames)
        args, kwargs = pytree.tree_map_only(Tensor, lambda t: nodes[id(t)], (entry.args, entry.kwargs))
        last = graph.call_function(entry.target, args, kwargs)
        last.meta.update(val=entry.out, stack_trace=format_frames(entry.frames))
        if isinstance(entry.out, Tensor):
            nodes[id(entry.out)] = last
            continue
        for place, part in enumerate(entry.out):
            item = nodes[id(part)] = graph.call_function(operator.getitem, (last, place))
            item.meta["val"] = part
    if last is None:
        raise Unrecorded("is made of data, such as those of numpy")
    graph.output((nodes.get(id(tensor), last),))
    graph.eliminate_dead_code(is_impure_node=_is_impure)
    return graph


def _is_impure(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "output" or (schema is not None and bool(schema.is_mutable))
