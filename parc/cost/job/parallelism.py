"""How a training job is distributed: the groups that one rank is in, and its share of the batch.

A group of ranks is described by its fan-out: how many members lie within one unit of each network level,
innermost first, so that the product is the size of the group. 16 ranks, two on each of 8 nodes, are (2, 8).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from parc.named_tuple import NamedTuple
from parc.record import dataclass

FanOut: TypeAlias = tuple[float, ...]
GroupName: TypeAlias = Literal[
    "data", "tensor", "context", "pipeline", "experts", "expert_tensor", "expert_data"
]
Recompute: TypeAlias = Literal["none", "scores", "attention", "experts", "layer"]
Shard: TypeAlias = Literal["none", "optimizer", "gradients", "parameters"]

SINGLE_RANK: FanOut = (1,)


class RankGroups(NamedTuple):
    """The fan-out of each group that one rank is in."""

    data: FanOut = SINGLE_RANK  # ranks with other tokens: of other sequences, or other parts of the same ones
    tensor: FanOut = SINGLE_RANK
    context: FanOut = SINGLE_RANK  # ranks with other parts of the same sequences
    pipeline: FanOut = SINGLE_RANK
    experts: FanOut = SINGLE_RANK
    expert_tensor: FanOut = SINGLE_RANK  # ranks that split each expert
    expert_data: FanOut = SINGLE_RANK  # ranks that hold the same expert parameters


class Degrees(NamedTuple):
    """The number of ranks in each of the `RankGroups`."""

    data: int
    tensor: int
    context: int
    pipeline: int
    experts: int
    expert_tensor: int
    expert_data: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallelism:
    """The groups of one rank, and how its share of the batch passes through them."""

    groups: RankGroups
    layers: tuple[int, ...]  # of each stage: pipeline ranks x chunks entries
    chunks: int = 1
    schedule: str = "1f1b"
    microbatches: int
    sequences: float  # of one microbatch, on one rank
    sequence_parallel: bool = False  # between split matmuls a token is on one rank of `tensor` alone
    dispatch_tokens: bool = True  # tokens are sent to experts; False: ranks of `experts` hold the same tokens
    experts_over_tensor: bool = False  # experts lie over the ranks of `tensor`
    tensor_outside_experts: bool = False  # in the mesh, the axis of `tensor` is before that of `experts`
    recompute: Recompute = "none"
    shard: Shard = "none"
    # Groups over which gradients are summed in turn, the outermost first; (): over all of `data` at once.
    data_axis_fan_outs: tuple[FanOut, ...] = ()
    expert_axis_fan_outs: tuple[FanOut, ...] = ()  # the same, for the gradients of experts
