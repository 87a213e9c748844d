"""What the cost model knows of a training run, whatever it came from: a plan file or a row of measured data.

Sizes are counts, bandwidths bytes a second per device and direction, times seconds. A group of ranks is its
`Fans`: how many members lie within one unit of each network level, innermost first, so that their product is
its size: 16 ranks, two on each of 8 nodes, are (2, 8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from functools import cached_property, wraps
from math import prod
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from parc.plan.schema.plan import V_SHAPED
from parc.record import dataclass

Fans: TypeAlias = tuple[float, ...]
Recompute: TypeAlias = Literal["none", "scores", "attention", "experts", "layer"]
Shard: TypeAlias = Literal["none", "optimizer", "parameters"]

ALONE: Fans = (1,)


class Latent(NamedTuple):
    """Multi-head latent attention: ranks of the compressed query and key-value, and head sizes."""

    query: int
    key_value: int
    nope: int
    rope: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A decoder. Without `experts` all layers are dense, and `ffn` is theirs."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int  # of one expert
    dense_ffn: int  # of a layer without experts
    vocab: int
    length: int  # of a sequence
    gated: bool = True
    experts: int = 0
    top_k: int = 0
    shared_ffn: int = 0
    dense_layers: int = 0  # the first ones, of a model with experts
    tied: bool = False
    latent: Latent | None = None


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


class Link(NamedTuple):
    bandwidth: float
    latency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Figures of the data sheet."""

    compute: float  # FLOP/s in the type that matmuls run in, as far as it is known
    memory: float  # bytes
    memory_bandwidth: float
    links: tuple[Link, ...]  # innermost first
    sixteen: float | None = None  # FLOP/s in 16 bits, where matmuls run in another type

    @property
    def rated(self) -> float:
        """FLOP/s in 16 bits: by these, kinds of machines are told apart."""
        return self.sixteen or self.compute


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """What the software does that a plan does not say."""

    element: int = 2  # bytes of an activation, and of a parameter while computing
    gradient: int = 4  # bytes of an element of the summed gradient
    state: int = 12  # bytes of master copy and optimizer moments, a parameter
    flash: bool = True  # attention never writes its scores
    dropout: bool = False
    overlap: bool = False  # gradients are summed while the last backward passes run
    overlap_tensor: bool = False  # matmuls start on the pieces of a gather that have come, and so on
    deduplicate: bool = False  # a token goes once to a rank, however many of its experts are there
    regather: bool = False  # a split matmul's gathered input is gathered again, not kept
    gathers: int = 2  # times that sharded parameters are gathered for one microbatch
    scatter: bool = False  # ranks of `tensor` that hold the same pass a part each to the next stage
    fused: bool = True  # a weight's gradient is added up as its matmul writes it
    emitted: bool = False  # parc's own programs; else Megatron's, which differ around experts (`moves.py`)


@dataclass(frozen=True)
class Job:
    architecture: Architecture
    layout: Layout
    machine: Machine | None  # None: what it is made of is not known, and no time can be told
    practice: Practice = field(default_factory=Practice)
    load: float = 1.0  # rows of the fullest rank of experts, over the mean

    @property
    def hardware(self) -> Machine:
        """The machine, where a time is asked for.

        Raises:
            ValueError: it is not known.
        """
        if self.machine is None:
            raise ValueError("nothing is known of the machine")
        return self.machine

    @cached_property
    def known(self) -> dict[Any, Any]:
        """What has been found of this job and is asked for again: by functions marked `once`, above all."""
        return {}

    @cached_property
    def degrees(self) -> Degrees:
        return Degrees(*(round(prod(group)) for group in self.layout.reach))

    @cached_property
    def tokens(self) -> float:
        """Tokens of one microbatch on one rank."""
        return self.layout.sequences * self.architecture.length / self.degrees.context

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """What each stage holds, in the order of the model."""
        last = len(self.layout.layers) - 1
        stages, start = [], 0
        of = self.architecture
        dense = of.dense_layers if of.experts else of.layers
        for index, count in enumerate(self.layout.layers):
            without = max(0, min(start + count, dense) - start)
            stages.append(Stage(without, count - without, index == 0, index == last))
            start += count
        return tuple(stages)

    def places(self, rank: int) -> tuple[int, ...]:
        """The stages of one rank of the pipeline: down the ranks again and again, or down and up."""
        count = len(self.layout.layers)
        if self.layout.schedule in V_SHAPED:
            return rank, count - 1 - rank
        return tuple(range(rank, count, self.degrees.pipeline))

    def rank_of(self, place: int) -> int:
        """The rank of the pipeline that has a stage."""
        ranks = self.degrees.pipeline
        down = self.layout.schedule in V_SHAPED and place >= ranks
        return 2 * ranks - 1 - place if down else place % ranks

    def link(self, place: int) -> int:
        """Which of the pipeline's links leads from a stage to the next: the one from this rank upwards."""
        one, after = self.rank_of(place), self.rank_of(place + 1)
        return min(one, after) if self.layout.schedule in V_SHAPED else one

    def stages_of(self, rank: int) -> tuple[Stage, ...]:
        return tuple(self.stages[place] for place in self.places(rank))


Found = TypeVar("Found")


def once(function: Callable[[Job], Found]) -> Callable[[Job], Found]:
    """A function that is worked out once a job."""

    @wraps(function)
    def kept(job: Job) -> Found:
        known = job.known
        if function not in known:
            known[function] = function(job)
        found: Found = known[function]
        return found

    return kept


class Stage(NamedTuple):
    dense: int  # layers
    sparse: int  # layers with experts
    first: bool  # has the embedding
    last: bool  # has the head and the loss
