"""How a training job is laid over ranks: the groups that one rank is in, and its share of the batch."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from parc.record import dataclass

Fans: TypeAlias = tuple[float, ...]


ALONE: Fans = (1,)


Recompute: TypeAlias = Literal["none", "scores", "attention", "experts", "layer"]


Shard: TypeAlias = Literal["none", "optimizer", "parameters"]


class Reach(NamedTuple):
    """The groups that one rank is in, each by its fans."""

    data: Fans = ALONE  # ranks with other tokens, of other sequences or other parts of the same ones
    tensor: Fans = ALONE
    context: Fans = ALONE  # ranks with other parts of the same sequences
    pipeline: Fans = ALONE
    experts: Fans = ALONE
    expert_tensor: Fans = ALONE  # ranks that split each expert
    expert_data: Fans = ALONE  # ranks that hold the same expert parameters


class Degrees(NamedTuple):
    """How many ranks each group of `Reach` has."""

    data: int
    tensor: int
    context: int
    pipeline: int
    experts: int
    expert_tensor: int
    expert_data: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Groups of one rank, and how its share of the batch passes through them."""

    reach: Reach
    layers: tuple[int, ...]  # a stage each: pipeline ranks x chunks entries
    chunks: int = 1
    schedule: str = "1f1b"
    microbatches: int
    sequences: float  # of one microbatch, on one rank
    sequence: bool = False  # between its matmuls, a token is on one rank of `tensor` alone
    travel: bool = True  # tokens go to their experts; False: all ranks of `experts` hold the same tokens
    on_tensor: bool = False  # experts are laid over the ranks of `tensor`
    tensor_first: bool = False  # the axis of `tensor` is before that of `experts` in the mesh
    recompute: Recompute = "none"
    shard: Shard = "none"
    data_axes: tuple[
        Fans, ...
    ] = ()  # groups over which gradients are summed one after the other; (): at once
    expert_axes: tuple[Fans, ...] = ()  # the same, of the experts' gradients
