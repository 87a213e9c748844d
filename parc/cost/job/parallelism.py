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
    "data",
    "tensor",
    "context",
    "pipeline",
    "experts",
    "expert_tensor",
    "expert_data",
    "dispatch",
    "expert_terms",
]
Recompute: TypeAlias = Literal["none", "scores", "attention", "experts", "layer"]
Shard: TypeAlias = Literal["none", "optimizer", "gradients", "parameters"]

SINGLE_RANK: FanOut = (1,)
STRATEGIES: dict[GroupName, str] = {"dispatch": "experts", "expert_terms": "experts"}
"""What a plan calls the strategy of a group, where it has no name of its own there."""


class RankGroups(NamedTuple):
    """The fan-out of each group that one rank is in."""

    data: FanOut = SINGLE_RANK  # ranks with other tokens: of other sequences, or other parts of the same ones
    tensor: FanOut = SINGLE_RANK
    context: FanOut = SINGLE_RANK  # ranks with other parts of the same sequences
    pipeline: FanOut = SINGLE_RANK
    experts: FanOut = SINGLE_RANK
    expert_tensor: FanOut = SINGLE_RANK  # ranks that split each expert
    expert_data: FanOut = SINGLE_RANK  # ranks that hold the same expert parameters
    dispatch: FanOut = SINGLE_RANK  # of a program of parc: those of `experts` that have tokens of their own
    expert_terms: FanOut = SINGLE_RANK  # of one, beside `tensor`: ranks with terms of the experts' results


class Degrees(NamedTuple):
    """The number of ranks in each of the `RankGroups`."""

    data: int
    tensor: int
    context: int
    pipeline: int
    experts: int
    expert_tensor: int
    expert_data: int
    dispatch: int
    expert_terms: int


class TensorAxis(NamedTuple):
    """One axis of `tensor`, over which the gradients of what its ranks repeat are summed."""

    fan_out: FanOut
    repeats_experts: bool  # whether its ranks hold the same experts


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
    terms_over_tensor: bool = False  # each rank of `tensor` has a term of the experts' results
    tensor_outside_terms: bool = False  # in the mesh, `tensor` begins before the axes of `expert_terms`
    recompute: Recompute = "none"
    shard: Shard = "none"
    # Groups over which gradients are summed in turn, the outermost first; (): over all of `data` at once.
    data_axis_fan_outs: tuple[FanOut, ...] = ()
    expert_axis_fan_outs: tuple[FanOut, ...] = ()  # the same, for the gradients of experts
    # Of groups along whose axes shards are replicated; those above are then the groups that share states.
    replica_fan_outs: tuple[FanOut, ...] = ()
    expert_replica_fan_outs: tuple[FanOut, ...] = ()
    tensor_axes: tuple[TensorAxis, ...] = ()  # the same, where the sequence is split; (): over all at once
