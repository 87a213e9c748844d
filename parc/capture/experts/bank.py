"""Modules of experts, found by structure."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from parc.capture.model.tree import walk_modules


@dataclass(frozen=True)
class Bank:
    """The parameters of a module of experts: stacked tensors, or a list of like modules."""

    count: int
    list_name: str | None  # of the ModuleList, "" where it is the module; None if parameters are stacked

    def locate_expert(self, name: str) -> tuple[int | None, str]:
        """The expert that a parameter belongs to (None: all, stacked), and its name without the expert."""
        if self.list_name is None:
            return None, name
        prefix = f"{self.list_name}." if self.list_name else ""
        number, _, rest = name.removeprefix(prefix).partition(".")
        return int(number), prefix + rest


def find_bank(module: nn.Module) -> Bank | None:
    """The experts that parameters are of: stacked with one leading size, or in a list of like modules."""
    holders = (nn.ParameterDict, nn.ParameterList)  # of parameters that are the module's own
    own = list(module.parameters(recurse=False))
    children = []
    for name, child in module.named_children():
        if isinstance(child, holders):
            own += child.parameters(recurse=False)
        elif any(True for _ in child.parameters()):
            children.append((name, child))
    if own and not children:
        counts = {p.shape[0] for p in own if p.ndim >= 2}
        stacked = len(counts) == 1 and all(p.ndim >= 2 for p in own) and any(p.ndim == 3 for p in own)
        return Bank(counts.pop(), None) if stacked and max(counts) > 1 else None
    name, experts = children[0] if len(children) == 1 else ("", None)
    if not own and isinstance(experts, nn.ModuleList):
        return Bank(len(experts), name) if are_alike(experts) and len(experts) > 1 else None
    return None


def are_alike(modules: nn.ModuleList) -> bool:
    """Whether all modules of a list have the same parameters, by names and shapes, and have any."""
    shapes = {tuple((n, p.shape) for n, p in module.named_parameters()) for module in modules}
    return len(shapes) == 1 and shapes != {()}


def find_banks(
    model: nn.Module,
    layers: str,
    glob: str | None,
    others: Container[type] = (),
    lists: Container[str] = (),
) -> dict[str, Bank]:
    """The modules of experts by path: those that `glob` names, else all below the layers that have the
    structure of experts.

    `others` are classes of modules that have the structure without being experts, `lists` the paths of lists
    that are modules of experts themselves.
    """
    found: dict[str, Bank] = {}
    for path, module in walk_modules(model, found.__contains__):
        if path in lists and isinstance(module, nn.ModuleList):
            found[path] = Bank(len(module), "")
            continue
        below = path.startswith(layers + ".") and path.count(".") > layers.count(".") + 1
        if below if glob is None else fnmatchcase(path.removeprefix("model."), glob):
            bank = None if type(module) in others else find_bank(module)
            if bank is not None:
                found[path] = bank
    return found
