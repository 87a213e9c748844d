"""What a row of data is once it can be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from parc.cost.job.job import Job
from parc.cost.job.parallelism import Fans, Reach
from parc.cost.timing.constants import Constants
from parc.cost.timing.pass_times import experts_layer
from parc.cost.timing.step import predict

What = Literal["step", "forward", "backward"]


@dataclass(frozen=True, slots=True)
class Row:
    """`group` are runs that a search would choose among: one model and batch on one machine."""

    source: str
    group: str
    kind: str  # of constants
    fitted: bool  # whether the constants have seen it
    job: Job
    seconds: float  # measured
    peak: float | None = None  # bytes of the fullest device, measured
    what: What = "step"

    def predicted(self, constants: Constants) -> float:
        """Seconds of what was measured."""
        if self.what == "step":
            return predict(self.job, constants).seconds
        forward, backward = experts_layer(self.job, constants)
        return forward if self.what == "forward" else backward


def fans(ranks: Sequence[int], units: Sequence[int]) -> Fans:
    """The fans of the group that counts up with these (size, stride) digits, over nested units of ranks.

    `units` are how many ranks one unit of each network level has, innermost first; the last level is
    unbounded.
    """
    sizes, strides = ranks[::2], ranks[1::2]
    found: list[float] = []
    for unit in units:
        within = prod(
            min(size, max(1, -(-unit // stride))) for size, stride in zip(sizes, strides, strict=True)
        )
        found.append(within / prod(found))
    return (*found, prod(sizes) / prod(found))


def megatron(
    tensor: int, context: int, data: int, pipeline: int, experts: int, expert_tensor: int, node: int
) -> Reach:
    """Groups in Megatron's order of ranks: tensor fastest, then context, data, pipeline.

    Experts are laid over the first three together, `expert_tensor` fastest.
    """
    units = [node]
    inner = tensor * context
    stage = inner * data
    own = expert_tensor * experts
    return Reach(
        tensor=fans((tensor, 1), units),
        context=fans((context, tensor), units),
        data=fans((context * data, tensor), units),
        pipeline=fans((pipeline, stage), units),
        experts=fans((experts, expert_tensor), units),
        expert_tensor=fans((expert_tensor, 1), units),
        expert_data=fans((max(1, stage // own), own), units),
    )
