"""The tree of a model's modules, walked without the recursion of `named_modules`: experts are many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple, TypeAlias

from torch import Tensor, nn

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def list_own_attributes(module: nn.Module) -> list[str]:
    """The names of the attributes that not every module has, in alphabetical order."""
    return _select_own(tuple(vars(module)))


@cache
def _select_own(attributes: tuple[str, ...]) -> list[str]:
    return sorted({*attributes} - _OF_EVERY_MODULE)


class TensorSlot(NamedTuple):
    """An attribute of a module that holds a parameter or a buffer."""

    number: int  # in the order of the modules
    name: str  # in the model
    module: nn.Module
    attribute: str
    tensor: Tensor
    is_buffer: bool

    def is_below(self, path: str) -> bool:
        """Whether the module at `path` holds it, itself or in a child."""
        return not path or self.name.startswith(f"{path}.")

    def replace(self, value: Tensor) -> None:
        """Let the module have another tensor there."""
        held = self.module._buffers if self.is_buffer else self.module._parameters
        held[self.attribute] = value  # type: ignore[assignment]


TensorSlots: TypeAlias = dict[int, list[TensorSlot]]  # of every parameter and buffer, by the tensor's id


def find_tensor_slots(model: nn.Module) -> TensorSlots:
    """All places of every parameter and buffer, by the tensor's id. The first place names the tensor."""
    found: dict[int, list[TensorSlot]] = defaultdict(list)
    number = 0
    for path, module in _walk(model, lambda _: False):
        prefix = f"{path}." if path else ""
        for held, is_buffer in ((module._parameters, False), (module._buffers, True)):
            for name, tensor in held.items():
                if tensor is not None:
                    found[id(tensor)].append(
                        TensorSlot(number, prefix + name, module, name, tensor, is_buffer)
                    )
                    number += 1
    return dict(found)


def walk_modules(
    model: nn.Module, is_leaf: Callable[[str], object] = lambda _: False
) -> Iterator[tuple[str, nn.Module]]:
    """Every module once with its path, like `named_modules`, but none below a path that `is_leaf`."""
    seen = set()
    for path, module in _walk(model, is_leaf):
        if id(module) not in seen:
            seen.add(id(module))
            yield path, module


def _walk(model: nn.Module, is_leaf: Callable[[str], object]) -> Iterator[tuple[str, nn.Module]]:
    """Every module by each of its paths, parents first."""
    left = [("", model)]
    while left:
        path, module = left.pop()
        yield path, module
        if module._modules and not is_leaf(path):
            prefix = f"{path}." if path else ""
            left += [(prefix + name, m) for name, m in reversed(module._modules.items()) if m is not None]


def find_layers(model: nn.Module, count: int | None) -> str:
    """The path of the list of layers: the outermost with `count` entries, else the longest; "" for none."""
    lengths: dict[str, int] = {}
    for path, module in walk_modules(model):
        if module._modules and _is_list(module):
            lengths[path] = len(module._modules)
            if lengths[path] == count:
                return path
    return max(lengths, key=lengths.__getitem__, default="")


def _is_list(module: nn.Module) -> bool:
    """Whether a module holds numbered modules; of what is not a ModuleList, layers of the user's alone."""
    if isinstance(module, nn.ModuleList):
        return True
    numbered = list(module._modules) == [str(place) for place in range(len(module._modules))]
    kinds = (type(child).__module__ for child in module._modules.values())
    own = not any(kind.startswith("torch.") for kind in kinds)
    return isinstance(module, nn.ModuleDict | nn.Sequential) and numbered and own
