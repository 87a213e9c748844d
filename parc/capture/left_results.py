"""What a module hands on beside its result: tensors that it leaves in attributes, or in lists it is given.

Every module is captured by itself, so that its caller gets what it returns and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from parc.capture.model.tree import walk_modules

CURE = "return it from `forward`, through each module in between: `return x, loss`"

Left = dict[str, tuple[int, int]]  # by the name of an attribute: which object it is, and of how many tensors


class ChangedArgument(ValueError):
    """A module appends to a list that it is given, or takes something out of it."""

    def __init__(self, path: str, kind: type) -> None:
        super().__init__(f"`{path}` changes a list that it is given, and its caller does not get it back")
        self.kind = kind  # of the module


def list_left_tensors(model: nn.Module) -> Left:
    """The attributes of modules that hold tensors which are no parameters and no buffers."""
    return dict(_iterate_left(model))


def find_left_tensors(model: nn.Module, before: Left) -> list[str]:
    """Those that have changed since `before`, which was listed earlier."""
    return [name for name, held in list_left_tensors(model).items() if before.get(name) != held]


def _iterate_left(model: nn.Module) -> Iterator[tuple[str, tuple[int, int]]]:
    for path, module in walk_modules(model):
        for name, value in vars(module).items():
            held = [value] if isinstance(value, Tensor) else value
            tensors = sum(isinstance(each, Tensor) for each in held) if isinstance(held, list) else 0
            if tensors and not name.startswith("_"):
                yield f"{path}.{name}" if path else name, (id(value), tensors)
