"""One run of a block without data, of which every call is noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from parc.capture.inline.run import Run, Site, find_site, get_storage
from parc.capture.inline.values import Values, is_in_place, list_tensors, makes_zeros, replace_tensors
from parc.capture.source_lines import Frames, list_frames


@dataclass(frozen=True)
class Event:
    """A call. Tensors that share memory, as views do, have one storage."""

    number: int
    leaves: tuple[Any, ...]  # of its arguments
    returned: Any
    results: tuple[Tensor, ...]  # and what it writes to
    reads: frozenset[int]  # storages
    produces: frozenset[int]  # new storages, and the one that it writes to
    asks: bool  # whether it asks for values
    parameters: frozenset[int]  # storages of parameters of the experts that it reads
    makes_zeros: bool
    of_module: bool
    site: Site
    frames: Frames

    @property
    def of_experts(self) -> bool:
        """Whether it reads a parameter of the experts."""
        return bool(self.parameters)

    def replay(self, args: Any, kwargs: Any) -> Any:
        """What it has returned; of other arguments, those of them that it returns."""
        leaves = pytree.tree_leaves((args, kwargs))
        own = {
            id(mine): leaf for mine, leaf in zip(self.leaves, leaves, strict=True) if isinstance(mine, Tensor)
        }
        return replace_tensors(self.returned, own)

    def describe(self) -> tuple[Site, list[Any]]:
        """What it does, whatever the values of its tensors are."""
        return self.site, describe(self.leaves)

    @property
    def new(self) -> list[Tensor]:
        """The tensors among the results that are none of its operands, views of them included."""
        operands = {id(each) for each in self.operands}
        return [each for each in list_tensors(self.returned) if id(each) not in operands]

    @property
    def operands(self) -> list[Tensor]:
        """The tensors that it reads."""
        return list_tensors(self.leaves)


def describe(tree: object) -> list[Any]:
    """The leaves of a tree, with shapes and types in place of tensors."""
    return [
        (each.shape, each.dtype) if isinstance(each, Tensor) else each for each in pytree.tree_leaves(tree)
    ]


class Observation(Run):
    """A run on the meta device whose choices of experts are invented, as those of `Values`."""

    def __init__(self, experts: nn.ModuleList, crowded: bool = False) -> None:
        super().__init__(Values(len(experts), crowded=crowded))
        self.events: list[Event] = []
        self._parameters = frozenset(map(get_storage, experts.parameters()))
        self._seen: set[int] = {*self._parameters}

    def handle(self, function: Callable[..., Any], args: Any, kwargs: Any, module: bool) -> Any:
        """Computes the call as far as that goes without data."""
        leaves = tuple(pytree.tree_leaves((args, kwargs)))
        reads = frozenset(map(get_storage, list_tensors(leaves)))
        self._seen |= reads
        result, asks = self.compute(function, args, kwargs, module)
        results = list_tensors(result)
        produces = {get_storage(each) for each in results} - self._seen
        if is_in_place(function):
            results.append(args[0])
            produces.add(get_storage(args[0]))
        self._seen |= produces
        self.events.append(
            Event(
                self.number,
                leaves,
                result,
                tuple(results),
                reads,
                frozenset(produces),
                asks,
                reads & self._parameters,
                makes_zeros(function),
                module,
                find_site(),
                list_frames(),
            )
        )
        return result
