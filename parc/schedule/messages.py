"""The passes of all pipeline ranks with the messages between them, as a rank of several stages issues them.

The order is that of `_PipelineScheduleRuntime` of torch.distributed.pipelining; tests compare the two. A
receive is posted when the pass that sends to it is scheduled, so that two ranks never wait for each other.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

from parc.named_tuple import NamedTuple
from parc.schedule.whole_backward import Pass, PassKind

MessageKind: TypeAlias = Literal["send outputs", "receive inputs", "send gradients", "receive gradients"]
ACTIVE_STAGES = 3  # whose sharded parameters torch would gather ahead


class Action(NamedTuple):
    """A pass, or a message of a stage's microbatch."""

    kind: PassKind | MessageKind
    stage: int
    microbatch: int


Slot: TypeAlias = tuple[Pass, ...]
"""What a rank issues at once: a pass, a pair that overlaps, or nothing where torch is busy with shards."""


def add_messages(orders: Sequence[Sequence[Pass]], holders: Sequence[int]) -> list[list[Action]]:
    """The actions of each rank. `orders` has the passes of each rank, `holders` the rank of each stage.

    A value that goes to a stage of the same rank is no message.

    Raises:
        ValueError: a pass waits for one that comes after it.
    """
    return _Messages(holders).schedule([list(_split_slots(order)) for order in orders])


class _Messages:
    def __init__(self, holders: Sequence[int]) -> None:
        self.holders = holders
        self.last = len(holders) - 1

    def schedule(self, slots: Sequence[list[Slot]]) -> list[list[Action]]:
        self.actions: list[list[Action]] = [[] for _ in slots]
        self.known: list[set[Action]] = [set() for _ in slots]
        left = [deque(own) for own in slots]
        while any(left):
            ready = False
            for rank, own in enumerate(left):
                if own and all(self._is_ready(rank, each) for each in own[0]):
                    ready = True
                    self._issue(rank, own.popleft())
            if not ready:
                raise ValueError("passes of the schedule wait for each other")
        return self.actions

    def _issue(self, rank: int, slot: Slot) -> None:
        passes = [Action(each.kind, each.stage, each.microbatch) for each in slot]
        self._add(rank, *passes)
        for each in passes:
            for receiver, send, receive in self._find_message(each):
                self._add(rank, send)
                self._add(receiver, receive)

    def _add(self, rank: int, *actions: Action) -> None:
        self.actions[rank] += actions
        self.known[rank].update(actions)

    def _find_message(self, each: Action) -> Iterator[tuple[int, Action, Action]]:
        """The message that a pass sends to another rank, if any: receiver, send and receive."""
        kind, stage, microbatch = each
        forward = kind == "forward"
        peer = stage + 1 if forward else stage - 1
        if kind == "weights" or not 0 <= peer <= self.last or self.holders[peer] == self.holders[stage]:
            return
        send = Action("send outputs" if forward else "send gradients", stage, microbatch)
        receive = Action("receive inputs" if forward else "receive gradients", peer, microbatch)
        yield self.holders[peer], send, receive

    def _is_ready(self, rank: int, each: Pass) -> bool:
        """Whether what a pass reads was received, or computed on its own rank."""
        stage, microbatch, known = each.stage, each.microbatch, self.known[rank]
        if each.kind == "weights" or stage == (0 if each.kind == "forward" else self.last):
            return True
        if each.kind == "forward":
            sources = [Action("receive inputs", stage, microbatch), Action("forward", stage - 1, microbatch)]
        else:
            sources = [Action("receive gradients", stage, microbatch)]
            sources += [Action("inputs", stage + 1, microbatch), Action("backward", stage + 1, microbatch)]
        return any(source in known for source in sources)


def _split_slots(order: Sequence[Pass]) -> Iterator[Slot]:
    """The passes of a rank as slots, and an empty one for every action that concerns shards of parameters."""
    groups = list(_join_overlapping(order))
    left = Counter(each.stage for each in order if each.kind in ("backward", "weights"))
    active: set[int] = set()
    for number, group in enumerate(groups):
        ahead = set(_list_stages_ahead(groups[number:]))
        yield from [()] * (len(active - ahead) + len(ahead - active))
        active = ahead
        yield group
        for each in group:
            if each.kind in ("backward", "weights"):
                left[each.stage] -= 1
                yield from [()] * (not left[each.stage])
    yield from [()] * len(active)


def _join_overlapping(order: Iterable[Pass]) -> Iterator[Slot]:
    before: Slot = ()
    for each in order:
        if each.deferred:
            before = (each,)
        else:
            yield (*before, each)
            before = ()


def _list_stages_ahead(groups: Sequence[Slot]) -> list[int]:
    found: list[int] = []
    for group in groups:
        found += [each.stage for each in group if each.stage not in found]
        if len(found) >= ACTIVE_STAGES:
            break
    return found
