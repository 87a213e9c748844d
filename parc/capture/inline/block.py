"""Blocks that have a loop over their experts in their own `forward`."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from parc.capture.experts.bank import are_alike
from parc.capture.model.tree import walk_modules


class LoopInBlock(Exception):
    """`forward` of the module at `path` fails without data, and may have a loop over its experts."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def find_expert_list(module: nn.Module) -> tuple[str, nn.ModuleList | None]:
    """A module's longest list of like modules that have parameters, and its name; None where it has none."""
    lists = {
        name: child
        for name, child in module._modules.items()
        if isinstance(child, nn.ModuleList) and len(child) > 1 and are_alike(child)
    }
    name = max(lists, key=lambda name: len(lists[name]), default="")
    return name, lists.get(name)


def find_expert_lists(model: nn.Module, blocks: Collection[type]) -> set[str]:
    """The paths of the lists of experts that modules of these classes have."""
    found = set()
    for path, module in walk_modules(model) if blocks else ():
        if type(module) in blocks:
            name, _ = find_expert_list(module)
            found.add(f"{path}.{name}" if path else name)
    return found
