"""Replays the routing of one run in another: the choices are the reference's, the values the run's own.

In a lower precision two experts of nearly equal score change places, and from there on two runs compute
different things. So the choices of a reference replace those of a run. The run's own values at the chosen
indices are used, and gradients flow through them. The choices that would have differed are counted.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from parc.ir.expression import Expression
from parc.ir.forward_sites import iterate_sites
from parc.ir.program import Call, Compute, Operand, Program, Unit, Value
from parc.ir.walk import flatten
from parc.verify.execution.trainer import is_in_backward_pass
from parc.verify.numbers.shards import StatesByAxis

PAIRS = {"topk": 2, "max": 1, "min": 1, "sort": 1}  # operators that return (values, indices)
INDICES = {"argmax": 1, "argmin": 1, "argsort": 1}  # operators that return indices
DIM_POSITION = PAIRS | INDICES  # of the argument `dim`


ChoiceStates: TypeAlias = Mapping[tuple[str, int], StatesByAxis]
"""By the path of the module that chooses, and the number of the choice in it."""


class ChoiceKey(NamedTuple):
    """One call of an operator that chooses, in one forward pass of a module."""

    microbatch: int
    path: str
    number: int


class _Pass(NamedTuple):
    """A forward pass of a module: the first, or the second of one that is recomputed."""

    path: str
    microbatch: int
    second: bool


class Selection(NamedTuple):
    """The chosen indices, along `dim`; None where each set of scores has one index, without the dim."""

    indices: Tensor
    dim: int | None


def replay_routing(
    roots: Iterable[nn.Module],
    paths: Container[str],
    choose: Callable[[ChoiceKey, Selection], Tensor | None],
) -> None:
    """Has the modules at `paths` below `roots` call `choose` for each choice, and use its result instead.

    Where a module is recomputed, its second pass gets the result of the first one.
    """
    replay = _RoutingReplay(choose)
    for path, module in (named for root in roots for named in root.named_modules()):
        if path in paths:
            module.register_forward_pre_hook(partial(replay.enter, path))
            module.register_forward_hook(replay.leave)


class _RoutingReplay(TorchFunctionMode):
    """Holds within the modules that choose: a mode of the whole step would not reach into a backward pass."""

    def __init__(self, choose: Callable[[ChoiceKey, Selection], Tensor | None]) -> None:
        super().__init__()
        self._choose = choose
        self._within: list[_Pass] = []  # of the modules that are running, each with this mode entered
        self._calls: Counter[tuple[str, bool]] = Counter()
        self._choices: Counter[_Pass] = Counter()
        self._chosen: dict[ChoiceKey, Tensor | None] = {}

    def enter(self, path: str, _module: nn.Module, _given: Any) -> None:
        second = is_in_backward_pass()
        self._within.append(_Pass(path, self._calls[path, second], second))
        self._calls[path, second] += 1
        if len(self._within) == 1:
            self.__enter__()  # type: ignore[no-untyped-call]

    def leave(self, _module: nn.Module, _given: Any, _out: Any) -> None:
        self._within.pop()
        if not self._within:
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not (name := _match_choice(func, args, out)):
            return out
        here = self._within[-1]
        key = ChoiceKey(here.microbatch, here.path, self._choices[here])
        self._choices[here] += 1
        given: Tensor = args[0]
        dim = _read_dim(name, args, kwargs) % given.ndim
        own = out[1] if name in PAIRS else out
        if not here.second:
            self._chosen[key] = self._choose(key, Selection(own, dim if own.ndim == given.ndim else None))
        chosen = self._chosen[key]
        if chosen is None:
            return out
        return type(out)((_gather(given, chosen, dim), chosen)) if name in PAIRS else chosen


def _match_choice(func: Any, args: Any, out: Any) -> str:
    """The name of an operator that chooses among scores; "" for all others."""
    name = getattr(func, "__name__", "")
    indices = out[1] if name in PAIRS and isinstance(out, tuple) else out if name in INDICES else None
    scores = args[0] if args else None
    if isinstance(indices, Tensor) and isinstance(scores, Tensor) and scores.is_floating_point():
        return name if indices.ndim else ""
    return ""


def _read_dim(name: str, args: Any, kwargs: Mapping[str, Any]) -> int:
    place = DIM_POSITION[name]
    dim = kwargs.get("dim", args[place] if len(args) > place else -1)
    return dim if isinstance(dim, int) else -1


def _gather(scores: Tensor, indices: Tensor, dim: int) -> Tensor:
    """The scores at indices, which lack `dim` where one entry of it was chosen."""
    if indices.ndim == scores.ndim:
        return scores.gather(dim, indices)
    return scores.gather(dim, indices.unsqueeze(dim)).squeeze(dim)


def find_flips(own: Selection, expected: Tensor) -> Tensor:
    """Whether a run's choice differs from the expected one in more than its order, for each set of scores."""
    if own.dim is None:
        return own.indices != expected
    pairs = (each.sort(own.dim).values for each in (own.indices, expected))
    return torch.ne(*pairs).any(own.dim)


def list_choice_states(program: Program) -> ChoiceStates:
    """The states of each choice that a program uses."""
    return {
        (site.path, number): value.states
        for stage in program.stages
        for site in iterate_sites(stage)
        if site.move is None and site.path
        for number, value in enumerate(_list_choices(site.unit))
        if value.dtype == "torch.int64"
    }


def _list_choices(unit: Unit) -> list[Operand | Value]:
    """The indices that each choosing operator of a unit returns, in order."""
    found: list[Operand | Value] = []
    for event in flatten(unit.events):
        if isinstance(event, Compute):
            pairs = len(event.results) == 2
            names = _list_methods(event.value)
            found += [event.results[-1] for name in names if name in INDICES or (name in PAIRS and pairs)]
        elif isinstance(event, Call):
            found += _list_chosen(event.operands)
    return [*found, *_list_chosen(unit.results)]


def _list_chosen(operands: Sequence[Operand]) -> Iterator[Operand]:
    """Indices that are chosen where they are read."""
    for operand in operands:
        yield from (operand for name in _list_methods(operand.expression) if name in INDICES)


def _list_methods(expression: Expression) -> list[str]:
    calls = (node.func for node in ast.walk(expression.tree) if isinstance(node, ast.Call))
    return [call.attr for call in calls if isinstance(call, ast.Attribute)]
