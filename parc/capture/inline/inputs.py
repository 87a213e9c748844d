"""What a loop over experts reads of the code before it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from parc.capture.inline.observe import Event
from parc.capture.inline.run import get_storage
from parc.capture.inline.values import Place, Source
from parc.capture.source_lines import Frames

_PICKS = ("__getitem__", "index_select", "take")


@dataclass(frozen=True)
class Input:
    """A floating tensor that is read, then what it alone is made of, and so on: shapes and places."""

    shape: torch.Size
    chain: tuple[tuple[torch.Size, Place | None], ...]
    frames: Frames

    def pick(self, fits: Callable[[torch.Size], bool]) -> Place | None:
        """The place of the first of the chain whose shape fits."""
        return next((place for shape, place in self.chain if place and shape and fits(shape)), None)


def list_inputs(
    events: Sequence[Event],
    sources: Mapping[int, Sequence[Source]],
    inside: Sequence[Event],
    routing: Container[int],
) -> Iterator[Input]:
    """The inputs of the calls `inside`, each once. Zeros are none, nor are the parameters of experts.

    `routing` are the storages of the integers that say which expert has which row: what is picked by them
    lies in another order than the tokens, and only what it is made of counts.
    """
    first = inside[0].number
    made_before = dict[int, Event]()
    written = set[int]()
    for event in events:
        if event.number < first:
            written |= event.produces & made_before.keys()
            made_before |= dict.fromkeys(event.produces, event)
    made_inside = set().union(*(each.produces for each in inside)) - made_before.keys()
    zeros = {each for each, event in made_before.items() if event.makes_zeros} - written
    seen = made_inside | zeros
    for event in inside:
        for operand in event.operands:
            storage = get_storage(operand)
            if operand.is_floating_point() and storage not in seen | event.parameters:
                seen.add(storage)
                yield Input(operand.shape, tuple(_climb(operand, sources, first, routing)), event.frames)


def _climb(
    tensor: Tensor, sources: Mapping[int, Sequence[Source]], first: int, routing: Container[int]
) -> list[tuple[torch.Size, Place | None]]:
    found, left = list[tuple[torch.Size, Place | None]](), {id(tensor): tensor}
    while len(left) == 1:
        (tensor,) = left.values()
        before = [each for each in sources.get(id(tensor), ()) if each.place.call < first]
        if any(_picks_rows(each, routing) for each in before):
            found.clear()
        else:
            found.append((tensor.shape, before[0].place if before else None))
        made_of = () if any(each.function is None for each in before) else before
        operands = (each for source in made_of if not source.is_zeros for each in source.operands)
        left = {id(each): each for each in operands if each.is_floating_point() and each is not tensor}
    return found


def _picks_rows(source: Source, routing: Container[int]) -> bool:
    picks = getattr(source.function, "__name__", "") in _PICKS
    return picks and any(get_storage(each) in routing for each in source.operands)
