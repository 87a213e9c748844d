"""The parts of a layer, and what one rank does in a part for one microbatch.

A part is what can be recomputed by itself, with the norm before it and the residual sum after: attention's
projections, its scores, an FFN, the experts. The bytes that elementwise operators move are counted as if each
norm, activation and sum were one kernel.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from parc.cost.job.job import Job
from parc.cost.job.parallelism import GroupName, Recompute
from parc.named_tuple import NamedTuple
from parc.record import dataclass

CollectiveKind: TypeAlias = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all"]

RECOMPUTED_PARTS: dict[Recompute, tuple[str, ...]] = {
    "none": (),
    "scores": ("scores",),
    "attention": ("attention", "scores"),
    "experts": ("experts",),
    "layer": ("attention", "scores", "ffn", "experts", "other"),
}
"""The parts whose forward pass is repeated in the backward pass."""


class Matmul(NamedTuple):
    """(m x k) by (k x n), `batch` times side by side."""

    m: float
    n: float
    k: float
    batch: float = 1.0
    has_parameter: bool = True  # whether (k x n) is a parameter

    @property
    def flops(self) -> float:
        """FLOPs of its forward pass."""
        return 2 * self.m * self.n * self.k * self.batch


class LayerCollective(NamedTuple):
    """A collective over one of the `RankGroups`; bytes are counted as in `network/collective_times.py`."""

    kind: CollectiveKind
    bytes: float
    group: GroupName
    routed: bool = False  # whether the bytes are a mean over what routing decides
    payload: str = ""  # what is sent, where that is not the result of the part


class PassCollectives(NamedTuple):
    """The collectives of a forward pass, and those of its backward pass."""

    forward: tuple[LayerCollective, ...]
    backward: tuple[LayerCollective, ...]

    def __add__(self, other: PassCollectives) -> PassCollectives:  # type: ignore[override]  # not a longer tuple
        return PassCollectives(self.forward + other.forward, self.backward + other.backward)


NO_COLLECTIVES = PassCollectives((), ())


@dataclass(frozen=True, slots=True)
class Part:
    """What one rank does in one part of a layer, or in the embedding or the head, for one microbatch."""

    name: str
    matmuls: tuple[Matmul, ...]
    memory_traffic: float  # bytes to and from memory in the forward pass, those of matmuls not counted
    saved_bytes: float  # between forward and backward pass
    collectives: PassCollectives = NO_COLLECTIVES
    attention_flops: float = 0.0  # of fused attention in the forward pass, as they are executed


def count_layer_input_bytes(job: Job) -> float:
    """Bytes that enter a layer, of one microbatch."""
    return count_local_tokens(job) * job.architecture.hidden * job.software.element_bytes


def count_local_tokens(job: Job) -> float:
    """Tokens of one microbatch that a rank holds between split matmuls."""
    return job.tokens / job.degrees.tensor if job.parallelism.sequence_parallel else job.tokens


def count_norm_input_bytes(job: Job) -> float:
    """Bytes that a norm saves of its input, in the type that it computes in."""
    software = job.software.widen() if "norms" in job.software.kept else job.software
    return count_local_tokens(job) * job.architecture.hidden * software.element_bytes


def count_saved_input_tokens(job: Job) -> float:
    """Tokens of a split matmul's input that are saved for its gradient."""
    return count_local_tokens(job) if job.software.regather_inputs else job.tokens
