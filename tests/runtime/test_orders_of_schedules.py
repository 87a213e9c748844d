"""What the cost model plays is what PyTorch's schedules run: orders, and when each pass could end."""

from __future__ import annotations

import random
from functools import cache
from typing import Any, TypeAlias
from unittest.mock import MagicMock

import pytest
from torch.distributed.pipelining import schedules
from torch.distributed.pipelining.schedules import _Action, _ComputationType

from parc.cost.schedule.timeline import StageTimes, simulate_passes
from parc.schedule.messages import MessageKind, add_messages
from parc.schedule.order import order_passes
from parc.schedule.whole_backward import PassKind
from tests.runtime.stages import first_ranks

CLASSES: dict[str, Any] = {
    "gpipe": schedules.ScheduleLoopedBFS,
    "interleaved": schedules.ScheduleInterleaved1F1B,
    "zero_bubble": schedules.ScheduleInterleavedZeroBubble,
    "zbv": schedules.ScheduleZBVZeroBubble,
    "dualpipev": schedules.ScheduleDualPipeV,
}
SINGLE: dict[str, Any] = {"gpipe": schedules.ScheduleGPipe, "1f1b": schedules.Schedule1F1B}
KINDS: dict[_ComputationType, PassKind] = {
    _ComputationType.FORWARD: "forward",
    _ComputationType.FULL_BACKWARD: "backward",
    _ComputationType.BACKWARD_INPUT: "inputs",
    _ComputationType.BACKWARD_WEIGHT: "weights",
}
V_SHAPED = ("zbv", "dualpipev")
RANKS = (1, 2, 3, 4, 5, 8)
CASES = [
    (name, ranks, chunks)
    for name in CLASSES
    for ranks in RANKS
    for chunks in ((2,) if name in V_SHAPED else (2, 3) if name == "gpipe" else (1, 2, 3))
]


@cache
def made(name: str, ranks: int, chunks: int, microbatches: int) -> Any:
    """PyTorch's schedule over stages that hold nothing, or None where it refuses."""
    stages = first_ranks(ranks, chunks)
    try:
        return CLASSES[name](stages, microbatches)
    except ValueError:
        return None


Key: TypeAlias = tuple[str, int, int | None]


def pass_of(action: _Action) -> Key:
    return KINDS[action.computation_type], action.stage_index, action.microbatch_index


@pytest.mark.parametrize(("name", "ranks", "chunks"), CASES)
def test_the_order_is_torch_s(name: str, ranks: int, chunks: int) -> None:
    """For every number of microbatches that it takes; a pass that is `held` opens an action of two."""
    taken = 0
    for microbatches in range(1, 25):
        real = made(name, ranks, chunks, microbatches)
        if real is None:
            with pytest.raises(ValueError, match=r"equal rounds|fewer than"):
                order_passes(name, ranks, chunks, microbatches, 0)
            continue
        taken += 1
        for rank, actions in real.pipeline_order.items():
            expected = [
                (*pass_of(each), action.sub_actions is not None and each is action.sub_actions[0])
                for action in actions
                if action is not None
                for each in action.sub_actions or (action,)
            ]
            assert [tuple(one) for one in order_passes(name, ranks, chunks, microbatches, rank)] == expected
    assert taken


MESSAGES: dict[_ComputationType, MessageKind] = {
    _ComputationType.SEND_F: "send outputs",
    _ComputationType.RECV_F: "receive inputs",
    _ComputationType.SEND_B: "send gradients",
    _ComputationType.RECV_B: "receive gradients",
}


@pytest.mark.parametrize(("name", "ranks", "chunks"), CASES)
def test_messages_are_issued_where_torch_issues_them(name: str, ranks: int, chunks: int) -> None:
    """Receives among them: two ranks that post them in another order than the sends would exchange values."""
    for microbatches in (ranks, 2 * ranks, 4 * ranks):
        real = made(name, ranks, chunks, microbatches)
        if real is None:
            continue
        holders = [real.stage_index_to_group_rank[stage] for stage in range(ranks * chunks)]
        orders = [order_passes(name, ranks, chunks, microbatches, rank) for rank in range(ranks)]
        found = add_messages(orders, holders)
        kinds = {**KINDS, **MESSAGES}
        for rank, actions in real.pipeline_order_with_comms.items():
            expected = [
                (kinds[each.computation_type], each.stage_index, each.microbatch_index)
                for action in actions
                for each in action.sub_actions or (action,)
                if each.computation_type in kinds
            ]
            assert [tuple(each) for each in found[rank]] == expected


def ran(name: str, ranks: int, microbatches: int, rank: int) -> list[tuple[str, int]]:
    """What the schedule has its stage do, of a stage that does nothing but write it down."""
    made: list[tuple[str, int]] = []
    stage = MagicMock(num_stages=ranks, stage_index=rank, has_backward=False, is_last=rank == ranks - 1)
    for ops in ("get_fwd_recv_ops", "get_fwd_send_ops", "get_bwd_recv_ops", "get_bwd_send_ops"):
        getattr(stage, ops).return_value = []
    stage.forward_one_chunk.side_effect = lambda at, *_, **__: made.append(("forward", at))
    stage.backward_one_chunk.side_effect = lambda at, **_: made.append(("backward", at))
    schedule = SINGLE[name](stage, microbatches)
    schedule._initialize_stage = lambda *_: None
    schedule._step_microbatches()
    return made


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("ranks", RANKS)
def test_the_order_of_one_stage_a_rank_is_torch_s(name: str, ranks: int) -> None:
    for microbatches in range(ranks, 25):
        for rank in range(ranks):
            found = [(one.kind, one.microbatch) for one in order_passes(name, ranks, 1, microbatches, rank)]
            assert found == ran(name, ranks, microbatches, rank)


class Lists:
    """Every rank runs its lowered list: a send leaves when the rank comes to it; a pass waits for what it
    receives, or for what the rank itself has computed."""

    def __init__(self, real: Any, times: StageTimes, hops: list[float]) -> None:
        self.times, self.hops = times, hops
        self.rank_of = real.stage_index_to_group_rank
        self.lists = {rank: list(actions) for rank, actions in real.pipeline_order_with_comms.items()}
        self.clocks = dict.fromkeys(self.lists, 0.0)
        self.ends: dict[Key, float] = {}
        self.there: dict[Key, float] = {}  # results, by the stage that waits for them

    def play(self) -> dict[Key, float]:
        while any(self.lists.values()):
            moved = [rank for rank, actions in self.lists.items() if actions and self.step(rank, actions[0])]
            assert moved
            for rank in moved:
                self.lists[rank].pop(0)
        return self.ends

    def step(self, rank: int, action: _Action) -> bool:
        each = action.sub_actions or (action,)
        stage, microbatch = action.stage_index, action.microbatch_index
        if each[0].computation_type in KINDS:
            if not all(self.needs(one) in self.there for one in each if self.needs(one)):
                return False
            for one in each:
                self.run(rank, one)
        elif action.computation_type == _ComputationType.SEND_F:
            self.there["forward", stage + 1, microbatch] = self.clocks[rank] + self.hops[stage]
        elif action.computation_type == _ComputationType.SEND_B:
            self.there["backward", stage - 1, microbatch] = self.clocks[rank] + self.hops[stage - 1]
        return True

    def needs(self, one: _Action) -> Key | None:
        kind, stage, microbatch = pass_of(one)
        if kind == "weights" or stage == (0 if kind == "forward" else len(self.times.forward) - 1):
            return None  # what it waits for was before it on its own rank
        return "forward" if kind == "forward" else "backward", stage, microbatch

    def run(self, rank: int, one: _Action) -> None:
        kind, stage, microbatch = pass_of(one)
        needed = self.needs(one)
        begin = max(self.clocks[rank], self.there[needed] if needed else 0.0)
        self.clocks[rank] = self.ends[kind, stage, microbatch] = begin + getattr(self.times, kind)[stage]
        way = "forward" if kind == "forward" else "backward"
        after = stage + (1 if kind == "forward" else -1)
        if kind != "weights" and self.rank_of.get(after) == rank:
            self.there[way, after, microbatch] = self.clocks[rank]


@pytest.mark.parametrize(("name", "ranks", "chunks"), [case for case in CASES if case[1] in (2, 3, 4)])
def test_passes_end_when_torch_s_lowered_lists_would_end_them(name: str, ranks: int, chunks: int) -> None:
    """Stages of random length. PyTorch has its sends and receives beside the passes by then."""
    draw = random.Random(f"{name} {ranks} {chunks}")
    stages = ranks * chunks
    for microbatches in (2 * ranks, 4 * ranks):
        real = made(name, ranks, chunks, microbatches)
        times = StageTimes(*([draw.uniform(0.5, 2) for _ in range(stages)] for _ in StageTimes._fields))
        owner = real.stage_index_to_group_rank
        hops = [draw.uniform(0, 1) if owner[at] != owner[at + 1] else 0.0 for at in range(stages - 1)]
        expected = Lists(real, times, hops).play()
        found = {each[1:4]: each.end for each in simulate_passes(name, microbatches, times, hops, chunks)}
        assert found == pytest.approx(expected)
