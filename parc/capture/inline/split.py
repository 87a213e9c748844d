"""Where a block hands rows to its experts, and where it has their sum: read from an observed run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from parc.capture.inline.inputs import list_inputs
from parc.capture.inline.observe import Event, Observation, describe
from parc.capture.inline.run import Site, find_leaf, get_storage
from parc.capture.inline.values import Place, list_tensors
from parc.capture.source_lines import Frames, format_frames

_DEPENDS = "what follows its loop depends on values that are read before"
_AFTER = 1 << 60  # the number of what happens when `forward` has returned


class Inseparable(Exception):
    """A block whose experts cannot be told apart from the rest of it. `node` has the line, if known."""

    def __init__(self, reason: str, frames: Frames = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.node = fx.Graph().call_function(torch.add)
        self.node.meta["stack_trace"] = format_frames(frames)


@dataclass(frozen=True)
class Split:
    """The calls of a block's `forward` between its router and what it does with the sum of its experts."""

    loop: tuple[Event, ...]  # from the first call that is about single experts to that which makes their sum
    tokens: Place
    indices: Place
    weights: Place
    rows: int  # tokens
    choices: int  # experts of a token
    dense: bool  # whether the weights are those of all experts, of which the chosen ones count
    used: Site | None  # the call that uses the sum first; None where `forward` returns it
    leaf: int  # the sum's place among the arguments of that call, or among the results

    @property
    def first(self) -> int:
        """The number of the first call of the loop."""
        return self.loop[0].number

    @property
    def last(self) -> int:
        """The number of the last call of the loop."""
        return self.loop[-1].number


def find_split(
    block: nn.Module, experts: nn.ModuleList, forward: Callable[..., Any], args: Any, kwargs: Any
) -> Split:
    """Runs a block on the meta device, which raises whatever `forward` raises. Raises Inseparable."""
    run, crowded = Observation(experts), Observation(experts, crowded=True)
    with _disable_current_modes():
        out = run.run_block(block, experts, forward, args, kwargs)
        split = _Finder(run, len(experts), out).find()
        crowded_out = crowded.run_block(block, experts, forward, args, kwargs)
    _check_rest(split, (run.events, out), (crowded.events, crowded_out))
    return split


def _check_rest(split: Split, first: tuple[list[Event], Any], second: tuple[list[Event], Any]) -> None:
    """Raises Inseparable where what follows the loop does other things when other experts are chosen."""
    (events, out), (others, other_out) = first, second
    rest, start = events[split.last :], len(others) - len(events) + split.last
    if start < split.first:
        raise Inseparable(_DEPENDS, split.loop[-1].frames)
    for event, other in zip(rest, others[start:], strict=True):
        if event.describe() != other.describe():
            raise Inseparable(_DEPENDS, event.frames)
    user = next((other for other in others[start:] if other.site == split.used), None)
    leaves = pytree.tree_leaves(other_out) if user is None else user.leaves
    makers = [each for each in others[:start] if get_storage(leaves[split.leaf]) in each.produces]
    known = {event.site for event in split.loop}
    if not makers or makers[-1].site not in known or describe(out) != describe(other_out):
        raise Inseparable(_DEPENDS, split.loop[-1].frames)


class _Finder:
    def __init__(self, run: Observation, experts: int, out: Any) -> None:
        self._events, self._sources = run.events, run.values.sources
        self._experts, self._out = experts, out
        about = [event for event in run.events if event.asks or event.of_experts]
        if not about or not run.calls_experts:
            raise Inseparable("it calls none of its experts", about[0].frames if about else ())
        self._first, self._last = about[0], about[-1]
        invented = list(run.values.invented.values())
        if len(invented) != 1 or invented[0].dtype == torch.bool:
            reason = (
                "the experts of each token are not those of one tensor of numbers, such as `topk` returns"
            )
            raise Inseparable(reason, self._first.frames)
        (self._chosen,) = invented
        self._routing = self._find_routing()
        self._reach = self._find_reach()

    def find(self) -> Split:
        """The first call after which nothing is read of the experts but its one result."""
        least, faults = self._find_least(), list[Inseparable]()
        for event in self._events:
            ends = event.number >= least.number and self._reach[event.number - 1] <= event.number
            for result in event.results if ends else ():
                if result.is_floating_point() and result.ndim > 1:
                    try:
                        return self._split_at(event, result)
                    except Inseparable as fault:
                        faults.append(fault)
        if faults:
            raise faults[0]
        reason = "what follows its loop reads more of it than one tensor with a row for each token"
        raise Inseparable(reason, least.frames)

    def _find_reach(self) -> list[int]:
        """By the number of each call, the last call that reads what was made up to it since the first."""
        storages, views, last = dict[int, int](), dict[int, int](), [0] * (len(self._events) + 1)

        def note_uses(read: Sequence[Tensor], number: int) -> None:
            for tensor in read:
                maker = storages.get(get_storage(tensor), views.get(id(tensor), 0))
                last[maker] = max(last[maker], number if maker else 0)

        for event in self._events:
            note_uses(event.operands, event.number)
            if event.number >= self._first.number:
                storages.update(dict.fromkeys(event.produces, event.number))
                views.update((id(each), event.number) for each in event.new)
        note_uses(list_tensors(self._out), _AFTER)
        return list(accumulate(last, max))

    def _find_least(self) -> Event:
        """The last call that is about single experts, or joins what they have made with the routing."""
        made, least = set[int](), self._last
        for event in self._events:
            if event.of_experts or not event.reads.isdisjoint(made):
                made |= event.produces
                if event.number > least.number and not event.reads.isdisjoint(self._routing):
                    least = event
        return least

    def _find_routing(self) -> set[int]:
        """The storages of all integers and masks that are computed from the chosen experts."""
        found = {get_storage(self._chosen)}
        floats = set[int]()  # made of them before the loop, such as a row of weights of which most are 0
        for event in self._events:
            if not event.reads.isdisjoint(found | floats):
                found.update(get_storage(each) for each in event.results if not each.is_floating_point())
                if event.number < self._first.number:
                    floats |= event.produces - found
        return found

    def _split_at(self, event: Event, result: Tensor) -> Split:
        """The split whose sum is a result of a call. Raises Inseparable where it is not such a sum."""
        rows = result.numel() // result.shape[-1]
        choices = self._chosen.numel() // rows
        if choices * rows != self._chosen.numel() or (choices > 1 and self._chosen.shape[-1] != choices):
            made = f"the sum of its experts is {tuple(result.shape)}"
            raise Inseparable(f"{made}, and their numbers are {tuple(self._chosen.shape)}", event.frames)
        inside = [each for each in self._events if self._first.number <= each.number <= event.number]
        if called := next((each for each in inside if each.of_module), None):
            raise Inseparable("a module with parameters is called among its experts", called.frames)
        tokens, weights = set[Place](), set[tuple[Place, bool]]()
        for given in list_inputs(self._events, self._sources, inside, self._routing):
            if place := given.pick(lambda shape: shape.numel() == self._chosen.numel()):
                weights.add((place, False))
            elif place := given.pick(
                lambda shape: shape[-1:] == result.shape[-1:] and shape.numel() == result.numel()
            ):
                tokens.add(place)
            elif place := given.pick(
                lambda shape: shape[-1] == self._experts and shape.numel() == rows * self._experts
            ):
                weights.add((place, True))
            else:
                read = f"its loop over the experts reads {tuple(given.shape)} beside tokens and weights"
                raise Inseparable(read, given.frames)
        if len(tokens) != 1 or len(weights) != 1:
            read = f"{len(tokens)} tensors of tokens and {len(weights)} of weights"
            raise Inseparable(f"its loop over the experts reads {read}, not one of each", self._first.frames)
        ((weight, dense),) = weights
        indices = self._sources[id(self._chosen)][0].place
        used = self._find_use(event, inside, get_storage(result))
        return Split(tuple(inside), tokens.pop(), indices, weight, rows, choices, dense, *used)

    def _find_use(self, event: Event, inside: Sequence[Event], storage: int) -> tuple[Site | None, int]:
        """Where the sum is used first, and the place that it has there."""
        for each in self._events:
            if each.number > event.number and storage in each.reads:
                if any(each.site == other.site for other in inside):
                    raise Inseparable("its loop over the experts and what follows share a line", each.frames)
                return each.site, find_leaf(each.leaves, storage)
        return None, find_leaf(self._out, storage)
