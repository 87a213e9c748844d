"""One run of a block without data, of which every call is noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from parc.capture.inline.run import Run, Site, find_site, get_storage
from parc.capture.inline.values import Values, is_in_place, list_tensors, makes_zeros
from parc.capture.source_lines import Frames, list_frames


@dataclass(frozen=True)
class Event:
    """A call. Tensors that share memory, as views do, have one storage."""

    number: int
    leaves: tuple[Any, ...]  # of its arguments
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

    @property
    def operands(self) -> list[Tensor]:
        """The tensors that it reads."""
        return list_tensors(self.leaves)


class Observation(Run):
    """A run on the meta device whose choices of experts are invented."""

    def __init__(self, experts: nn.ModuleList) -> None:
        super().__init__(Values(len(experts)))
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
