"""The routing of one run, replayed in another: what is chosen is settled, what it comes to is not.

In a lower precision two experts of nearly equal score change places, and from there on two runs compute
different things. So the choices of a reference are imposed: indices are the reference's, the values at them
the run's own, and gradients flow as they would have. Where a run would have chosen otherwise is counted.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from parc.ir.program import Compute, Program, Unit, Value
from parc.verify.numbers.forward_sites import places
from parc.verify.numbers.shards import States

PAIRS = {
    "topk": 2,
    "max": 1,
    "min": 1,
    "sort": 1,
}  # (values, indices); where `dim` stands among the arguments
INDICES = {"argmax": 1, "argmin": 1, "argsort": 1}


class Choice(NamedTuple):
    """One call of an operator that chooses, within one forward pass of a module."""

    microbatch: int
    path: str
    number: int


class Chosen(NamedTuple):
    """What was chosen of each set of scores: the indices along `dim`; None where each has one, and no dim."""

    indices: Tensor
    dim: int | None


class Choosing(TorchFunctionMode):
    """Shows `choose` all that modules at `paths` below `root` choose; what it returns is chosen instead."""

    def __init__(
        self,
        root: nn.Module,
        paths: Container[str],
        choose: Callable[[Choice, Chosen], Tensor | None],
    ) -> None:
        super().__init__()
        self._choose = choose
        self._within: list[tuple[str, int]] = []  # path and microbatch of the modules that are running
        self._calls: Counter[str] = Counter()
        self._choices: Counter[tuple[str, int]] = Counter()
        for path, module in root.named_modules():
            if path in paths:
                module.register_forward_pre_hook(partial(self._enters, path))
                module.register_forward_hook(self._leaves)

    def _enters(self, path: str, _module: nn.Module, _given: Any) -> None:
        self._within.append((path, self._calls[path]))
        self._calls[path] += 1

    def _leaves(self, _module: nn.Module, _given: Any, _out: Any) -> None:
        self._within.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not self._within or not (name := _chooses(func, args, out)):
            return out
        here = self._within[-1]
        path, microbatch = here
        choice = Choice(microbatch, path, self._choices[here])
        self._choices[here] += 1
        given: Tensor = args[0]
        dim = _dim(name, args, kwargs) % given.ndim
        own = out[1] if name in PAIRS else out
        wanted = self._choose(choice, Chosen(own, dim if own.ndim == given.ndim else None))
        if wanted is None:
            return out
        return type(out)((_picked(given, wanted, dim), wanted)) if name in PAIRS else wanted


def _chooses(func: Any, args: Any, out: Any) -> str:
    """The name of an operator that chooses among scores; "" for all others."""
    name = getattr(func, "__name__", "")
    indices = out[1] if name in PAIRS and isinstance(out, tuple) else out if name in INDICES else None
    scores = args[0] if args else None
    if isinstance(indices, Tensor) and isinstance(scores, Tensor) and scores.is_floating_point():
        return name if indices.ndim else ""
    return ""


def _dim(name: str, args: Any, kwargs: Mapping[str, Any]) -> int:
    place = (PAIRS | INDICES)[name]
    dim = kwargs.get("dim", args[place] if len(args) > place else -1)
    return dim if isinstance(dim, int) else -1


def _picked(scores: Tensor, indices: Tensor, dim: int) -> Tensor:
    """The scores at indices, which lack `dim` where one of it was chosen and the dim was dropped."""
    if indices.ndim == scores.ndim:
        return scores.gather(dim, indices)
    return scores.gather(dim, indices.unsqueeze(dim)).squeeze(dim)


def flips(own: Chosen, wanted: Tensor) -> Tensor:
    """Where a run's choice is not the reference's, in whatever order: one entry for each set of scores."""
    if own.dim is None:
        return own.indices != wanted
    pairs = (each.sort(own.dim).values for each in (own.indices, wanted))
    return torch.ne(*pairs).any(own.dim)


def chosen_states(program: Program) -> dict[tuple[str, int], States]:
    """How each choice of a program lies, by its module and its number there, if anything reads it."""
    return {
        (place.path, number): value.states
        for stage in program.stages
        for place in places(stage)
        if place.move is None and place.path
        for number, value in enumerate(_choices(place.unit))
        if value.dtype == "torch.int64"
    }


def _choices(unit: Unit) -> list[Value]:
    """The indices that each operator that chooses gives, in order."""
    found: list[Value] = []
    for event in unit.events:
        if isinstance(event, Compute):
            calls = (node.func for node in ast.walk(ast.parse(event.text)) if isinstance(node, ast.Call))
            names = [call.attr for call in calls if isinstance(call, ast.Attribute)]
            pairs = len(event.results) == 2
            found += [event.results[-1] for name in names if name in INDICES or (name in PAIRS and pairs)]
    return found
