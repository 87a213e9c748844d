"""How every parameter and buffer begins, derived from what the constructor did on the meta device.

No value exists there. What is derived is the way to make it: for a parameter a recipe that can be drawn again
for any share of the tensor, for a buffer the graph of its computation.
"""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

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


class Unrecorded(Exception):
    """A value that cannot be made again for any share of the tensor. `frames` are where it is made."""

    def __init__(self, reason: str, frames: Frames = ()) -> None:
        super().__init__(reason)
        self.frames = frames


def is_random(recipe: Recipe) -> bool:
    """Whether a recipe draws numbers."""
    return any(name in _RANDOM for name, *_ in recipe)


def derive_recipe(recording: Recording, tensor: Tensor) -> Recipe:
    """The operations that fill any share of a parameter. Raises Unrecorded."""
    return _derive_before(recording, tensor, get_storage(tensor), None)


def _derive_before(recording: Recording, tensor: Tensor, storage: int, end: Entry | None) -> Recipe:
    """The recipe of a tensor, or of one as large as it, from what had filled a storage before an entry."""
    recipe: Recipe = ()
    for entry in recording.find_entries(storage, end):
        recipe = _extend(recipe, entry, recording, tensor, storage)
    if not recipe:
        raise Unrecorded("is not set by an operation of torch in the constructor")
    return recipe


def _extend(recipe: Recipe, entry: Entry, recording: Recording, tensor: Tensor, storage: int) -> Recipe:
    """The recipe of a tensor after one more operation on its memory."""
    name, args = entry.name, entry.args
    plain = name.removesuffix("_like")
    if name in _EMPTY or (name in _SAME and entry.operands[0] == storage):
        return recipe
    if name.endswith("_") and args[0].numel() != tensor.numel():
        return (*recipe, _zero_row(entry, tensor))
    if plain in _MAKERS:
        return (_MAKERS[plain],)
    if name == "tensor" and len(numbers := set(pytree.tree_leaves(args[0]))) == 1:
        return (("fill_", _read_number(numbers.pop())),)
    if plain == "full":
        return (("fill_", _read_number(args[1])),)
    if name == "normal" and not isinstance(args[0], Tensor):
        return (("normal_", _read_number(args[0]), _read_number(args[1])),)
    if name in FILLS:
        return ((name, *(map(_read_number, args[1:]) if len(args) > 1 else FILLS[name])),)
    if name in ("clamp_", "erfinv_"):
        return (*recipe, (name, *map(_read_number, args[1:])))
    if name.rstrip("_") in ("mul", "add", "sub", "div", "neg", "rsub") and not entry.kwargs:
        before = recipe if name.endswith("_") else _derive_before(recording, tensor, entry.operands[0], entry)
        return (*before, *_derive_change(name.rstrip("_"), args))
    if name in ("copy_", "_to_copy", "clone") and args[name == "copy_"].numel() == tensor.numel():
        return _derive_before(recording, tensor, entry.operands[name == "copy_"], entry)
    raise Unrecorded(f"is made with `{name}`, which cannot be drawn share by share", entry.frames)


def _zero_row(entry: Entry, tensor: Tensor) -> Call:
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
    """The graph that computes a buffer, without inputs. Raises Unrecorded where it is random."""
    graph = fx.Graph()
    nodes: dict[int, fx.Node] = {}
    last: fx.Node | None = None
    for entry in recording.find_sources(tensor):
        if entry.name in _RANDOM or entry.target is None:
            raise Unrecorded("is a random buffer")
        if any(id(operand) not in nodes for operand in list_tensors((entry.args, entry.kwargs))):
            raise Unrecorded("is made of Python values, which have none on the meta device")
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
        raise Unrecorded("is made of Python values, which have none on the meta device")
    graph.output((nodes.get(id(tensor), last),))
    graph.eliminate_dead_code(is_impure_node=_is_impure)
    return graph


def _is_impure(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "output" or (schema is not None and bool(schema.is_mutable))
