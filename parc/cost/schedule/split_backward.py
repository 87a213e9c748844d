"""Schedules that split the backward pass: gradients of inputs are waited for, those of parameters fill gaps.

Qi et al., "Zero Bubble Pipeline Parallelism", arXiv:2401.10241; DeepSeek-AI's DualPipe, arXiv:2412.19437,
folded to a V. Orders are those of torch.distributed.pipelining. It runs the two passes that DualPipeV
overlaps one after the other, and sends what both give when both are done.
"""

from __future__ import annotations

from collections import Counter, deque

from parc.cost.schedule.whole_backward import Kind, Pass, rounds


def zero_bubble(ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    """ZB-H1, over rounds of chunks: half of the warm-up of `interleaved`, and parameters `rank` passes later.

    Raises:
        ValueError: the microbatches do not fill equal rounds.
    """
    each, forward, backward = rounds(ranks, chunks, microbatches, rank)
    warm = min(len(forward), (chunks - 1) * each + ranks - 1 - rank)
    coming = iter(forward)
    passes = [next(coming) for _ in range(warm)]
    for at, back in enumerate(backward):
        if ahead := next(coming, None):
            passes.append(ahead)
        passes.append(_half("inputs", back))
        if at >= rank:
            passes.append(_half("weights", backward[at - rank]))
    late = backward[max(len(backward) - rank, 0) :]
    return passes + [_half("weights", back) for back in late]


def _half(kind: Kind, of: Pass) -> Pass:
    return Pass(kind, of.stage, of.microbatch)


class _Line:
    """The passes of a rank that holds stages `down` and `up` of a V, each kind through a stage in turn."""

    def __init__(self, ranks: int, rank: int) -> None:
        self.down, self.up = rank, 2 * ranks - 1 - rank
        self.passes: list[Pass] = []
        self.made: Counter[tuple[Kind, int]] = Counter()
        self.late: deque[Pass] = deque()  # inputs have their gradients, parameters not yet

    def add(self, kind: Kind, stage: int, held: bool = False) -> None:
        counted: Kind = "inputs" if kind == "backward" else kind
        one = Pass(kind, stage, self.made[counted, stage], held)
        self.made[counted, stage] += 1
        self.passes.append(one)
        if kind == "inputs":
            self.late.append(one)

    def forward(self, stage: int) -> None:
        self.add("forward", stage)

    def pair(self, forward: int, backward: int, apart: bool = False) -> None:
        self.add("forward", forward, not apart)
        self.add("backward", backward)

    def weights(self) -> None:
        """The oldest that are late, if any are."""
        if self.late:
            self.passes.append(_half("weights", self.late.popleft()))

    def halves(self, stage: int) -> None:
        self.add("inputs", stage)
        self.weights()


def zbv(ranks: int, microbatches: int, rank: int) -> list[Pass]:
    """As it is for 2 p - 1 microbatches, if there are fewer: the others are left out."""
    line, number = _Line(ranks, rank), max(2 * ranks - 1, microbatches)
    for _ in range(2 * (ranks - rank) - 1):
        line.forward(line.down)
    for _ in range(rank):
        line.forward(line.up)
        line.forward(line.down)
    for _ in range(ranks - rank):
        line.forward(line.up)
        line.halves(line.up)
    while line.made["forward", line.up] < number:
        if line.made["forward", line.down] < number:
            line.forward(line.down)
        line.halves(line.down)
        line.forward(line.up)
        line.halves(line.up)
    for _ in range(rank):
        line.add("inputs", line.down)
        line.add("inputs", line.up)
    late = {stage: deque(one for one in line.late if one.stage == stage) for stage in (line.down, line.up)}
    for _ in range(ranks - rank):
        line.add("inputs", line.down)
        late[line.down].append(line.passes[-1])
        line.passes.append(_half("weights", late[line.down].popleft()))
    rest = (*late[line.up], *late[line.down])
    line.passes += [_half("weights", one) for one in rest]
    return [one for one in line.passes if one.microbatch < microbatches]


def dualpipev(ranks: int, microbatches: int, rank: int) -> list[Pass]:
    """Raises:
    ValueError: there are fewer microbatches than stages.
    """
    if microbatches < 2 * ranks:
        raise ValueError(f"{microbatches} microbatches are fewer than {2 * ranks} stages")
    line, after = _Line(ranks, rank), ranks - 1 - rank
    for _ in range(2 * after):
        line.forward(line.down)
    for _ in range(rank + 1):
        line.forward(line.down)
        line.forward(line.up)
    for _ in range(after):
        line.halves(line.up)
        line.forward(line.up)
    for at in range(microbatches - 2 * ranks + rank + 1):
        line.pair(line.down, line.up, apart=at == after == 0)
        line.pair(line.up, line.down)
    for _ in range(after):
        line.add("backward", line.up)
        line.pair(line.up, line.down)
    _drain(line, rank, after)
    return line.passes


def _drain(line: _Line, rank: int, after: int) -> None:
    """The last backward passes of a rank: about half of them whole, then in halves."""
    ends = [stage for _ in range(rank + 1) for stage in (line.up, line.down)]
    whole = 2 * ((rank + 1) // 2) + (1 - rank % 2)
    for at, stage in enumerate(ends):
        line.add("backward" if at < whole else "inputs", stage)
    for _ in range(after):
        line.weights()
        line.add("inputs", line.down)
    for _ in range(rank + 1):
        line.weights()
