"""What tensors of a run without data hold, where it is known: the choices of experts, and what is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

_ZEROS = ("zeros", "zeros_like", "new_zeros")
_WRITES = (
    "__setitem__",
    "__iadd__",
    "__isub__",
    "__imul__",
    "__itruediv__",
    "__idiv__",
    "__ior__",
    "__iand__",
)


class Place(NamedTuple):
    """A tensor of a run: the number of the call that makes it, 0 for the inputs, and which result it is."""

    call: int
    leaf: int


class Source(NamedTuple):
    """How a tensor is made, or written to. `function` is None for an input and for what a module makes."""

    place: Place
    function: Callable[..., Any] | None
    args: Any
    kwargs: Any

    @property
    def is_zeros(self) -> bool:
        """Whether it makes zeros."""
        return makes_zeros(self.function)

    @property
    def operands(self) -> list[Tensor]:
        """The tensors that it reads."""
        return list_tensors((self.args, self.kwargs))


class Misfit(Exception):
    """A value that is given has not the shape of the tensor that it stands for."""


class Values:
    """The values of tensors on the meta device, computed when they are asked for.

    Those at `given` places are known, and what is made of known values alone. Without any given, integers
    that are made of floating tensors are invented: each token has chosen the next of `experts`, or, if they
    are `crowded`, the first ones. Floating tensors are ones, where an operation that asks for values reads
    nothing else.
    """

    def __init__(
        self, experts: int, given: Mapping[Place, Tensor] | None = None, crowded: bool = False
    ) -> None:
        self.sources: dict[int, list[Source]] = {}  # by the ids of tensors: what makes, then what writes
        self.invented: dict[int, Tensor] = {}
        self._experts, self._given, self._crowded = experts, given, crowded
        self._known: dict[int, Tensor | None] = {}
        self._invents_floats = False
        self._alive: list[Tensor] = []  # no id is met twice

    def record(
        self, call: int, function: Callable[..., Any] | None, args: Any, kwargs: Any, result: Any
    ) -> None:
        """A call whose results are on the meta device."""
        for leaf, tensor in enumerate(pytree.tree_leaves(result)):
            if isinstance(tensor, Tensor) and is_without_data(tensor) and id(tensor) not in self.sources:
                self._add(tensor, Source(Place(call, leaf), function, args, kwargs))
        if is_in_place(function) and id(args[0]) in self.sources:
            self._add(args[0], Source(Place(call, 0), function, args, kwargs))

    def _add(self, tensor: Tensor, source: Source) -> None:
        self.sources.setdefault(id(tensor), []).append(source)
        self._alive.append(tensor)

    def find_floats(self, tensors: Sequence[Tensor]) -> bool:
        """Whether floating tensors have values, invented where need be, which `find` returns from now on."""
        self._invents_floats = True
        found = all(self.find(each) is not None for each in tensors)
        self._invents_floats = False
        return found

    def find(self, tensor: Tensor) -> Tensor | None:
        """The value of a tensor; None where it is not known."""
        if not is_without_data(tensor):
            return tensor
        if id(tensor) not in self._known or (self._invents_floats and self._known[id(tensor)] is None):
            self._known[id(tensor)] = None  # unless it can be computed
            if id(tensor) in self.sources:
                made, *writes = self.sources[id(tensor)]
                given = (self._given or {}).get(made.place)
                self._known[id(tensor)] = (
                    self._compute(tensor, made) if given is None else _fit(given, tensor)
                )
                if given is None and any(self._call(write) is None for write in writes):
                    self._known[id(tensor)] = None
        return self._known[id(tensor)]

    @property
    def invents(self) -> bool:
        """Whether values are invented, so that those of floating tensors say nothing."""
        return self._given is None

    def is_found(self, tensor: Tensor) -> bool:
        """Whether the value of a tensor without data has been asked for, and is known."""
        return self._known.get(id(tensor)) is not None

    def _compute(self, tensor: Tensor, source: Source) -> Tensor | None:
        floats = tensor.is_floating_point()
        if self._given is None and floats and not self._invents_floats:
            return None
        if source.is_zeros:
            return torch.zeros(tensor.shape, dtype=tensor.dtype)
        of_floats = self._given is None and any(each.is_floating_point() for each in source.operands)
        if of_floats and tensor.dtype == torch.bool and not self._invents_floats:
            return None
        chosen = of_floats and (tensor.dtype == torch.int64 or _has_threshold(tensor, source))
        results = None if chosen else self._call(source)
        if results is not None:
            value = results[source.place.leaf]
            return value if isinstance(value, Tensor) else None
        if self._given is not None:
            return None
        return torch.ones(tensor.shape, dtype=tensor.dtype) if floats else self._invent(tensor)

    def _call(self, source: Source) -> list[Any] | None:
        """What a function makes of the values of its operands; None where one is not known."""
        values = {id(each): self.find(each) for each in source.operands}
        if source.function is None or None in values.values():
            return None
        args, kwargs = replace_tensors((source.args, source.kwargs), values)
        if "device" in kwargs:
            kwargs = {**kwargs, "device": "cpu"}
        return pytree.tree_leaves(source.function(*args, **kwargs))

    def _invent(self, tensor: Tensor) -> Tensor:
        self.invented[id(tensor)] = tensor
        choices = tensor.shape[-1] if tensor.ndim > 1 else 1
        chosen = min(choices, self._experts) if self._crowded else self._experts
        return (torch.arange(tensor.numel()) % chosen).view(tensor.shape).to(tensor.dtype)


def _has_threshold(mask: Tensor, source: Source) -> bool:
    """Whether a mask asks for more than which entries of one tensor are 0."""
    numbers = [
        leaf for leaf in pytree.tree_leaves((source.args, source.kwargs)) if isinstance(leaf, int | float)
    ]
    return mask.dtype == torch.bool and (len(source.operands) > 1 or any(numbers))


def _fit(given: Tensor, tensor: Tensor) -> Tensor:
    if given.numel() != tensor.numel():
        raise Misfit(f"it makes {tuple(tensor.shape)} where {tuple(given.shape)} is given")
    return given.view(tensor.shape)


def is_without_data(tensor: Tensor) -> bool:
    """Whether a tensor is one of the meta device."""
    return tensor.device.type == "meta"


def makes_zeros(function: Callable[..., Any] | None) -> bool:
    """Whether a function makes a tensor of zeros."""
    return getattr(function, "__name__", "") in _ZEROS


def is_in_place(function: Callable[..., Any] | None) -> bool:
    """Whether a function writes to its first argument."""
    name = getattr(function, "__name__", "")
    return name in _WRITES or (name.endswith("_") and not name.endswith("__"))


def list_tensors(tree: object) -> list[Tensor]:
    """The tensors among the leaves of a tree."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def replace_tensors(tree: Any, by_id: Mapping[int, Tensor | None]) -> Any:
    """The tree with other tensors for those that are named by their ids."""
    return pytree.tree_map_only(Tensor, lambda tensor: by_id.get(id(tensor), tensor), tree)
