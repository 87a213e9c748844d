"""The passes of one pipeline rank in their order, for schedules that split the backward pass.

Gradients of inputs are waited for, those of weights fill gaps: Qi et al., "Zero Bubble Pipeline Parallelism",
arXiv:2401.10241; DeepSeek-AI's DualPipe, arXiv:2412.19437, folded to a V. The orders are those of
torch.distributed.pipelining. It runs the two passes that DualPipeV overlaps one after the other, and sends
both results when both passes are done.
"""

from __future__ import annotations

from collections import Counter, deque

from parc.schedule.whole_backward import Pass, PassKind, divide_rounds


def order_zero_bubble(ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    """ZB-H1 over rounds of chunks: half the warm-up of `interleaved`, and weights `rank` passes later.

    Raises:
        ValueError: the microbatches do not fill equal rounds.
    """
    size, forward, backward = divide_rounds(ranks, chunks, microbatches, rank)
    warm_up = min(len(forward), (chunks - 1) * size + ranks - 1 - rank)
    rest = iter(forward)
    passes = [next(rest) for _ in range(warm_up)]
    for number, whole in enumerate(backward):
        if ahead := next(rest, None):
            passes.append(ahead)
        passes.append(_halve("inputs", whole))
        if number >= rank:
            passes.append(_halve("weights", backward[number - rank]))
    late = backward[max(len(backward) - rank, 0) :]
    return passes + [_halve("weights", whole) for whole in late]


def _halve(half: PassKind, whole: Pass) -> Pass:
    return Pass(half, whole.stage, whole.microbatch)


class _VSchedule:
    """The passes of a rank that holds the stages `down` and `up` of a V.

    Passes of one kind through a stage take the microbatches in turn.
    """

    def __init__(self, ranks: int, rank: int) -> None:
        self.down, self.up = rank, 2 * ranks - 1 - rank
        self.passes: list[Pass] = []
        self.counts: Counter[tuple[PassKind, int]] = Counter()
        self.late: deque[Pass] = deque()  # inputs have their gradients, weights not yet

    def add(self, kind: PassKind, stage: int, deferred: bool = False) -> None:
        counted: PassKind = "inputs" if kind == "backward" else kind
        added = Pass(kind, stage, self.counts[counted, stage], deferred)
        self.counts[counted, stage] += 1
        self.passes.append(added)
        if kind == "inputs":
            self.late.append(added)

    def add_forward(self, stage: int) -> None:
        self.add("forward", stage)

    def add_pair(self, forward: int, backward: int, separate: bool = False) -> None:
        """A forward and a backward pass, which are one action unless they are `separate`."""
        self.add("forward", forward, not separate)
        self.add("backward", backward)

    def add_late_weights(self) -> None:
        """The oldest gradients of weights that are late, if there are any."""
        if self.late:
            self.passes.append(_halve("weights", self.late.popleft()))

    def add_halves(self, stage: int) -> None:
        self.add("inputs", stage)
        self.add_late_weights()


def order_zbv(ranks: int, microbatches: int, rank: int) -> list[Pass]:
    """Zero bubble V. With fewer than 2 p - 1 microbatches, their passes in the order for as many."""
    line, number = _VSchedule(ranks, rank), max(2 * ranks - 1, microbatches)
    for _ in range(2 * (ranks - rank) - 1):
        line.add_forward(line.down)
    for _ in range(rank):
        line.add_forward(line.up)
        line.add_forward(line.down)
    for _ in range(ranks - rank):
        line.add_forward(line.up)
        line.add_halves(line.up)
    while line.counts["forward", line.up] < number:
        if line.counts["forward", line.down] < number:
            line.add_forward(line.down)
        line.add_halves(line.down)
        line.add_forward(line.up)
        line.add_halves(line.up)
    for _ in range(rank):
        line.add("inputs", line.down)
        line.add("inputs", line.up)
    late = {stage: deque(each for each in line.late if each.stage == stage) for stage in (line.down, line.up)}
    for _ in range(ranks - rank):
        line.add("inputs", line.down)
        late[line.down].append(line.passes[-1])
        line.passes.append(_halve("weights", late[line.down].popleft()))
    line.passes += [_halve("weights", each) for each in (*late[line.up], *late[line.down])]
    return [each for each in line.passes if each.microbatch < microbatches]


def order_dualpipev(ranks: int, microbatches: int, rank: int) -> list[Pass]:
    """The passes of one rank under DualPipeV, in order.

    Raises:
        ValueError: there are fewer microbatches than stages.
    """
    if microbatches < 2 * ranks:
        raise ValueError(f"{microbatches} microbatches are fewer than {2 * ranks} stages")
    line, after = _VSchedule(ranks, rank), ranks - 1 - rank
    for _ in range(2 * after):
        line.add_forward(line.down)
    for _ in range(rank + 1):
        line.add_forward(line.down)
        line.add_forward(line.up)
    for _ in range(after):
        line.add_halves(line.up)
        line.add_forward(line.up)
    for number in range(microbatches - 2 * ranks + rank + 1):
        line.add_pair(line.down, line.up, separate=number == after == 0)
        line.add_pair(line.up, line.down)
    for _ in range(after):
        line.add("backward", line.up)
        line.add_pair(line.up, line.down)
    _drain(line, rank, after)
    return line.passes


def _drain(line: _VSchedule, rank: int, after: int) -> None:
    """The last backward passes of a rank: about half of them whole, the rest in halves."""
    stages = [stage for _ in range(rank + 1) for stage in (line.up, line.down)]
    whole = 2 * ((rank + 1) // 2) + (1 - rank % 2)
    for number, stage in enumerate(stages):
        line.add("backward" if number < whole else "inputs", stage)
    for _ in range(after):
        line.add_late_weights()
        line.add("inputs", line.down)
    for _ in range(rank + 1):
        line.add_late_weights()
