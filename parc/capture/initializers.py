"""How every parameter and buffer begins: what the constructor does on the meta device, recorded.

No value exists there, so what is kept is the way to make it: for a parameter a recipe that can be drawn again
for any share of the tensor, for a buffer the graph of its computation.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from parc.capture.graph import user_frames

Recipe = tuple[tuple[str | float, ...], ...]

_OVERWRITES = {
    "normal_": (0.0, 1.0),
    "uniform_": (0.0, 1.0),
    "zero_": (),
    "fill_": (),
    "trunc_normal_": (),
    "orthogonal_": (),
}
_CHANGES = ("clamp_", "erfinv_")
_ARITHMETIC = ("mul", "add", "sub", "div", "neg", "rsub")
_MAKERS = {
    "zeros": ("zero_",),
    "zeros_like": ("zero_",),
    "ones": ("fill_", 1.0),
    "ones_like": ("fill_", 1.0),
    "randn": ("normal_", 0.0, 1.0),
    "randn_like": ("normal_", 0.0, 1.0),
    "rand": ("uniform_", 0.0, 1.0),
    "rand_like": ("uniform_", 0.0, 1.0),
}
_EMPTY = ("empty", "empty_like", "new_empty", "empty_strided")
_SAME = (
    "detach",
    "alias",
    "_to_copy",
    "view",
    "clone",
    "lift_fresh",
    "copy_",
    "reshape",
    "t",
    "transpose",
    "select",
    "slice",
    "unsqueeze",
    "squeeze",
    "permute",
)
_RANDOM = (
    "normal_",
    "uniform_",
    "randn",
    "rand",
    "randperm",
    "bernoulli_",
    "randint",
    "trunc_normal_",
    "orthogonal_",
)


class Unrecorded(Exception):
    """A value that cannot be made again for any share of the tensor."""


class _Entry(NamedTuple):
    name: str  # of the operator, without overload
    target: Callable[..., Any] | None  # None: a function of torch.nn.init, recorded by name
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    frames: str  # of the user's constructor


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Logs every operation on tensors, by storage. Keeps every tensor alive: no storage is met twice."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.log: list[_Entry] = []
        self._of: dict[int, list[int]] = defaultdict(list)  # entries that make or change a storage

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled, and the guard against it costs more than the recording

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _name_of(func)
        fills = name in _OVERWRITES and args[0].is_meta  # there is nothing to fill
        out = args[0] if fills else func(*args, **(kwargs or {}))
        names_nothing = fills or name in _EMPTY or name == "detach"  # parameters, of which there are many
        self._add(_Entry(name, func, args, kwargs or {}, out, "" if names_nothing else user_frames()))
        return out

    def named(self, name: str, tensor: Tensor, *arguments: float) -> Tensor:
        self._add(_Entry(name, None, (tensor, *arguments), {}, tensor, ""))
        return tensor

    def _add(self, entry: _Entry) -> None:
        self.log.append(entry)
        out = entry.out
        for tensor in (out,) if isinstance(out, Tensor) else _tensors(out):
            self._of[_storage(tensor)].append(len(self.log) - 1)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Also catches the functions of torch.nn.init that do nothing on the meta device.

        What the default of linear layers draws depends on the shape alone, and is asked for once: a model has
        many thousands of them.
        """
        init = nn.init
        kept = init._no_grad_trunc_normal_, init.orthogonal_, init.kaiming_uniform_
        drawn: dict[Hashable, tuple[float, ...]] = {}

        def trunc_normal(
            tensor: Tensor, mean: float, std: float, a: float, b: float, generator: object = None
        ) -> Tensor:
            return self.named("trunc_normal_", tensor, mean, std, a, b)

        def orthogonal(tensor: Tensor, gain: float = 1, generator: object = None) -> Tensor:
            return self.named("orthogonal_", tensor, gain)

        def kaiming_uniform(tensor: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
            key = tensor.shape, arguments, tuple(keywords.items())
            if tensor.is_meta and key in drawn:
                return self.named("uniform_", tensor, *drawn[key])
            kept[2](tensor, *arguments, **keywords)
            if self.log[-1].out is tensor and self.log[-1].name == "uniform_":
                drawn[key] = self.log[-1].args[1:]
            return tensor

        init._no_grad_trunc_normal_, init.orthogonal_ = trunc_normal, orthogonal
        init.kaiming_uniform_ = kaiming_uniform
        try:
            with self:
                yield
        finally:
            init._no_grad_trunc_normal_, init.orthogonal_, init.kaiming_uniform_ = kept

    def recipe(self, tensor: Tensor) -> Recipe:
        """Raises Unrecorded."""
        calls: list[tuple[str | float, ...]] = []
        for number in self._of[_storage(tensor)]:
            self._follow(self.log[number], tensor, calls)
        if not calls:
            raise Unrecorded("is never filled by its constructor")
        return tuple(calls)

    def _follow(self, entry: _Entry, tensor: Tensor, calls: list[tuple[str | float, ...]]) -> None:
        name, args = entry.name, entry.args
        if name in _EMPTY or (name in _SAME and name != "copy_" and _storage(args[0]) == _storage(tensor)):
            return
        if name.endswith("_") and not _whole(args[0], tensor):
            calls.append(self._row(entry, tensor))
        elif name in _MAKERS:
            calls[:] = [_MAKERS[name]]
        elif name in ("full", "full_like"):
            calls[:] = [("fill_", _number(args[1]))]
        elif name == "normal" and not isinstance(args[0], Tensor):
            calls[:] = [("normal_", _number(args[0]), _number(args[1]))]
        elif name in _OVERWRITES:
            numbers = [_number(a) for a in args[1:]] or list(_OVERWRITES[name])
            calls[:] = [(name, *numbers)]
        elif name.rstrip("_") in _ARITHMETIC and not entry.kwargs:
            calls[:] = [*(calls if name.endswith("_") else self.recipe(args[0])), *_changed(name, args)]
        elif name in _CHANGES:
            calls.append((name, *(_number(a) for a in args[1:])))
        elif name in ("copy_", "_to_copy", "clone") and _whole(args[name == "copy_"], tensor):
            calls[:] = self.recipe(args[name == "copy_"])
        else:
            raise Unrecorded(f"is made with `{name}`, which cannot be drawn share by share")

    def _row(self, entry: _Entry, tensor: Tensor) -> tuple[str | float, ...]:
        row = entry.args[0]
        if entry.name == "zero_" or (entry.name == "fill_" and _number(entry.args[1]) == 0):
            width = tensor.numel() // tensor.shape[0]
            if row.numel() == width and row.is_contiguous() and row.storage_offset() % width == 0:
                return ("row_zero", row.storage_offset() // width)
        raise Unrecorded("is filled in part")

    def computation(self, tensor: Tensor) -> fx.Graph:
        """The graph that computes a buffer, without inputs. Raises Unrecorded where it is random."""
        needed: set[int] = set()
        left = [_storage(tensor)]
        while left:
            for number in self._of[left.pop()]:
                if number not in needed:
                    needed.add(number)
                    left += [_storage(t) for t in _tensors((self.log[number].args, self.log[number].kwargs))]
        graph = fx.Graph()
        made: dict[int, fx.Node] = {}
        last: fx.Node | None = None
        for number in sorted(needed):
            entry = self.log[number]
            if entry.name in _RANDOM or entry.target is None:
                raise Unrecorded("is a random buffer")
            if any(id(tensor) not in made for tensor in _tensors((entry.args, entry.kwargs))):
                raise Unrecorded("is made of Python values, which have none on the meta device")
            args, kwargs = pytree.tree_map_only(Tensor, lambda t: made[id(t)], (entry.args, entry.kwargs))
            last = graph.call_function(entry.target, args, kwargs)
            last.meta.update(val=entry.out, stack_trace=entry.frames)
            self._remember(graph, last, entry.out, made)
        graph.output((made.get(id(tensor), last),))
        graph.eliminate_dead_code(is_impure_node=_must_stay)
        return graph

    def _remember(self, graph: fx.Graph, node: fx.Node, out: Any, made: dict[int, fx.Node]) -> None:
        if isinstance(out, Tensor):
            made[id(out)] = node
            return
        for place, part in enumerate(out):
            item = graph.call_function(operator.getitem, (node, place))
            item.meta["val"] = part
            made[id(part)] = item


@cache
def _name_of(operator: Any) -> str:
    """The name of an operator, without namespace and overload."""
    name: str = operator._schema.name
    return name.split("::")[1]


def _must_stay(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "output" or (schema is not None and bool(schema.is_mutable))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> int:
    key: int = tensor.untyped_storage()._cdata
    return key


def _whole(changed: Tensor, tensor: Tensor) -> bool:
    return changed.numel() == tensor.numel()


def _number(value: Any) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    raise Unrecorded("is made from another tensor")


def _changed(name: str, args: tuple[Any, ...]) -> Recipe:
    name = name.rstrip("_")
    if name == "neg":
        return (("mul_", -1.0),)
    number = _number(args[1])
    changed: dict[str, Recipe] = {
        "mul": (("mul_", number),),
        "add": (("add_", number),),
        "sub": (("add_", -number),),
        "rsub": (("mul_", -1.0), ("add_", number)),
    }
    return changed[name] if name in changed else (("mul_", 1 / number),)
